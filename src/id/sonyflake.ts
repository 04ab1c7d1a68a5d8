/**
 * Sonyflake: unique, strictly rising 63-bit ids; more machines and years than a snowflake, fewer ids per second.
 *
 * Threads: one generator per machine id, used by the thread that made it. Making another on the same memory takes it over; the
 *   older one refuses from its next draw on.
 * Layout: sonyflake-memory.ts.
 * Guarantees: strictly rising, for as long as the memory lives. 256 ids per 10 ms: `tryWriteTo` and `tryNext` then say FULL
 *   (undefined) and never wait; `next` and `writeTo` sleep, at most about 10 ms; `ready` waits on a timer. Where the wall clock is
 *   behind the last id (it was stepped back) ids count on and take one more tick per 10 ms of monotonic time: never a repeat, and
 *   never a wait for the clock to catch up. No id's time reaches the issue limit. Across restarts: MachineClaim.
 * Source: github.com/sony/sonyflake. Ours does not sleep until the wall clock has caught up after a step back (theirs sleeps the
 *   whole step once a tick is used up), and checks the claim on the machine id in the draw.
 * Hot path: `tryWriteTo`; bench/id/schemes.bench.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import type { IdGenerator, IdParts } from './id-generator.port.js';
import { idValueOf, requireManyCount, writeWordsTo } from './id-value.js';
import {
  requireSonyflakeMemory,
  SONYFLAKE_CONTROL_WORD,
  SONYFLAKE_EPOCH_DOUBLE,
  SONYFLAKE_GENERATION_WORD,
  SONYFLAKE_LIMIT_DOUBLE,
  SONYFLAKE_MACHINE_WORD,
  SONYFLAKE_SEQUENCE_COUNT,
  SONYFLAKE_TICK_MS,
  SONYFLAKE_TICKET_DOUBLE,
  SONYFLAKE_TICKET_END,
} from './sonyflake-memory.js';

export interface SonyflakeParts extends IdParts {
  /** Start of the id's 10 ms, wall clock ms since 1970. */
  readonly timestampMs: number;
  /** 0 to 255. */
  readonly sequence: number;
  /** 0 to 65,535. */
  readonly machineId: number;
}

const SEQUENCE_MASK = SONYFLAKE_SEQUENCE_COUNT - 1;
/** The high word holds time from 256 ticks up: 24 bits lie below bit 24 of the id, 8 of them are time. */
const TICKETS_PER_HIGH_WORD = 256 * SONYFLAKE_SEQUENCE_COUNT;
/** Sleeps of a tick, about half a second, after which the clock is taken to stand still. */
const MAX_WAIT_SLEEPS = 50;

export class Sonyflake implements IdGenerator<bigint, SonyflakeParts> {
  readonly scheme = 'sonyflake';
  readonly idBytes = 8;
  readonly machineId: number;
  readonly epochMs: number;
  readonly #clock: Clock;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #doubles: Float64Array<SharedArrayBuffer>;
  readonly #generation: number;
  /** Slept on, never notified. */
  readonly #bed = new Int32Array(new SharedArrayBuffer(4));
  /** Monotonic ms at which this generator began its last tick. */
  #tickStartedMs = Number.NEGATIVE_INFINITY;
  #controlVersion = 0;
  #limitTicket = 0;
  #isTakenOver = false;
  #highWord = 0;
  #lowWord = 0;
  readonly #pair = new Uint32Array(2);
  readonly #pairAsBigInt = new BigUint64Array(this.#pair.buffer);

