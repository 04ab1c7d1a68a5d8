import { expect, it } from 'vitest';
import { runSlowReaders } from './slow-readers.js';

it('keeps a room of 2,000 whole while 200 of its members stop reading', { timeout: 300_000 }, async () => {
  const measured = await runSlowReaders({ members: 2_000, slowPairs: 100, pushes: 2_000, bodyBytes: 2_000 });
  expect(measured).toMatch(/^\d+ pushes/);
  process.stdout.write(`slow readers: ${measured}\n`);
});
