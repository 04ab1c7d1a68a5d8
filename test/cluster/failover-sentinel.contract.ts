/** The master behind a Sentinel dies under load, and its replica takes over. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  eventually,
  type RedisSentinelServers,
  type RedisServer,
  startRedis,
  startRedisSentinel,
} from '../kit/index.js';
import { type FailoverPlan, failover } from './failover.js';
import { removeDataDirs } from './failure-rig.js';

const TEST_MS = 90_000;
let servers: RedisSentinelServers;
/** The former master, back as a replica. */
let returned: RedisServer | undefined;

/** Wait until it was elected. */
async function isMaster({ port }: RedisServer): Promise<void> {
  const client = new Redis(port, '127.0.0.1', { protocol: 2 });
  try {
    await eventually(
      async () => (await client.info('replication')).includes('role:master'),
      20_000,
      'the replica is the master',
    );
  } finally {
    client.disconnect();
  }
}

async function killed(name: string, rest: Omit<FailoverPlan, 'url' | 'masters' | 'fails'>): Promise<void> {
  const figures = await failover({
    ...rest,
    url: servers.url,
    masters: [servers.master],
    fails: () => servers.master.stop('SIGKILL'),
  });
  expect(figures.refusedCount).toBeGreaterThan(0);
  process.stdout.write(`${name}: ${JSON.stringify(figures)}\n`);
}

export type SentinelCase = 'plain' | 'history' | 'replicas';

/** Each case starts servers of its own. */
export function sentinelFailoverSuite(cases: readonly SentinelCase[]): void {
  beforeEach(async () => {
    servers = await startRedisSentinel();
  });
  afterEach(async () => {
    await returned?.stop('SIGKILL');
    returned = undefined;
    await servers.remove();
  });
  afterAll(removeDataDirs);

  describe('the master behind a Sentinel is killed under load', () => {
    if (cases.includes('plain'))
      it(
        'no connection drops, what its replica had is delivered, and members of every room are told that something may be missing',
        () => killed('sentinel', { waitsForReplicas: false }),
        TEST_MS,
      );
    if (cases.includes('history'))
      it(
        'with history: the same, and what the new master has is repaired without a word',
        () =>
          killed('sentinel, with history', {
            waitsForReplicas: false,
            hasHistory: true,
            env: { HALLEY_HISTORY_ROOMS: 'live:2000:300' },
          }),
        TEST_MS,
      );
    if (cases.includes('replicas'))
      it(
        'with stream.replicas = 1 no durable push that was accepted is lost, whenever the master died',
        () =>
          killed('sentinel, one replica', {
            waitsForReplicas: true,
            env: { HALLEY_STREAM_REPLICAS: '1' },
            heals: async () => {
              const { port, dir } = servers.master;
              await isMaster(servers.replica);
              returned = await startRedis({
                port,
                dir,
                args: ['--replicaof', '127.0.0.1', String(servers.replica.port)],
              });
            },
          }),
        TEST_MS,
      );
  });
}
