import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashText, placeKey } from './placement.js';

const HASHES = Array.from({ length: 4_000 }, (_, index) => hashText(`key-${index}`));

test('the owner is one of the mask, and an empty mask has none', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1 }), (hash, mask) => {
      const owner = placeKey(hash, mask);
      expect((mask >>> owner) & 1).toBe(1);
    }),
  );
  expect(placeKey(1, 0)).toBe(-1);
  expect(placeKey(1, 1 << 31)).toBe(31);
});

test('when a thread goes its keys move and no others, and when it comes back they return', () => {
  for (const hash of HASHES) {
    const before = placeKey(hash, 0b11110);
    const without = placeKey(hash, 0b11010);
    if (before !== 2) expect(without).toBe(before);
    else expect(without).not.toBe(2);
  }
});

test('keys are spread evenly', () => {
  const counts = [0, 0, 0, 0, 0];
  for (const hash of HASHES) counts[placeKey(hash, 0b11110)]!++;
  for (const count of counts.slice(1)) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});
