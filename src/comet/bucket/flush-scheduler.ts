/**
 * When the groups of a bucket flush: at the end of the turn that brought their messages, or when the pacer says.
 *
 * A flush costs what uWS's walk over the members costs, and that walk runs after the call, before the next setImmediate; so
 * a large flush is measured from its start to that setImmediate. A small one is not worth a loop turn of its own and is
 * measured every so often only. What the pacer is told is the number of members times a low quantile of the measured cost
 * per member: a measurement also holds whatever else the kernel let run meanwhile, and spacing must not answer to that.
 *
 * A flush is a round over the groups that had something when it began, in slices of a few thousand members at most, and
 * the loop turns between two of them: 15,000 members at once held it for 100 ms, in which nobody else was heard. While the
 * pacer spaces, its pause is spread over the round: each slice is followed by its share of it, so the members are served in
 * turn all through the window, and each write carries what came until then.
 *
 * Threads: its bucket.
 * Guarantees: what add() took is flushed by the round that is due next, in order of add(); no pause is longer than the
 *   pacer's, and those of one round add up to it.
 * Hot path: turnEnd(), flush(); no closure or timer per flush while nothing is spaced.
 */
import type { Clock } from '../../clock/index.js';
import type { FanoutGroup } from './fanout-group.js';
import type { Pacer } from './pacer.js';
import { COHORT_MEMBERS } from './room-shard.js';

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
  readonly #sliceRecipients: number;
  /** Of #dirty, the first so many are this round's, and the first #flushedCount of those have been flushed; 0: no round. */
  #roundCount = 0;
  #flushedCount = 0;
  #roundStartedMs = 0;
  #roundRecipientCount = 0;
  #messageCount = 0;
  #sliceStartedMs = 0;
  #sliceRecipientCount = 0;
  #nextSliceMs = 0;
  #sinceSample = 0;
  #recipientCostMs = FIRST_RECIPIENT_COST_MS;

  /**
   * @param guard runs a function so that no exception escapes
   * @param sliceRecipients most members of one slice, where a single group has not more
   */
  constructor(pacer: Pacer, clock: Clock, guard: (fn: () => void) => void, sliceRecipients: number = COHORT_MEMBERS) {
    this.#sliceRecipients = sliceRecipients;
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

  /** Flush whatever waits, now and in one piece: the bucket is about to stop. */
  flushNow(): void {
    for (let index = 0; index < this.#dirty.length; index++) this.#dirty[index]!.flush();
    this.#dirty.length = 0;
    this.#roundCount = 0;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dirty.length = 0;
    this.#roundCount = 0;
  }

  #flushWhenDue(): void {
    if (this.#timer !== undefined || this.#measuring) return;
    const nowMs = this.#clock.monotonicMs();
    const waitMs = this.#roundCount > 0 ? this.#nextSliceMs - nowMs : this.#pacer.waitMs(nowMs);
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
    this.#sliceStartedMs = this.#clock.monotonicMs();
    if (this.#roundCount === 0) this.#beginRound();
    this.#flushSlice();
    this.#sinceSample += 1;
    if (this.#sliceRecipientCount < MEASURED_RECIPIENTS && this.#sinceSample < SAMPLE_EVERY) {
      this.#sliceEnded(this.#sliceStartedMs);
      return;
    }
    this.#sinceSample = 0;
    this.#measuring = true;
    setImmediate(this.#measured);
  }

  #beginRound(): void {
    this.#roundStartedMs = this.#sliceStartedMs;
    this.#roundCount = this.#dirty.length;
    this.#flushedCount = 0;
    this.#messageCount = 1;
    this.#roundRecipientCount = 0;
    for (let index = 0; index < this.#roundCount; index++) {
      this.#roundRecipientCount += recipientsOf(this.#dirty[index]!);
    }
  }

  #flushSlice(): void {
    this.#sliceRecipientCount = 0;
    do {
      const group = this.#dirty[this.#flushedCount]!;
      this.#messageCount = Math.max(this.#messageCount, group.pendingCount);
      this.#sliceRecipientCount += recipientsOf(group);
      group.flush();
      this.#flushedCount += 1;
    } while (
      this.#flushedCount < this.#roundCount &&
      this.#sliceRecipientCount + recipientsOf(this.#dirty[this.#flushedCount]!) <= this.#sliceRecipients
    );
  }

  readonly #measured = (): void => {
    this.#measuring = false;
    const endMs = this.#clock.monotonicMs();
    if (this.#sliceRecipientCount > 0) {
      const differenceMs = (endMs - this.#sliceStartedMs) / this.#sliceRecipientCount - this.#recipientCostMs;
      this.#recipientCostMs += (differenceMs < 0 ? DOWN_WEIGHT : UP_WEIGHT) * differenceMs;
    }
    this.#guard(() => this.#sliceEnded(endMs));
  };

  #sliceEnded(endMs: number): void {
    // No round: flushNow() has ended it before this slice was measured.
    if (this.#roundCount > 0) this.#account(endMs);
    if (this.#dirty.length > 0) this.#flushWhenDue();
  }

  #account(endMs: number): void {
    // Members come and go during a round, so the ratios need not add up to 1.
    const pauseRatio =
      this.#roundRecipientCount === 0 ? 1 : Math.min(1, this.#sliceRecipientCount / this.#roundRecipientCount);
    if (this.#flushedCount < this.#roundCount) {
      this.#nextSliceMs = endMs + this.#pacer.pauseMs * pauseRatio;
      return;
    }
    const costMs = this.#roundRecipientCount * this.#recipientCostMs;
    this.#dirty.splice(0, this.#roundCount);
    this.#roundCount = 0;
    this.#pacer.flushed(this.#roundStartedMs, endMs, costMs, this.#messageCount, pauseRatio);
  }
}

function recipientsOf(group: FanoutGroup): number {
  return group.plainCount + group.extendedCount;
}
