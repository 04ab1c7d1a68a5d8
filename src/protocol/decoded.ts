/**
 * The result of decoding something that came from outside: a value, or one sentence that says what was wrong and what was
 * expected. Never an exception: bytes from a client are not a defect of ours.
 */

export type Decoded<T> = DecodedValue<T> | Refusal;

export interface DecodedValue<T> {
  readonly ok: true;
  readonly value: T;
}

export interface Refusal {
  readonly ok: false;
  /** For a close reason, an error answer or a log. Names the field, the expectation and what stood there. */
  readonly error: string;
}

export function decoded<T>(value: T): DecodedValue<T> {
  return { ok: true, value };
}

export function refused(error: string): Refusal {
  return { ok: false, error };
}

/** At most this many characters of a foreign value are repeated in an error text. */
const MAX_SHOWN_CHARACTERS = 60;

/** A foreign value for the end of an error text: short, on one line, strings quoted. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'bigint') return `${value}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, MAX_SHOWN_CHARACTERS + 1)) : String(value);
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}...` : text;
}
