/**
 * A histogram of times in shared memory: each thread records into its own row, anyone reads percentiles over all rows.
 *
 * Threads: one `ThreadHistogram` per row, used by its owner; `readHistogram` from any thread at any time.
 * Guarantees: a percentile is never below the true one and above it by at most 1/32 (3.2 %), and never above the largest
 *   value recorded. Fixed memory (6.8 KiB a thread), so the recording cost does not depend on the values. Rows outlive their
 *   threads, like counters. While owners record, a reading may miss the newest values, but it is consistent in itself.
 * Layout: histogram.layout.ts
 * Hot path: record; no allocation (hot-path.test.ts holds the budget).
 */
import { HalleyError } from '../errors/index.js';
import {
  BUCKET_COUNT,
  bucketEndUs,
  bucketOf,
  MAX_CELL,
  MAX_VALUE_US,
  ROW_CELLS,
  SUM_CELL,
} from './histogram.layout.js';
import { allocateRows, rowView, type SharedRows } from './shared-rows.js';

/** The histogram of all threads. Plain data: hand it to workers as it is. */
export type HistogramMemory = SharedRows;

/** Memory for one histogram of `threadCount` threads (1 or more), empty. */
export function allocateHistogram(threadCount: number): HistogramMemory {
  return allocateRows(ROW_CELLS, threadCount);
}

/** One thread's own row of a histogram. */
export class ThreadHistogram {
  readonly #cells: Float64Array;

  /** @param threadIndex 0 to threadCount - 1; no two living threads may use the same. */
  constructor(memory: HistogramMemory, threadIndex: number) {
    this.#cells = rowView(memory, threadIndex);
  }

  /** Record one time in microseconds. Fractions are cut off; below 0 counts as 0, above MAX_VALUE_US (36 min) as that. */
  record(valueUs: number): void {
    const cells = this.#cells;
    const wholeUs = valueUs >= MAX_VALUE_US ? MAX_VALUE_US : valueUs > 0 ? valueUs | 0 : 0;
    const bucket = bucketOf(wholeUs);
    cells[bucket] = (cells[bucket] as number) + 1;
    cells[SUM_CELL] = (cells[SUM_CELL] as number) + wholeUs;
    if (wholeUs > (cells[MAX_CELL] as number)) cells[MAX_CELL] = wholeUs;
  }
}

/** A reading: a copy that no longer changes. */
export class HistogramReading {
  /** Values recorded. */
  readonly count: number;
  /** Mean in microseconds; 0 where nothing was recorded. */
  readonly meanUs: number;
  /** Largest value in microseconds; 0 where nothing was recorded. */
  readonly maxUs: number;
  readonly #countByBucket: Float64Array;

  /** @param cells ROW_CELLS cells, owned by the reading from now on */
  constructor(cells: Float64Array) {
    this.#countByBucket = cells.subarray(0, BUCKET_COUNT);
    // From the same copy that percentileUs walks: a count cell of its own could be ahead of the buckets.
    this.count = this.#countByBucket.reduce((sum, bucketCount) => sum + bucketCount, 0);
    this.meanUs = this.count === 0 ? 0 : (cells[SUM_CELL] as number) / this.count;
    this.maxUs = cells[MAX_CELL] as number;
  }

  /**
   * The time in microseconds that `percentile` (over 0, up to 100) per cent of the values do not exceed; 0 where nothing was
   * recorded.
   */
  percentileUs(percentile: number): number {
    if (!(percentile > 0 && percentile <= 100)) {
      throw new HalleyError('BAD_PERCENTILE', 'percentile must be above 0 and at most 100', { percentile });
    }
    const wantedCount = Math.ceil((percentile / 100) * this.count);
    let seenCount = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT && this.count > 0; bucket++) {
      seenCount += this.#countByBucket[bucket] as number;
      if (seenCount >= wantedCount) return Math.min(bucketEndUs(bucket), this.maxUs);
    }
    return this.maxUs;
  }
}

/** Read the histogram of one thread, or, where `threadIndex` is undefined, of all threads together. */
export function readHistogram(memory: HistogramMemory, threadIndex?: number): HistogramReading {
  const merged = new Float64Array(ROW_CELLS);
  const first = threadIndex ?? 0;
  const last = threadIndex ?? memory.threadCount - 1;
  for (let index = first; index <= last; index++) {
    const cells = rowView(memory, index);
    for (let cell = 0; cell < MAX_CELL; cell++) merged[cell] = (merged[cell] as number) + (cells[cell] as number);
    merged[MAX_CELL] = Math.max(merged[MAX_CELL] as number, cells[MAX_CELL] as number);
  }
  return new HistogramReading(merged);
}
