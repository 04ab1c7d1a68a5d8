/**
 * A token bucket: `perSec` tokens a second, at most `burst` of them saved up.
 *
 * Threads: any one. Time is the caller's monotonic clock.
 * Guarantees: over any span of t seconds at most `burst + perSec * t` tokens are given. A clock that stands still gives none.
 */
/** Tokens are kept in thousandths: whole rates and whole milliseconds then give whole numbers, without rounding. */
const TOKEN = 1000;

export class TokenBucket {
  /** Thousandths per ms, which is tokens per second. */
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  /** @param perSec above 0; @param burst 1 or more: full at the start */
  constructor(perSec: number, burst: number, nowMs: number) {
    this.#perMs = perSec;
    this.#burst = burst * TOKEN;
    this.#tokens = this.#burst;
    this.#atMs = nowMs;
  }

  /** Take one token. @returns 0 where there was one, otherwise how many ms until the next one is there */
  take(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + passedMs * this.#perMs);
    if (this.#tokens < TOKEN) return Math.max(1, Math.ceil((TOKEN - this.#tokens) / this.#perMs));
    this.#tokens -= TOKEN;
    return 0;
  }
}
