import { expect, it } from 'vitest';
import { runSpread, type SpreadResult } from './spread.js';

function expectSpread(
  { firstsPerSec, repeatsPerSec, opensPerSec, averagePerSec }: SpreadResult,
  clientCount: number,
): void {
  expect(firstsPerSec.reduce((sum, count) => sum + count, 0)).toBe(clientCount);
  expect(opensPerSec.reduce((sum, count) => sum + count, 0)).toBe(clientCount);
  expect(firstsPerSec.length).toBeGreaterThanOrEqual(3);
  for (const perSec of [firstsPerSec, repeatsPerSec])
    expect(Math.max(0, ...perSec)).toBeLessThanOrEqual(2 * averagePerSec);
}

it('300 clients whose node shuts down come back spread over the window of its op 6, no second above twice the average', async () => {
  const result = await runSpread({ clientCount: 300, windowMs: 3_000, signal: 'SIGTERM', downMs: 0 });
  expectSpread(result, 300);
  expect(result.codes).toEqual([3000]);
}, 60_000);

it('300 clients whose node is killed come back spread over the window of its op 8', async () => {
  const result = await runSpread({ clientCount: 300, windowMs: 3_000, signal: 'SIGKILL', downMs: 0 });
  expectSpread(result, 300);
  expect(result.codes).toEqual([1006]);
}, 60_000);
