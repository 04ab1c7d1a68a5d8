import { expect, test } from 'vitest';
import { LOG_LINES_COUNT, type LogLine, MessageLog } from './message-log.js';

const line = (n: number): LogLine => ({ atMs: n, kind: 'message', op: 1000, where: '', content: String(n) });

test('a log gives each line once, in order', () => {
  const log = new MessageLog();
  log.add(line(1));
  log.add(line(2));
  expect(log.take().map((one) => one.atMs)).toEqual([1, 2]);
  log.add(line(3));
  expect(log.waitingCount).toBe(1);
  expect(log.take().map((one) => one.atMs)).toEqual([3]);
  expect(log.take()).toEqual([]);
});

test('a log keeps the last 200 lines and counts the others', () => {
  const log = new MessageLog();
  for (let n = 1; n <= 1_050; n++) log.add(line(n));
  expect(log.waitingCount).toBe(1_050);
  const lines = log.take();
  expect([lines.length, lines[0]?.atMs, lines.at(-1)?.atMs]).toEqual([LOG_LINES_COUNT, 851, 1_050]);
  expect(log.waitingCount).toBe(0);
});
