/**
 * Things that stop without dying: a node that is frozen past its lease and thawed, and a connection to Redis that carries one
 * direction only.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  type RedisProxy,
  type RedisServer,
  startRedis,
  startRedisProxy,
  WireClient,
} from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  countsAreRight,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  LEASE_MS,
  Load,
  nothingMissing,
  pushDirectRoom,
  reasonsOf,
  received,
  removeDataDirs,
  roomName,
  startNode,
  startNodes,
} from './failure-rig.js';

const ROOMS = 4;
const TEST_MS = 60_000;

let redis: RedisServer;
let nodes: ClusterNode[] = [];
let proxy: RedisProxy | undefined;
let load: Load | undefined;
let crowd: Crowd;
const watchers: WireClient[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await load?.stop();
  load = undefined;
  crowd.end();
  for (const watcher of watchers.splice(0)) watcher.terminate();
  await endNodes(nodes.splice(0));
  await proxy?.close();
  proxy = undefined;
});
afterAll(async () => {
  await redis.remove();
  await removeDataDirs();
});

/** An extended client that keeps the ids of what it received. */
async function watch(node: ClusterNode, key: string, room: number): Promise<WireClient> {
  const watcher = await WireClient.connect(node.wsUrl, { key, roomId: roomName(room), extended: true });
  watchers.push(watcher);
  return watcher;
}

describe('a node that is frozen past its lease and thawed', () => {
  it(
    'leaves keys that moved meanwhile where they are, comes back as a new incarnation, and gives no id twice',
    async () => {
      const env = { HALLEY_CLUSTER_PREFIX: 'frozen' };
      nodes = await startNodes(redis.url, 2, env);
      const [first, frozen] = nodes as [ClusterNode, ClusterNode];
      crowd = new Crowd(ROOMS);
      await crowd.fill(nodes, 200);
      await everyKeyReached(crowd.seats, first, 5_000);
      const ids = await Promise.all(Array.from({ length: ROOMS }, (_, room) => watch(first, `ids-${room}`, room)));
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 20);
      await load.advance(10);

      process.kill(frozen.pid, 'SIGSTOP');
      const stoppedMs = performance.now();
      const mine = crowd.on(frozen);
      const leaving = mine.filter((_, index) => index % 2 === 0);
      const staying = mine.filter((_, index) => index % 2 === 1);
      const former = leaving.map(({ client }) => client);
      await eventually(() => performance.now() - stoppedMs > LEASE_MS + 1_500, 10_000, 'the lease is over');
      await crowd.move(leaving, [first]);
      await everyKeyReached(leaving, first, 3_000);
      process.kill(frozen.pid, 'SIGCONT');
      const thawedMs = performance.now();

      // Its sessions are not complete before it says that it is ready.
      await eventually(async () => (await reasonsOf(frozen)).length === 0, 10_000, 'it is ready');
      const readyMs = performance.now() - thawedMs;
      expect(frozen.output()).toContain('the lease had ended');
      await everyKeyReached(crowd.seats, first, 1_500);
      expect(readyMs).toBeLessThan(5_000);
      // The channels that were left behind learn it; what took over is not disturbed.
      await eventually(
        () => former.every(({ closed }) => closed !== undefined),
        6_000,
        'the former channels are closed',
      );
      expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);
      expect(staying.filter(({ client, isExtended }) => isExtended && client.gaps.length === 0)).toEqual([]);
      for (const watcher of ids) watcher.terminate();
      await countsAreRight(first, crowd);

      await load.advance(10);
      await load.stop();
      await nothingMissing(
        [...crowd.on(first)].filter((seat) => !leaving.includes(seat)),
        load,
        KIND.DURABLE,
      );
      expect(disorder(crowd.seats)).toEqual([]);
      const drawn = ids.flatMap(({ messages }) => messages.map(({ id }) => id));
      expect(drawn.length).toBeGreaterThan(100);
      expect(new Set(drawn).size).toBe(drawn.length);
    },
    TEST_MS,
  );
});

