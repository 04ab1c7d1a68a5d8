/**
 * A hashed timing wheel for the deadlines of one thread's connections: entries are slot numbers, all state lies in
 * typed arrays, and there is no object, closure or timer per entry.
 *
 * Threads: one; the owner calls `advance` from its own loop (one host timer per thread drives the whole wheel).
 * Layout: node numbers 0 to bucketCount - 1 are the list heads of the buckets, node `bucketCount` heads the list that is
 *   being visited, slot s is node bucketCount + 1 + s. Lists are circular and doubly linked through two Int32Arrays, so
 *   unlinking needs no knowledge of the bucket. 16 bytes per slot: two links and the deadline's tick as a double.
 * Guarantees: an entry never expires early, and at most one tick late once `advance` is called for that time. Whatever
 *   a callback schedules, also for a moment in the past, expires no earlier than the next `advance`. Within one advance
 *   entries expire in the order of their deadline ticks if it spans fewer than bucketCount ticks. A jump of any length
 *   visits each bucket once. A callback that throws loses no other entry: the next `advance` goes on from there.
 * Source: Varghese and Lauck 1987, scheme 6 (hashed wheel, unsorted lists). Ours differs in the re-arm: a later deadline
 *   only overwrites a number, and the entry moves when the bucket it lies in comes by.
 * Hot path: `schedule` of a scheduled slot with a later deadline: one store. `advance`: per visited entry, constant.
 *   No allocation but for growth; timed in bench/id/wheel.bench.ts.
 */
import { HalleyError } from '../errors/index.js';

export interface TimingWheelOptions {
  /** Length of a tick in milliseconds, 1 or more: the precision of every deadline. */
  readonly tickMs: number;
  /** A power of two from 2 to 65,536. Entries further away than tickMs * bucketCount are visited once per turn. */
  readonly bucketCount: number;
  /** Slots that fit before the arrays grow (by doubling), 1 or more. */
  readonly initialSlots: number;
}

/** In `#next`: the node is in no list. */
const NOT_LINKED = -1;
/** Slots are small: this many would take 16 GiB. It catches an address or a time passed as a slot. */
const MAX_SLOT_COUNT = 2 ** 30;

export class TimingWheel {
  readonly #tickMs: number;
  readonly #bucketCount: number;
  readonly #bucketMask: number;
  /** Node number of slot 0. */
  readonly #firstNode: number;
  #next: Int32Array;
  #previous: Int32Array;
  /** By slot. Always above #currentTick while no advance is under way. */
  #deadlineTick: Float64Array;
  #slotCount: number;
  /** The tick that `advance` was last called for: nothing new is scheduled at or below it. */
  #currentTick = 0;
  /** The last tick whose bucket was visited; behind #currentTick only inside `advance` or after a callback threw. */
  #visitedTick = 0;
  #isAdvancing = false;
  #size = 0;

  constructor(options: TimingWheelOptions) {
    const { tickMs, bucketCount, initialSlots } = options;
    if (!(tickMs >= 1 && tickMs <= 2 ** 31)) {
      throw new HalleyError('WHEEL_BAD_OPTION', 'a tick is from 1 ms to 2^31 ms long', { tickMs });
    }
    if (!Number.isInteger(Math.log2(bucketCount)) || bucketCount < 2 || bucketCount > 65_536) {
      throw new HalleyError('WHEEL_BAD_OPTION', 'the number of buckets is a power of two from 2 to 65536', {
        bucketCount,
      });
    }
    if (!Number.isInteger(initialSlots) || initialSlots < 1 || initialSlots > MAX_SLOT_COUNT) {
      throw new HalleyError('WHEEL_BAD_OPTION', `the number of initial slots is from 1 to ${MAX_SLOT_COUNT}`, {
        initialSlots,
      });
    }
    this.#tickMs = tickMs;
    this.#bucketCount = bucketCount;
    this.#bucketMask = bucketCount - 1;
    this.#firstNode = bucketCount + 1;
    this.#slotCount = initialSlots;
    this.#next = new Int32Array(this.#firstNode + initialSlots).fill(NOT_LINKED);
    this.#previous = new Int32Array(this.#firstNode + initialSlots);
    this.#deadlineTick = new Float64Array(initialSlots);
    for (let head = 0; head < this.#firstNode; head++) {
      this.#next[head] = head;
      this.#previous[head] = head;
    }
  }

  /** Number of scheduled slots. */
  get size(): number {
    return this.#size;
  }

