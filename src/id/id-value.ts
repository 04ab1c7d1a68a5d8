/**
 * Numeric ids between their forms: number, bigint, decimal text, 8 bytes big-endian.
 *
 * Hot path: `writeU53To`, `writeWordsTo`.
 */
import { HalleyError } from '../errors/index.js';

/** The most ids of one `nextMany` or `drawIds`. */
export const MAX_MANY_COUNT = 100_000;
/** One past the greatest id of the schemes that count: they stay exact as a double, in JSON and in Lua. */
export const COUNTED_ID_END = Number.MAX_SAFE_INTEGER;

const TWO_32 = 2 ** 32;
const MAX_ID = (1n << 63n) - 1n;

/** @param value whole, 0 to 2^53 - 1 */
export function writeU53To(bytes: Uint8Array, offset: number, value: number): void {
  writeWordsTo(bytes, offset, (value / TWO_32) | 0, value | 0);
}

/** Big-endian, from the two halves of a number; only their bits count. */
export function writeWordsTo(bytes: Uint8Array, offset: number, high: number, low: number): void {
  bytes[offset] = high >>> 24;
  bytes[offset + 1] = high >>> 16;
  bytes[offset + 2] = high >>> 8;
  bytes[offset + 3] = high;
  bytes[offset + 4] = low >>> 24;
  bytes[offset + 5] = low >>> 16;
  bytes[offset + 6] = low >>> 8;
  bytes[offset + 7] = low;
}

/** The value of an id in any of its forms. Throws ID_MALFORMED unless it is from 0 to 2^63 - 1. */
export function idValueOf(id: bigint | string | Uint8Array): bigint {
  const value = typeof id === 'bigint' ? id : typeof id === 'string' ? parseDecimal(id) : readBytes(id);
  if (value < 0n || value > MAX_ID) throw malformedId('an id is from 0 to 2^63 - 1', String(value));
  return value;
}

export function malformedId(expectation: string, id: string): HalleyError {
  return new HalleyError('ID_MALFORMED', expectation, { id: id.slice(0, 60) });
}

export function requireManyCount(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > MAX_MANY_COUNT) {
    throw new HalleyError('ID_BAD_COUNT', `ids are drawn 1 to ${MAX_MANY_COUNT} at a time`, { count });
  }
}

function parseDecimal(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) throw malformedId('an id is 1 to 19 decimal digits', text);
  return BigInt(text);
}

function readBytes(bytes: Uint8Array): bigint {
  if (bytes.length !== 8) throw malformedId('an id is 8 bytes', `${bytes.length} bytes`);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}
