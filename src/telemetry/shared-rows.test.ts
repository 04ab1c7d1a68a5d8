import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import type { CountingTask } from './fixtures/counting.worker.js';
import {
  allocateCounters,
  allocateHistogram,
  METRIC,
  METRICS,
  readHistogram,
  readThread,
  readTotals,
} from './index.js';
import { allocateRows, rowView } from './shared-rows.js';

const DONE_WORD = 0;
const STOP_WORD = 1;
const WORKER = new URL('../../dist/telemetry/fixtures/counting.worker.js', import.meta.url);

/** A double from its two halves. */
function doubleOf(highWord: number, lowWord: number): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, highWord);
  view.setUint32(4, lowWord);
  return view.getFloat64(0);
}

describe('rows in shared memory', () => {
  it('start on 128-byte blocks, so that no two threads write one pair of cache lines', () => {
    const rows = allocateRows(17, 3);
    expect([0, 1, 2].map((index) => rowView(rows, index).byteOffset)).toEqual([0, 256, 512]);
    expect(rowView(rows, 2).length).toBe(17);
    expect(rows.buffer.byteLength).toBe(768);
  });

  it('are refused to a thread index outside the rows, by the bound', () => {
    const rows = allocateRows(1, 2);
    expect(() => rowView(rows, 2)).toThrow('threadIndex must be an integer of 0 to 1: threadIndex=2');
    expect(() => rowView(rows, -1)).toThrow('threadIndex=-1');
    expect(() => allocateRows(1, 0)).toThrow('threadCount must be an integer of 1 or more: threadCount=0');
  });

  it('are refused on a machine where a reader could see half a value', () => {
    expect(() => allocateRows(1, 1, 'arm')).toThrow('one of x64, arm64: arch="arm"');
  });

  it('are counted exactly by several threads, and a reader never sees half a value', async () => {
    const threadCount = 2;
    const rounds = 50_000;
    // The halves of both differ, so that any mixture of the two is a third value.
    const evenValue = doubleOf(0x3ff00000, 0x00000001);
    const oddValue = doubleOf(0x40080000, 0xffffffff);
    const counters = allocateCounters(METRICS, threadCount);
    const histogram = allocateHistogram(threadCount);
    const signals = new Int32Array(new SharedArrayBuffer(8));
    const workers = Array.from({ length: threadCount }, (_, threadIndex) => {
      const task: CountingTask = { counters, histogram, threadIndex, rounds, evenValue, oddValue, signals };
      return new Worker(WORKER, { workerData: task });
    });
    const exits = workers.map((worker) => once(worker, 'exit'));
    try {
      const deadlineMs = performance.now() + 20_000;
      while (Atomics.load(signals, DONE_WORD) < threadCount) {
        if (performance.now() > deadlineMs) throw new Error('the workers did not count in time');
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(readTotals(counters).frames_out).toBe(threadCount * rounds);
      expect(readThread(counters, 1).frames_out).toBe(rounds);
      expect(readHistogram(histogram).count).toBe(threadCount * rounds);
      expect(readHistogram(histogram, 0).maxUs).toBe(rounds - 1);

      // Legal: the initial 0, either value. Forbidden: anything else. It must have seen both to prove something.
      const tally = { initial: 0, even: 0, odd: 0, torn: 0 };
      const cells = rowView(counters.rows, 0);
      for (let round = 0; round < 400 && performance.now() < deadlineMs; round++) {
        for (let read = 0; read < 5000; read++) {
          const value = cells[METRIC.rooms] as number;
          if (value === evenValue) tally.even++;
          else if (value === oddValue) tally.odd++;
          else if (value === 0) tally.initial++;
          else tally.torn++;
        }
      }
      while ((tally.even === 0 || tally.odd === 0) && performance.now() < deadlineMs) {
        const value = cells[METRIC.rooms] as number;
        if (value === evenValue) tally.even++;
        else if (value === oddValue) tally.odd++;
      }
      expect(tally.torn).toBe(0);
      expect(tally.even).toBeGreaterThan(0);
      expect(tally.odd).toBeGreaterThan(0);
    } finally {
      Atomics.store(signals, STOP_WORD, 1);
      await Promise.all(exits);
    }
  });
});
