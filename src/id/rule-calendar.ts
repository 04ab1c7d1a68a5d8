/**
 * The dates of rule-made ids: what a moment shows, and until when it shows the same. Days are those of one fixed offset from UTC,
 * so none is longer, shorter or double; a zone with summer time would repeat an hour.
 */
import type { DateToken, RulePeriod } from './rule-template.js';

const DAY_MS = 86_400_000;
const UNIT_MS: Readonly<Record<string, number>> = { dd: DAY_MS, HH: 3_600_000, mm: 60_000, ss: 1_000 };

/** From a moment (inclusive) to another (exclusive), wall clock ms. */
export interface Span {
  readonly startMs: number;
  readonly endMs: number;
}

const ALWAYS: Span = { startMs: Number.NEGATIVE_INFINITY, endMs: Number.POSITIVE_INFINITY };

/** The day, month or year around `nowMs`. */
export function periodSpan(period: RulePeriod, nowMs: number, offsetMs: number): Span {
  if (period === 'never') return ALWAYS;
  if (period === 'day') return gridSpan(DAY_MS, nowMs, offsetMs);
  const local = new Date(nowMs + offsetMs);
  const year = local.getUTCFullYear();
  const month = period === 'year' ? 0 : local.getUTCMonth();
  const months = period === 'year' ? 12 : 1;
  return { startMs: Date.UTC(year, month) - offsetMs, endMs: Date.UTC(year, month + months) - offsetMs };
}

/** The span around `nowMs` in which `tokens` show the same. */
export function shownSpan(tokens: readonly DateToken[], period: RulePeriod, nowMs: number, offsetMs: number): Span {
  for (const token of ['ss', 'mm', 'HH'] as const) {
    if (tokens.includes(token)) return gridSpan(UNIT_MS[token]!, nowMs, offsetMs);
  }
  return periodSpan(period, nowMs, offsetMs);
}

/** What `token` shows at `nowMs`, as a number. */
export function shownValue(token: DateToken, nowMs: number, offsetMs: number): number {
  const local = new Date(nowMs + offsetMs);
  switch (token) {
    case 'yyyy':
      return local.getUTCFullYear();
    case 'yy':
      return local.getUTCFullYear() % 100;
    case 'MM':
      return local.getUTCMonth() + 1;
    case 'dd':
      return local.getUTCDate();
    case 'HH':
      return local.getUTCHours();
    case 'mm':
      return local.getUTCMinutes();
    case 'ss':
      return local.getUTCSeconds();
  }
}

/** A name of the period around `nowMs`, different for different ones: 2026-01-31, 2026-01, 2026 or `all`. */
export function periodName(period: RulePeriod, nowMs: number, offsetMs: number): string {
  if (period === 'never') return 'all';
  const length = period === 'day' ? 10 : period === 'month' ? 7 : 4;
  return new Date(nowMs + offsetMs).toISOString().slice(0, length);
}

/** The moment that shown values name, or undefined where there is none (31 June). Missing fields count as their least. */
export function momentOf(values: ReadonlyMap<DateToken, number>, offsetMs: number): number | undefined {
  const year = values.get('yyyy') ?? 2000 + (values.get('yy') ?? 0);
  const month = values.get('MM') ?? 1;
  const day = values.get('dd') ?? 1;
  const [hour, minute, second] = [values.get('HH') ?? 0, values.get('mm') ?? 0, values.get('ss') ?? 0];
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(ms);
  const isReal = back.getUTCFullYear() === year && back.getUTCMonth() === month - 1 && back.getUTCDate() === day;
  return isReal && hour < 24 && minute < 60 && second < 60 ? ms - offsetMs : undefined;
}

function gridSpan(unitMs: number, nowMs: number, offsetMs: number): Span {
  const startMs = Math.floor((nowMs + offsetMs) / unitMs) * unitMs - offsetMs;
  return { startMs, endMs: startMs + unitMs };
}
