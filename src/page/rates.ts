/**
 * Counts of what has arrived: per second, in all, per frame, missed.
 *
 * Guarantees: constant memory and a few integer operations per frame, however many messages it holds.
 */
import type { Clock } from '../clock/index.js';

const SLOT_MS = 100;
const SLOTS_PER_SEC = 10;
/** Seconds that the history covers. */
export const HISTORY_S = 60;
/** One second more than shown: the current one is not complete. */
const SLOT_COUNT = (HISTORY_S + 1) * SLOTS_PER_SEC;

export class Rates {
  readonly #clock: Clock;
  /** Messages per 100 ms; slot of time t is floor(t / 100) modulo the count. */
  readonly #slots = new Uint32Array(SLOT_COUNT);
  #slot: number;
  #messageCount = 0;
  #frameCount = 0;
  #gapCount = 0;
  #missedCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#slot = this.#slotNow();
  }

  get messageCount(): number {
    return this.#messageCount;
  }

  /** Times that something was missed. */
  get gapCount(): number {
    return this.#gapCount;
  }

  /** Messages known to be missed. A gap of direct pushes has no number. */
  get missedCount(): number {
    return this.#missedCount;
  }

  /** Mean number of messages per WebSocket message that held any; 0 before the first. */
  get meanBatch(): number {
    return this.#frameCount === 0 ? 0 : this.#messageCount / this.#frameCount;
  }

  reset(): void {
    this.#slots.fill(0);
    this.#messageCount = this.#frameCount = this.#gapCount = this.#missedCount = 0;
  }

  /** One WebSocket message has brought `messageCount` messages. */
  frame(messageCount: number): void {
    if (messageCount === 0) return;
    this.#turn();
    this.#slots[this.#slot % SLOT_COUNT]! += messageCount;
    this.#messageCount += messageCount;
    this.#frameCount += 1;
  }

  gap(missedCount: number): void {
    this.#gapCount += 1;
    this.#missedCount += missedCount;
  }

  /** Messages in the last second, in steps of 100 ms; the slot that is being filled does not count yet. */
  messagesPerSec(): number {
    this.#turn();
    return this.#sum(this.#slot - SLOTS_PER_SEC);
  }

  /** Messages in each of the last 60 whole seconds, oldest first. */
  history(): number[] {
    this.#turn();
    const firstSlot = (Math.floor(this.#slot / SLOTS_PER_SEC) - HISTORY_S) * SLOTS_PER_SEC;
    return Array.from({ length: HISTORY_S }, (_, second) => this.#sum(firstSlot + second * SLOTS_PER_SEC));
  }

  /** Sum of the ten slots from `firstSlot`. */
  #sum(firstSlot: number): number {
    let sum = 0;
    for (let slot = firstSlot; slot < firstSlot + SLOTS_PER_SEC; slot++) {
      if (slot >= 0) sum += this.#slots[slot % SLOT_COUNT]!;
    }
    return sum;
  }

  #slotNow(): number {
    return Math.floor(this.#clock.monotonicMs() / SLOT_MS);
  }

  /** Empty the slots of the time that has passed since the last call. */
  #turn(): void {
    const now = this.#slotNow();
    const firstStale = Math.max(this.#slot + 1, now - SLOT_COUNT + 1);
    for (let slot = firstStale; slot <= now; slot++) this.#slots[slot % SLOT_COUNT] = 0;
    this.#slot = now;
  }
}
