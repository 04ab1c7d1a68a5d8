/**
 * Redis goes away for some seconds and comes back: stopped with its data kept, killed and empty, frozen. The long forms stand in
 * failure-redis.long.test.ts.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { startRedis } from '../kit/index.js';
import { AOF, type OutageFigures, outage, startAgain } from './failure-outage.js';
import { removeDataDirs } from './failure-rig.js';

const TEST_MS = 60_000;

/** The figures go beside the test's result. */
function report(name: string, figures: OutageFigures): void {
  process.stdout.write(`${name}: ${JSON.stringify(figures)}\n`);
}

afterAll(removeDataDirs);

describe('Redis away under load', () => {
  it(
    'stopped for 3 s and started again with its data: no connection drops, no durable push is lost',
    async () => {
      const figures = await outage({
        durationMs: 3_000,
        clientCount: 200,
        keepsData: true,
        redisArgs: AOF,
        goes: (redis) => redis.stop('SIGTERM'),
        returns: (redis) => startAgain(redis, AOF),
      });
      expect(figures.refusedCount).toBeGreaterThan(0);
      report('stopped and started', figures);
    },
    TEST_MS,
  );

  it(
    'killed and started empty: the loss is told, and everything that nodes know stands there again',
    async () => {
      const figures = await outage({
        durationMs: 2_000,
        clientCount: 200,
        keepsData: false,
        goes: (redis) => redis.stop('SIGKILL'),
        returns: ({ port }) => startRedis({ port }),
      });
      report('killed and empty', figures);
    },
    TEST_MS,
  );

  it(
    'frozen for 3 s and thawed: the same promises',
    async () => {
      const figures = await outage({
        durationMs: 3_000,
        clientCount: 200,
        keepsData: true,
        goes: async ({ pid }) => void process.kill(pid, 'SIGSTOP'),
        returns: async (redis) => {
          process.kill(redis.pid, 'SIGCONT');
          return redis;
        },
      });
      report('frozen and thawed', figures);
    },
    TEST_MS,
  );
});
