import { expect, it } from 'vitest';
import { runSpread } from './spread.js';

it.each(['SIGTERM', 'SIGKILL'] as const)(
  '5,000 clients through a restart of their node by %s come back spread over 20 s, no second above twice the average',
  async (signal) => {
    const result = await runSpread({ clientCount: 5_000, windowMs: 20_000, signal, downMs: 0 });
    process.stdout.write(`${JSON.stringify({ signal, ...result })}\n`);
    // What the clients do. When each is open again is also a matter of how fast the node answers so many on two cores.
    for (const perSec of [result.firstsPerSec, result.repeatsPerSec]) {
      expect(Math.max(0, ...perSec)).toBeLessThanOrEqual(2 * result.averagePerSec);
    }
    expect(result.opensPerSec.reduce((sum, count) => sum + count, 0)).toBe(5_000);
  },
  300_000,
);

it('who finds the node still away spreads out again over the same window', async () => {
  const result = await runSpread({ clientCount: 300, windowMs: 5_000, signal: 'SIGKILL', downMs: 1_500 });
  for (const perSec of [result.firstsPerSec, result.repeatsPerSec]) {
    expect(Math.max(0, ...perSec)).toBeLessThanOrEqual(2 * result.averagePerSec);
  }
  expect(result.firstsPerSec.reduce((sum, count) => sum + count, 0)).toBe(300);
  expect(result.opensPerSec.reduce((sum, count) => sum + count, 0)).toBe(300);
  expect(result.repeatsPerSec.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
}, 90_000);
