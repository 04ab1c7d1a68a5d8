/**
 * A token bucket: `perSec` tokens a second, at most `burst` of them saved up.
 *
 * Threads: any one. Time is the caller's monotonic clock.
 * Guarantees: over any span of t seconds at most `burst + perSec * t` tokens are given. A clock that stands still gives none.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  /** @param perSec above 0; @param burst 1 or more: full at the start */
  constructor(perSec: number, burst: number, nowMs: number) {
    this.#perMs = perSec / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Take one token. @returns 0 where there was one, otherwise how many ms until the next one is there */
  take(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + passedMs * this.#perMs);
    if (this.#tokens < 1) return Math.max(1, Math.ceil((1 - this.#tokens) / this.#perMs));
    this.#tokens -= 1;
    return 0;
  }
}
