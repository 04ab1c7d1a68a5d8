import { describe, expect, it } from 'vitest';
import { monotonicNs } from './message.layout.js';
import { pace } from './pacer.js';

describe('pace', () => {
  it('publishes every message once and in order, none before it is due', async () => {
    const startNs = monotonicNs();
    const seen: number[] = [];
    let earlyCount = 0;
    const report = await pace({
      ratePerSec: 1000,
      messageCount: 60,
      publish: (index) => {
        seen.push(index);
        if (monotonicNs() < startNs + index * 1e6) earlyCount += 1;
        return true;
      },
    });
    expect(seen).toEqual(Array.from({ length: 60 }, (_, index) => index));
    expect(earlyCount).toBe(0);
    expect(report).toMatchObject({ acceptedCount: 60, refusedCount: 0 });
  });

  it('stamps what it held up with the time it was due, so that the delay shows', async () => {
    const delaysMs: number[] = [];
    await pace({
      ratePerSec: 200,
      messageCount: 10,
      publish: (index, stampNs) => {
        // The first publish blocks the thread for 25 ms, during which the next four fall due.
        const blockedUntilNs = monotonicNs() + 25e6;
        while (index === 0 && monotonicNs() < blockedUntilNs);
        delaysMs.push((monotonicNs() - stampNs) / 1e6);
        return true;
      },
    });
    expect(delaysMs[1]).toBeGreaterThan(15);
    expect(delaysMs[2]).toBeGreaterThan(10);
  });

  it('counts refusals and rejections, and waits for the last answer', async () => {
    const report = await pace({
      ratePerSec: 10_000,
      messageCount: 9,
      publish: (index) => {
        if (index % 3 === 0) return false;
        if (index % 3 === 1) return Promise.reject(new Error('closed'));
        return new Promise((resolve) => setImmediate(() => resolve(true)));
      },
    });
    expect(report).toMatchObject({ acceptedCount: 3, refusedCount: 6 });
  });
});
