import { expect, it } from 'vitest';
import { CLOSE } from '../../errors/index.js';
import { METRIC } from '../../telemetry/index.js';
import { closeMetric, disconnectBody } from './close-advice.js';

it('asks clients to spread their reconnects where many are closed together, and only there', () => {
  const windowOf = (row: (typeof CLOSE)[keyof typeof CLOSE]) => disconnectBody(row, 'x', undefined, 9000).retryAfterMs;
  const spread = Object.values(CLOSE).filter((row) => windowOf(row) > 0);
  expect(spread).toEqual([CLOSE.SHUTDOWN, CLOSE.BUCKET_FAILED, CLOSE.OVERLOADED]);
  expect(windowOf(CLOSE.SHUTDOWN)).toBe(9000);
});

it("tells the backend's advice as it is, and otherwise what the code's range says", () => {
  expect(disconnectBody(CLOSE.SHUTDOWN, 'bye', { reconnect: false, retryAfterMs: 7 }, 9000)).toEqual({
    code: 3000,
    reason: 'bye',
    reconnect: false,
    retryAfterMs: 7,
    nodes: [],
  });
  expect(disconnectBody(CLOSE.IDLE, 'idle', undefined, 9000)).toMatchObject({ reconnect: true, retryAfterMs: 0 });
  expect(disconnectBody(CLOSE.TOO_LARGE, 'big', undefined, 9000)).toMatchObject({ reconnect: false });
});

it('counts the closes of limits that have no other counter', () => {
  expect(closeMetric(CLOSE.PIPELINE_TOO_LONG.code)).toBe(METRIC.backlog_closed);
  expect(closeMetric(CLOSE.OVERLOADED.code)).toBe(METRIC.overloaded);
  expect(closeMetric(CLOSE.IDLE.code)).toBe(undefined);
});
