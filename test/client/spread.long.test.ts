import { expect, it } from 'vitest';
import { runSpread } from './spread.js';

it.each(['SIGTERM', 'SIGKILL'] as const)(
  '5,000 clients through a restart of their node by %s come back spread over 20 s, no second above twice the average',
  async (signal) => {
    const result = await runSpread({ clientCount: 5_000, windowMs: 20_000, signal, downMs: 0 });
    console.log(JSON.stringify({ signal, ...result }));
    for (const perSec of [result.attemptsPerSec, result.opensPerSec]) {
      expect(perSec.reduce((sum, count) => sum + count, 0)).toBe(5_000);
      expect(Math.max(...perSec)).toBeLessThanOrEqual(2 * result.averagePerSec);
    }
  },
  300_000,
);
