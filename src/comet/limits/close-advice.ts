/**
 * What a channel is told when the server closes it: the body of op 6, and the counter of a
 * limit that caused it.
 *
 * Threads: its bucket.
 */
import { CLOSE, type CloseCodeRow, mayReconnect } from '../../errors/index.js';
import type { DisconnectBody } from '../../protocol/index.js';
import { METRIC, type Metric } from '../../telemetry/index.js';

/** Ends that many channels share: their clients must not come back all at once. */
const SHARED_ENDS: ReadonlySet<number> = new Set([
  CLOSE.SHUTDOWN.code,
  CLOSE.BUCKET_FAILED.code,
  CLOSE.OVERLOADED.code,
]);
const METRIC_OF_CODE: ReadonlyMap<number, Metric> = new Map([
  [CLOSE.OVERLOADED.code, METRIC.overloaded],
  [CLOSE.PIPELINE_TOO_LONG.code, METRIC.backlog_closed],
]);

export interface CloseAdvice {
  readonly reconnect: boolean;
  readonly retryAfterMs: number;
}

/** @param advice what the backend wants told; undefined: what the code says */
export function disconnectBody(
  { code }: CloseCodeRow,
  reason: string,
  advice: CloseAdvice | undefined,
  reconnectWindowMs: number,
): DisconnectBody {
  const { reconnect, retryAfterMs } = advice ?? {
    reconnect: mayReconnect(code),
    retryAfterMs: closeWindowMs(code, reconnectWindowMs),
  };
  return { code, reason, reconnect, retryAfterMs, nodes: [] };
}

/** Over how long the clients of such a close are asked to spread; 0: it concerns one alone. */
export function closeWindowMs(code: number, reconnectWindowMs: number): number {
  return SHARED_ENDS.has(code) ? reconnectWindowMs : 0;
}

/** The counter that a close with this code adds to; undefined: none of its own. */
export function closeMetric(code: number): Metric | undefined {
  return METRIC_OF_CODE.get(code);
}
