import { expect, it } from 'vitest';
import { runSpread } from './spread.js';

it('5,000 clients come back spread over a window of 20 s, no second above twice the average', async () => {
  const { perSecond, averagePerSecond } = await runSpread(5_000, 20_000, 0);
  expect(perSecond.reduce((sum, count) => sum + count, 0)).toBe(5_000);
  expect(Math.max(...perSecond)).toBeLessThanOrEqual(2 * averagePerSecond);
}, 300_000);
