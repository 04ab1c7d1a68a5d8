/**
 * Reads the members of a decoded object by name and type. The first thing that is wrong is kept and told at the end, so a
 * decoder lists its members and returns `done(...)`; until then a bad member reads as 0, '' or nothing.
 *
 * A member that is null counts as absent: producers in Go write null for an empty slice or pointer.
 */
import { type Decoded, decoded, refused, shown } from './decoded.js';
import { nameProblem } from './text.js';

export class Fields {
  readonly #source: Readonly<Record<string, unknown>>;
  readonly #prefix: string;
  #error: string | undefined;

  /**
   * @param source what was decoded; anything but an object is an error
   * @param prefix in front of member names in error texts: '' or `[3].`
   */
  constructor(source: unknown, prefix = '') {
    const isObject =
      typeof source === 'object' && source !== null && !Array.isArray(source) && !(source instanceof Uint8Array);
    this.#source = isObject ? (source as Record<string, unknown>) : {};
    this.#prefix = prefix;
    const label = prefix === '' ? 'body' : prefix.slice(0, -1);
    if (!isObject) this.fail(`${label === 'body' ? 'the body' : label} must be an object: ${label}=${shown(source)}`);
  }

  /** Keep `error` unless an earlier one is there. */
  fail(error: string): void {
    this.#error ??= error;
  }

  /** The full name of a member, for error texts. */
  label(name: string): string {
    return this.#prefix + name;
  }

  /** The raw member; null and absent are undefined. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#source, name) ? (this.#source[name] ?? undefined) : undefined;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /** Names of the members that are there and not null. */
  names(): string[] {
    return Object.keys(this.#source).filter((name) => this.has(name));
  }

  string(name: string, maxCharacters: number): string {
    const value = this.raw(name);
    if (typeof value === 'string' && value.length <= maxCharacters) return value;
    this.#mismatch(name, `a string of at most ${maxCharacters} characters`, value);
    return '';
  }

  /** A room id or device key: see `nameProblem`. */
  name(name: string, maxBytes: number): string {
    const value = this.raw(name);
    const problem = nameProblem(this.label(name), value, maxBytes);
    if (problem === undefined) return value as string;
    this.fail(problem);
    return '';
  }

  boolean(name: string): boolean {
    const value = this.raw(name);
    if (typeof value === 'boolean') return value;
    this.#mismatch(name, 'true or false', value);
    return false;
  }

  /** An integer from `min` to `max`, both safe. */
  integer(name: string, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.raw(name);
    const number = toSafeInteger(value);
    if (number !== undefined && number >= min && number <= max) return number;
    this.#mismatch(name, `an integer from ${min} to ${max}`, value);
    return 0;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.raw(name);
    const index = allowed.indexOf(value as T);
    if (index >= 0) return allowed[index]!;
    this.#mismatch(name, `one of ${allowed.join(', ')}`, value);
    return allowed[0]!;
  }

  /** An array of at most `maxCount` elements, unchecked. */
  array(name: string, maxCount: number): readonly unknown[] {
    const value = this.raw(name);
    if (Array.isArray(value) && value.length <= maxCount) return value;
    this.#mismatch(name, `an array of at most ${maxCount}`, value);
    return [];
  }

  /** The value built from the members, or the first thing that was wrong with them. */
  done<T>(value: T): Decoded<T> {
    return this.#error === undefined ? decoded(value) : refused(this.#error);
  }

  #mismatch(name: string, expected: string, value: unknown): void {
    const label = this.label(name);
    this.fail(`${label} must be ${expected}: ${label}=${shown(value)}`);
  }
}

/** `value` as a safe integer, also from the bigint that MessagePack gives for 64-bit encodings; undefined if it is none. */
export function toSafeInteger(value: unknown): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value;
  // Number() rounds only beyond 2^53, where isSafeInteger is false. Adding 0 turns -0 into 0.
  return Number.isSafeInteger(number) ? (number as number) + 0 : undefined;
}
