import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentIds } from './recent-ids.js';

function idOf(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value) * 0x1_0000_0001n);
  return bytes;
}

describe('RecentIds', () => {
  it('knows an id it has seen, and tells parts of one message apart', () => {
    const recent = new RecentIds(4);
    expect(recent.add(idOf(0))).toBe(true);
    expect(recent.add(idOf(0))).toBe(false);
    expect(recent.add(idOf(0), 77)).toBe(true);
    expect(recent.add(idOf(0), 77)).toBe(false);
  });

  it('remembers at least its capacity, forgets after twice that, and never takes a new id for an old one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.integer({ min: 0, max: 120 }), { maxLength: 400 }),
        (capacityCount, values) => {
          const recent = new RecentIds(capacityCount);
          const capacity = 2 ** Math.ceil(Math.log2(capacityCount));
          const order: number[] = [];
          for (const value of values) {
            const isNew = recent.add(idOf(value));
            const lastNew = order.slice(-capacity);
            if (lastNew.includes(value)) expect(isNew).toBe(false);
            if (!order.slice(-2 * capacity).includes(value)) expect(isNew).toBe(true);
            if (isNew) order.push(value);
          }
        },
      ),
    );
  });

  it('refuses a capacity that is no count', () => {
    for (const wrong of [0, 1.5, Number.NaN]) {
      expect(() => new RecentIds(wrong)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    }
  });
});
