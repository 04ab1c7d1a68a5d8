import { describe, expect, it } from 'vitest';
import { backoffMs, retryAfterMs } from './retry-delay.js';

const BOUNDS = { retryBaseMs: 100, retryMaxMs: 1_000 };

describe('backoffMs', () => {
  it('is anything from 0 to a bound that doubles with each attempt, up to its limit', () => {
    expect([1, 2, 3, 4, 5, 500].map((attempt) => backoffMs(attempt, BOUNDS, 0.5))).toEqual([
      50, 100, 200, 400, 500, 500,
    ]);
    expect(backoffMs(3, BOUNDS, 0)).toBe(0);
  });
});

describe('retryAfterMs', () => {
  it('reads seconds and HTTP dates, and takes anything else for nothing', () => {
    const nowMs = Date.UTC(2026, 0, 1, 0, 0, 0);
    expect(retryAfterMs('120', nowMs)).toBe(120_000);
    expect(retryAfterMs(' 0 ', nowMs)).toBe(0);
    expect(retryAfterMs('Thu, 01 Jan 2026 00:00:30 GMT', nowMs)).toBe(30_000);
    expect(retryAfterMs('Wed, 31 Dec 2025 00:00:30 GMT', nowMs)).toBe(0);
    expect(['soon', '-5', '', '99999999999'].map((text) => retryAfterMs(text, nowMs))).toEqual([0, 0, 0, 0]);
    expect(retryAfterMs(undefined, nowMs)).toBe(0);
  });
});