describe('a connection to Redis that carries one direction only', () => {
  it(
    'is found by the node itself: it goes on within seconds, and Gaps say what may be missing',
    async () => {
      proxy = await startRedisProxy(redis.port);
      const env = { HALLEY_CLUSTER_PREFIX: 'one-way', HALLEY_CLUSTER_PROBE_MS: '300' };
      nodes = [
        await startNode({ serverId: 'node-0', redisUrl: redis.url, env }),
        await startNode({ serverId: 'node-1', redisUrl: proxy.url, env }),
      ];
      const [first, behind] = nodes as [ClusterNode, ClusterNode];
      crowd = new Crowd(ROOMS);
      await crowd.fill(nodes, 120);
      await everyKeyReached(crowd.seats, first, 5_000);
      const mine = crowd.on(behind);

      proxy.hold();
      await eventually(async () => (await reasonsOf(behind)).includes('redis_away'), 5_000, 'redis_away');
      expect(await pushDirectRoom(behind, 0, '1')).toMatchObject({ code: -503 });
      // What Redis sends still comes: others' pushes arrive, or a Gap says that they may not have.
      const number = KIND.DIRECT * 100_000_000 + 1;
      expect(await pushDirectRoom(first, 0, `${number}`)).toMatchObject({ code: 0 });
      const inRoom = mine.filter(({ room, isExtended }) => room === 0 && isExtended);
      expect(inRoom.length).toBeGreaterThan(0);
      await eventually(
        () =>
          inRoom.every(
            ({ client }) => client.numbers.includes(number) || client.gaps.some((gap) => gap.scope === 'room'),
          ),
        10_000,
        'the push, or a Gap in its place',
      );
      proxy.release();
      await eventually(async () => (await reasonsOf(behind)).length === 0, 10_000, 'it is ready');
      await everyKeyReached(crowd.seats, first, 5_000);
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 30);
      await load.advance(10);
      await load.stop();
      await nothingMissing(crowd.seats, load, KIND.DIRECT);
      await nothingMissing(crowd.seats, load, KIND.DURABLE);
      expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'is found also where only what Redis sends is lost, on the subscriptions alone',
    async () => {
      proxy = await startRedisProxy(redis.port);
      const env = { HALLEY_CLUSTER_PREFIX: 'deaf', HALLEY_CLUSTER_PROBE_MS: '300' };
      nodes = [
        await startNode({ serverId: 'node-0', redisUrl: redis.url, env }),
        await startNode({ serverId: 'node-1', redisUrl: proxy.url, env }),
      ];
      const [first, deaf] = nodes as [ClusterNode, ClusterNode];
      crowd = new Crowd(ROOMS);
      await crowd.fill(nodes, 120);
      await everyKeyReached(crowd.seats, first, 5_000);
      const mine = crowd.on(deaf);

      proxy.deafen((bytes) => bytes.includes('message'));
      const number = KIND.DIRECT * 100_000_000 + 1;
      expect(await pushDirectRoom(first, 0, `${number}`)).toMatchObject({ code: 0 });
      const extended = mine.filter(({ isExtended }) => isExtended);
      await eventually(
        () => extended.every(({ client, room }) => client.gaps.some((gap) => gap.room === roomName(room))),
        6_000,
        'Gaps of every room',
      );
      // The push went into the void, as a push that is not durable may; the Gap is how one learns of it.
      expect(mine.flatMap((seat) => received(seat, KIND.DIRECT))).toEqual([]);
      await eventually(async () => (await reasonsOf(deaf)).length === 0, 5_000, 'it is ready');
      load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 30);
      await load.advance(10);
      await load.stop();
      await nothingMissing(crowd.seats, load, KIND.DIRECT);
      await nothingMissing(crowd.seats, load, KIND.DURABLE);
    },
    TEST_MS,
  );
});
