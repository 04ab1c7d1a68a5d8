/**
 * Text on the wire: UTF-8 in and out, and what the names of rooms and devices may look like.
 *
 * A name travels as UTF-8 in op 26, as part of a Redis key and as a uWS topic, so it is bounded in bytes, well-formed,
 * and free of NUL and the other control characters.
 */
import { shown } from './decoded.js';

const encoder = new TextEncoder();
/** Both keep a leading byte order mark: it is no JSON white space, and in a room id it is part of the id. */
const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });
const strictDecoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

/** Default bound of a room id, in bytes of UTF-8. */
export const ROOM_ID_LIMIT_BYTES = 256;
/** Default bound of a device key, in bytes of UTF-8. */
export const KEY_LIMIT_BYTES = 256;

const LONE_SURROGATE = /\p{Surrogate}/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;

/** UTF-8 of `text` in a fresh buffer. A lone surrogate becomes U+FFFD. */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Text of `bytes`; malformed UTF-8 becomes U+FFFD, as Go's encoding/json does inside strings. */
export function decodeUtf8Lossy(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

/** Text of `bytes`, or undefined if they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    // TextDecoder has no other way to say it; the caller names the field.
    return undefined;
  }
}

/** True if `text` can be written as UTF-8 without loss. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** `text` with every lone surrogate replaced by U+FFFD. */
export function toWellFormed(text: string): string {
  return isWellFormed(text) ? text : lossyDecoder.decode(encoder.encode(text));
}

/** Length of `text` in bytes of UTF-8, without encoding it. */
export function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit < 0xd800 || unit > 0xdfff) bytes += 3;
    else if (text.codePointAt(index)! > 0xffff) {
      bytes += 4;
      index++;
    } else bytes += 3; // a lone surrogate: it would be written as U+FFFD
  }
  return bytes;
}

/**
 * What is wrong with the name `value` (a room id, a device key), or undefined if nothing is.
 * @param field how the value is called in the text: `room`, `keys[3]`
 * @param maxBytes bound in bytes of UTF-8
 */
export function nameProblem(field: string, value: unknown, maxBytes: number): string | undefined {
  if (typeof value !== 'string' || value === '') return `${field} must be a non-empty string: ${field}=${shown(value)}`;
  // A name has at least as many bytes as characters: this keeps the scans below off a huge one.
  const bytes = value.length > maxBytes ? value.length : utf8Bytes(value);
  if (bytes > maxBytes) return `${field} must be at most ${maxBytes} bytes of UTF-8: bytes=${bytes}`;
  if (CONTROL_CHARACTER.test(value)) return `${field} must not hold control characters: ${field}=${shown(value)}`;
  if (!isWellFormed(value)) return `${field} must be well-formed Unicode: ${field}=${shown(value)}`;
  return undefined;
}

/** What is wrong with a room id, or undefined. `type://id` is the convention, not a rule: goim takes any string. */
export function roomIdProblem(room: unknown, maxBytes: number = ROOM_ID_LIMIT_BYTES): string | undefined {
  return nameProblem('room', room, maxBytes);
}
