/**
 * What threads that draw at the same time must hold, for every scheme: one suite in a short and a long form.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../../test/kit/index.js';
import { allocateSnowflake, growMasters, setIssueLimitMs } from '../id/index.js';
import { FileSegmentStore } from './file-segment-store.js';
import type { CompareData } from './fixtures/fingerprint-compare.worker.js';
import type { DrawerData, DrawerReport } from './fixtures/id-drawer.worker.js';
import type { DrawnScheme, GeneratorPlace } from './fixtures/open-generator.js';

const THREAD_COUNT = 8;
const MAX_STEP_COUNT = 100_000;

/** The one message that a fixture posts. */
function reportOf<Report>(name: string, workerData: unknown): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(`../../dist/store/fixtures/${name}.worker.js`, import.meta.url), { workerData });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`${name} ended without a report`)));
  });
}

export interface IdThreadSuiteOptions {
  readonly drawsPerThread: number;
}

export function idThreadSuite({ drawsPerThread }: IdThreadSuiteOptions): void {
  describe(`eight threads that draw ${drawsPerThread} ids each`, () => {
    let redis: RedisServer;
    let directory: string;
    beforeAll(async () => {
      redis = await startRedis();
      directory = await mkdtemp(join(tmpdir(), 'halley-id-threads-'));
    });
    afterAll(async () => {
      await redis.remove();
      await rm(directory, { recursive: true, force: true });
    });

    async function drawOnAll(scheme: DrawnScheme, shared: Partial<DrawerData & { memory: SharedArrayBuffer }> = {}) {
      const { memory, bitmap } = shared;
      const fingerprints = Array.from(
        { length: scheme.startsWith('uuid') ? THREAD_COUNT : 0 },
        () => new SharedArrayBuffer(drawsPerThread * 8),
      );
      const reports = await Promise.all(
        Array.from({ length: THREAD_COUNT }, (_, index) => {
          const place: GeneratorPlace = {
            scheme,
            index,
            maxStepCount: MAX_STEP_COUNT,
            directory: join(directory, scheme),
            redis: { url: redis.url, prefix: scheme },
            ...(memory === undefined ? {} : { memory }),
          };
          const prints = fingerprints[index];
          const data: DrawerData = {
            place,
            drawCount: drawsPerThread,
            ...(bitmap === undefined ? {} : { bitmap }),
            ...(prints === undefined ? {} : { fingerprints: prints }),
          };
          return reportOf<DrawerReport>('id-drawer', data);
        }),
      );
      for (const report of reports) {
        expect(report).toEqual({ drawnCount: drawsPerThread, notRisingCount: 0, repeatCount: 0, strayCount: 0 });
      }
      return fingerprints;
    }

    test('have snowflakes that rise and carry their own machine id', async () => {
      const memory = allocateSnowflake({ epochMs: 1_700_000_000_000, machineBase: 0, slotCount: THREAD_COUNT });
      setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
      await drawOnAll('snowflake', { memory });
    });

    test('have sonyflakes that rise and carry their own machine id', async () => {
      await drawOnAll('sonyflake');
    });

    test.each(['uuid-v4', 'uuid-v7'] as const)('have no %s twice', async (scheme) => {
      const fingerprints = await drawOnAll(scheme);
      let count = 0;
      for (let part = 0; part < 8; part += 2) {
        const both = await Promise.all(
          [part, part + 1].map((each) =>
            reportOf<{ count: number; repeatCount: number }>('fingerprint-compare', {
              fingerprints,
              part: each,
            } satisfies CompareData),
          ),
        );
        for (const report of both) {
          expect(report.repeatCount).toBe(0);
          count += report.count;
        }
      }
      expect(count).toBe(THREAD_COUNT * drawsPerThread);
    });

    test.each(['segment-file', 'segment-redis', 'offset', 'redis-incr', 'rule'] as const)(
      'have no id of %s twice, and each its own in rising order',
      async (scheme) => {
        if (scheme === 'offset') {
          const stores = await Promise.all(
            Array.from({ length: THREAD_COUNT }, (_, index) =>
              FileSegmentStore.open({ directory: join(directory, scheme, String(index)) }),
            ),
          );
          await growMasters(stores, 'orders');
          for (const store of stores) await store.close();
        }
        // Every number drawn, and what the buffers may still hold.
        const numberCount = THREAD_COUNT * (drawsPerThread + 3 * MAX_STEP_COUNT);
        await drawOnAll(scheme, { bitmap: new SharedArrayBuffer(Math.ceil(numberCount / 32) * 4) });
      },
    );
  });
}
