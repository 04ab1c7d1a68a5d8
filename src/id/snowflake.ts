/**
 * A thread's generator of snowflakes: unique, strictly rising 63-bit ids from the thread's own slot of shared memory.
 *
 * Threads: one generator per slot at a time, used by the thread that made it. Making another one on the slot takes it
 *   over; the older one refuses from its next draw on. A thread's successor makes its generator after the old thread has
 *   exited: the take-over is a safety net, not a lock.
 * Layout: snowflake.layout.ts.
 * Guarantees: ids of a slot rise strictly, whatever the wall clock does and however often its thread is killed, for as
 *   long as the memory lives. 4,096 ids per millisecond and slot; the next draw then waits for the next millisecond, at
 *   most about 1 ms. Where the wall clock is behind the last id (it was stepped back) ids count on in the last
 *   millisecond and, past its 4,096th, take one more millisecond per millisecond of monotonic time: never a repeat, never
 *   a wait for the wall clock to catch up. No id's millisecond reaches the issue limit. All of it holds over a change of the
 *   machine base too (a node that lost its lease and took another block).
 *   Across restarts of the process: HighWaterMark. Across slots ids are ordered to about a millisecond only.
 * Source: Twitter's Snowflake, 2010. Ours keeps the slot in shared memory, counts on over a step back instead of refusing,
 *   and checks a lease in the draw.
 * Hot path: `tryWriteTo` (44 ns, of which the clock is 33) and `next` (56 ns), bench/id/id.bench.ts. The only garbage of
 *   tryWriteTo is the number that Date.now itself boxes; `next` adds the bigint.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import { writeWordsTo } from './id-value.js';
import {
  BLOCK_FLOOR_DOUBLE,
  CONTROL_CHANGE,
  CONTROL_VERSION_WORD,
  EPOCH_DOUBLE,
  generationWord,
  LIMIT_DOUBLE,
  MACHINE_BASE_WORD,
  SEQUENCE_COUNT,
  SLOT_COUNT_WORD,
  TICKET_END,
  ticketDouble,
  ticketMachineWord,
} from './snowflake.layout.js';
import { requireSnowflakeMemory } from './snowflake-memory.js';

/** Readings of both clocks without a millisecond passing, about 0.3 s, after which the clock is taken to stand still. */
const MAX_WAIT_READINGS = 1 << 22;
const SEQUENCE_MASK = SEQUENCE_COUNT - 1;
/** The high word counts units of 1,024 ms. */
const TICKETS_PER_HIGH_WORD = 1024 * SEQUENCE_COUNT;

export class Snowflake {
  readonly slotIndex: number;
  readonly epochMs: number;
  readonly #clock: Clock;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;
  readonly #ticketIndex: number;
  readonly #generationIndex: number;
  readonly #generation: number;
  readonly #ticketMachineIndex: number;
  /** The machine id where it stands in an id. */
  #machineBits = 0;
  /** The last id, as a 31-bit and a signed 32-bit word. */
  #highWord = 0;
  #lowWord = 0;
  /** The shared control words as of #controlVersion. */
  #controlVersion = 0;
  #limitTicket = 0;
  #isTakenOver = false;
  /** Turns two words into a bigint without 64-bit arithmetic; low word first, as on every host that Halley runs on. */
  readonly #pair = new Uint32Array(2);
  readonly #pairAsBigInt = new BigUint64Array(this.#pair.buffer);

