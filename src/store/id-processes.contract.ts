/**
 * What id servers that share a database, and die while they draw, must hold: one suite in a short and a long form.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { growMasters } from '../id/index.js';
import { FileSegmentStore } from './file-segment-store.js';
import type { DrawnScheme, GeneratorPlace } from './fixtures/open-generator.js';

const FIXTURE = fileURLToPath(new URL('../../dist/store/fixtures/id-process.worker.js', import.meta.url));
const PROCESS_COUNT = 3;
const COUNTED = ['segment-file', 'segment-redis', 'offset', 'redis-incr'] as const;

export interface IdProcessSuiteOptions {
  readonly drawsPerProcess: number;
  readonly killCount: number;
  readonly deadlineMs: number;
}

export function idProcessSuite({ drawsPerProcess, killCount, deadlineMs }: IdProcessSuiteOptions): void {
  let redis: RedisServer;
  let directory: string;
  let prefixCount = 0;
  const children = new Set<ChildProcess>();
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.remove());
  beforeEach(async () => {
    prefixCount++;
    directory = await mkdtemp(join(tmpdir(), 'halley-id-processes-'));
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  });

  /** Start one; its ids go to `${directory}/${index}.ids`. */
  function start(scheme: DrawnScheme, index: number, maxStepCount: number, drawCount: number, idsPerWrite: number) {
    const prefix = `p${prefixCount}`;
    const place: GeneratorPlace = {
      scheme,
      index,
      maxStepCount,
      directory: join(directory, 'store'),
      redis: { url: redis.url, prefix },
    };
    const args = [FIXTURE, JSON.stringify(place), String(drawCount), idsPath(index), String(idsPerWrite)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    children.add(child);
    const ended = once(child, 'exit').then(([code]) => {
      children.delete(child);
      return code as number | null;
    });
    return { child, ended };
  }

  const idsPath = (index: number): string => join(directory, `${index}.ids`);
  const loggedBytes = async (index: number): Promise<number> =>
    (await stat(idsPath(index)).catch(() => undefined))?.size ?? 0;

  /** The numbers that a process logged, in its order. */
  async function idsOf(index: number): Promise<BigUint64Array<ArrayBuffer>> {
    const bytes = await readFile(idsPath(index));
    const whole = bytes.subarray(0, bytes.length - (bytes.length % 8));
    whole.swap64();
    return new BigUint64Array(new Uint8Array(whole).buffer);
  }

  function fallCount(ids: BigUint64Array): number {
    let count = 0;
    for (let index = 1; index < ids.length; index++) if (ids[index]! <= ids[index - 1]!) count++;
    return count;
  }

  /** How many of all ids occur more than once. */
  function repeatCount(lists: readonly BigUint64Array[]): number {
    const all = new BigUint64Array(lists.reduce((sum, ids) => sum + ids.length, 0));
    let at = 0;
    for (const ids of lists) {
      all.set(ids, at);
      at += ids.length;
    }
    all.sort();
    return fallCount(all);
  }

  async function prepareMasters(): Promise<void> {
    const stores = await Promise.all(
      Array.from({ length: PROCESS_COUNT }, (_, index) =>
        FileSegmentStore.open({ directory: join(directory, 'store', String(index)) }),
      ),
    );
    await growMasters(stores, 'orders');
    for (const store of stores) await store.close();
  }

  describe(`three processes that draw ${drawsPerProcess} ids each`, () => {
    test.each([...COUNTED, 'snowflake-leased', 'sonyflake-leased'] as const)(
      'have no id of %s twice, and each its own in rising order',
      async (scheme) => {
        if (scheme === 'offset') await prepareMasters();
        const running = Array.from({ length: PROCESS_COUNT }, (_, index) =>
          start(scheme, index, 50_000, drawsPerProcess, 1_000),
        );
        expect(await Promise.all(running.map(({ ended }) => ended))).toEqual([0, 0, 0]);
        const lists = await Promise.all(running.map((_, index) => idsOf(index)));
        expect(lists.map((ids) => ids.length)).toEqual(running.map(() => drawsPerProcess));
        expect(lists.map(fallCount)).toEqual([0, 0, 0]);
        expect(repeatCount(lists)).toBe(0);
      },
      deadlineMs,
    );
  });

  test.each([...COUNTED, 'snowflake-leased', 'sonyflake-leased'] as const)(
    `three processes of %s, killed in mid-range and started again ${killCount} times, repeat no id`,
    async (scheme) => {
      if (scheme === 'offset') await prepareMasters();
      const endless = Number.MAX_SAFE_INTEGER;
      const run = (index: number) => start(scheme, index, 40, endless, 1);
      const running = Array.from({ length: PROCESS_COUNT }, (_, index) => run(index));
      for (let kill = 0; kill < killCount; kill++) {
        const index = kill % PROCESS_COUNT;
        const beforeBytes = await loggedBytes(index);
        await eventually(
          async () => (await loggedBytes(index)) > beforeBytes + 8 * (100 + kill * 7),
          20_000,
          `${scheme} draws`,
        );
        running[index]!.child.kill('SIGKILL');
        await running[index]!.ended;
        running[index] = run(index);
      }
      for (const each of running) each.child.kill('SIGKILL');
      await Promise.all(running.map(({ ended }) => ended));
      const lists = await Promise.all(running.map((_, index) => idsOf(index)));
      expect(repeatCount(lists)).toBe(0);
      // A killed one's successor leases another machine id: order is promised within one generator.
      if (!scheme.endsWith('-leased')) expect(lists.map(fallCount)).toEqual([0, 0, 0]);
      expect(Math.min(...lists.map((ids) => ids.length))).toBeGreaterThan(100);
    },
    deadlineMs,
  );
}
