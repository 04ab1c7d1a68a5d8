import { expect, it } from 'vitest';
import { runSlowReaders } from './slow-readers.js';

it('keeps a room whole for its readers while some of them stop, and tells those exactly what they missed', async () => {
  const measured = await runSlowReaders({ members: 60, slowPairs: 10, pushes: 1_000, bodyBytes: 8_000 });
  expect(measured).toMatch(/^\d+ pushes, 2\d marked/);
  process.stdout.write(`slow readers: ${measured}\n`);
});
