import { describe, expect, it } from 'vitest';
import { Pacer, type PacerOptions } from './pacer.js';

const OPTIONS: PacerOptions = { dutyThreshold: 0.5, dutyTarget: 0.25, maxDelayMs: 60 };

interface Load {
  readonly messagesPerSec: number;
  /** What writing one batch to every member costs, however many messages are in it. */
  readonly flushCostMs: number;
  readonly seconds?: number;
}

/**
 * A bucket's loop: messages come evenly; a flush starts when one waits, the pacer allows it and the thread is free.
 * Returns what held over the second half, when the averages have settled.
 */
function simulate(pacer: Pacer, { messagesPerSec, flushCostMs, seconds = 4 }: Load, startMs = 0) {
  const endMs = startMs + seconds * 1_000;
  const settledMs = startMs + seconds * 500;
  const intervalMs = 1_000 / messagesPerSec;
  let arrivalMs = startMs;
  let freeMs = startMs;
  let flushes = 0;
  let messages = 0;
  let longestDelayMs = 0;
  let switchCount = 0;
  while (arrivalMs < endMs) {
    const readyMs = Math.max(arrivalMs, freeMs);
    const flushMs = readyMs + Math.max(0, pacer.waitMs(readyMs));
    const firstMs = arrivalMs;
    let count = 0;
    for (; arrivalMs <= flushMs; arrivalMs += intervalMs) count += 1;
    const wasSpacing = pacer.pauseMs > 0;
    pacer.flushed(flushMs, flushMs + flushCostMs, flushCostMs, count);
    freeMs = flushMs + flushCostMs;
    if (firstMs < settledMs) continue;
    flushes += 1;
    messages += count;
    if (wasSpacing !== pacer.pauseMs > 0) switchCount += 1;
    longestDelayMs = Math.max(longestDelayMs, flushMs - firstMs);
  }
  return {
    meanBatch: messages / flushes,
    dutyShare: (flushes * flushCostMs) / (endMs - settledMs),
    longestDelayMs,
    /** How often it began or ceased to space flushes. */
    switchCount,
    endMs: arrivalMs,
  };
}

describe('a load that is a small part of the thread', () => {
  it.each([
    { messagesPerSec: 40, flushCostMs: 1 },
    { messagesPerSec: 40, flushCostMs: 10 },
    { messagesPerSec: 400, flushCostMs: 1 },
  ])('of $messagesPerSec messages per second at $flushCostMs ms leaves message by message', (load) => {
    const pacer = new Pacer(OPTIONS);
    const seen = simulate(pacer, load);
    expect(seen.meanBatch).toBe(1);
    expect([seen.longestDelayMs, pacer.pauseMs]).toEqual([0, 0]);
  });
});

describe('a load above the threshold', () => {
  it.each([
    { messagesPerSec: 40, flushCostMs: 15 },
    { messagesPerSec: 400, flushCostMs: 3 },
    { messagesPerSec: 400, flushCostMs: 15 },
    { messagesPerSec: 1_000, flushCostMs: 2 },
    { messagesPerSec: 1_000, flushCostMs: 15 },
  ])('of $messagesPerSec messages per second at $flushCostMs ms takes the target duty, in one short window', (load) => {
    const pacer = new Pacer(OPTIONS);
    const seen = simulate(pacer, load);
    // Target 0.25: a pause of three times the cost. Rare messages may make it a little less.
    const windowMs = 3 * load.flushCostMs;
    expect(pacer.pauseMs).toBeCloseTo(windowMs, 6);
    expect(seen.dutyShare).toBeLessThan(0.27);
    expect(seen.dutyShare).toBeGreaterThan(0.15);
    expect(seen.longestDelayMs).toBeLessThanOrEqual(windowMs + load.flushCostMs + 0.001);
    expect(seen.meanBatch).toBeGreaterThan(1);
  });

  it('never waits longer than the cap, whatever duty that means', () => {
    const pacer = new Pacer(OPTIONS);
    const seen = simulate(pacer, { messagesPerSec: 1_000, flushCostMs: 50 });
    expect(pacer.pauseMs).toBe(60);
    expect(seen.longestDelayMs).toBeLessThanOrEqual(60 + 50 + 1);
    expect(seen.dutyShare).toBeGreaterThan(0.25);
  });

  it('never waits at all with a cap of 0', () => {
    const pacer = new Pacer({ ...OPTIONS, maxDelayMs: 0 });
    simulate(pacer, { messagesPerSec: 1_000, flushCostMs: 15 });
    expect(pacer.pauseMs).toBe(0);
  });
});

describe('the estimate', () => {
  it('starts afresh after a pause of more than a second: the first message of a burst never waits', () => {
    const pacer = new Pacer(OPTIONS);
    const { endMs } = simulate(pacer, { messagesPerSec: 1_000, flushCostMs: 15 });
    expect(pacer.duty).toBeGreaterThan(0.2);
    const laterMs = endMs + 1_500;
    expect(pacer.waitMs(laterMs)).toBeLessThanOrEqual(0);
    pacer.flushed(laterMs, laterMs + 15, 15, 1);
    expect([pacer.duty, pacer.pauseMs]).toEqual([0, 0]);
  });

  it('holds on to spacing until demand is well below the threshold, so it does not flap around it', () => {
    const pacer = new Pacer(OPTIONS);
    // Demand 0.45 by itself does not start spacing...
    const calm = simulate(pacer, { messagesPerSec: 30, flushCostMs: 15 });
    expect([pacer.pauseMs, calm.switchCount]).toEqual([0, 0]);
    // ...but keeps it going after a peak, ...
    const peak = simulate(pacer, { messagesPerSec: 400, flushCostMs: 15 }, calm.endMs);
    const after = simulate(pacer, { messagesPerSec: 30, flushCostMs: 15 }, peak.endMs);
    expect([pacer.pauseMs > 0, after.switchCount]).toEqual([true, 0]);
    // ...and 0.3, below 0.7 times the threshold, ends it.
    simulate(pacer, { messagesPerSec: 20, flushCostMs: 15 }, after.endMs);
    expect(pacer.pauseMs).toBe(0);
  });

  it('counts what a flush cost, and begins the pause when it was over, where the two are not the same', () => {
    const pacer = new Pacer(OPTIONS);
    // Interrupted for 80 ms each time; the flush itself is 10 of every 20 messages' 100 ms.
    for (let startMs = 0; startMs < 10_000; startMs += 100) pacer.flushed(startMs, startMs + 90, 10, 20);
    expect(pacer.pauseMs).toBeCloseTo(30, 6);
    expect(pacer.waitMs(9_990)).toBeCloseTo(30, 6);
  });

  it('waits only for the part of the pause that a flush in slices has not spread between them', () => {
    const pacer = new Pacer(OPTIONS);
    for (let startMs = 0; startMs < 10_000; startMs += 100) pacer.flushed(startMs, startMs + 90, 10, 20, 0.2);
    expect(pacer.pauseMs).toBeCloseTo(30, 6);
    expect(pacer.waitMs(9_990)).toBeCloseTo(6, 6);
  });

  it('is numbers from the start', () => {
    const pacer = new Pacer(OPTIONS);
    expect([pacer.duty, pacer.pauseMs]).toEqual([0, 0]);
    expect(pacer.waitMs(123)).toBeLessThanOrEqual(0);
  });

  it('stands a flush that took no measurable time', () => {
    const pacer = new Pacer(OPTIONS);
    for (let i = 0; i < 100; i++) pacer.flushed(5, 5, 0, 3);
    expect([pacer.duty, pacer.pauseMs]).toEqual([0, 0]);
  });
});
