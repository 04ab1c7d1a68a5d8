/**
 * goim's packet: write a header, encode a packet, read one out of bytes that cannot be trusted.
 *
 * Threads: pure functions and a plain record; any thread, any buffer (shared memory included).
 * Guarantees: `readPacket` reads only `[offset, endOffset)`, never throws, and an accepted packet covers at least 16
 * bytes, so a loop over it ends. Found by fuzzing in protocol.fuzz.test.ts.
 * Source: goim's comet; where its two transports differ the difference is `FRAMING`. Its over-read (W1: a length beyond
 * the message ran into the neighbour's read buffer) is an outcome here.
 * Hot path: `readPacket` and `writePacketHeader` allocate nothing; timed by bench/protocol/codec.bench.ts.
 */
import {
  HEADER_LENGTH_OFFSET,
  OP_OFFSET,
  PACKET_HEADER_BYTES,
  PACKET_LENGTH_OFFSET,
  SEQ_OFFSET,
  VER_OFFSET,
} from './packet.layout.js';

/** What became of reading a packet. The values are array indices of `PARSE_NAMES`. */
export const PARSE = { OK: 0, NEED_MORE: 1, BAD_HEADER_LENGTH: 2, BAD_LENGTH: 3, TOO_LARGE: 4 } as const;
export type ParseOutcome = (typeof PARSE)[keyof typeof PARSE];

const PARSE_NAMES = ['OK', 'NEED_MORE', 'BAD_HEADER_LENGTH', 'BAD_LENGTH', 'TOO_LARGE'] as const;

/** The name of an outcome, for logs, close reasons and error texts. */
export function parseOutcomeName(outcome: ParseOutcome): (typeof PARSE_NAMES)[number] {
  return PARSE_NAMES[outcome];
}

/**
 * How a packet's length may relate to the bytes around it.
 * STREAM (TCP): the rest may still come; a length below 16, even a negative one, means an empty body, as on goim.
 * MESSAGE (one WebSocket message): nothing comes later; 0 to 15 means an empty body, negative is refused, as on goim.
 * BATCH (inside op 9, op 26): a server wrote it, so anything but an exact length is refused.
 */
export const FRAMING = { STREAM: 0, MESSAGE: 1, BATCH: 2 } as const;
export type Framing = (typeof FRAMING)[keyof typeof FRAMING];

/** Body limit for packets from a server, which has none: goim was seen to push 100,016 bytes in one packet. */
export const NO_BODY_LIMIT_BYTES = 0x7fff_ffff;

/** Where a packet lies and what its header says. Reused by its owner: valid until the next read into it. */
export class PacketHeader {
  /** Bytes the packet covers, header included: what to add to its offset. At least 16, whatever its length field says. */
  packetBytes = 0;
  ver = 0;
  op = 0;
  seq = 0;
  /** Byte position of the body in the bytes that were read. */
  bodyOffset = 0;
  bodyBytes = 0;
}

/** A packet with a body of its own, for code that is not on the hot path. */
export interface Packet {
  readonly ver: number;
  readonly op: number;
  readonly seq: number;
  /** View of the bytes that were read, unless its maker says otherwise. */
  readonly body: Uint8Array;
}

/**
 * Write the 16 bytes of a header at `offset`.
 * @param packetBytes whole packet, header included
 * @returns the offset behind the header, where the body goes
 */
export function writePacketHeader(
  view: DataView,
  offset: number,
  packetBytes: number,
  ver: number,
  op: number,
  seq: number,
): number {
  view.setInt32(offset + PACKET_LENGTH_OFFSET, packetBytes);
  view.setInt16(offset + HEADER_LENGTH_OFFSET, PACKET_HEADER_BYTES);
  view.setInt16(offset + VER_OFFSET, ver);
  view.setInt32(offset + OP_OFFSET, op);
  view.setInt32(offset + SEQ_OFFSET, seq);
  return offset + PACKET_HEADER_BYTES;
}

