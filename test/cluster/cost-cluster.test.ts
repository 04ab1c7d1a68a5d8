/**
 * What a client costs a Redis Cluster: proxies stand in front of every master, and the cluster announces them in place of the
 * masters.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OP } from '../../src/protocol/index.js';
import { type HalleyProcess, type ProxiedRedisCluster, startProxiedRedisCluster, WireClient } from '../kit/index.js';
import { CommandCosts, connectTrips, naming, roomPushVerbs, verbsOf } from './command-costs.js';
import { startNode, stopNodes } from './nodes.js';

const PREFIX = 'cost';
let cluster: ProxiedRedisCluster;
let node: HalleyProcess;
let costs: CommandCosts;

beforeAll(async () => {
  cluster = await startProxiedRedisCluster();
  node = await startNode(cluster.url, 0, {
    prefix: PREFIX,
    // None of its own questions may be mistaken for what a client costs, and none may go without an answer for a tick too long.
    env: { HALLEY_CLUSTER_COMMAND_TIMEOUT_MS: '5000' },
  });
  const ports = cluster.servers.map(({ port }) => port);
  costs = await CommandCosts.watch(ports, cluster.proxies, PREFIX);
}, 60_000);
afterAll(async () => {
  costs.close();
  const codes = await stopNodes([node]);
  await cluster.remove();
  expect(codes).toEqual([0]);
});

// Scripts that a master does not know yet cost a repeat each: these connects bring them there.
beforeAll(async () => {
  const warm = await Promise.all(
    Array.from({ length: 40 }, (_, no) =>
      WireClient.connect(node.wsUrl, { key: `warm-${no}`, mid: 10_000 + no, roomId: `warm://${no}` }),
    ),
  );
  await Promise.all(warm.map((client) => client.close()));
  await Promise.all(warm.map((_, no) => costs.isGone(`warm-${no}`)));
});

it('a connect waits for three round trips at most, into a room that is new to the node and into one that is not', async () => {
  for (const count of await connectTrips(costs, node)) {
    expect(count).toBeGreaterThanOrEqual(1);
    expect(count).toBeLessThanOrEqual(3);
  }
});

it('a disconnect is two scripts at most: of the session, and of its user', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'gone-1', mid: 883 });
  const commands = await costs.commandsOf(async () => {
    await client.close();
    await costs.isGone('gone-1');
  });
  const own = verbsOf(naming(commands, 'gone-1')).filter((verb) => verb !== 'exists');
  expect(own.length).toBeGreaterThanOrEqual(1);
  expect(own.length).toBeLessThanOrEqual(2);
  expect(new Set(own)).toEqual(new Set(['evalsha']));
});

it('heartbeats cost nothing', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'beat-1', mid: 884 });
  const commands = await costs.commandsOf(async () => {
    for (let beat = 0; beat < 300; beat++) await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  expect(naming(commands, 'beat')).toEqual([]);
  await client.close();
});

it('a direct push to a room is one publish, however many members it has', async () => {
  expect(await roomPushVerbs(costs, node, [1, 30])).toEqual([['spublish'], ['spublish']]);
});
