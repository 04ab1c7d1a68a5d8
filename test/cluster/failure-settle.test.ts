/**
 * Redis restarts from its AOF under durable load while the nodes take seconds to write their sessions again: what nobody waits for
 * is that. Prints how long after Redis's return the first and the last durable push of the outage has arrived.
 */
import { afterAll, afterEach, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../kit/index.js';
import { AOF, startAgain } from './failure-outage.js';
import {
  type ClusterNode,
  Crowd,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  Load,
  nothingMissing,
  received,
  removeDataDirs,
  startNodes,
} from './failure-rig.js';

const ROOMS = 4;
const CLIENTS = 600;
let redis: RedisServer;
let nodes: ClusterNode[] = [];
let crowd: Crowd;
let load: Load | undefined;

afterEach(async () => {
  await load?.stop();
  crowd.end();
  await endNodes(nodes);
  await redis.remove();
});
afterAll(removeDataDirs);

it('durable pushes flow again while sessions are still being written, and none is lost or out of order', async () => {
  redis = await startRedis({ args: AOF });
  // 100 sessions a second: 200 sessions per node are two seconds and more.
  const env = {
    HALLEY_CLUSTER_PREFIX: 'settle',
    HALLEY_CLUSTER_REWRITE_PER_S: '100',
    HALLEY_CLUSTER_LEASE_MS: '10000',
  };
  nodes = await startNodes(redis.url, 3, env);
  crowd = new Crowd(ROOMS);
  await crowd.fill(nodes, CLIENTS);
  await everyKeyReached(crowd.seats, nodes[0]!, 5_000);
  load = new Load(ROOMS, nodes, [KIND.DURABLE], 30);
  await load.advance(20, [KIND.DURABLE]);
  await redis.stop('SIGTERM');
  await eventually(() => load!.statusCount(KIND.DURABLE, 503) >= 2 * ROOMS, 10_000, 'pushes are refused');
  redis = await startAgain(redis, AOF);
  const backMs = performance.now();
  const had = new Map(crowd.seats.map((seat) => [seat, received(seat, KIND.DURABLE).length]));
  await load.advance(1, [KIND.DURABLE], 15_000);
  const acceptedAgainMs = performance.now() - backMs;
  await eventually(
    () => crowd.seats.every((seat) => received(seat, KIND.DURABLE).length > (had.get(seat) ?? 0)),
    30_000,
    'every client has a durable push again',
  );
  const flowsAgainMs = performance.now() - backMs;
  const settledMs = await eventually(
    async () => nodes.every((node) => /sessions are written again/.test(node.output().slice(-20_000))),
    30_000,
    'every node has written its sessions',
  ).then(() => performance.now() - backMs);
  await load.advance(10, [KIND.DURABLE]);
  await load.stop();
  await nothingMissing(crowd.seats, load, KIND.DURABLE);
  expect(disorder(crowd.seats, [KIND.DURABLE])).toEqual([]);
  const figures = { acceptedAgainMs, flowsAgainMs, settledMs };
  process.stdout.write(
    `settle: ${JSON.stringify(figures, (_, value) => (typeof value === 'number' ? Math.round(value) : value))}\n`,
  );
  expect(flowsAgainMs).toBeLessThan(settledMs + 500);
}, 90_000);
