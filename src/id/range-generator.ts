/**
 * Ids from ranges that a database hands out: served synchronously from memory, the next range fetched before this one ends.
 *
 * Threads: one; each thread and process has its own generator, all may share the database.
 * Guarantees: no id twice, whoever shares the source; rising as long as the source's ranges rise (each generator sees its own
 *   rise; between generators there is no order). A generator that dies skips what it had buffered: at most two ranges. While the
 *   database is away the buffered ranges are served to their end, then `next` throws ID_RANGE_EMPTY and `ready` rejects with the
 *   reason; the fetch is tried again each time half of the rest is used up, and by `ready`, at most once per retryMs.
 * Source: Meituan's Leaf-segment: two buffers, and a step that follows the rate. Ours orders the next range at half of this one,
 *   not at a tenth (less is lost by a crash), and changes the step by the measured rate, up to four times at once.
 * Hot path: `tryNextNumber`, `tryWriteTo`: a comparison and an addition; no garbage.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import type { IdGenerator, IdParts, IdScheme } from './id-generator.port.js';
import { idValueOf, requireManyCount, writeU53To } from './id-value.js';
import type { IdRange, RangeSource } from './range-source.port.js';

export interface RangeParts extends IdParts {
  readonly timestampMs: undefined;
  readonly value: bigint;
}

export interface RangeGeneratorOptions {
  readonly scheme: IdScheme;
  readonly source: RangeSource;
  /** The first step and the least, in ids. Default 1,000. */
  readonly minStepCount?: number;
  /** The greatest step; it bounds what a crash skips. Default 1,000,000. */
  readonly maxStepCount?: number;
  /** How long one range should last at the measured rate, in ms. Default 10,000. */
  readonly rangeLastsMs?: number;
  /** How long after a failed fetch the source is left alone, in ms. Default 200. */
  readonly retryMs?: number;
  /** Fetch exactly what is awaited, nothing ahead: every id costs a call, and ids of all generators have one order. */
  readonly isSingle?: boolean;
  readonly clock?: Clock;
}

const GROWTH_AT_MOST = 4;
const SHRINK_AT_MOST = 2;

export class RangeGenerator implements IdGenerator<bigint, RangeParts> {
  readonly scheme: IdScheme;
  readonly idBytes = 8;
  readonly #source: RangeSource;
  readonly #minStepCount: number;
  readonly #maxStepCount: number;
  readonly #rangeLastsMs: number;
  readonly #retryMs: number;
  readonly #isSingle: boolean;
  readonly #clock: Clock;
  #nextId = 0;
  #strideIds = 1;
  /** Where #takeSlow is due: half of the range, then its end. */
  #softEndId = 0;
  #endId = 0;
  #spare: IdRange | undefined;
  #fetch: Promise<void> | undefined;
  #failure: HalleyError | undefined;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #stepCount: number;
  /** The range in use, for the rate. */
  #adoptedAtMs = 0;
  #adoptedId = 0;
  #waiterCount = 0;

