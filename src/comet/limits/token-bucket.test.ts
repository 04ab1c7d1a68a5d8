import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TokenBucket } from './token-bucket.js';

it('gives the burst at once, and says how long the next token takes', () => {
  const bucket = new TokenBucket(4, 3, 1000);
  expect([1, 2, 3, 4].map(() => bucket.take(1000))).toEqual([0, 0, 0, 250]);
  expect(bucket.take(1200)).toBe(50);
});

it('refills at its rate, and never above the burst', () => {
  const bucket = new TokenBucket(4, 3, 0);
  for (let count = 0; count < 3; count++) bucket.take(0);
  expect([bucket.take(249), bucket.take(250), bucket.take(251)]).toEqual([1, 0, 249]);
  // An hour saves up three, not thousands.
  expect([1, 2, 3, 4].map(() => bucket.take(3_600_000))).toEqual([0, 0, 0, 250]);
});

it('stays within burst + rate * time whenever it is asked, and gives that much to one who asks all the time', () => {
  const rates = fc.record({ perSec: fc.integer({ min: 1, max: 50 }), burst: fc.integer({ min: 1, max: 20 }) });
  fc.assert(
    fc.property(
      rates,
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 80 }),
      ({ perSec, burst }, waits) => {
        const bucket = new TokenBucket(perSec, burst, 0);
        let nowMs = 0;
        let given = 0;
        for (const waitMs of waits) {
          nowMs += waitMs;
          if (bucket.take(nowMs) === 0) given += 1;
          expect(given).toBeLessThanOrEqual(burst + (perSec * nowMs) / 1000 + 1e-6);
        }
        // With room for two, what comes between two askings is never lost to the bound.
        const greedy = new TokenBucket(perSec, burst + 1, 0);
        let taken = 0;
        for (let ms = 0; ms <= 2000; ms++) while (greedy.take(ms) === 0) taken += 1;
        expect(taken).toBe(burst + 1 + perSec * 2);
      },
    ),
    { numRuns: 30 },
  );
});
