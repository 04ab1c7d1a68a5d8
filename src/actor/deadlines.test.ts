import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DEADLINE_TICK_MS, Deadlines } from './deadlines.js';

let nowMs = 0;
let served: string[] = [];
const target = {
  onDeadline: (id: number): void => {
    served.push(`${id}@${nowMs}`);
  },
};

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 1_000;
  served = [];
});
afterEach(() => vi.useRealTimers());

test('a deadline is never early and at most one bucket late', () => {
  const deadlines = new Deadlines(() => nowMs);
  const delays = [0, 1, 15, 16, 17, 100, 1_000];
  for (const delay of delays) deadlines.after(delay, target, delay);
  for (; nowMs < 2_100; nowMs++) deadlines.advance();
  expect(served.map((line) => Number(line.split('@')[0]))).toEqual(delays);
  for (const line of served) {
    const [delay, atMs] = line.split('@').map(Number) as [number, number];
    expect(atMs - 1_000).toBeGreaterThanOrEqual(delay);
    expect(atMs - 1_000).toBeLessThanOrEqual(delay + DEADLINE_TICK_MS);
  }
});

test('after a long sleep everything that is due is served in order, the rest is not', () => {
  const deadlines = new Deadlines(() => nowMs);
  for (const delay of [50_000, 100, 90_000, 200]) deadlines.after(delay, target, delay);
  nowMs += 60_000;
  deadlines.advance();
  expect(served.map((line) => Number(line.split('@')[0]))).toEqual([100, 200, 50_000]);
});

test('the timer runs only while there is something to wait for', () => {
  const deadlines = new Deadlines(() => nowMs);
  expect(vi.getTimerCount()).toBe(0);
  deadlines.after(10, target, 1);
  expect(vi.getTimerCount()).toBe(1);
  nowMs += 50;
  vi.advanceTimersByTime(DEADLINE_TICK_MS);
  expect(served).toEqual(['1@1050']);
  expect(vi.getTimerCount()).toBe(0);
  deadlines.after(10, target, 2);
  nowMs += 50;
  vi.advanceTimersByTime(DEADLINE_TICK_MS);
  expect(served).toEqual(['1@1050', '2@1100']);
});

test('a deadline that is set while its own bucket is served comes with a later one', () => {
  const deadlines = new Deadlines(() => nowMs);
  let count = 0;
  const again = {
    onDeadline: (): void => {
      if (++count < 3) deadlines.after(0, again, 0);
    },
  };
  deadlines.after(0, again, 0);
  for (; nowMs < 1_200; nowMs += 4) deadlines.advance();
  expect(count).toBe(3);
});
