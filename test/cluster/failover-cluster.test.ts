/** A master of a Redis Cluster dies under load, and its replica takes over. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ownerOf, type RedisClusterServers, type RedisServer, slotOf, startRedisCluster } from '../kit/index.js';
import { failover } from './failover.js';
import { removeDataDirs } from './failure-rig.js';

const TEST_MS = 90_000;
let cluster: RedisClusterServers;

beforeEach(async () => {
  cluster = await startRedisCluster(3, { replicaCount: 1 });
});
afterEach(() => cluster.remove());
afterAll(removeDataDirs);

async function ownerOfKey(key: string): Promise<RedisServer> {
  const [first] = cluster.servers as [RedisServer];
  return ownerOf(cluster.servers, await slotOf(first, key));
}

describe('a master of a Redis Cluster is killed under load', () => {
  it.each([
    ['the durable queue', 'halley:q:{0}', false],
    ['the machine ids, with history', 'halley:mach', true],
  ])(
    'the one with %s: no connection drops, what its replica had is delivered, and members of every room are told that something may be missing',
    async (name, key, hasHistory) => {
      const victim = await ownerOfKey(key);
      const figures = await failover({
        url: cluster.url,
        hasHistory,
        env: hasHistory ? { HALLEY_HISTORY_ROOMS: 'live:2000:300' } : {},
        masters: cluster.servers,
        fails: () => victim.stop('SIGKILL'),
        waitsForReplicas: false,
      });
      expect(figures.refusedCount).toBeGreaterThan(0);
      process.stdout.write(`cluster, ${name}: ${JSON.stringify(figures)}\n`);
    },
    TEST_MS,
  );
});
