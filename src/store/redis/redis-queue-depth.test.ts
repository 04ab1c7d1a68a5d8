import type { Cluster, Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type RedisServer, startRedis, startRedisCluster } from '../../../test/kit/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink } from './redis-link.js';
import { readQueueDepth } from './redis-queue-depth.js';
import { QUEUE_GROUP } from './redis-queue-shards.js';

const NODE = { serverId: 'node', nodeEpoch: 3 };
const SHARDS = [0, 1, 2, 3, 4, 5];
let prefixNumber = 0;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function openLink(url: string): Promise<RedisLink> {
  const times = { connectTimeoutMs: 2_000, commandTimeoutMs: 2_000 };
  const prefix = `depth${++prefixNumber}`;
  const link = await RedisLink.open({ url, prefix, tlsCaFile: '', clientName: 'test', ...times }, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** Entries of given ages in a shard. */
async function fill(commands: Redis | Cluster, key: string, bornMs: readonly number[]): Promise<void> {
  for (const ms of bornMs) await commands.xadd(key, `${ms}-0`, 'body', 'x');
}

async function readsAll(link: RedisLink): Promise<void> {
  const { commands, keys } = link;
  await fill(commands, keys.queue(0), [1_000, 2_000, 3_000]);
  await commands.xgroup('CREATE', keys.queue(0), QUEUE_GROUP, '0');
  await commands.xreadgroup('GROUP', QUEUE_GROUP, 'job', 'COUNT', 2, 'STREAMS', keys.queue(0), '>');
  // No job has claimed these, so that they have no group; and of the others there is nothing at all.
  await fill(commands, keys.queue(3), [1_500]);
  await fill(commands, keys.queue(5, ':dead'), [10, 20]);
  await fill(commands, keys.inbox('node', 3), [5, 6, 7, 8]);
  await fill(commands, keys.inbox('node', 2), [5]);
  expect(await readQueueDepth(link, SHARDS, NODE, 11_000)).toEqual({
    entryCount: 4,
    pendingCount: 2,
    oldestAgeMs: 10_000,
    deadCount: 2,
    inboxCount: 4,
  });
  // Others' shards are others' business, and a clock behind Redis' makes no negative age.
  expect(await readQueueDepth(link, [3], { ...NODE, nodeEpoch: 9 }, 1_000)).toEqual({
    entryCount: 1,
    pendingCount: 0,
    oldestAgeMs: 0,
    deadCount: 0,
    inboxCount: 0,
  });
  expect(await readQueueDepth(link, [], NODE, 1_000)).toMatchObject({ entryCount: 0, oldestAgeMs: 0, inboxCount: 4 });
}

async function tellsErrors(link: RedisLink): Promise<void> {
  const { commands, keys } = link;
  await commands.set(keys.queue(4), 'no stream');
  await expect(readQueueDepth(link, SHARDS, NODE, 0)).rejects.toThrow('WRONGTYPE');
}

describe('readQueueDepth', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.remove());

  it('tells what waits, what is read and not finished, how old, what is dead, and the inbox', async () => {
    await readsAll(await openLink(redis.url));
  });

  it('rejects with what Redis says, unless it is that a shard has no group yet', async () => {
    await tellsErrors(await openLink(redis.url));
  });

  it('hides no refusal of the one command that may find no group', async () => {
    const link = await openLink(redis.url);
    await fill(link.commands, link.keys.queue(0), [1]);
    await link.commands.call('ACL', 'SETUSER', 'default', '-xpending');
    cleanups.push(() => link.commands.call('ACL', 'SETUSER', 'default', '+xpending'));
    await expect(readQueueDepth(link, [0], NODE, 0)).rejects.toThrow('NOPERM');
  });

  it('does the same on Redis Cluster, with shards on all masters', async () => {
    const cluster = await startRedisCluster();
    cleanups.push(() => cluster.remove());
    await readsAll(await openLink(cluster.url));
    await tellsErrors(await openLink(cluster.url));
  });
});
