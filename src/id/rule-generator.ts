/**
 * Ids made by a rule, for people and paper: prefix, business tag, date, a sequence that begins anew each day, check digits.
 * The language: rule-template.ts.
 *
 * Threads: one; any number of generators, threads and servers share the store.
 * Guarantees: no id twice. Each day (month, year) has a counter of its own in the store, named by its date, so a sequence number is
 *   never drawn for another date than it was reserved for: midnight, a stepped clock and servers whose clocks disagree cannot make
 *   two alike. A clock stepped back over midnight by up to 2 hours keeps the later date; further back, ids follow the clock and go
 *   on in that day's counter. Rising within a date per generator. A full sequence is an error (ID_COUNTER_ENDED), never a longer id.
 *   The store away: as RangeGenerator.
 * Hot path: `tryWriteTo`; no garbage but once per second, minute or day, whatever the date shows.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import { luhnDigitOf, mod97After, mod97RemainderOf } from './check-digit.js';
import type { IdGenerator, IdParts } from './id-generator.port.js';
import { malformedId, requireManyCount } from './id-value.js';
import { RangeGenerator } from './range-generator.js';
import { momentOf, periodName, periodSpan, shownSpan, shownValue } from './rule-calendar.js';
import { type DateToken, parseRuleTemplate, type RuleField, type RuleTemplate } from './rule-template.js';
import { SegmentSource } from './segment-source.js';
import type { SegmentStore } from './segment-store.port.js';

export interface RuleParts extends IdParts {
  /** What the date in the id says, or undefined where the template has none. */
  readonly timestampMs: number | undefined;
  readonly sequence: number;
}

export interface RuleOptions {
  readonly template: string;
  /** What {tag} stands for. */
  readonly tag?: string;
  readonly store: SegmentStore;
  /** The offset of the days from UTC, in minutes: 480 for China. Default 0. */
  readonly utcOffsetMinutes?: number;
  /** Steps in which sequence numbers are reserved; what a crash skips. Default: from a thousandth to a hundredth of the sequence. */
  readonly minStepCount?: number;
  readonly maxStepCount?: number;
  readonly clock?: Clock;
}

/** How far the clock may be behind the date in use before ids follow it back. */
const HOLD_DATE_MS = 7_200_000;
/** How long before its beginning the next date's first range is fetched. */
const AHEAD_MS = 60_000;
const ZERO = 48;

export class RuleGenerator implements IdGenerator<string, RuleParts> {
  readonly scheme = 'rule';
  readonly idBytes: number;
  readonly #options: RuleOptions;
  readonly #template: RuleTemplate;
  readonly #tokens: readonly DateToken[];
  readonly #offsetMs: number;
  readonly #clock: Clock;
  /** The id last made; date and fixed text stand in it already. */
  readonly #text: Buffer;
  /** From when to when #text and #sequence need no look at the calendar, wall clock ms. */
  #validFromMs = Number.POSITIVE_INFINITY;
  #validToMs = Number.NEGATIVE_INFINITY;
  /** Of what stands before the sequence, modulo 97. */
  #headRemainder = 0;
  #period = '';
  #periodStartMs = Number.NEGATIVE_INFINITY;
  #sequence: RangeGenerator;
  #upcoming: { readonly period: string; readonly sequence: RangeGenerator } | undefined;

