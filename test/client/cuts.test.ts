import { expect, it } from 'vitest';
import { runCuts } from './cuts.js';

it('20 cuts under 100 messages per second lose nothing of a room whose history reaches back far enough', async () => {
  const result = await runCuts(20, 'live:2000:600', 1);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBe(0);
  expect(result.reconnectCount).toBeGreaterThan(5);
  expect(result.recoveredCount).toBeGreaterThan(0);
}, 60_000);

it('where the history is too short, what it did not hold is told, in its place', async () => {
  const result = await runCuts(10, 'live:3:600', 2);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBeGreaterThan(0);
}, 60_000);
