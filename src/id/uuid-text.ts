/**
 * UUIDs between their two forms: 16 bytes, and 8-4-4-4-12 hexadecimal digits.
 *
 * Hot path: `UuidPrinter.print`. It fills characters and makes one flat string of them: a concatenation of hexadecimal pairs, as in
 * Node's randomUUID, is put together once more when somebody reads it (307 ns against 231, printed and written: schemes.bench.ts).
 */
import { malformedId } from './id-value.js';

const DIGITS = Buffer.from('0123456789abcdef', 'latin1');
/** Where the two digits of each byte begin. */
const DIGIT_OFFSETS = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);
const TEXT_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Prints UUIDs through characters of its own: one for each who prints. */
export class UuidPrinter {
  readonly #text = Buffer.from('-'.repeat(36), 'latin1');

  /** @param bytes 16 */
  print(bytes: Uint8Array): string {
    const text = this.#text;
    for (let index = 0; index < 16; index++) {
      const byte = bytes[index]!;
      const offset = DIGIT_OFFSETS[index]!;
      text[offset] = DIGITS[byte >>> 4]!;
      text[offset + 1] = DIGITS[byte & 15]!;
    }
    return text.toString('latin1');
  }
}

/** The 16 bytes of a UUID in either form: a copy, or what was given. Throws ID_MALFORMED. */
export function uuidBytesOf(id: string | Uint8Array): Uint8Array {
  if (typeof id !== 'string') {
    if (id.length !== 16) throw malformedId('a UUID is 16 bytes', `${id.length} bytes`);
    return id;
  }
  if (!TEXT_PATTERN.test(id)) throw malformedId('a UUID is 8-4-4-4-12 hexadecimal digits', id);
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

/** Throws ID_MALFORMED unless the bytes are a UUID of `version` and of RFC 9562's variant. */
export function uuidVersionOf(bytes: Uint8Array, version: 4 | 7): void {
  if (bytes[6]! >>> 4 !== version || bytes[8]! >>> 6 !== 2) {
    throw malformedId(
      `a UUID of version ${version} has ${version} as 13th digit, and 8, 9, a or b as 17th`,
      new UuidPrinter().print(bytes),
    );
  }
}
