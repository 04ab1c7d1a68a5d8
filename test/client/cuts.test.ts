import { expect, it } from 'vitest';
import { oneNode, runCuts, twoNodes } from './cuts.js';

it('20 cuts under 100 messages per second lose nothing of a room whose history reaches back far enough', async () => {
  const result = await runCuts(() => oneNode('live:2000:600'), 20, 1);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBe(0);
  expect(result.reconnectCount).toBeGreaterThan(5);
  expect(result.recoveredCount).toBeGreaterThan(0);
}, 60_000);

it('where the history is too short, what it did not hold is told, in its place', async () => {
  const result = await runCuts(() => oneNode('live:3:600'), 10, 2);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBeGreaterThan(0);
}, 60_000);

it('20 cuts between two nodes lose nothing: what was missed on one is recovered on the other', async () => {
  const result = await runCuts(() => twoNodes('live:2000:600'), 20, 4);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBe(0);
  expect(result.crossingCount).toBeGreaterThan(0);
  expect(result.recoveredCount).toBeGreaterThan(0);
}, 90_000);
