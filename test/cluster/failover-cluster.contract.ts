/** A master of a Redis Cluster dies under load, and its replica takes over: the suite, run for one victim in CI and for another in the long form. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ownerOf, type RedisClusterServers, type RedisServer, slotOf, startRedisCluster } from '../kit/index.js';
import { failover } from './failover.js';
import { removeDataDirs } from './failure-rig.js';

const TEST_MS = 90_000;

/** Whose key the master holds that dies, and whether rooms have history. */
export type Victim = readonly [name: string, key: string, hasHistory: boolean];

let cluster: RedisClusterServers;

async function ownerOfKey(key: string): Promise<RedisServer> {
  const [first] = cluster.servers as [RedisServer];
  return ownerOf(cluster.servers, await slotOf(first, key));
}

export function clusterFailoverSuite(victims: readonly Victim[]): void {
  beforeEach(async () => {
    cluster = await startRedisCluster(3, { replicaCount: 1 });
  });
  afterEach(() => cluster.remove());
  afterAll(removeDataDirs);

  describe('a master of a Redis Cluster is killed under load', () => {
    it.each(victims)(
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
}
