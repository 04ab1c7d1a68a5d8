/**
 * What waits for one sink: a bounded buffer in lanes. Events of one user share a lane and keep their order; each lane has one
 * batch under way, so a slow one holds nobody else up.
 *
 * Threads: control thread only.
 * Guarantees: a lane hands its events over in the order of append(), each batch again and again until the sink takes it or it
 *   is given up; then it goes to the dead letters, and the lane goes on behind it. At least once: an attempt whose answer was
 *   lost is repeated. Nothing leaves the buffer unless it was sent, kept as a dead letter, or counted as lost and logged.
 *   `isFull` says that new messages must not be accepted; what was accepted before is taken beyond the bounds.
 */
import type { Clock } from '../../clock/index.js';
import type { DeadLetters, EncodedEvent, EventBatch, EventSink, SendVerdict } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import { backoffMs, type RetryBounds } from './retry-delay.js';

export interface EventLanesOptions extends RetryBounds {
  readonly laneCount: number;
  readonly batchMaxEvents: number;
  readonly batchMaxBytes: number;
  readonly batchDelayMs: number;
  readonly maxWaitingEvents: number;
  readonly maxWaitingBytes: number;
  /** Age of a batch, from its first attempt, beyond which it is not tried again. Infinity: never given up. */
  readonly giveUpMs: number;
}

export interface EventLanesParts {
  readonly sink: EventSink;
  readonly dead: DeadLetters;
  readonly clock: Clock;
  readonly log: Logger;
  /** `isFull` may have changed. */
  readonly onChange: () => void;
  /** 0 to 1, exclusive: the jitter. */
  readonly random: () => number;
}

/** Totals since the start, and what waits now. */
export interface LaneGauges {
  readonly waitingCount: number;
  readonly waitingBytes: number;
  readonly sentCount: number;
  /** Attempts, not events. */
  readonly failedCount: number;
  readonly deadCount: number;
  readonly lostCount: number;
}

interface Lane {
  readonly index: number;
  readonly waiting: EncodedEvent[];
  waitingBytes: number;
  /** Monotonic ms when the oldest of `waiting` came. */
  oldestAtMs: number;
  batchCount: number;
  /** The batch under way, retries included. */
  batch: EventBatch | undefined;
  batchStartedMs: number;
  timer: NodeJS.Timeout | undefined;
  /** The timer waits for the next attempt, not for company. */
  isBackingOff: boolean;
}

/** Share of the bounds at which messages are refused: the rest is for what cannot be refused, and for the rings. */
const FULL_RATIO = 0.8;
/** Share at which they are accepted again. */
const FREE_RATIO = 0.6;
/** What an event costs beside its JSON: object, strings' heads, array cell. */
const EVENT_OVERHEAD_BYTES = 160;
const LOG_GAP_MS = 10_000;

export class EventLanes {
  readonly #options: EventLanesOptions;
  readonly #parts: EventLanesParts;
  readonly #lanes: Lane[];
  #waitingCount = 0;
  #waitingBytes = 0;
  #sentCount = 0;
  #failedCount = 0;
  #deadCount = 0;
  #lostCount = 0;
  #isFull = false;
  #isDraining = false;
  #isClosed = false;
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #lastCause = '';
  #onEmpty: (() => void) | undefined;
  /** Dead letters being written. */
  #burials = 0;

