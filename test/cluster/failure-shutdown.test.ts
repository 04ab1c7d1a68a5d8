/**
 * SIGTERM to one node of a cluster under load, with Redis there and with Redis away.
 */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  countsAreRight,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  Load,
  missing,
  nothingMissing,
  reasonsOf,
  removeDataDirs,
  type Seat,
  startNodes,
} from './failure-rig.js';

const ROOMS = 4;
const TIMEOUT_MS = 5_000;
/** From the signal to the end of the process, beside what the node may take to stop. */
const EXIT_MS = 3_000;
const ENV = { HALLEY_SHUTDOWN_TIMEOUT_MS: String(TIMEOUT_MS) };
const TEST_MS = 40_000;

let redis: RedisServer;
let nodes: ClusterNode[] = [];
let load: Load | undefined;
let crowd: Crowd;

beforeEach(async () => {
  redis = await startRedis();
  crowd = new Crowd(ROOMS);
});
afterEach(async () => {
  await load?.stop();
  load = undefined;
  crowd.end();
  await endNodes(nodes.splice(0));
  await redis.remove();
  await removeDataDirs();
});

async function endOf(node: ClusterNode): Promise<{ readonly code: number | string; readonly tookMs: number }> {
  const startedMs = performance.now();
  const code = await node.stop('SIGTERM');
  return { code, tookMs: performance.now() - startedMs };
}

/** 3000 to 3499: come back, elsewhere. The last of it may still be on its way when the process has ended. */
async function toldToComeBack(seats: readonly Seat[]): Promise<void> {
  await eventually(
    () => seats.every(({ client }) => client.closed !== undefined),
    5_000,
    'the end of every connection',
  );
  const codes = seats.map(({ client }) => client.closed?.code ?? 0);
  expect(codes.filter((code) => code < 3_000 || code >= 3_500)).toEqual([]);
}

describe('SIGTERM of a node under load', () => {
  it(
    'delivers what was accepted, tells its clients to come back, and leaves no session behind',
    async () => {
      nodes = await startNodes(redis.url, 3, ENV);
      const [leaving, second, third] = nodes as [ClusterNode, ClusterNode, ClusterNode];
      await crowd.fill(nodes, 240);
      const mine = crowd.on(leaving);
      const others = crowd.seats.filter((seat) => seat.node !== leaving);
      await everyKeyReached(crowd.seats, second, 5_000);
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 20);
      await load.advance(10);

      const { code, tookMs } = await endOf(leaving);
      expect(code, leaving.output()).toBe(0);
      expect(tookMs).toBeLessThan(TIMEOUT_MS + EXIT_MS);
      await toldToComeBack(mine);
      const store = new Redis(redis.port, '127.0.0.1');
      const owners = await Promise.all((await store.keys('halley:s:*')).map((key) => store.hgetall(key)));
      store.disconnect();
      expect(owners.length).toBe(others.length);
      expect(owners.filter((owner) => Object.values(owner).includes(leaving.serverId))).toEqual([]);

      // What it accepted itself reached everybody, its own clients too: they were closed behind it.
      const atEnd = load.producers.filter(({ node }) => node === leaving);
      const lost = missing(mine, { of: (kind) => atEnd.filter((producer) => producer.kind === kind) }, KIND.DIRECT);
      expect(lost).toEqual([]);
      await crowd.move(mine, [second, third]);
      await everyKeyReached(crowd.seats, second, 3_000);
      for (const producer of atEnd) producer.node = second;
      await load.advance(10);
      await load.stop();
      await nothingMissing(others, load, KIND.DIRECT);
      await nothingMissing(others, load, KIND.DURABLE);
      expect(disorder(crowd.seats)).toEqual([]);
      await countsAreRight(second, crowd);
    },
    TEST_MS,
  );

  it(
    'ends in time with Redis away, and its clients are told all the same',
    async () => {
      nodes = await startNodes(redis.url, 2, ENV);
      const [leaving, second] = nodes as [ClusterNode, ClusterNode];
      await crowd.fill(nodes, 100);
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 20);
      await load.advance(5);
      const mine = crowd.on(leaving);
      await redis.stop('SIGKILL');
      await eventually(async () => (await reasonsOf(leaving)).includes('redis_away'), 5_000, 'redis_away');
      const { code, tookMs } = await endOf(leaving);
      expect(tookMs).toBeLessThan(TIMEOUT_MS + EXIT_MS);
      expect(code, leaving.output()).toBe(0);
      await toldToComeBack(mine);
      expect(crowd.on(second).filter(({ client }) => client.closed !== undefined)).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'ends in time with Redis frozen, too',
    async () => {
      nodes = await startNodes(redis.url, 2, ENV);
      const [leaving] = nodes as [ClusterNode, ClusterNode];
      await crowd.fill(nodes, 100);
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 20);
      await load.advance(5);
      const mine = crowd.on(leaving);
      process.kill(redis.pid, 'SIGSTOP');
      // At once: nobody has noticed yet, and what was accepted meanwhile may have to be cut off.
      const { code, tookMs } = await endOf(leaving);
      expect(tookMs).toBeLessThan(TIMEOUT_MS + EXIT_MS);
      expect([0, 3], leaving.output()).toContain(code);
      await toldToComeBack(mine);
    },
    TEST_MS,
  );
});
