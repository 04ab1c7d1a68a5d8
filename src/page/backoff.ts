/**
 * How long to wait before the next attempt: full jitter, so that ten thousand pages that lost one server at the same moment
 * do not come back at the same moment.
 *
 * Source: "Exponential Backoff And Jitter" (AWS architecture blog): the whole delay is random, only its bound grows.
 */
const BASE_MS = 500;
const CAP_MS = 20_000;

/**
 * @param failureCount failures in a row before this attempt, from 0
 * @param random a number from 0 up to, not including, 1
 * @returns whole milliseconds from 0 to 20,000
 */
export function fullJitterMs(failureCount: number, random: number): number {
  return Math.floor(random * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(failureCount, 16)));
}
