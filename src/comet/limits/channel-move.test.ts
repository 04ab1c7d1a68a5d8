import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import type { Session } from '../../push/index.js';
import { ChannelMove } from './channel-move.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function rig() {
  const clock = new ManualClock(1_700_000_000_000);
  const closed: string[] = [];
  const move = new ChannelMove({ clock, close: ({ key }) => void closed.push(key) });
  const pass = (durationMs: number) => {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 50) {
      clock.advance(50);
      vi.advanceTimersByTime(50);
    }
  };
  return { move, closed, pass };
}

const sessions = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => ({ key: `${prefix}${index}` }) as Session);

it('asks every channel once, evenly over the time', () => {
  const { move, closed, pass } = rig();
  move.start(sessions('a', 100), 1000);
  expect(closed.length).toBe(0);
  pass(500);
  expect(closed.length).toBe(50);
  pass(500);
  expect(closed).toEqual(sessions('a', 100).map(({ key }) => key));
  expect(vi.getTimerCount()).toBe(0);
});

it('asks all at once where no time is given', () => {
  const { move, closed } = rig();
  move.start(sessions('a', 3), 0);
  expect([closed, vi.getTimerCount()]).toEqual([['a0', 'a1', 'a2'], 0]);
});

it('ends where it is stopped, and where another one begins', () => {
  const { move, closed, pass } = rig();
  move.start(sessions('a', 100), 1000);
  pass(100);
  move.start(sessions('b', 2), 100);
  pass(200);
  expect(closed.filter((key) => key.startsWith('a')).length).toBe(10);
  expect(closed.slice(10)).toEqual(['b0', 'b1']);
  move.start(sessions('c', 10), 1000);
  move.stop();
  pass(2000);
  expect([closed.length, vi.getTimerCount()]).toEqual([12, 0]);
});
