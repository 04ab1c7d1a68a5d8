/**
 * All deadlines of one thread in buckets of 16 ms, behind one timer: ask deadlines, restart backoff, idle actors.
 *
 * Threads: one.
 * Guarantees: never early; late by at most one bucket and what the event loop is late. Nothing is cancelled: who was in
 *   time is simply not found when the bucket comes, so an entry must be cheap to ignore.
 */

/** Width of a bucket. */
export const DEADLINE_TICK_MS = 16;

/** Something that a bucket holds. `id` lets one object serve many deadlines without a closure each. */
export interface DeadlineTarget {
  onDeadline(id: number): void;
}

export class Deadlines {
  readonly #buckets = new Map<number, { targets: DeadlineTarget[]; ids: number[] }>();
  readonly #nowMs: () => number;
  #lastTick: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param nowMs a monotonic clock */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#lastTick = Math.floor(nowMs() / DEADLINE_TICK_MS);
    this.#timer = undefined;
  }

  /** Call `target.onDeadline(id)` once, `delayMs` (0 or more) from now or up to 16 ms later. */
  after(delayMs: number, target: DeadlineTarget, id: number): void {
    // Started first: a bucket behind the last tick that was served would wait for ever.
    if (this.#timer === undefined) this.#start();
    const tick = Math.max(Math.ceil((this.#nowMs() + delayMs) / DEADLINE_TICK_MS), this.#lastTick + 1);
    let bucket = this.#buckets.get(tick);
    if (bucket === undefined) {
      bucket = { targets: [], ids: [] };
      this.#buckets.set(tick, bucket);
    }
    bucket.targets.push(target);
    bucket.ids.push(id);
  }

  /** Serve every bucket that is due. The timer calls it. */
  advance(): void {
    const nowTick = Math.floor(this.#nowMs() / DEADLINE_TICK_MS);
    if (nowTick - this.#lastTick > this.#buckets.size * 2 + 64) {
      // The thread slept long (or the clock is a test's): walk the buckets there are, in order, not every tick between.
      const due = [...this.#buckets.keys()].filter((tick) => tick <= nowTick).sort((a, b) => a - b);
      this.#lastTick = nowTick;
      for (const tick of due) this.#serve(tick);
    } else {
      while (this.#lastTick < nowTick) this.#serve(++this.#lastTick);
    }
    if (this.#buckets.size === 0) this.close();
  }

  /** Stop the timer; entries stay and are served when the next one is added. */
  close(): void {
    if (this.#timer !== undefined) clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #start(): void {
    if (this.#buckets.size === 0) this.#lastTick = Math.floor(this.#nowMs() / DEADLINE_TICK_MS);
    this.#timer = setInterval(() => this.advance(), DEADLINE_TICK_MS);
  }

  #serve(tick: number): void {
    const bucket = this.#buckets.get(tick);
    if (bucket === undefined) return;
    this.#buckets.delete(tick);
    for (let index = 0; index < bucket.ids.length; index++) bucket.targets[index]!.onDeadline(bucket.ids[index]!);
  }
}
