import { expect, it } from 'vitest';
import { runSpread } from './spread.js';

it('500 clients come back spread over the window that the node gave, no second above twice the average', async () => {
  const { perSecond, averagePerSecond } = await runSpread(500, 3_000, 0);
  expect(perSecond.reduce((sum, count) => sum + count, 0)).toBe(500);
  expect(perSecond.length).toBeGreaterThanOrEqual(3);
  expect(Math.max(...perSecond)).toBeLessThanOrEqual(2 * averagePerSecond);
}, 60_000);

it('who finds the node still away spreads out again over the same window', async () => {
  const { perSecond, averagePerSecond } = await runSpread(300, 3_000, 1_500);
  expect(perSecond.reduce((sum, count) => sum + count, 0)).toBe(300);
  expect(Math.max(...perSecond)).toBeLessThanOrEqual(2 * averagePerSecond);
}, 60_000);
