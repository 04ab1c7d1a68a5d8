import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OrderTally } from './order-tally.js';

function tallyOf(numbers: readonly number[]): OrderTally {
  const tally = new OrderTally(1);
  for (const number of numbers) tally.add(0, number);
  return tally;
}

describe('OrderTally', () => {
  it('finds nothing wrong with 0, 1, 2 and so on', () => {
    expect(tallyOf([0, 1, 2, 3]).totals()).toEqual({
      receivedCount: 4,
      duplicateCount: 0,
      backwardCount: 0,
      minPerConnection: 4,
      maxPerConnection: 4,
    });
  });

  it('tells a late message from a duplicate', () => {
    expect(tallyOf([0, 2, 1]).totals()).toMatchObject({ duplicateCount: 0, backwardCount: 1 });
    expect(tallyOf([0, 1, 1]).totals()).toMatchObject({ duplicateCount: 1, backwardCount: 0, maxPerConnection: 2 });
    expect(tallyOf([0, 2, 1, 1]).totals()).toMatchObject({ duplicateCount: 1, backwardCount: 1, maxPerConnection: 3 });
  });

  it('names the worst and the best connection', () => {
    const tally = new OrderTally(3);
    tally.add(0, 0);
    tally.add(2, 0);
    tally.add(2, 1);
    expect(tally.totals()).toMatchObject({ minPerConnection: 0, maxPerConnection: 2, receivedCount: 3 });
    tally.reset();
    expect(tally.totals()).toMatchObject({ maxPerConnection: 0, receivedCount: 0 });
  });

  it('counts distinct messages exactly, whatever arrives', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 12 }), { maxLength: 40 }), (numbers) => {
        const { receivedCount, duplicateCount, backwardCount } = tallyOf(numbers).totals();
        const seen = new Set<number>();
        let late = 0;
        for (const number of numbers) {
          if (!seen.has(number) && number < Math.max(-1, ...seen)) late += 1;
          seen.add(number);
        }
        expect(receivedCount - duplicateCount).toBe(seen.size);
        expect(backwardCount).toBe(late);
      }),
    );
  });
});
