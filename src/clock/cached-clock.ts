/**
 * A clock that stands still between two calls of `refresh`: its owner refreshes it once per loop turn, and everything
 * that happens in the turn reads two fields instead of the host's clock.
 *
 * Threads: one; each thread owns its own.
 * Guarantees: a reading is as old as the last refresh. Never hand it to code that waits for time to pass (Snowflake):
 * inside one turn no time passes.
 * Hot path: `nowMs`, `monotonicMs`: no call, no allocation.
 */
import type { Clock } from './clock.port.js';

export class CachedClock implements Clock {
  readonly #source: Clock;
  #nowMs: number;
  #monotonicMs: number;

  /** @param source the clock that is read, once here and once per refresh */
  constructor(source: Clock) {
    this.#source = source;
    this.#nowMs = source.nowMs();
    this.#monotonicMs = source.monotonicMs();
  }

  /** Read the source. The owner calls it first thing in a loop turn. */
  refresh(): void {
    this.#nowMs = this.#source.nowMs();
    this.#monotonicMs = this.#source.monotonicMs();
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }
}
