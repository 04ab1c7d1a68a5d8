import { describe, expect, test } from 'vitest';
import { CachedClock } from './cached-clock.js';
import { ManualClock } from './manual-clock.js';
import { systemClock } from './system-clock.js';

describe('the system clock', () => {
  test('reads whole milliseconds of wall time between two readings of the host', () => {
    const beforeMs = Date.now();
    const nowMs = systemClock.nowMs();
    expect(Number.isInteger(nowMs)).toBe(true);
    expect(nowMs).toBeGreaterThanOrEqual(beforeMs);
    expect(nowMs).toBeLessThanOrEqual(Date.now());
  });

  test('has a monotonic side that never decreases and does move', () => {
    const firstMs = systemClock.monotonicMs();
    let lastMs = firstMs;
    for (let reading = 0; reading < 10_000; reading++) {
      const readingMs = systemClock.monotonicMs();
      if (readingMs < lastMs) throw new Error(`${readingMs} was read after ${lastMs}`);
      lastMs = readingMs;
    }
    expect(lastMs).toBeGreaterThan(firstMs);
  });
});

describe('a manual clock', () => {
  test('lets time pass on both sides and steps the wall alone', () => {
    const clock = new ManualClock(1_000);
    clock.advance(250);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([1_250, 250]);
    clock.stepWall(-1_000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([250, 250]);
  });

  test('refuses fractions and a monotonic side that would run backwards', () => {
    const clock = new ManualClock(0);
    for (const misuse of [() => clock.advance(-1), () => clock.advance(0.5), () => clock.stepWall(Number.NaN)]) {
      expect(misuse).toThrow(expect.objectContaining({ code: 'CLOCK_BAD_TIME' }));
    }
    expect(() => new ManualClock(1.5)).toThrow(expect.objectContaining({ code: 'CLOCK_BAD_TIME' }));
  });
});

test('a cached clock stands still until its owner refreshes it', () => {
  const source = new ManualClock(5_000);
  const clock = new CachedClock(source);
  source.advance(30);
  expect([clock.nowMs(), clock.monotonicMs()]).toEqual([5_000, 0]);
  clock.refresh();
  expect([clock.nowMs(), clock.monotonicMs()]).toEqual([5_030, 30]);
});
