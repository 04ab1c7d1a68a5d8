/**
 * Decides when a bucket may flush: at once while fan-out is a small part of the thread's time, in windows when it is not.
 *
 * What costs is the number of socket writes, and a flush writes to every member once, however many messages it carries.
 * So the pacer estimates the duty that flushing every message by itself would cost: demand = cost of a flush x messages
 * that came per flush / time between flushes. Above the threshold it leaves a pause behind each flush so that cost
 * / (cost + pause) is the target duty, never longer than the cap.
 *
 * Threads: its bucket. Times are monotonic milliseconds with fractions.
 * Source: DESIGN section 3 "pacing"; goim's fixed second is what it replaces.
 */
export interface PacerOptions {
  /** Demand (0 to 1) above which flushes are spaced. */
  readonly dutyThreshold: number;
  /** Share of the thread's time that spaced flushes may take. */
  readonly dutyTarget: number;
  /** Longest time a message may wait for its flush; 0: never wait. */
  readonly maxDelayMs: number;
}

/** Weight of the newest sample in the moving averages. */
const SMOOTHING = 0.2;
/** A pause longer than this says nothing about demand: the averages start afresh. */
const IDLE_MS = 1_000;
/** Once spacing, it stops only when demand falls below this share of the threshold (no flapping around the edge). */
const RELEASE_RATIO = 0.7;

export class Pacer {
  readonly #options: PacerOptions;
  #costMs = 0;
  #demand = 0;
  #duty = 0;
  #lastFlushMs = -Infinity;
  #nextFlushMs = -Infinity;
  #pauseMs = 0;
  #spacing = false;

  constructor(options: PacerOptions) {
    this.#options = options;
  }

  /** Milliseconds until the next flush may start; 0 or less: now. */
  waitMs(nowMs: number): number {
    return this.#nextFlushMs - nowMs;
  }

  /**
   * Report a flush that ran from `startMs` to `endMs`, cost `costMs` of the thread (less than the time between the two where
   * it was interrupted), and whose busiest group carried `messageCount` messages.
   * @param pauseRatio part of the pause that is to follow: a flush in slices has spread the others between them
   */
  flushed(startMs: number, endMs: number, costMs: number, messageCount: number, pauseRatio = 1): void {
    const { dutyThreshold, dutyTarget, maxDelayMs } = this.#options;
    const intervalMs = startMs - this.#lastFlushMs;
    this.#lastFlushMs = startMs;
    if (intervalMs > IDLE_MS) {
      this.#costMs = costMs;
      this.#demand = 0;
      this.#duty = 0;
      this.#spacing = false;
    } else {
      const spanMs = Math.max(intervalMs, costMs, 0.001);
      this.#costMs += SMOOTHING * (costMs - this.#costMs);
      this.#demand += SMOOTHING * ((costMs * messageCount) / spanMs - this.#demand);
      this.#duty += SMOOTHING * (costMs / spanMs - this.#duty);
    }
    this.#spacing = this.#demand > (this.#spacing ? dutyThreshold * RELEASE_RATIO : dutyThreshold);
    this.#pauseMs = this.#spacing ? Math.min(maxDelayMs, this.#costMs * (1 / dutyTarget - 1)) : 0;
    this.#nextFlushMs = endMs + this.#pauseMs * pauseRatio;
  }

  /** Share of the thread's time that flushes took of late, 0 to 1. */
  get duty(): number {
    return this.#duty;
  }

  /** The pause after the newest flush, in milliseconds; 0 while flushing at once. */
  get pauseMs(): number {
    return this.#pauseMs;
  }
}
