/**
 * The long forms of failure-redis.test.ts: Redis away for 10 s, far past every lease, with more clients.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { AOF, type Outage, outage, startAgain } from './failure-outage.js';
import { removeDataDirs } from './failure-rig.js';

const TEST_MS = 120_000;
const AWAY: Pick<Outage, 'durationMs' | 'clientCount'> = { durationMs: 10_000, clientCount: 600 };

afterAll(removeDataDirs);

async function report(name: string, plan: Outage): Promise<void> {
  const figures = await outage(plan);
  process.stdout.write(`${name}: ${JSON.stringify(figures)}\n`);
  expect(figures.refusedCount).toBeGreaterThan(0);
}

describe('Redis away for 10 s under load', () => {
  it(
    'stopped and started again with its data',
    () =>
      report('stopped for 10 s', {
        ...AWAY,
        keepsData: true,
        redisArgs: AOF,
        goes: (redis) => redis.stop('SIGTERM'),
        returns: (redis) => startAgain(redis, AOF),
      }),
    TEST_MS,
  );

  it(
    'killed and started empty',
    () =>
      report('empty after 10 s', {
        ...AWAY,
        keepsData: false,
        goes: (redis) => redis.stop('SIGKILL'),
        returns: (redis) => startAgain(redis, []),
      }),
    TEST_MS,
  );

  it(
    'frozen and thawed',
    () =>
      report('frozen for 10 s', {
        ...AWAY,
        keepsData: true,
        goes: async ({ pid }) => void process.kill(pid, 'SIGSTOP'),
        returns: async (redis) => {
          process.kill(redis.pid, 'SIGCONT');
          return redis;
        },
      }),
    TEST_MS,
  );
});
