/**
 * One value against one row: read it from text, check it, state what was expected, show it.
 *
 * Guarantees: a value passes as it is or not at all (never clamped, never converted between kinds); a secret is never
 * part of what these functions return for showing.
 */
import { stringify } from 'smol-toml';
import { z } from 'zod';
import { isSecret, type OptionRow } from './option-rows.js';
import type { OptionSpec } from './option-spec.js';

export const REDACTED = '[redacted]';
const SHOWN_CHARACTERS = 80;

function schemaOf(spec: OptionSpec): z.ZodType {
  switch (spec.kind) {
    case 'int': {
      const inRange = z
        .int()
        .min(spec.min)
        .max(spec.max)
        .refine((value) => !spec.powerOfTwo || Number.isInteger(Math.log2(value)));
      return spec.orZero ? z.union([z.literal(0), inRange]) : inRange;
    }
    case 'number':
      return z.number().min(spec.min).max(spec.max);
    case 'text':
      return z.string().refine((value) => {
        const bytes = Buffer.byteLength(value);
        return bytes >= spec.minBytes && bytes <= spec.maxBytes && (!spec.visibleAscii || /^[\x21-\x7e]*$/.test(value));
      });
    case 'choice':
      return z.enum(spec.choices as readonly [string, ...string[]]);
    case 'list':
      return z.array(z.string().min(1)).max(spec.maxItems);
  }
}

/** True where `value` has the kind of `spec` and lies in its range. */
export function isAllowed(spec: OptionSpec, value: unknown): boolean {
  return schemaOf(spec).safeParse(value).success;
}

/** What `spec` allows, as it stands in errors, tables and generated files: "an integer of 0 to 31". */
export function expectationOf(spec: OptionSpec): string {
  switch (spec.kind) {
    case 'int':
      return `${spec.orZero ? '0 or ' : ''}${spec.powerOfTwo ? 'a power of two' : 'an integer'} of ${spec.min} to ${spec.max}`;
    case 'number':
      return `a number of ${spec.min} to ${spec.max}`;
    case 'text':
      return `a text of ${spec.minBytes} to ${spec.maxBytes} bytes${spec.visibleAscii ? ', visible ASCII only' : ''}`;
    case 'choice':
      return `one of ${spec.choices.join(', ')}`;
    case 'list':
      return `a list of at most ${spec.maxItems} non-empty texts`;
  }
}

/**
 * The value that `written` (env or flag) stands for, or `written` itself where it cannot stand for one; `isAllowed` then
 * refuses it. Numbers are decimal, without blanks, separators or hexadecimal. Lists are separated by commas; "" is the
 * empty list.
 */
export function parseWritten(spec: OptionSpec, written: string): unknown {
  switch (spec.kind) {
    case 'int':
      return /^-?\d+$/.test(written) ? Number(written) : written;
    case 'number':
      return /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(written) ? Number(written) : written;
    case 'list':
      return written === '' ? [] : written.split(',').map((item) => item.trim());
    default:
      return written;
  }
}

/** A value as TOML, for files and tables. Do not pass a secret. */
export function tomlOf(value: unknown): string {
  return stringify({ v: value }).trim().slice('v = '.length);
}

/** A value for an error or a table: redacted where it is a secret that is set, cut where it is long. */
export function showValue(row: OptionRow, value: unknown): string {
  if (isSecret(row) && value !== '') return REDACTED;
  const shown = showUntyped(withoutLogin(row, value));
  // A value of the wrong shape (a list of URLs) has no place where its login ends.
  return row.kind === 'text' && row.hidesLogin && typeof value !== 'string' && shown.includes('@') ? REDACTED : shown;
}

/**
 * The value without the login, where it is an URL that may hold one. A password may hold a raw @ or /, so everything up to
 * the last @ goes.
 */
export function withoutLogin<T>(row: OptionRow, value: T): T | string {
  if (row.kind !== 'text' || !row.hidesLogin || typeof value !== 'string') return value;
  return value.replace(/^([a-z+]*:\/\/)?.*@/s, '$1***@');
}

/** Like `showValue` for a value of any shape (a date, a table, a big integer); never the value of a secret. */
export function showUntyped(value: unknown): string {
  const shown =
    typeof value === 'bigint' || typeof value === 'number'
      ? String(value)
      : (JSON.stringify(value, bigintAsText) ?? String(value));
  return shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS)}...` : shown;
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