  constructor(options: EventLanesOptions, parts: EventLanesParts) {
    this.#options = options;
    this.#parts = parts;
    this.#lanes = Array.from({ length: options.laneCount }, (_, index) => ({
      index,
      waiting: [],
      waitingBytes: 0,
      oldestAtMs: 0,
      batchCount: 0,
      batch: undefined,
      batchStartedMs: 0,
      timer: undefined,
      isBackingOff: false,
    }));
  }

  get name(): string {
    return this.#parts.sink.name;
  }

  /** No more messages, please. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** Why the last attempt failed; '' after a success. */
  get lastCause(): string {
    return this.#lastCause;
  }

  gauges(): LaneGauges {
    return {
      waitingCount: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
      sentCount: this.#sentCount,
      failedCount: this.#failedCount,
      deadCount: this.#deadCount,
      lostCount: this.#lostCount,
    };
  }

  /**
   * Put an event into the lane of `hash`. `isAccepted`: somebody was told that it is taken, so it is, whatever the bounds say;
   * anything else is lost, counted and logged where there is no room.
   */
  append(event: EncodedEvent, hash: number, isAccepted: boolean): void {
    const bytes = bytesOf(event);
    const { maxWaitingEvents, maxWaitingBytes } = this.#options;
    const hasRoom = this.#waitingCount < maxWaitingEvents && this.#waitingBytes + bytes <= maxWaitingBytes;
    if (this.#isClosed || (!isAccepted && !hasRoom)) {
      this.#lose(1, this.#isClosed ? 'the node has stopped' : 'no room');
      return;
    }
    const lane = this.#lanes[hash % this.#lanes.length] as Lane;
    if (lane.waiting.length === 0) lane.oldestAtMs = this.#parts.clock.monotonicMs();
    lane.waiting.push(event);
    lane.waitingBytes += bytes;
    this.#waitingCount += 1;
    this.#waitingBytes += bytes;
    this.#updateFull();
    if (lane.batch === undefined) this.#startWhenDue(lane);
  }

  /** Whatever waits for its next attempt is tried now: the other side is back. */
  retryNow(): void {
    for (const lane of this.#lanes) if (lane.isBackingOff) this.#attempt(lane);
  }

  /** Send everything, or keep as dead letters what is left when the time is over. Resolves then. True: all was sent or given up. */
  async drain(timeoutMs: number): Promise<boolean> {
    this.#isDraining = true;
    this.retryNow();
    for (const lane of this.#lanes) if (lane.batch === undefined) this.#startWhenDue(lane);
    const isEmpty = await this.#emptied(timeoutMs);
    this.#isClosed = true;
    this.#parts.sink.close();
    if (!isEmpty) for (const lane of this.#lanes) this.#buryRest(lane);
    await this.#emptied(Math.max(timeoutMs, 1_000));
    return isEmpty;
  }

  #emptied(timeoutMs: number): Promise<boolean> {
    const isEmpty = () => this.#waitingCount === 0 && this.#burials === 0;
    if (isEmpty()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#onEmpty = undefined;
        resolve(false);
      }, timeoutMs);
      this.#onEmpty = () => {
        if (!isEmpty()) return;
        clearTimeout(timer);
        this.#onEmpty = undefined;
        resolve(true);
      };
    });
  }

  // Batches.

  /** The lane is idle: start its next batch, now or when the oldest has waited long enough. */
  #startWhenDue(lane: Lane): void {
    if (lane.waiting.length === 0) return;
    const { batchMaxEvents, batchMaxBytes, batchDelayMs } = this.#options;
    const isDue = this.#isDraining || lane.waiting.length >= batchMaxEvents || lane.waitingBytes >= batchMaxBytes;
    const waitMs = isDue ? 0 : lane.oldestAtMs + batchDelayMs - this.#parts.clock.monotonicMs();
    if (waitMs <= 0) {
      this.#start(lane);
      return;
    }
    lane.timer ??= setTimeout(() => {
      lane.timer = undefined;
      this.#start(lane);
    }, Math.ceil(waitMs));
  }

  #start(lane: Lane): void {
    clearTimeout(lane.timer);
    lane.timer = undefined;
    const events = this.#take(lane);
    lane.batchCount += 1;
    const { id } = events[0] as EncodedEvent;
    lane.batch = { deliveryId: id, batchNo: lane.batchCount, lane: lane.index, attempt: 0, events };
    lane.batchStartedMs = this.#parts.clock.monotonicMs();
    this.#attempt(lane);
  }

  /** What fits one batch, at least one event. */
  #take(lane: Lane): readonly EncodedEvent[] {
    const { batchMaxEvents, batchMaxBytes } = this.#options;
    let bytes = 0;
    let count = 0;
    while (count < lane.waiting.length && count < batchMaxEvents) {
      const eventBytes = bytesOf(lane.waiting[count] as EncodedEvent);
      if (count > 0 && bytes + eventBytes > batchMaxBytes) break;
      bytes += eventBytes;
      count += 1;
    }
    lane.waitingBytes -= bytes;
    lane.oldestAtMs = this.#parts.clock.monotonicMs();
    return lane.waiting.splice(0, count);
  }

  #attempt(lane: Lane): void {
    clearTimeout(lane.timer);
    lane.timer = undefined;
    lane.isBackingOff = false;
    const { batch } = lane;
    if (batch === undefined || this.#isClosed) return;
    const next: EventBatch = { ...batch, attempt: batch.attempt + 1 };
    lane.batch = next;
    const { sink } = this.#parts;
    void sink.send(next).then(
      (verdict) => this.#attempted(lane, next, verdict),
      // The port forbids it; a lane that stands still for ever would be worse.
      (error) => this.#attempted(lane, next, { kind: 'retry', afterMs: 0, cause: String(error) }),
    );
  }

  #attempted(lane: Lane, batch: EventBatch, verdict: SendVerdict): void {
    // Closed meanwhile: the rest of the lane, this batch included, is with the dead letters.
    if (lane.batch !== batch) return;
    if (verdict.kind === 'sent') {
      this.#sentCount += batch.events.length;
      this.#lastCause = '';
      this.#finish(lane, batch);
      return;
    }
    this.#failedCount += 1;
    this.#lastCause = verdict.cause;
    const { cause } = verdict;
    this.#logSparsely(
      { sink: this.name, cause, attempt: batch.attempt, lane: lane.index },
      'upstream did not take a batch',
    );
    if (verdict.kind === 'dead') {
      this.#bury(lane, batch, cause);
      return;
    }
    const waitMs = Math.max(verdict.afterMs, backoffMs(batch.attempt, this.#options, this.#parts.random()));
    const ageMs = this.#parts.clock.monotonicMs() - lane.batchStartedMs;
    if (ageMs + waitMs > this.#options.giveUpMs) {
      this.#bury(lane, batch, `given up after ${batch.attempt} attempts: ${cause}`);
      return;
    }
    lane.isBackingOff = true;
    lane.timer = setTimeout(() => this.#attempt(lane), Math.ceil(waitMs));
  }

  #finish(lane: Lane, batch: EventBatch): void {
    lane.batch = undefined;
    this.#release(batch.events);
    this.#startWhenDue(lane);
    this.#onEmpty?.();
  }

  // Dead letters and losses.

  #bury(lane: Lane, batch: EventBatch, cause: string): void {
    void this.#store(batch, cause).then(() => {
      // The lane waits for it, so that dead letters are in order too.
      if (lane.batch === batch) this.#finish(lane, batch);
    });
  }

  async #store(batch: EventBatch, cause: string): Promise<void> {
    this.#burials += 1;
    try {
      await this.#parts.dead.store(batch, cause);
      this.#deadCount += batch.events.length;
      this.#parts.log.error(
        { sink: this.name, cause, events: batch.events.length, delivery: batch.deliveryId },
        'upstream events were given up and are kept as dead letters',
      );
    } catch (error) {
      this.#lose(batch.events.length, 'the dead letters could not be kept', error);
    } finally {
      this.#burials -= 1;
    }
  }

  /** The end: what the lane still has. What is under way may have arrived, and is kept all the same. */
  #buryRest(lane: Lane): void {
    clearTimeout(lane.timer);
    lane.timer = undefined;
    lane.isBackingOff = false;
    const underway = lane.batch === undefined ? [] : [lane.batch];
    lane.batch = undefined;
    while (lane.waiting.length > 0) {
      const events = this.#take(lane);
      lane.batchCount += 1;
      const { id } = events[0] as EncodedEvent;
      underway.push({ deliveryId: id, batchNo: lane.batchCount, lane: lane.index, attempt: 0, events });
    }
    for (const batch of underway) {
      void this.#store(batch, 'the node stopped').then(() => {
        this.#release(batch.events);
        this.#onEmpty?.();
      });
    }
  }

  #release(events: readonly EncodedEvent[]): void {
    this.#waitingCount -= events.length;
    for (const event of events) this.#waitingBytes -= bytesOf(event);
    this.#updateFull();
  }

  #lose(count: number, cause: string, error?: unknown): void {
    this.#lostCount += count;
    this.#logSparsely({ sink: this.name, cause, lost: this.#lostCount, err: error }, 'upstream events are lost');
    this.#parts.onChange();
  }

  #updateFull(): void {
    const { maxWaitingEvents, maxWaitingBytes } = this.#options;
    const share = Math.max(this.#waitingCount / maxWaitingEvents, this.#waitingBytes / maxWaitingBytes);
    const isFull = share >= (this.#isFull ? FREE_RATIO : FULL_RATIO);
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#parts.onChange();
  }

  /** One line per gap: a backend that is down for an hour fails thousands of times. The counters have the rest. */
  #logSparsely(fields: Readonly<Record<string, unknown>>, message: string): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < LOG_GAP_MS) return;
    this.#loggedAtMs = nowMs;
    this.#parts.log.warn(fields, message);
  }
}

/** JSON of ASCII takes a byte per character in V8, anything else two; the wire's UTF-8 is near enough to either. */
function bytesOf(event: EncodedEvent): number {
  return event.json.length + EVENT_OVERHEAD_BYTES;
}