  /** @throws HalleyError ID_BAD_TEMPLATE, ID_BAD_OPTION */
  constructor(options: RuleOptions) {
    const { template, tag = '', utcOffsetMinutes = 0, clock = systemClock } = options;
    if (!Number.isInteger(utcOffsetMinutes) || Math.abs(utcOffsetMinutes) > 840) {
      throw new HalleyError('ID_BAD_OPTION', 'an offset from UTC is -840 to 840 minutes', { utcOffsetMinutes });
    }
    this.#options = options;
    this.#template = parseRuleTemplate(template, tag);
    this.#tokens = this.#template.dates.map((field) => field.token);
    this.#offsetMs = utcOffsetMinutes * 60_000;
    this.#clock = clock;
    this.#text = Buffer.from(this.#template.skeleton, 'latin1');
    this.idBytes = this.#text.length;
    const nowMs = clock.nowMs();
    this.#period = periodName(this.#template.period, nowMs, this.#offsetMs);
    this.#sequence = this.#sequenceOf(this.#period);
    this.#turnTo(nowMs);
  }

  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    if (!this.#draw()) return OUTCOME.FULL;
    bytes.set(this.#text, offset);
    return OUTCOME.OK;
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    if (!this.#draw()) throw this.#emptyError();
    bytes.set(this.#text, offset);
  }

  tryNext(): string | undefined {
    return this.#draw() ? this.#text.toString('latin1') : undefined;
  }

  next(): string {
    if (!this.#draw()) throw this.#emptyError();
    return this.#text.toString('latin1');
  }

  nextMany(count: number): string[] {
    requireManyCount(count);
    this.#lookAtClock();
    if (this.#sequence.bufferedCount < count) {
      // Orders the next range where none is under way.
      if (this.#sequence.bufferedCount === 0) this.#sequence.tryNextNumber();
      throw this.#emptyError();
    }
    return Array.from({ length: count }, () => this.next());
  }

  ready(): Promise<void> {
    this.#lookAtClock();
    return this.#sequence.ready();
  }

  decode(id: string | Uint8Array): RuleParts {
    const text = typeof id === 'string' ? id : Buffer.from(id).toString('latin1');
    const { skeleton, dates, sequence, check } = this.#template;
    if (text.length !== skeleton.length)
      throw malformedId(`an id of this rule has ${skeleton.length} characters`, text);
    const variable: RuleField[] = [...dates, sequence, ...(check === undefined ? [] : [check])];
    for (let index = 0; index < text.length; index++) {
      const isVariable = variable.some((field) => index >= field.offset && index < field.offset + field.length);
      const isRight = isVariable ? /^[0-9]$/.test(text[index]!) : text[index] === skeleton[index];
      const expected = isVariable ? 'a digit' : JSON.stringify(skeleton[index]);
      if (!isRight) throw malformedId(`an id of this rule has ${expected} at position ${index + 1}`, text);
    }
    this.#requireCheck(text);
    const numberIn = (field: RuleField): number => Number(text.slice(field.offset, field.offset + field.length));
    if (numberIn(sequence) === 0) throw malformedId('a sequence begins at 1', text);
    const values = new Map(dates.map((field) => [field.token, numberIn(field)] as const));
    const timestampMs = dates.length === 0 ? undefined : momentOf(values, this.#offsetMs);
    if (dates.length > 0 && timestampMs === undefined) throw malformedId('the date in the id does not exist', text);
    return { timestampMs, sequence: numberIn(sequence) };
  }

  #draw(): boolean {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#validFromMs || nowMs >= this.#validToMs) this.#turnTo(nowMs);
    let sequence = this.#sequence.tryNextNumber();
    if (sequence < 0) return false;
    const text = this.#text;
    const field = this.#template.sequence;
    for (let index = field.offset + field.length - 1; index >= field.offset; index--) {
      const rest = Math.floor(sequence / 10);
      text[index] = ZERO + sequence - rest * 10;
      sequence = rest;
    }
    const check = this.#template.check;
    if (check === undefined) return true;
    if (check.kind === 'luhn') text[check.offset] = ZERO + luhnDigitOf(text, check.offset);
    else {
      const remainder = mod97RemainderOf(text, field.offset, check.offset, this.#headRemainder);
      writeTwoDigits(text, check.offset, mod97After(remainder));
    }
    return true;
  }

  #lookAtClock(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#validFromMs || nowMs >= this.#validToMs) this.#turnTo(nowMs);
  }

  /** Put the date of `clockMs` into the text, and the counter of its day (month, year) into use. */
  #turnTo(clockMs: number): void {
    const { period, dates } = this.#template;
    const isHeld = clockMs < this.#periodStartMs && clockMs >= this.#periodStartMs - HOLD_DATE_MS;
    const nowMs = isHeld ? this.#periodStartMs : clockMs;
    if (nowMs >= this.#validFromMs && nowMs < this.#validToMs) return;
    const name = periodName(period, nowMs, this.#offsetMs);
    const periodOfNow = periodSpan(period, nowMs, this.#offsetMs);
    if (name !== this.#period) {
      this.#sequence = this.#upcoming?.period === name ? this.#upcoming.sequence : this.#sequenceOf(name);
      this.#upcoming = undefined;
      this.#period = name;
    }
    this.#periodStartMs = periodOfNow.startMs;
    for (const field of dates) {
      const digits = String(shownValue(field.token, nowMs, this.#offsetMs)).padStart(field.length, '0');
      this.#text.write(digits, field.offset, field.length, 'latin1');
    }
    this.#headRemainder = mod97RemainderOf(this.#text, 0, this.#template.sequence.offset);
    const shown = shownSpan(this.#tokens, period, nowMs, this.#offsetMs);
    this.#validFromMs = shown.startMs;
    this.#validToMs = shown.endMs;
    const aheadMs = periodOfNow.endMs - AHEAD_MS;
    if (nowMs < aheadMs) this.#validToMs = Math.min(shown.endMs, aheadMs);
    else this.#fetchAhead(periodOfNow.endMs);
  }

  #fetchAhead(nextPeriodMs: number): void {
    if (this.#upcoming !== undefined) return;
    const period = periodName(this.#template.period, nextPeriodMs, this.#offsetMs);
    const sequence = this.#sequenceOf(period);
    this.#upcoming = { period, sequence };
    // Orders its first range; it keeps a failure for whoever draws.
    sequence.tryNextNumber();
  }

  #sequenceOf(period: string): RangeGenerator {
    const { store, template, tag = '', clock } = this.#options;
    const endId = 10 ** this.#template.sequence.length;
    const minStepCount = this.#options.minStepCount ?? Math.min(1_000, Math.max(1, endId / 1_000));
    const maxStepCount = this.#options.maxStepCount ?? Math.min(1_000_000, Math.max(minStepCount, endId / 100));
    const source = new SegmentSource({ store, tag: `rule/${template}/${tag}/${period}`, endId });
    return new RangeGenerator({
      scheme: 'rule',
      source,
      minStepCount: Math.ceil(minStepCount),
      maxStepCount: Math.ceil(maxStepCount),
      ...(clock === undefined ? {} : { clock }),
    });
  }

  #requireCheck(text: string): void {
    const check = this.#template.check;
    if (check === undefined) return;
    const bytes = Buffer.from(text, 'latin1');
    const isRight =
      check.kind === 'luhn'
        ? luhnDigitOf(bytes, check.offset) === bytes[check.offset]! - ZERO
        : mod97After(mod97RemainderOf(bytes, 0, check.offset)) === Number(text.slice(check.offset));
    if (!isRight) throw malformedId(`the check digits {${check.kind}} at position ${check.offset + 1} are wrong`, text);
  }

  #emptyError(): HalleyError {
    const facts = { scheme: 'rule', period: this.#period, bufferedCount: this.#sequence.bufferedCount };
    return new HalleyError(
      'ID_RANGE_EMPTY',
      'no sequence number is buffered: await ready()',
      facts,
      this.#sequence.failure,
    );
  }
}

function writeTwoDigits(text: Uint8Array, offset: number, value: number): void {
  text[offset] = ZERO + Math.floor(value / 10);
  text[offset + 1] = ZERO + (value % 10);
}
