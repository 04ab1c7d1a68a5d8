/**
 * UUIDs between their two forms: 16 bytes, and 8-4-4-4-12 hexadecimal digits.
 *
 * Hot path: `uuidTextOf`.
 */
import { malformedId } from './id-value.js';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const TEXT_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function uuidTextOf(b: Uint8Array): string {
  return (
    `${HEX[b[0]!]}${HEX[b[1]!]}${HEX[b[2]!]}${HEX[b[3]!]}-${HEX[b[4]!]}${HEX[b[5]!]}-${HEX[b[6]!]}${HEX[b[7]!]}` +
    `-${HEX[b[8]!]}${HEX[b[9]!]}-${HEX[b[10]!]}${HEX[b[11]!]}${HEX[b[12]!]}${HEX[b[13]!]}${HEX[b[14]!]}${HEX[b[15]!]}`
  );
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
      uuidTextOf(bytes),
    );
  }
}