/** One packet in a fresh buffer of its own. `body` is copied; without one the packet is a bare header. */
export function encodePacket(op: number, seq: number, ver: number, body?: Uint8Array): Uint8Array<ArrayBuffer> {
  const packetBytes = PACKET_HEADER_BYTES + (body === undefined ? 0 : body.length);
  const packet = new Uint8Array(packetBytes);
  // Not through a DataView: asking for `.buffer` moves a small array, such as every reply, off V8's heap, which takes
  // 8 times as long (33 ns against 280 for a bare header; the first is a row of bench/protocol/codec.bench.ts).
  putInt32(packet, PACKET_LENGTH_OFFSET, packetBytes);
  putInt16(packet, HEADER_LENGTH_OFFSET, PACKET_HEADER_BYTES);
  putInt16(packet, VER_OFFSET, ver);
  putInt32(packet, OP_OFFSET, op);
  putInt32(packet, SEQ_OFFSET, seq);
  if (body !== undefined) packet.set(body, PACKET_HEADER_BYTES);
  return packet;
}

function putInt16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8;
  bytes[offset + 1] = value;
}

function putInt32(bytes: Uint8Array, offset: number, value: number): void {
  putInt16(bytes, offset, value >> 16);
  putInt16(bytes, offset + 2, value);
}

/** The signed 32-bit big-endian integer at `offset`. */
export function readInt32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
}

/** The signed 16-bit big-endian integer at `offset`. */
export function readInt16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16)) >> 16;
}

/**
 * Read the packet that starts at `offset` into `out`.
 *
 * As soon as 16 bytes are there, `ver`, `op`, `seq`, `packetBytes` and `bodyBytes` are filled in, whatever the outcome,
 * so that a refusal can name them; only OK says that the body lies inside `endOffset`. With fewer bytes `out` is untouched.
 *
 * @param offset, endOffset the bytes to read, `0 <= offset <= endOffset <= bytes.length`
 * @param maxBodyBytes refuse a longer body with TOO_LARGE before any of it is awaited
 * @returns OK; NEED_MORE (STREAM only); BAD_HEADER_LENGTH; BAD_LENGTH (the length field is impossible, or reaches beyond
 *   the message, or fewer than 16 bytes are left of it); TOO_LARGE
 */
export function readPacket(
  bytes: Uint8Array,
  offset: number,
  endOffset: number,
  out: PacketHeader,
  maxBodyBytes: number,
  framing: Framing,
): ParseOutcome {
  const availableBytes = endOffset - offset;
  if (availableBytes < PACKET_HEADER_BYTES) return framing === FRAMING.STREAM ? PARSE.NEED_MORE : PARSE.BAD_LENGTH;
  const declaredBytes = readInt32(bytes, offset + PACKET_LENGTH_OFFSET);
  const packetBytes = Math.max(declaredBytes, PACKET_HEADER_BYTES);
  out.packetBytes = packetBytes;
  out.ver = readInt16(bytes, offset + VER_OFFSET);
  out.op = readInt32(bytes, offset + OP_OFFSET);
  out.seq = readInt32(bytes, offset + SEQ_OFFSET);
  out.bodyOffset = offset + PACKET_HEADER_BYTES;
  out.bodyBytes = packetBytes - PACKET_HEADER_BYTES;
  if (readInt16(bytes, offset + HEADER_LENGTH_OFFSET) !== PACKET_HEADER_BYTES) return PARSE.BAD_HEADER_LENGTH;
  if (declaredBytes < PACKET_HEADER_BYTES) {
    if (framing === FRAMING.BATCH) return PARSE.BAD_LENGTH;
    if (framing === FRAMING.MESSAGE && declaredBytes < 0) return PARSE.BAD_LENGTH;
    return PARSE.OK;
  }
  if (out.bodyBytes > maxBodyBytes) return PARSE.TOO_LARGE;
  if (packetBytes > availableBytes) return framing === FRAMING.STREAM ? PARSE.NEED_MORE : PARSE.BAD_LENGTH;
  return PARSE.OK;
}
