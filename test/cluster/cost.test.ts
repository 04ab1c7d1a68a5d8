/** What a client costs Redis, counted on a real node. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OP } from '../../src/protocol/index.js';
import {
  type HalleyProcess,
  type RedisProxy,
  type RedisServer,
  startRedis,
  startRedisProxy,
  WireClient,
} from '../kit/index.js';
import { CommandCosts, connectTrips, naming, pushCommands, roomPushVerbs, verbsOf } from './command-costs.js';
import { startNode, stopNodes } from './nodes.js';
import { PUSH_OP } from './producers.js';

const PREFIX = 'cost';
let redis: RedisServer;
let proxy: RedisProxy;
let node: HalleyProcess;
let costs: CommandCosts;

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startRedisProxy(redis.port);
  // A probe of the node goes over one room in turn, and would look like a command for its members.
  node = await startNode(proxy.url, 0, { prefix: PREFIX, env: { HALLEY_CLUSTER_PROBE_MS: '600000' } });
  costs = await CommandCosts.watch([redis.port], [proxy], PREFIX);
});
afterAll(async () => {
  costs.close();
  const codes = await stopNodes([node]);
  await proxy.close();
  await redis.remove();
  expect(codes).toEqual([0]);
});

it('a connect waits for two round trips at most, into a room that is new to the node and into one that is not', async () => {
  for (const count of await connectTrips(costs, node)) {
    expect(count).toBeGreaterThanOrEqual(1);
    expect(count).toBeLessThanOrEqual(2);
  }
});

it('a connect is one script, and a subscription and a line in the room where the room is new to the node', async () => {
  const connects = await costs.commandsOf(async () => {
    const client = await WireClient.connect(node.wsUrl, { key: 'spent-1', mid: 881, roomId: 'spent://room' });
    await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  expect(verbsOf(naming(connects, 'spent')).sort()).toEqual(['evalsha', 'hset', 'subscribe']);

  const second = await costs.commandsOf(async () => {
    await WireClient.connect(node.wsUrl, { key: 'spent-2', mid: 882, roomId: 'spent://room' });
  });
  expect(verbsOf(naming(second, 'spent'))).toEqual(['evalsha']);
});

it('a disconnect is one script', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'gone-1', mid: 883 });
  const commands = await costs.commandsOf(async () => {
    await client.close();
    await costs.isGone('gone-1');
  });
  expect(verbsOf(naming(commands, 'gone-1')).filter((verb) => verb !== 'exists')).toEqual(['evalsha']);
});

it('heartbeats cost nothing', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'beat-1', mid: 884, roomId: 'beat://room' });
  const startedMs = performance.now();
  const commands = await costs.commandsOf(async () => {
    for (let beat = 0; beat < 500; beat++) await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  const tookS = (performance.now() - startedMs) / 1000;
  // Its place in the counts, told once and whatever it does.
  const perClient = naming(commands, 'beat').filter((words) => !words.some((word) => word.includes(`${PREFIX}:on:`)));
  expect(perClient).toEqual([]);
  // What the node says for itself: leases, counts; some twenty a second.
  expect(commands.length).toBeLessThan(50 + 50 * tookS);
  await client.close();
});

it('a direct push to a room is one publish, for one member and for fifty', async () => {
  expect(await roomPushVerbs(costs, node, [1, 50])).toEqual([['publish'], ['publish']]);
});

it('a direct push to a user is one lookup and one publish per node, for one device and for twenty', async () => {
  const mid = 4242;
  const clients: WireClient[] = [];
  for (const deviceCount of [1, 20]) {
    while (clients.length < deviceCount) {
      clients.push(await WireClient.connect(node.wsUrl, { key: `dev-${clients.length}`, mid, accepts: [PUSH_OP] }));
    }
    const body = `to ${deviceCount} devices`;
    const commands = await pushCommands(costs, node, { mids: [mid] }, clients, body);
    expect(verbsOf(naming(commands, body))).toEqual(['publish']);
    expect(verbsOf(naming(commands, `u:{${mid}}`))).toEqual(['hgetall']);
  }
  await Promise.all(clients.map((client) => client.close()));
});
