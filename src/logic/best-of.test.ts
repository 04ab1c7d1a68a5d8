import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bestOf } from './best-of.js';

it('the best rows are those of a stable sort, and the rows stay as they are', () => {
  const rows = fc.array(fc.record({ rank: fc.nat({ max: 5 }) }), { maxLength: 40 });
  fc.assert(
    fc.property(rows, fc.nat({ max: 45 }), (given, limitCount) => {
      const before = [...given];
      const best = bestOf(given, limitCount, (a, b) => a.rank - b.rank);
      const expected = given.toSorted((a, b) => a.rank - b.rank).slice(0, limitCount);
      expect(best.length).toBe(expected.length);
      // The same objects, not merely equal ones.
      expect(best.every((row, index) => row === expected[index])).toBe(true);
      expect(given.every((row, index) => row === before[index])).toBe(true);
    }),
  );
});
