/**
 * The body of Sub (14) and Unsub (16): operations in decimal, separated by commas, `1000,1001`.
 *
 * Source: goim splits at commas and runs Go's strconv.ParseInt(s, 10, 32) on each part: a sign and leading zeros pass,
 * white space and empty parts do not, and one bad part spoils the whole list. goim takes a list of any length (W10); here
 * the count is bounded.
 */
import { type Decoded, decoded, refused } from './decoded.js';
import { encodeUtf8 } from './text.js';

/** Default bound of operations in one list. */
export const OP_LIST_LIMIT_COUNT = 1024;

const COMMA = 0x2c;
const PLUS = 0x2b;
const MINUS = 0x2d;
const ZERO = 0x30;
const INT32_MAX = 0x7fff_ffff;

/**
 * Parse a list. An empty body is an empty list.
 * @returns the operations in the order given, duplicates kept; refused as a whole if one is not a decimal int32
 */
export function parseOpList(body: Uint8Array, maxCount: number = OP_LIST_LIMIT_COUNT): Decoded<number[]> {
  const ops: number[] = [];
  if (body.length === 0) return decoded(ops);
  let startOffset = 0;
  while (startOffset <= body.length) {
    if (ops.length === maxCount) return refused(`an operation list must hold at most ${maxCount} numbers`);
    const commaOffset = body.indexOf(COMMA, startOffset);
    const endOffset = commaOffset === -1 ? body.length : commaOffset;
    const op = parseInt32(body, startOffset, endOffset);
    if (op === undefined) {
      return refused(
        `an operation list must be decimal 32-bit integers separated by commas: element=${ops.length} offset=${startOffset}`,
      );
    }
    ops.push(op);
    startOffset = endOffset + 1;
  }
  return decoded(ops);
}

/** More elements than `maxCount`, whatever they are. */
export function isLongOpList(body: Uint8Array, maxCount: number): boolean {
  let count = 1;
  for (let at = body.indexOf(COMMA); at >= 0 && count <= maxCount; at = body.indexOf(COMMA, at + 1)) count += 1;
  return count > maxCount;
}

/** The body for `ops`. */
export function encodeOpList(ops: readonly number[]): Uint8Array<ArrayBuffer> {
  return encodeUtf8(ops.join(','));
}

/** Decimal int32 in `[offset, endOffset)`, by Go's rules; undefined if it is none. */
function parseInt32(bytes: Uint8Array, offset: number, endOffset: number): number | undefined {
  const sign = bytes[offset];
  const isNegative = sign === MINUS;
  let at = isNegative || sign === PLUS ? offset + 1 : offset;
  if (at >= endOffset) return undefined;
  let magnitude = 0;
  for (; at < endOffset; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    magnitude = magnitude * 10 + digit;
    if (magnitude > INT32_MAX + 1) return undefined;
  }
  if (isNegative) return magnitude === 0 ? 0 : -magnitude;
  return magnitude > INT32_MAX ? undefined : magnitude;
}
