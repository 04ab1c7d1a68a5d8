import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearestName } from './nearest-name.js';

describe('edit distance', () => {
  it('counts letters to insert, delete or replace', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('abc', '')).toBe(3);
    expect(editDistance('flaw', 'lawn')).toBe(2);
  });

  it('is a metric: 0 only between equals, the same both ways, and no way round is shorter', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, b) === 0).toBe(a === b);
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
      }),
      { numRuns: 300 },
    );
  });
});

describe('the nearest name', () => {
  const known = ['host', 'fanout.max_delay_ms', 'bucket.heap_mb', 'bucket.max_crashes_per_minute'];

  it('is the name itself where it is known but for its case', () => {
    for (const name of known) expect(nearestName(name.toUpperCase(), known)).toBe(name);
  });

  it('leads from the wrong group to the right one', () => {
    expect(nearestName('fanout.heap_mb', known)).toBe('bucket.heap_mb');
  });

  it('is found for any text, however long', () => {
    expect(known).toContain(nearestName('x'.repeat(100_000), known));
    expect(known).toContain(nearestName('', known));
  });
});
