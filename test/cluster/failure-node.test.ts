/**
 * A node of a cluster dies: what the others and their clients notice of it, and what comes back.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../kit/index.js';
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
  readyWithin,
  removeDataDirs,
  startNode,
  startNodes,
} from './failure-rig.js';

const ROOMS = 6;

let redis: RedisServer;
let nodes: ClusterNode[] = [];
let crowd: Crowd;
let load: Load | undefined;
let store: Redis;

/** Sessions in Redis that name a node. */
async function sessionsOf(serverId: string): Promise<number> {
  const keys = await store.keys('halley:s:*');
  const owners = await Promise.all(keys.map((key) => store.hgetall(key)));
  return owners.filter((owner) => Object.values(owner).includes(serverId)).length;
}

beforeAll(async () => {
  redis = await startRedis();
  store = new Redis(redis.port, '127.0.0.1');
});
beforeEach(async () => {
  await store.flushall();
  crowd = new Crowd(ROOMS);
});
afterEach(async () => {
  await load?.stop();
  load = undefined;
  crowd.end();
  await endNodes(nodes.splice(0));
});
afterAll(async () => {
  store.disconnect();
  await redis.remove();
  await removeDataDirs();
});

describe('kill -9 of a node under load', () => {
  it('costs the clients of the others nothing, and its own get pushes by key as soon as they are elsewhere', async () => {
    nodes = await startNodes(redis.url, 3);
    const [first, second, third] = nodes as [ClusterNode, ClusterNode, ClusterNode];
    await crowd.fill(nodes, 600);
    const lost = crowd.on(third);
    const kept = crowd.seats.filter((seat) => seat.node !== third);
    load = new Load(ROOMS, [first, second], [KIND.DIRECT, KIND.DURABLE]);
    await load.advance(10);

    const killedMs = performance.now();
    await third.stop('SIGKILL');
    await load.advance(10);
    await countsAreRight(first, crowd, LEASE_MS + 4_000);
    // Half of its clients come back elsewhere, the others stay away.
    const back = lost.slice(0, lost.length / 2);
    await crowd.move(back, [first, second]);
    await everyKeyReached(back, first, 3_000);
    // The dead one may have held the sweepers' lock, which lasts for 10 s.
    await eventually(async () => (await sessionsOf(third.serverId)) === 0, LEASE_MS + 14_000, 'sessions are swept');
    expect(performance.now() - killedMs).toBeLessThan(30_000);
    await load.stop();

    await nothingMissing(kept, load, KIND.DURABLE);
    await nothingMissing(kept, load, KIND.DIRECT);
    expect(disorder(crowd.seats)).toEqual([]);
    expect(kept.filter(({ client }) => client.closed !== undefined)).toEqual([]);
    // Nobody had anything to be told about.
    expect(kept.flatMap(({ client }) => client.gaps)).toEqual([]);
  }, 40_000);

  it('lets it start again at once: neither its own lease nor its old sessions stand in the way', async () => {
    const env = { HALLEY_CLUSTER_LEASE_MS: '30000' };
    nodes = await startNodes(redis.url, 2, env);
    const [first, second] = nodes as [ClusterNode, ClusterNode];
    await crowd.fill(nodes, 100);
    const mine = crowd.on(second);
    await second.stop('SIGKILL');
    const startedMs = performance.now();
    const again = await startNode({ serverId: second.serverId, redisUrl: redis.url, dataDir: second.dataDir, env });
    nodes.push(again);
    await readyWithin(again, 5_000);
    // The mark of the ids (3 s) is what a start may have to wait for.
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    await crowd.move(mine, [again]);
    await everyKeyReached(crowd.seats, first, 3_000);
    await everyKeyReached(crowd.seats, again, 3_000);
    await countsAreRight(first, crowd);
    await countsAreRight(again, crowd);
  }, 40_000);
});

describe('kill -9 of the job', () => {
  it('loses no durable push, repeats none, and keeps the order of each room', async () => {
    // One shard, so exactly one of the two jobs owns it: the first by server id.
    nodes = await startNodes(redis.url, 2, { HALLEY_ROLE: 'comet' });
    const jobs = await Promise.all(
      ['job-a', 'job-b'].map((serverId) => startNode({ serverId, redisUrl: redis.url, env: { HALLEY_ROLE: 'job' } })),
    );
    nodes.push(...jobs);
    const [first, second, owner] = nodes as [ClusterNode, ClusterNode, ClusterNode];
    await crowd.fill([first, second], 200);
    load = new Load(ROOMS, [first, second], [KIND.DURABLE], 10);
    await load.advance(30);
    await owner.stop('SIGKILL');
    await load.advance(30);
    await load.stop();
    await nothingMissing(crowd.seats, load, KIND.DURABLE);
    expect(disorder(crowd.seats)).toEqual([]);
    const again = await startNode({
      serverId: 'job-a',
      redisUrl: redis.url,
      dataDir: owner.dataDir,
      env: { HALLEY_ROLE: 'job' },
    });
    nodes.push(again);
    load = new Load(ROOMS, [first, second], [KIND.DURABLE], 10);
    await load.advance(20);
  }, 40_000);

  it('loses none either where the node that owns it also has clients and takes pushes', async () => {
    nodes = await startNodes(redis.url, 3);
    const [owner, second, third] = nodes as [ClusterNode, ClusterNode, ClusterNode];
    await crowd.fill([second, third], 200);
    const elsewhere = [...crowd.seats];
    await crowd.fill([owner], 50);
    load = new Load(ROOMS, [second, third], [KIND.DURABLE], 10);
    await load.advance(30);
    await owner.stop('SIGKILL');
    await load.advance(30);
    await load.stop();
    await nothingMissing(elsewhere, load, KIND.DURABLE);
    expect(disorder(elsewhere)).toEqual([]);
  }, 40_000);
});