  constructor(options: RangeGeneratorOptions) {
    this.scheme = options.scheme;
    this.#source = options.source;
    this.#minStepCount = options.minStepCount ?? 1_000;
    this.#maxStepCount = options.maxStepCount ?? Math.max(1_000_000, this.#minStepCount);
    this.#rangeLastsMs = options.rangeLastsMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 200;
    this.#isSingle = options.isSingle ?? false;
    this.#clock = options.clock ?? systemClock;
    this.#stepCount = this.#minStepCount;
    const steps = { minStepCount: this.#minStepCount, maxStepCount: this.#maxStepCount };
    const isStep = Number.isInteger(steps.minStepCount) && Number.isInteger(steps.maxStepCount);
    if (!isStep || steps.minStepCount < 1 || steps.maxStepCount < steps.minStepCount || steps.maxStepCount > 2 ** 40) {
      throw new HalleyError('ID_BAD_OPTION', `steps are 1 <= minStepCount <= maxStepCount <= ${2 ** 40}`, steps);
    }
    if (!(this.#rangeLastsMs > 0) || !(this.#retryMs >= 0)) {
      throw new HalleyError('ID_BAD_OPTION', 'rangeLastsMs is above 0, retryMs 0 or more', {
        rangeLastsMs: this.#rangeLastsMs,
        retryMs: this.#retryMs,
      });
    }
  }

  /** Ids that can be drawn without waiting. */
  get bufferedCount(): number {
    return (this.#endId - this.#nextId) / this.#strideIds + (this.#spare?.idCount ?? 0);
  }

  /** Why the last fetch failed; undefined once one succeeded. */
  get failure(): HalleyError | undefined {
    return this.#failure;
  }

  /** What the next fetch asks for, as the rate has set it so far. */
  get stepCount(): number {
    return this.#stepCount;
  }

  /** The next id, or -1 where none is buffered. */
  tryNextNumber(): number {
    const id = this.#nextId;
    if (id >= this.#softEndId) return this.#takeSlow();
    this.#nextId = id + this.#strideIds;
    return id;
  }

  tryNext(): bigint | undefined {
    const id = this.tryNextNumber();
    return id < 0 ? undefined : BigInt(id);
  }

  next(): bigint {
    const id = this.tryNextNumber();
    if (id < 0) throw this.#emptyError();
    return BigInt(id);
  }

  nextMany(count: number): bigint[] {
    requireManyCount(count);
    if (this.bufferedCount < count) {
      this.#order();
      throw this.#emptyError();
    }
    return Array.from({ length: count }, () => this.next());
  }

  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    const id = this.tryNextNumber();
    if (id < 0) return OUTCOME.FULL;
    writeU53To(bytes, offset, id);
    return OUTCOME.OK;
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    if (this.tryWriteTo(bytes, offset) !== OUTCOME.OK) throw this.#emptyError();
  }

  async ready(): Promise<void> {
    if (this.bufferedCount > 0) return;
    this.#waiterCount++;
    try {
      // A fetch under way was sized before this caller came: in single mode it belongs to others.
      if (this.#isSingle && this.#fetch !== undefined) await this.#fetch;
      if (this.bufferedCount === 0) {
        if (this.#fetch === undefined && this.#isCooling()) throw this.#reason();
        await this.#startFetch();
      }
    } finally {
      this.#waiterCount--;
    }
    if (this.bufferedCount === 0 && this.#failure !== undefined) throw this.#reason();
  }

  decode(id: bigint | string | Uint8Array): RangeParts {
    return { timestampMs: undefined, value: idValueOf(id) };
  }

  /** At half of a range: order the next one. At its end: go over to it. */
  #takeSlow(): number {
    if (this.#nextId >= this.#endId) {
      if (this.#spare === undefined) {
        this.#order();
        return -1;
      }
      this.#adopt(this.#spare);
      this.#spare = undefined;
      if (this.#nextId < this.#softEndId) return this.tryNextNumber();
    }
    this.#order();
    // Ordered or not: look again when half of the rest is used up, which is what tries again after a failure.
    const restCount = (this.#endId - this.#nextId) / this.#strideIds;
    this.#softEndId = this.#nextId + Math.ceil(restCount / 2) * this.#strideIds;
    const id = this.#nextId;
    this.#nextId = id + this.#strideIds;
    return id;
  }

  #adopt(range: IdRange): void {
    this.#nextId = range.firstId;
    this.#strideIds = range.strideIds;
    this.#endId = range.firstId + range.idCount * range.strideIds;
    this.#softEndId = range.firstId + Math.floor(range.idCount / 2) * range.strideIds;
    this.#adoptedAtMs = this.#clock.monotonicMs();
    this.#adoptedId = range.firstId;
  }

  /** Fetch the next range unless one is there, under way, or failed a moment ago. */
  #order(): void {
    if (this.#isSingle || this.#spare !== undefined || this.#fetch !== undefined || this.#isCooling()) return;
    void this.#startFetch();
  }

  #isCooling(): boolean {
    return this.#failure !== undefined && this.#clock.monotonicMs() - this.#failedAtMs < this.#retryMs;
  }

  /** Never rejects: what failed is kept in #failure. */
  #startFetch(): Promise<void> {
    this.#fetch ??= this.#runFetch();
    return this.#fetch;
  }

  async #runFetch(): Promise<void> {
    if (this.#isSingle) {
      // Whoever asks in this turn of the loop shares one call.
      await Promise.resolve();
      this.#stepCount = Math.max(1, Math.min(this.#waiterCount, this.#maxStepCount));
    } else this.#adaptStep();
    try {
      // Through a function of its own: what a source throws at once must not end this call before #fetch is set.
      const range = await (async () => this.#source.reserve(this.#stepCount))();
      this.#failure = undefined;
      if (this.#nextId >= this.#endId) this.#adopt(range);
      else this.#spare = range;
    } catch (error) {
      this.#failure =
        error instanceof HalleyError
          ? error
          : new HalleyError('ID_SOURCE_FAILED', 'the source of id ranges failed', { scheme: this.scheme }, error);
      this.#failedAtMs = this.#clock.monotonicMs();
    } finally {
      // In the same turn as the range: who used it up a moment later must be able to order the next.
      this.#fetch = undefined;
    }
  }

  /** Size the next range so that it lasts rangeLastsMs at the rate of the one in use. */
  #adaptStep(): void {
    const usedCount = (this.#nextId - this.#adoptedId) / this.#strideIds;
    if (usedCount === 0) return;
    const elapsedMs = this.#clock.monotonicMs() - this.#adoptedAtMs;
    const wantedCount = elapsedMs > 0 ? (usedCount / elapsedMs) * this.#rangeLastsMs : Number.POSITIVE_INFINITY;
    const grownCount = Math.min(wantedCount, this.#stepCount * GROWTH_AT_MOST, this.#maxStepCount);
    this.#stepCount = Math.ceil(Math.max(grownCount, this.#stepCount / SHRINK_AT_MOST, this.#minStepCount));
  }

  #emptyError(): HalleyError {
    return new HalleyError(
      'ID_RANGE_EMPTY',
      'fewer ids are buffered than were asked for: await ready(), or draw with drawId and drawIds, which wait',
      { scheme: this.scheme, bufferedCount: this.bufferedCount },
      this.#failure,
    );
  }

  #reason(): HalleyError {
    return this.#failure ?? this.#emptyError();
  }
}
