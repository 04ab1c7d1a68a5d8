import { describe, expect, it } from 'vitest';
import { DelayHistogram } from './delay-histogram.js';

describe('DelayHistogram', () => {
  it('gives percentiles that are never below the true one and at most 1/256 above', () => {
    const histogram = new DelayHistogram();
    const values = Array.from({ length: 5_000 }, (_, index) => Math.round(1.004 ** index) % 200_000_000);
    for (const value of values) histogram.record(value);
    const sorted = values.toSorted((a, b) => a - b);
    for (const percentile of [1, 50, 90, 99, 99.9, 100]) {
      const truth = sorted[Math.ceil((percentile / 100) * sorted.length) - 1]!;
      const told = histogram.percentileUs(percentile);
      expect(told, `p${percentile}`).toBeGreaterThanOrEqual(truth);
      expect(told, `p${percentile}`).toBeLessThanOrEqual(truth * (1 + 1 / 256));
    }
    expect(histogram.maxUs).toBe(sorted.at(-1));
  });

  it('adds up what several processes tell, and is empty after a reset', () => {
    const parts = [new DelayHistogram(), new DelayHistogram()];
    for (let value = 1; value <= 100; value++) parts[value % 2]!.record(value);
    const whole = new DelayHistogram();
    for (const part of parts) whole.add(JSON.parse(JSON.stringify(part.counts())));
    expect([whole.count, whole.percentileUs(50), whole.percentileUs(99), whole.maxUs]).toEqual([100, 50, 99, 100]);
    whole.reset();
    expect([whole.count, whole.percentileUs(99), whole.maxUs]).toEqual([0, 0, 0]);
  });

  it('takes what lies outside its range for the nearest end', () => {
    const histogram = new DelayHistogram();
    histogram.record(-5);
    histogram.record(2 ** 40);
    expect([histogram.percentileUs(50), histogram.percentileUs(100)]).toEqual([0, 2 ** 31 - 1]);
  });
});
