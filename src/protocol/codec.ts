/**
 * The two encodings of structured bodies: JSON and MessagePack (msgpackr). A channel chooses with `codec` in its auth body.
 *
 * Both are decoded with the same bounds (bytes, depth) and to the same plain data: null, booleans, numbers, strings,
 * arrays, objects with string keys; MessagePack adds Uint8Array, and bigint for integers beyond 2^53.
 *
 * `msgpackr/pack` is msgpackr without its native add-on: the code that reads foreign bytes is then the same in Node and
 * in browsers, and cannot crash the process.
 */
import { Packr } from 'msgpackr/pack';
import { type Decoded, decoded, refused } from './decoded.js';
import { BODY_DEPTH_LIMIT, msgpackProblem } from './msgpack-bounds.js';
import { decodeUtf8, encodeUtf8 } from './text.js';

export type Codec = 'json' | 'msgpack';
export const CODECS: readonly Codec[] = ['json', 'msgpack'];

/** Default bound of a structured body: op 30's, the largest a client may send. */
export const BODY_LIMIT_BYTES = 65_536;
/** Bound of a structured body from a server, which answers for many rooms and pages of messages at once. */
export const SERVER_BODY_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * No records (msgpackr's own extension), small maps small, undefined as nil: what every other implementation reads.
 * `auto`, which its typings do not know yet, gives 64-bit encodings as numbers up to 2^53 and as bigint beyond.
 */
const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  copyBuffers: true,
  int64AsType: 'auto' as string as 'bigint',
});

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Encode plain data (see the file header; bytes only with MessagePack) into a fresh buffer that nobody else holds.
 * @throws TypeError for a bigint or a cycle in JSON
 */
export function encodeBody(codec: Codec, value: unknown): Uint8Array<ArrayBuffer> {
  if (codec === 'json') return encodeUtf8(JSON.stringify(value));
  // In Node pack() returns a Buffer inside msgpackr's slab; a copy neither pins the slab nor leaks the type.
  return new Uint8Array(packr.pack(value));
}

/** MessagePack without the copy, for what is written and let go: a view into a slab of some KiB that later calls share. */
export function packInSlab(value: unknown): Uint8Array<ArrayBuffer> {
  return packr.pack(value) as Uint8Array<ArrayBuffer>;
}

/**
 * Decode a body that cannot be trusted. Never throws. The result shares no memory with `bytes`.
 * @param maxBytes refuse a longer body before looking at it
 */
export function decodeBody(codec: Codec, bytes: Uint8Array, maxBytes: number = BODY_LIMIT_BYTES): Decoded<unknown> {
  if (bytes.length > maxBytes) return refused(`a body must be at most ${maxBytes} bytes: bytes=${bytes.length}`);
  return codec === 'json' ? decodeJson(bytes) : decodeMsgpack(bytes);
}

function decodeJson(bytes: Uint8Array): Decoded<unknown> {
  if (isDeeperThan(bytes, BODY_DEPTH_LIMIT)) return refused(`JSON is nested deeper than ${BODY_DEPTH_LIMIT} levels`);
  const text = decodeUtf8(bytes);
  if (text === undefined) return refused('a JSON body must be UTF-8');
  return parseJson(text);
}

/** `JSON.parse` with its complaint as a refusal. */
export function parseJson(text: string): Decoded<unknown> {
  try {
    return decoded(JSON.parse(text));
  } catch (error) {
    return refused(`the body is not JSON: ${reasonOf(error)}`);
  }
}

/** The message of what a decoder threw, on one line: V8 quotes the text it choked on. */
function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
}

function decodeMsgpack(bytes: Uint8Array): Decoded<unknown> {
  const problem = msgpackProblem(bytes);
  if (problem !== undefined) return refused(`the body is not one MessagePack value: ${problem}`);
  try {
    // A view of its own: msgpackr hangs a `dataView` property on the array it reads.
    return decoded(packr.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)));
  } catch (error) {
    return refused(`the body is not MessagePack: ${reasonOf(error)}`);
  }
}

/** True if brackets outside strings nest deeper than `maxDepth`. Right for JSON; anything else JSON.parse refuses anyway. */
function isDeeperThan(bytes: Uint8Array, maxDepth: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let offset = 0; offset < bytes.length; offset++) {
    const byte = bytes[offset]!;
    if (isInString) {
      if (byte === BACKSLASH) offset++;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) {
      isInString = true;
    } else if ((byte | 0x20) === 0x7b) {
      // [ and { differ in one bit, and so do ] and }.
      if (++depth > maxDepth) return true;
    } else if ((byte | 0x20) === 0x7d) {
      depth--;
    }
  }
  return false;
}
