/**
 * How long to wait before the next attempt: exponential backoff with full jitter, and what a server asks for.
 *
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of the forms compared there, full jitter spreads
 *   clients best.
 */
export interface RetryBounds {
  readonly retryBaseMs: number;
  readonly retryMaxMs: number;
}

/** @param attempt the one that failed, from 1 @param random 0 to 1, exclusive */
export function backoffMs(attempt: number, { retryBaseMs, retryMaxMs }: RetryBounds, random: number): number {
  const boundMs = Math.min(retryMaxMs, retryBaseMs * 2 ** Math.min(attempt - 1, 30));
  return random * boundMs;
}

/** Retry-After in its two forms, seconds or an HTTP date, as ms from now; 0 for none, for nonsense and for the past. */
export function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header.trim()) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? 0 : Math.max(0, atMs - nowMs);
}
