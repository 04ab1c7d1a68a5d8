/**
 * When the groups of a bucket flush: at the end of the turn that brought their messages, or when the pacer says.
 *
 * A flush costs what uWS's walk over the members costs, and that walk runs after the call, before the next setImmediate; so
 * a large flush is measured from its start to that setImmediate. A small one is not worth a loop turn of its own and is
 * measured every so often only. What the pacer is told is the number of members times a low quantile of the measured cost
 * per member: a measurement also holds whatever else the kernel let run meanwhile, and spacing must not answer to that.
 *
 * Threads: its bucket.
 * Guarantees: what add() took is flushed by the next due flush; nothing waits longer than the pacer's cap.
 * Hot path: turnEnd(), flush(); no closure or timer per flush while nothing is spaced.
 */
import type { Clock } from '../../clock/index.js';
import type { FanoutGroup } from './fanout-group.js';
import type { Pacer } from './pacer.js';

/** A flush to fewer members is estimated, not measured. */
const MEASURED_RECIPIENTS = 64;
/** Of the small flushes, every so manieth is measured: the estimate must follow the machine. */
const SAMPLE_EVERY = 64;
/** A first guess, from the peers' bench: one socket write. */
const FIRST_RECIPIENT_COST_MS = 0.004;
/** Weights of a sample below and above the estimate: it settles where one in ten samples lies below it. */
const DOWN_WEIGHT = 0.18;
const UP_WEIGHT = 0.02;

export class FlushScheduler {
  readonly #pacer: Pacer;
  readonly #clock: Clock;
  readonly #guard: (fn: () => void) => void;
  readonly #dirty: FanoutGroup[] = [];
  #timer: NodeJS.Timeout | undefined;
  #measuring = false;
  #startedMs = 0;
  #recipientCount = 0;
  #messageCount = 0;
  #sinceSample = 0;
  #recipientCostMs = FIRST_RECIPIENT_COST_MS;

  /** @param guard runs a function so that no exception escapes */
  constructor(pacer: Pacer, clock: Clock, guard: (fn: () => void) => void) {
    this.#pacer = pacer;
    this.#clock = clock;
    this.#guard = guard;
  }

  /** A group has its first pending message since its last flush. */
  add(group: FanoutGroup): void {
    this.#dirty.push(group);
  }

  /** The turn is over: flush what is due. */
  turnEnd(): void {
    if (this.#dirty.length > 0) this.#flushWhenDue();
  }

  /** Flush whatever waits, now: the bucket is about to stop. */
  flushNow(): void {
    if (this.#dirty.length > 0) this.#flush();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dirty.length = 0;
  }

  #flushWhenDue(): void {
    if (this.#timer !== undefined || this.#measuring) return;
    const waitMs = this.#pacer.waitMs(this.#clock.monotonicMs());
    if (waitMs <= 0) {
      this.#flush();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#dirty.length > 0) this.#guard(() => this.#flush());
    }, waitMs);
  }

  #flush(): void {
    this.#startedMs = this.#clock.monotonicMs();
    this.#messageCount = 1;
    this.#recipientCount = 0;
    for (let index = 0; index < this.#dirty.length; index++) {
      const group = this.#dirty[index]!;
      this.#messageCount = Math.max(this.#messageCount, group.pendingCount);
      this.#recipientCount += group.plainCount + group.extendedCount;
      group.flush();
    }
    this.#dirty.length = 0;
    this.#sinceSample += 1;
    if (this.#recipientCount < MEASURED_RECIPIENTS && this.#sinceSample < SAMPLE_EVERY) {
      this.#report(this.#startedMs);
      return;
    }
    this.#sinceSample = 0;
    this.#measuring = true;
    setImmediate(this.#measured);
  }

  readonly #measured = (): void => {
    this.#measuring = false;
    const endMs = this.#clock.monotonicMs();
    if (this.#recipientCount > 0) {
      const differenceMs = (endMs - this.#startedMs) / this.#recipientCount - this.#recipientCostMs;
      this.#recipientCostMs += (differenceMs < 0 ? DOWN_WEIGHT : UP_WEIGHT) * differenceMs;
    }
    this.#report(endMs);
    if (this.#dirty.length > 0) this.#guard(() => this.#flushWhenDue());
  };

  #report(endMs: number): void {
    this.#pacer.flushed(this.#startedMs, endMs, this.#recipientCount * this.#recipientCostMs, this.#messageCount);
  }
}
