import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUCKET_COUNT, bucketEndUs, bucketOf, MAX_VALUE_US } from './histogram.layout.js';
import { allocateHistogram, type HistogramMemory, readHistogram, ThreadHistogram } from './index.js';

function histogramOf(values: readonly number[]): HistogramMemory {
  const memory = allocateHistogram(1);
  const histogram = new ThreadHistogram(memory, 0);
  for (const value of values) histogram.record(value);
  return memory;
}

describe('histogram buckets', () => {
  it('cover every value from 0 to the maximum without gap or overlap', () => {
    let startUs = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const endUs = bucketEndUs(bucket);
      expect([bucketOf(startUs), bucketOf(endUs)]).toEqual([bucket, bucket]);
      startUs = endUs + 1;
    }
    expect(startUs - 1).toBe(MAX_VALUE_US);
  });

  it('are never wider than 1/32 of their values', () => {
    for (let bucket = 1; bucket < BUCKET_COUNT; bucket++) {
      const startUs = bucketEndUs(bucket - 1) + 1;
      expect(bucketEndUs(bucket) - startUs).toBeLessThanOrEqual(startUs / 32);
    }
  });
});

describe('histogram', () => {
  it('is empty at first: no values, and 0 for every figure', () => {
    const reading = readHistogram(allocateHistogram(2));
    expect([reading.count, reading.meanUs, reading.maxUs, reading.percentileUs(99)]).toEqual([0, 0, 0, 0]);
  });

  it('is exact below 32 us', () => {
    const reading = readHistogram(histogramOf([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    expect([10, 50, 90, 91, 100].map((percentile) => reading.percentileUs(percentile))).toEqual([1, 5, 9, 10, 10]);
    expect(reading.meanUs).toBe(5.5);
  });

  it('never understates a percentile, and overstates it by 1/32 at most', () => {
    const values = fc.array(fc.integer({ min: 0, max: MAX_VALUE_US }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 1000 }), (recorded, perMille) => {
        const percentile = perMille / 10;
        const sorted = [...recorded].sort((a, b) => a - b);
        const trueUs = sorted[Math.ceil((percentile / 100) * sorted.length) - 1] as number;
        const reading = readHistogram(histogramOf(recorded));
        const shownUs = reading.percentileUs(percentile);
        expect(reading.count).toBe(recorded.length);
        expect(reading.maxUs).toBe(sorted.at(-1));
        expect(shownUs).toBeGreaterThanOrEqual(trueUs);
        expect(shownUs).toBeLessThanOrEqual(trueUs + trueUs / 32);
      }),
      { numRuns: 300 },
    );
  });

  it('takes values beyond its range at the nearest end, cuts fractions off, and counts what is no number as 0', () => {
    const reading = readHistogram(histogramOf([-5, Number.NaN, 3.9, 2 ** 40, Number.POSITIVE_INFINITY]));
    expect(reading.count).toBe(5);
    expect(reading.percentileUs(40)).toBe(0);
    expect(reading.percentileUs(60)).toBe(3);
    expect(reading.maxUs).toBe(MAX_VALUE_US);
    expect(reading.percentileUs(100)).toBe(MAX_VALUE_US);
  });

  it('reads one thread or all of them', () => {
    const memory = allocateHistogram(2);
    new ThreadHistogram(memory, 0).record(10);
    new ThreadHistogram(memory, 1).record(30);
    expect(readHistogram(memory, 0).maxUs).toBe(10);
    expect(readHistogram(memory, 1).count).toBe(1);
    expect(readHistogram(memory).percentileUs(50)).toBe(10);
    expect(readHistogram(memory).percentileUs(100)).toBe(30);
  });

  it('keeps a reading as it was while threads go on', () => {
    const memory = allocateHistogram(1);
    const histogram = new ThreadHistogram(memory, 0);
    histogram.record(10);
    const reading = readHistogram(memory);
    histogram.record(20);
    expect([reading.count, reading.maxUs, reading.percentileUs(100)]).toEqual([1, 10, 10]);
  });

  it('refuses a percentile outside its range by the bound', () => {
    const reading = readHistogram(histogramOf([1]));
    expect(() => reading.percentileUs(0)).toThrow('percentile must be above 0 and at most 100: percentile=0');
    expect(() => reading.percentileUs(100.1)).toThrow('percentile=100.1');
    expect(() => reading.percentileUs(Number.NaN)).toThrow('percentile=NaN');
  });
});
