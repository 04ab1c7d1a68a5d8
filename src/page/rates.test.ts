import { describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HISTORY_S, Rates } from './rates.js';

describe('rates', () => {
  test('count the messages of the last second and forget them after it', () => {
    const clock = new ManualClock(1_750_000_000_000);
    const rates = new Rates(clock);
    for (let step = 0; step < 20; step++) {
      rates.frame(7);
      clock.advance(100);
    }
    expect(rates.messagesPerSec()).toBe(70);
    clock.advance(500);
    expect(rates.messagesPerSec()).toBe(35);
    clock.advance(500);
    expect(rates.messagesPerSec()).toBe(0);
    expect(rates.messageCount).toBe(140);
  });

  test('tell messages per frame, and frames without messages do not count', () => {
    const rates = new Rates(new ManualClock(0));
    expect(rates.meanBatch).toBe(0);
    rates.frame(1);
    rates.frame(0);
    rates.frame(5);
    expect(rates.meanBatch).toBe(3);
  });

  test('keep the last minute second by second, also over a silence longer than that', () => {
    const clock = new ManualClock(0);
    const rates = new Rates(clock);
    clock.advance(61_000);
    rates.frame(4);
    clock.advance(1_000);
    rates.frame(9);
    clock.advance(1_000);
    expect(rates.history().slice(-3)).toEqual([0, 4, 9]);
    expect(rates.history()).toHaveLength(HISTORY_S);
    clock.advance(58_000);
    expect(rates.history().slice(0, 2)).toEqual([4, 9]);
    clock.advance(500_000);
    expect(rates.history().every((count) => count === 0)).toBe(true);
  });

  test('add up gaps and what they missed, and begin again after a reset', () => {
    const rates = new Rates(new ManualClock(0));
    rates.gap(3);
    rates.gap(0);
    rates.frame(2);
    expect([rates.gapCount, rates.missedCount]).toEqual([2, 3]);
    rates.reset();
    expect([rates.gapCount, rates.missedCount, rates.messageCount, rates.meanBatch]).toEqual([0, 0, 0, 0]);
  });
});