  /**
   * @param memory made by allocateSonyflake, shared, not copied
   * @param clock must move while it is read
   */
  constructor(memory: SharedArrayBuffer, clock: Clock = systemClock) {
    this.#words = requireSonyflakeMemory(memory);
    this.#doubles = new Float64Array(memory);
    this.#clock = clock;
    this.machineId = this.#words[SONYFLAKE_MACHINE_WORD]!;
    this.epochMs = this.#doubles[SONYFLAKE_EPOCH_DOUBLE]!;
    const nowMs = clock.nowMs();
    if (nowMs < this.epochMs) {
      throw new HalleyError('ID_CLOCK_BEFORE_EPOCH', "the host's clock is before the id epoch: set the clock", {
        nowMs,
        epochMs: this.epochMs,
      });
    }
    this.#generation = Atomics.add(this.#words, SONYFLAKE_GENERATION_WORD, 1) + 1;
    // Pairs with the load in #draw of the generator that had the memory before.
    Atomics.add(this.#words, SONYFLAKE_CONTROL_WORD, 1);
    this.#readControl();
  }

  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    const outcome = this.#draw();
    if (outcome !== OUTCOME.OK) return outcome;
    writeWordsTo(bytes, offset, this.#highWord, this.#lowWord);
    return OUTCOME.OK;
  }

  /** Sleeps up to 10 ms where the tick is used up. Throws ID_LIMIT_REACHED or ID_SLOT_TAKEN_OVER. */
  writeTo(bytes: Uint8Array, offset: number): void {
    for (let sleeps = 0; ; sleeps++) {
      const outcome = this.tryWriteTo(bytes, offset);
      if (outcome === OUTCOME.OK) return;
      this.#sleepOrThrow(outcome, sleeps);
    }
  }

  tryNext(): bigint | undefined {
    return this.#draw() === OUTCOME.OK ? this.#lastId() : undefined;
  }

  /** As writeTo. */
  next(): bigint {
    for (let sleeps = 0; ; sleeps++) {
      const outcome = this.#draw();
      if (outcome === OUTCOME.OK) return this.#lastId();
      this.#sleepOrThrow(outcome, sleeps);
    }
  }

  /** Sleeps through as many ticks as the ids need: 39 ms per thousand. */
  nextMany(count: number): bigint[] {
    requireManyCount(count);
    return Array.from({ length: count }, () => this.next());
  }

  async ready(): Promise<void> {
    for (let sleeps = 0; sleeps < MAX_WAIT_SLEEPS; sleeps++) {
      const ticket = this.#nextTicket();
      if (ticket >= this.#limitTicket) throw this.#refusal();
      if (ticket >= 0) return;
      await sleep(this.#untilNextTickMs());
    }
    throw this.#stoppedClock();
  }

  decode(id: bigint | string | Uint8Array): SonyflakeParts {
    const value = idValueOf(id);
    return {
      timestampMs: this.epochMs + Number(value >> 24n) * SONYFLAKE_TICK_MS,
      sequence: Number((value >> 16n) & 255n),
      machineId: Number(value & 65_535n),
    };
  }

  #lastId(): bigint {
    this.#pair[0] = this.#lowWord;
    this.#pair[1] = this.#highWord;
    return this.#pairAsBigInt[0]!;
  }

  #draw(): Outcome {
    const ticket = this.#nextTicket();
    if (ticket < 0) return OUTCOME.FULL;
    if (ticket >= this.#limitTicket) return OUTCOME.CLOSED;
    if ((ticket & SEQUENCE_MASK) === 0) this.#tickStartedMs = this.#clock.monotonicMs();
    // Before the id leaves this function: a thread killed from here on leaves a gap, never a repeat.
    this.#doubles[SONYFLAKE_TICKET_DOUBLE] = ticket;
    this.#highWord = (ticket / TICKETS_PER_HIGH_WORD) | 0;
    // Bit operators take the ticket modulo 2^32: its low 16 bits are 8 of time and the sequence.
    this.#lowWord = (ticket << 16) | this.machineId;
    return OUTCOME.OK;
  }

  /** The ticket that a draw would take, or -1 where the tick is used up and the next one has not begun. */
  #nextTicket(): number {
    // Pairs with the Atomics.add in sonyflakeGate and in the constructor of a generator that takes the memory over.
    if (Atomics.load(this.#words, SONYFLAKE_CONTROL_WORD) !== this.#controlVersion) this.#readControl();
    const last = this.#doubles[SONYFLAKE_TICKET_DOUBLE]!;
    const wall = Math.floor((this.#clock.nowMs() - this.epochMs) / SONYFLAKE_TICK_MS) * SONYFLAKE_SEQUENCE_COUNT;
    if (wall > last) return wall;
    const ticket = last + 1;
    const mustWait = (ticket & SEQUENCE_MASK) === 0 && ticket < this.#limitTicket && this.#untilNextTickMs() > 0;
    return mustWait ? -1 : ticket;
  }

  /** The next tick begins with the wall clock's, or 10 ms of monotonic time after the last: the second counts after a step back. */
  #untilNextTickMs(): number {
    return Math.max(0, this.#tickStartedMs + SONYFLAKE_TICK_MS - this.#clock.monotonicMs());
  }

  /** On the wall clock a tick may end sooner than 10 ms after this generator's first draw in it: sleeps are short. */
  #sleepOrThrow(outcome: Outcome, sleeps: number): void {
    if (outcome !== OUTCOME.FULL) throw this.#refusal();
    if (sleeps >= MAX_WAIT_SLEEPS) throw this.#stoppedClock();
    const wallMs = SONYFLAKE_TICK_MS - ((this.#clock.nowMs() - this.epochMs) % SONYFLAKE_TICK_MS);
    Atomics.wait(this.#bed, 0, 0, Math.max(0.1, Math.min(wallMs, this.#untilNextTickMs())));
  }

  #readControl(): void {
    this.#controlVersion = Atomics.load(this.#words, SONYFLAKE_CONTROL_WORD);
    this.#isTakenOver = Atomics.load(this.#words, SONYFLAKE_GENERATION_WORD) !== this.#generation;
    // A tick counts as late as it ends: one that the limit cuts is not begun.
    const limitTick = Math.floor((this.#doubles[SONYFLAKE_LIMIT_DOUBLE]! - this.epochMs) / SONYFLAKE_TICK_MS);
    this.#limitTicket = this.#isTakenOver ? 0 : Math.min(limitTick * SONYFLAKE_SEQUENCE_COUNT, SONYFLAKE_TICKET_END);
  }

  #refusal(): HalleyError {
    const { machineId } = this;
    if (this.#isTakenOver) {
      return new HalleyError('ID_SLOT_TAKEN_OVER', 'a newer generator owns the machine id: use that one', {
        machineId,
      });
    }
    return new HalleyError(
      'ID_LIMIT_REACHED',
      'the time for which this machine id may issue is over and was not renewed (its claim)',
      { machineId, limitMs: this.#doubles[SONYFLAKE_LIMIT_DOUBLE]!, nowMs: this.#clock.nowMs() },
    );
  }

  #stoppedClock(): HalleyError {
    return new HalleyError('ID_CLOCK_STOPPED', 'ids need a clock that moves while it is read, not a cached one', {
      sleeps: MAX_WAIT_SLEEPS,
    });
  }
}
