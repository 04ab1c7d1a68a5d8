/**
 * A walk over foreign MessagePack before it is decoded: whole, shallow, and made of plain data.
 *
 * Why: a decoder believes lengths and runs extensions. Five bytes can announce an array of 2^32 elements; nesting of some
 * thousand levels overflows the stack of a recursive decoder; msgpackr's extensions build regular expressions, errors and
 * record readers (`new Function`) out of what they read. After this walk a decoder meets none of that: every length lies
 * inside the bytes, and there are no extensions. Map keys must be strings, as in JSON.
 *
 * Guarantees: reads inside `bytes` only, never throws, one step per value.
 */
import { readU32 } from './u64.js';

/** Deepest nesting of arrays and maps in a body, MessagePack or JSON. */
export const BODY_DEPTH_LIMIT = 32;

/** Payload bytes of 0xc0 to 0xdf that follow the first byte, where that is fixed; -1 where it needs a look. */
const FIXED_BYTES: readonly number[] = [
  0, -1, 0, 0, -1, -1, -1, -1, -1, -1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
];

/** What is wrong with `bytes` as one MessagePack value of plain data, or undefined if nothing is. */
export function msgpackProblem(bytes: Uint8Array): string | undefined {
  // Values still to come per open container; the outermost "container" is the one value itself.
  const leftCounts = new Float64Array(BODY_DEPTH_LIMIT + 1);
  const isMap = new Uint8Array(BODY_DEPTH_LIMIT + 1);
  let depth = 0;
  leftCounts[0] = 1;
  let offset = 0;
  while (true) {
    while (leftCounts[depth] === 0) {
      if (depth === 0) {
        return offset === bytes.length ? undefined : `${bytes.length - offset} bytes stand behind the value`;
      }
      depth--;
    }
    if (offset >= bytes.length) return `it ends inside a value: bytes=${bytes.length}`;
    const first = bytes[offset]!;
    // Of a map, keys and values are counted; a key is due whenever an even number is left.
    const isKey = isMap[depth] === 1 && leftCounts[depth]! % 2 === 0;
    if (isKey && !isString(first)) return `a map key must be a string: offset=${offset}`;
    leftCounts[depth]! -= 1;
    const startOffset = offset;
    let childCount = -1;
    let isMapStart = false;
    offset += 1;
    if (first < 0x80 || first >= 0xe0) {
      // A small integer is its own first byte.
    } else if (first < 0x90) {
      childCount = (first & 0x0f) * 2;
      isMapStart = true;
    } else if (first < 0xa0) {
      childCount = first & 0x0f;
    } else if (first < 0xc0) {
      offset += first & 0x1f;
    } else {
      const lengthBytes = lengthFieldBytes(first);
      if (lengthBytes < 0) return `only plain data is allowed, no extensions: offset=${startOffset}`;
      if (offset + lengthBytes > bytes.length) return `it ends inside a length: bytes=${bytes.length}`;
      if (lengthBytes === 0) {
        offset += FIXED_BYTES[first - 0xc0]!;
      } else {
        const length = readLength(bytes, offset, lengthBytes);
        offset += lengthBytes;
        if (first < 0xdc) {
          offset += length;
        } else {
          isMapStart = first >= 0xde;
          childCount = isMapStart ? length * 2 : length;
        }
      }
    }
    if (offset > bytes.length) return `it ends inside a value: bytes=${bytes.length}`;
    if (childCount >= 0) {
      if (childCount > bytes.length - offset) return `a container announces more than is there: offset=${startOffset}`;
      if (depth === BODY_DEPTH_LIMIT) return `it is nested deeper than ${BODY_DEPTH_LIMIT} levels`;
      depth++;
      leftCounts[depth] = childCount;
      isMap[depth] = isMapStart ? 1 : 0;
    }
  }
}

function isString(first: number): boolean {
  return (first >= 0xa0 && first < 0xc0) || (first >= 0xd9 && first <= 0xdb);
}

/** Bytes of the length field behind a first byte of 0xc0 to 0xdf; 0 if it has none, -1 for what is not plain data. */
function lengthFieldBytes(first: number): number {
  switch (first) {
    case 0xc4:
    case 0xd9:
      return 1;
    case 0xc5:
    case 0xda:
    case 0xdc:
    case 0xde:
      return 2;
    case 0xc6:
    case 0xdb:
    case 0xdd:
    case 0xdf:
      return 4;
    default:
      return FIXED_BYTES[first - 0xc0]! >= 0 ? 0 : -1;
  }
}

function readLength(bytes: Uint8Array, offset: number, lengthBytes: number): number {
  if (lengthBytes === 1) return bytes[offset]!;
  if (lengthBytes === 2) return (bytes[offset]! << 8) | bytes[offset + 1]!;
  return readU32(bytes, offset);
}
