import { expect, test } from 'vitest';
import { completeSupervision, RestartHistory } from './supervision.js';

test('the backoff doubles up to its maximum and starts anew when the failures are old', () => {
  const policy = completeSupervision({ backoffMinMs: 50, backoffMaxMs: 300, maxRestarts: 10, withinMs: 1_000 });
  const history = new RestartHistory(policy);
  expect([0, 1, 2, 3].map((atMs) => history.nextBackoffMs(atMs))).toEqual([50, 100, 200, 300]);
  expect(history.nextBackoffMs(5_000)).toBe(50);
});

test('one failure more than allowed within the window gives no backoff', () => {
  const history = new RestartHistory(completeSupervision({ maxRestarts: 2, withinMs: 1_000 }));
  expect([0, 400, 800].map((atMs) => history.nextBackoffMs(atMs) === undefined)).toEqual([false, false, true]);
  expect(history.nextBackoffMs(1_000)).toBeDefined();
});

test('a backoff that runs backwards is refused', () => {
  expect(() => completeSupervision({ backoffMinMs: 100, backoffMaxMs: 10 })).toThrow(/backoff_min_ms=100/);
});