  /**
   * @param memory made by allocateSnowflake, shared, not copied
   * @param slotIndex 0 to slotCount - 1; this thread's own
   * @param clock must move while it is being read: a CachedClock is refused at the first wait
   */
  constructor(memory: SharedArrayBuffer, slotIndex: number, clock: Clock = systemClock) {
    this.#words = requireSnowflakeMemory(memory);
    this.#doubles = new Float64Array(memory);
    const slotCount = this.#words[SLOT_COUNT_WORD]!;
    if (!Number.isInteger(slotIndex) || slotIndex < 0 || slotIndex >= slotCount) {
      throw new HalleyError('ID_BAD_SLOT', 'the slot is not in this memory', { slotIndex, slotCount });
    }
    this.slotIndex = slotIndex;
    this.epochMs = this.#doubles[EPOCH_DOUBLE]!;
    this.#clock = clock;
    const nowMs = clock.nowMs();
    if (nowMs < this.epochMs) {
      throw new HalleyError('ID_CLOCK_BEFORE_EPOCH', "the host's clock is before the id epoch: set the clock", {
        nowMs,
        epochMs: this.epochMs,
      });
    }
    this.#ticketIndex = ticketDouble(slotIndex);
    this.#ticketMachineIndex = ticketMachineWord(slotIndex);
    this.#generationIndex = generationWord(slotIndex);
    this.#generation = Atomics.add(this.#words, this.#generationIndex, 1) + 1;
    // Pairs with the load in #draw of the generator that had the slot before.
    Atomics.add(this.#words, CONTROL_VERSION_WORD, CONTROL_CHANGE);
    this.#readControl();
  }

  /** 0 to 1,023, in every id that is drawn now. It changes when the node loses its lease and takes another block. */
  get machineId(): number {
    return this.#words[MACHINE_BASE_WORD]! + this.slotIndex;
  }

  /**
   * Write the next id as 8 bytes, big-endian, at `offset`.
   *
   * @returns OUTCOME.OK, or CLOSED with the bytes untouched: the issue limit is reached, or the slot was taken over
   */
  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    if (this.#draw() !== OUTCOME.OK) return OUTCOME.CLOSED;
    writeWordsTo(bytes, offset, this.#highWord, this.#lowWord);
    return OUTCOME.OK;
  }

  /** As tryWriteTo, for callers that cannot go on without an id: throws ID_LIMIT_REACHED or ID_SLOT_TAKEN_OVER. */
  writeTo(bytes: Uint8Array, offset: number): void {
    if (this.tryWriteTo(bytes, offset) !== OUTCOME.OK) throw this.#refusal();
  }

  /** The next id. Throws ID_LIMIT_REACHED or ID_SLOT_TAKEN_OVER. */
  next(): bigint {
    if (this.#draw() !== OUTCOME.OK) throw this.#refusal();
    this.#pair[0] = this.#lowWord;
    this.#pair[1] = this.#highWord;
    return this.#pairAsBigInt[0]!;
  }

  /**
   * The next id in decimal. Throws as `next`. V8's own conversion stays: a table of digit groups is 20 ns faster only
   * until somebody reads its concatenated string, and then 20 ns slower (measured through Buffer.write and JSON).
   */
  nextString(): string {
    return this.next().toString();
  }

  /**
   * Wall clock ms inside the last id that the slot issued, by this generator or one before. Before the first it is the
   * epoch, or the millisecond before the floor.
   */
  get lastTimestampMs(): number {
    return this.epochMs + Math.floor(this.#doubles[this.#ticketIndex]! / SEQUENCE_COUNT);
  }

  /** Take the slot's next ticket and set the two words of the id. CLOSED: nothing was taken. */
  #draw(): Outcome {
    // Pairs with the Atomics.add in setIssueLimitMs and in the constructor of a generator that takes the slot over.
    if (Atomics.load(this.#words, CONTROL_VERSION_WORD) !== this.#controlVersion) this.#readControl();
    const lastTicket = this.#doubles[this.#ticketIndex]!;
    let ticket = (this.#clock.nowMs() - this.epochMs) * SEQUENCE_COUNT;
    if (ticket <= lastTicket) {
      ticket = lastTicket + 1;
      if ((ticket & SEQUENCE_MASK) === 0 && ticket < this.#limitTicket) ticket = this.#waitForMsOf(ticket);
    }
    if (ticket >= this.#limitTicket) return OUTCOME.CLOSED;
    // Before the id leaves this function: a thread killed from here on leaves a gap, never a repeat.
    this.#doubles[this.#ticketIndex] = ticket;
    // Integer instructions only: 6 ns less (id.bench.ts) than dividing the ticket into ms and sequence. Bit operators take
    // a number modulo 2^32, so the shift below meets the low 20 bits of the millisecond and drops ten of them.
    this.#highWord = (ticket / TICKETS_PER_HIGH_WORD) | 0;
    this.#lowWord = ((ticket << 10) & 0xffc00000) | this.#machineBits | (ticket & SEQUENCE_MASK);
    return OUTCOME.OK;
  }

  /**
   * Spin until the wall clock reaches the millisecond of `ticket`, the first of its millisecond, or until 1 ms of
   * monotonic time has passed: the second ends the wait only where the wall clock is behind the ids.
   */
  #waitForMsOf(ticket: number): number {
    const startedMs = this.#clock.monotonicMs();
    for (let readings = 0; readings < MAX_WAIT_READINGS; readings++) {
      const wallTicket = (this.#clock.nowMs() - this.epochMs) * SEQUENCE_COUNT;
      if (wallTicket >= ticket) return wallTicket;
      if (this.#clock.monotonicMs() - startedMs >= 1) return ticket;
    }
    throw new HalleyError('ID_CLOCK_STOPPED', 'ids need a clock that moves while it is read, not a cached one', {
      readings: MAX_WAIT_READINGS,
    });
  }

  /**
   * Copy limit, machine base and ownership out of the shared header, all of one version: a limit that was promised for one
   * block must never be used with another. While the base is being exchanged nothing may be drawn, and the next draw looks again.
   */
  #readControl(): void {
    const words = this.#words;
    for (;;) {
      const version = Atomics.load(words, CONTROL_VERSION_WORD);
      const machineId = words[MACHINE_BASE_WORD]! + this.slotIndex;
      const floorTicket = (this.#doubles[BLOCK_FLOOR_DOUBLE]! - this.epochMs) * SEQUENCE_COUNT;
      const limitTicket = (this.#doubles[LIMIT_DOUBLE]! - this.epochMs) * SEQUENCE_COUNT;
      this.#isTakenOver = Atomics.load(words, this.#generationIndex) !== this.#generation;
      // A read-modify-write, so that the plain loads above stay above it; pairs with the adds in changeMachineBase.
      if (Atomics.add(words, CONTROL_VERSION_WORD, 0) !== version) continue;
      this.#controlVersion = version;
      const isClosed = this.#isTakenOver || (version & 1) !== 0;
      this.#limitTicket = isClosed ? 0 : Math.min(limitTicket, TICKET_END);
      if (!isClosed) this.#enterBlock(machineId, floorTicket);
      return;
    }
  }

  /** Machine ids may have changed: go on in a later millisecond, since a lower machine id would make a lower id, and above the floor. */
  #enterBlock(machineId: number, floorTicket: number): void {
    this.#machineBits = machineId << 12;
    let lastTicket = this.#doubles[this.#ticketIndex]!;
    if (this.#words[this.#ticketMachineIndex] !== machineId) {
      lastTicket += SEQUENCE_MASK - (lastTicket % SEQUENCE_COUNT);
      this.#words[this.#ticketMachineIndex] = machineId;
    }
    this.#doubles[this.#ticketIndex] = Math.max(lastTicket, floorTicket - 1);
  }

  #refusal(): HalleyError {
    const slotIndex = this.slotIndex;
    if (this.#isTakenOver) {
      return new HalleyError('ID_SLOT_TAKEN_OVER', 'a newer generator owns the id slot: use that one', { slotIndex });
    }
    const limitMs = this.#doubles[LIMIT_DOUBLE]!;
    return new HalleyError(
      'ID_LIMIT_REACHED',
      'the time for which this node may issue ids is over and was not renewed (its high-water mark or lease)',
      { slotIndex, limitMs, nowMs: this.#clock.nowMs(), lastTimestampMs: this.lastTimestampMs },
    );
  }
}
