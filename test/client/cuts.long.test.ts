import { expect, it } from 'vitest';
import { oneNode, runCuts } from './cuts.js';

it('200 cuts under 100 messages per second lose nothing of a room whose history reaches back far enough', async () => {
  const result = await runCuts(() => oneNode('live:2000:600'), 200, 3);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  expect(result.problems).toEqual([]);
  expect(result.toldMissingCount).toBe(0);
  expect(result.reconnectCount).toBeGreaterThan(50);
}, 300_000);
