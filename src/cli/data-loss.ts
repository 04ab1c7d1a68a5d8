/**
 * data-loss: Redis has lost what it had acknowledged. Nothing brings it back, so it is counted, logged, and said by `/ready` for a
 * while: long enough for whoever looks at that once in a while.
 *
 * Threads: control thread.
 */
import type { Clock } from '../clock/index.js';
import type { NotReadyReason, ReadinessProbe } from '../push/index.js';
import type { Logger } from '../telemetry/index.js';

const SHOWN_MS = 60_000;

export class DataLoss implements ReadinessProbe {
  readonly #log: Logger;
  readonly #clock: Clock;
  /** What was lost, and until when it is shown, on the monotonic clock. */
  readonly #shownUntilMs = new Map<string, number>();
  #count = 0;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Losses so far. */
  get count(): number {
    return this.#count;
  }

  note(what: string): void {
    this.#count += 1;
    this.#shownUntilMs.set(what, this.#clock.monotonicMs() + SHOWN_MS);
    this.#log.error({ what, count: this.#count }, 'Redis has lost data');
  }

  notReady(): readonly NotReadyReason[] {
    const nowMs = this.#clock.monotonicMs();
    for (const [what, untilMs] of this.#shownUntilMs) if (untilMs <= nowMs) this.#shownUntilMs.delete(what);
    if (this.#shownUntilMs.size === 0) return [];
    return [{ reason: 'redis_lost_data', detail: `Redis has lost ${[...this.#shownUntilMs.keys()].join(', and ')}` }];
  }
}