  /** True while `slot` waits for its deadline. */
  has(slot: number): boolean {
    return slot >= 0 && (this.#next[this.#firstNode + slot] ?? NOT_LINKED) !== NOT_LINKED;
  }

  /**
   * Let `slot` expire at `deadlineMs`, in place of the deadline it had. A deadline in the past expires with the next
   * `advance` that reaches a new tick.
   *
   * @param slot 0 to 2^30 - 1; the arrays grow to hold it
   * @param deadlineMs on the clock that `advance` is fed with; Infinity never expires
   */
  schedule(slot: number, deadlineMs: number): void {
    if ((slot | 0) !== slot || slot < 0 || slot >= this.#slotCount) this.#grow(slot);
    let tick = Math.ceil(deadlineMs / this.#tickMs);
    if (!(tick > this.#currentTick)) tick = this.#tickOfPast(deadlineMs);
    const node = this.#firstNode + slot;
    const isLinked = this.#next[node] !== NOT_LINKED;
    // The node lies in a bucket that is visited at or before its old deadline, so a later one may wait for that visit.
    const movesOnVisit = isLinked && tick >= this.#deadlineTick[slot]!;
    this.#deadlineTick[slot] = tick;
    if (movesOnVisit) return;
    if (isLinked) this.#unlink(node);
    else this.#size++;
    this.#link(node, tick & this.#bucketMask);
  }

  /** Forget the deadline of `slot`. Nothing happens if it has none. */
  cancel(slot: number): void {
    if (!this.has(slot)) return;
    this.#unlink(this.#firstNode + slot);
    this.#size--;
  }

  /**
   * Expire everything due at `nowMs`. A time at or before an earlier call's changes nothing.
   *
   * @param nowMs finite; feed a monotonic clock, or a step of the wall clock expires everybody
   * @param onExpired called once per expired slot, which is no longer scheduled then. It may schedule or cancel any slot
   *   but not advance. What it throws comes out of `advance`, and the rest expires with the next call
   * @returns the number of slots expired
   */
  advance(nowMs: number, onExpired: (slot: number) => void): number {
    if (this.#isAdvancing) throw new HalleyError('WHEEL_REENTERED', 'a wheel is not advanced from its own callback');
    const targetTick = Math.floor(nowMs / this.#tickMs);
    const visiting = this.#bucketCount;
    const wasInterrupted = this.#next[visiting] !== visiting;
    // Written so that NaN returns here.
    if (!(targetTick > this.#visitedTick) && !wasInterrupted) return 0;
    if (targetTick > this.#currentTick) this.#currentTick = targetTick;
    this.#isAdvancing = true;
    try {
      let expiredCount = wasInterrupted ? this.#visit(this.#visitedTick, onExpired) : 0;
      let tick = Math.max(this.#visitedTick + 1, this.#currentTick - this.#bucketCount + 1);
      for (; tick <= this.#currentTick; tick++) {
        this.#visitedTick = tick;
        const head = tick & this.#bucketMask;
        if (this.#next[head] === head) continue;
        this.#moveToVisiting(head);
        expiredCount += this.#visit(tick, onExpired);
      }
      return expiredCount;
    } finally {
      this.#isAdvancing = false;
    }
  }

  /** Empty the visiting list: what is due at `tick` expires, the rest moves to the bucket of its deadline. */
  #visit(tick: number, onExpired: (slot: number) => void): number {
    const visiting = this.#bucketCount;
    let expiredCount = 0;
    // The list only shrinks here: callbacks link into buckets, never into this list.
    for (let node = this.#next[visiting]!; node !== visiting; node = this.#next[visiting]!) {
      const slot = node - this.#firstNode;
      const deadlineTick = this.#deadlineTick[slot]!;
      this.#unlink(node);
      if (deadlineTick > tick) {
        this.#link(node, deadlineTick & this.#bucketMask);
        continue;
      }
      this.#size--;
      expiredCount++;
      onExpired(slot);
    }
    return expiredCount;
  }

  /** Hand a bucket's whole list, not empty, to the visiting head, so that callbacks may link into the bucket again. */
  #moveToVisiting(head: number): void {
    const visiting = this.#bucketCount;
    const first = this.#next[head]!;
    const last = this.#previous[head]!;
    this.#next[visiting] = first;
    this.#previous[first] = visiting;
    this.#previous[visiting] = last;
    this.#next[last] = visiting;
    this.#next[head] = head;
    this.#previous[head] = head;
  }

  /** Append `node` to the list of `head`. */
  #link(node: number, head: number): void {
    const last = this.#previous[head]!;
    this.#next[last] = node;
    this.#previous[node] = last;
    this.#next[node] = head;
    this.#previous[head] = node;
  }

  #unlink(node: number): void {
    const next = this.#next[node]!;
    const previous = this.#previous[node]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[node] = NOT_LINKED;
  }

  /** The tick for a deadline that is not ahead; also where a deadline that is no number is refused. */
  #tickOfPast(deadlineMs: number): number {
    if (Number.isNaN(deadlineMs)) throw new HalleyError('WHEEL_BAD_DEADLINE', 'a deadline is a number', { deadlineMs });
    return this.#currentTick + 1;
  }

  /** Double the arrays until `slot` fits. */
  #grow(slot: number): void {
    if (!Number.isInteger(slot) || slot < 0 || slot >= MAX_SLOT_COUNT) {
      throw new HalleyError('WHEEL_BAD_SLOT', `a slot is a whole number from 0 to ${MAX_SLOT_COUNT - 1}`, { slot });
    }
    let slotCount = this.#slotCount;
    while (slotCount <= slot) slotCount *= 2;
    const next = new Int32Array(this.#firstNode + slotCount).fill(NOT_LINKED, this.#next.length);
    const previous = new Int32Array(this.#firstNode + slotCount);
    const deadlineTick = new Float64Array(slotCount);
    next.set(this.#next);
    previous.set(this.#previous);
    deadlineTick.set(this.#deadlineTick);
    this.#next = next;
    this.#previous = previous;
    this.#deadlineTick = deadlineTick;
    this.#slotCount = slotCount;
  }
}
