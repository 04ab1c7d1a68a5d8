import { describe, expect, it } from 'vitest';
import { allocatedBytesPer } from '../../test/kit/allocated-bytes.js';
import { allocateCounters, allocateHistogram, METRIC, METRICS, ThreadCounters, ThreadHistogram } from './index.js';

/** Few enough that what they could allocate fits into the young heap: a collection in between would hide it. */
const CALLS = 10_000;

describe('the allocation budget', () => {
  it('is measured by something that sees one small object per call', () => {
    const kept: unknown[] = new Array(CALLS);
    const bytes = allocatedBytesPer(CALLS, () => {
      for (let call = 0; call < CALLS; call++) kept[call] = { call };
    });
    expect(bytes).toBeGreaterThan(8);
  });

  it('of counting is nothing', () => {
    const counters = new ThreadCounters(allocateCounters(METRICS, 1), 0);
    const bytes = allocatedBytesPer(CALLS, () => {
      for (let call = 0; call < CALLS; call++) counters.add(METRIC.bytes_in, 1.5);
      for (let call = 0; call < CALLS; call++) counters.set(METRIC.heap_used_bytes, call * 2 ** 31);
    });
    expect(bytes).toBeLessThan(1);
  });

  it('of recording a time is nothing', () => {
    const histogram = new ThreadHistogram(allocateHistogram(1), 0);
    const bytes = allocatedBytesPer(CALLS, () => {
      for (let call = 0; call < CALLS; call++) histogram.record(call * 7.5);
    });
    expect(bytes).toBeLessThan(1);
  });
});
