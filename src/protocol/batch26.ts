/**
 * Op-26 batches: pushes with their message ids, room, roomEpoch and offsets, for channels that said `halley: 1`.
 * Layout: batch26.layout.ts.
 *
 * Writing takes one buffer and no more: `batch26HeaderBytes` says where the messages begin, so packets can be gathered
 * first (`writeBatch26Message`, or the id and a copy of one's own) and the header written when the count is known.
 *
 * Ownership: writers fill the caller's buffer, which must be large enough; the cursor gives positions in the bytes it was
 * given, `decodeBatch26` views of them.
 * Guarantees: nothing outside the given bytes is read, nothing throws, the walk ends. Epochs and offsets of 2^53 and
 * above are refused, never rounded.
 * Hot path: the writers and `Batch26Cursor`: no allocation; timed by bench/protocol/batch.bench.ts.
 */
import { BATCH26_FIXED_BYTES, BATCH26_ID_BYTES, ROOM_LENGTH_BYTES } from './batch26.layout.js';
import { type Decoded, decoded, refused } from './decoded.js';
import { OP } from './op.js';
import {
  FRAMING,
  NO_BODY_LIMIT_BYTES,
  PARSE,
  type Packet,
  PacketHeader,
  type ParseOutcome,
  parseOutcomeName,
  readPacket,
  writePacketHeader,
} from './packet.js';
import { PUSH_SEQ, PUSH_VER } from './packet.layout.js';
import { decodeUtf8 } from './text.js';
import { readU32, readU64, U64_BYTES, U64_UNSAFE, writeU64, writeU64Words } from './u64.js';

/** Bytes in front of the first message of a batch whose room id has `roomBytes` bytes (0: no room). */
export function batch26HeaderBytes(roomBytes: number): number {
  return BATCH26_FIXED_BYTES + roomBytes;
}

/**
 * Write everything in front of the first message at `offset`.
 * @param view, bytes the same memory
 * @param packetBytes the whole batch: `batch26HeaderBytes` and per message `BATCH26_ID_BYTES` and its packet
 * @param roomUtf8 at most 65,535 bytes, copied; empty for a direct push and a push to all
 * @param epoch roomEpoch, 0 to 2^53-1; 0 with an empty room is a direct push
 * @param firstOffset offset of the first message, 0 to 2^53-1; 0 for a direct push
 * @returns the offset of the first message
 */
export function writeBatch26Header(
  view: DataView,
  bytes: Uint8Array,
  offset: number,
  packetBytes: number,
  roomUtf8: Uint8Array,
  epoch: number,
  firstOffset: number,
): number {
  const roomLengthOffset = writePacketHeader(view, offset, packetBytes, PUSH_VER, OP.BATCH, PUSH_SEQ);
  const roomOffset = roomLengthOffset + ROOM_LENGTH_BYTES;
  view.setUint16(roomLengthOffset, roomUtf8.length);
  bytes.set(roomUtf8, roomOffset);
  const epochOffset = roomOffset + roomUtf8.length;
  writeU64(view, epochOffset, epoch);
  writeU64(view, epochOffset + U64_BYTES, firstOffset);
  return epochOffset + U64_BYTES + U64_BYTES;
}

/** Write a message id (two words) at `offset`. @returns the offset behind it, where the message's packet goes */
export function writeBatch26Id(view: DataView, offset: number, idHi: number, idLo: number): number {
  writeU64Words(view, offset, idHi, idLo);
  return offset + BATCH26_ID_BYTES;
}

/** Write one message, its id and a copy of its whole packet, at `offset`. @returns the offset behind it */
export function writeBatch26Message(
  view: DataView,
  bytes: Uint8Array,
  offset: number,
  idHi: number,
  idLo: number,
  packet: Uint8Array,
): number {
  const packetOffset = writeBatch26Id(view, offset, idHi, idLo);
  bytes.set(packet, packetOffset);
  return packetOffset + packet.length;
}

/** Walks over the messages of one op-26 body. Reusable; allocates nothing after construction. */
export class Batch26Cursor {
  /** Position and length of the room id in the bytes given to `open`; length 0: no room. */
  roomOffset = 0;
  roomBytes = 0;
  epoch = 0;
  /** Offset of the first message; 0 for a direct push. */
  firstOffset = 0;
  /** Of the message of the last `next() === true`. */
  idHi = 0;
  idLo = 0;
  /** Offset of that message in its room's (or the node's) sequence; 0 for every message of a direct push. */
  messageOffset = 0;
  /** That message's packet. */
  readonly header = new PacketHeader();
  /** OK during the walk and after a clean end; otherwise why the walk stopped. */
  outcome: ParseOutcome = PARSE.OK;

  #bytes: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #endOffset = 0;
  #nextMessageOffset = 0;
  #offsetStep = 0;

  /** True if the batch is a direct push: no room, no sequence. */
  get isDirect(): boolean {
    return this.roomBytes === 0 && this.epoch === 0;
  }

  /**
   * Read what stands in front of the first message.
   * @param offset, endOffset the body of the op-26 packet in `bytes`, which is read in place until the next `open`
   * @returns OK, or BAD_LENGTH: too short, or an epoch or offset that is not a safe integer, or an offset of a direct push
   */
  open(bytes: Uint8Array, offset: number, endOffset: number): ParseOutcome {
    this.#bytes = bytes;
    this.#endOffset = endOffset;
    this.outcome = this.#readPrelude(bytes, offset, endOffset);
    return this.outcome;
  }

  /** Step to the next message. False at the end and at the first malformed one: see `outcome`. */
  next(): boolean {
    const offset = this.#offset;
    const endOffset = this.#endOffset;
    if (this.outcome !== PARSE.OK || offset >= endOffset) return false;
    if (endOffset - offset < BATCH26_ID_BYTES || !Number.isSafeInteger(this.#nextMessageOffset)) {
      this.outcome = PARSE.BAD_LENGTH;
      return false;
    }
    const bytes = this.#bytes;
    this.outcome = readPacket(
      bytes,
      offset + BATCH26_ID_BYTES,
      endOffset,
      this.header,
      NO_BODY_LIMIT_BYTES,
      FRAMING.BATCH,
    );
    if (this.outcome !== PARSE.OK) return false;
    this.idHi = readU32(bytes, offset);
    this.idLo = readU32(bytes, offset + 4);
    this.messageOffset = this.#nextMessageOffset;
    this.#nextMessageOffset += this.#offsetStep;
    this.#offset = offset + BATCH26_ID_BYTES + this.header.packetBytes;
    return true;
  }

  #readPrelude(bytes: Uint8Array, offset: number, endOffset: number): ParseOutcome {
    // Nothing to walk over unless everything below holds.
    this.#offset = endOffset;
    if (endOffset - offset < ROOM_LENGTH_BYTES) return PARSE.BAD_LENGTH;
    this.roomBytes = (bytes[offset]! << 8) | bytes[offset + 1]!;
    this.roomOffset = offset + ROOM_LENGTH_BYTES;
    const epochOffset = this.roomOffset + this.roomBytes;
    const messagesOffset = epochOffset + U64_BYTES + U64_BYTES;
    if (messagesOffset > endOffset) return PARSE.BAD_LENGTH;
    const epoch = readU64(bytes, epochOffset);
    const firstOffset = readU64(bytes, epochOffset + U64_BYTES);
    if (epoch === U64_UNSAFE || firstOffset === U64_UNSAFE) return PARSE.BAD_LENGTH;
    this.epoch = epoch;
    this.firstOffset = firstOffset;
    if (this.isDirect && firstOffset !== 0) return PARSE.BAD_LENGTH;
    this.#nextMessageOffset = firstOffset;
    this.#offsetStep = this.isDirect ? 0 : 1;
    this.#offset = messagesOffset;
    return PARSE.OK;
  }
}

/** One message of an op-26 batch: a packet with an id and a place in a sequence. */
export interface BatchMessage extends Packet {
  readonly idHi: number;
  readonly idLo: number;
  readonly offset: number;
}

export type BatchScope = 'room' | 'direct' | 'all';

/** An op-26 batch, checked as a whole. */
export interface Batch26 {
  readonly scope: BatchScope;
  /** Empty unless `scope` is `room`. */
  readonly room: string;
  /** 0 if `scope` is `direct`. */
  readonly epoch: number;
  readonly firstOffset: number;
  /** Their offsets are contiguous from `firstOffset`, or all 0 if `scope` is `direct`. May be none. */
  readonly messages: readonly BatchMessage[];
}

/**
 * Decode a batch. Everything is checked before anything is returned.
 * @param body the body of the op-26 packet; the messages' bodies are views of it
 */
export function decodeBatch26(body: Uint8Array): Decoded<Batch26> {
  const cursor = new Batch26Cursor();
  if (cursor.open(body, 0, body.length) !== PARSE.OK) {
    return refused(
      `an op-26 body must begin with room length, room, roomEpoch and first offset, both below 2^53: bytes=${body.length}`,
    );
  }
  const room = decodeUtf8(body.subarray(cursor.roomOffset, cursor.roomOffset + cursor.roomBytes));
  if (room === undefined) return refused(`the room id of an op-26 body must be UTF-8: bytes=${cursor.roomBytes}`);
  const messages: BatchMessage[] = [];
  while (cursor.next()) {
    const { ver, op, seq, bodyOffset, bodyBytes } = cursor.header;
    const { idHi, idLo, messageOffset: offset } = cursor;
    messages.push({ idHi, idLo, offset, ver, op, seq, body: body.subarray(bodyOffset, bodyOffset + bodyBytes) });
  }
  if (cursor.outcome !== PARSE.OK) {
    return refused(
      `an op-26 message must be an id of ${BATCH26_ID_BYTES} bytes and one whole packet: message=${messages.length} outcome=${parseOutcomeName(cursor.outcome)}`,
    );
  }
  const scope = cursor.isDirect ? 'direct' : room === '' ? 'all' : 'room';
  return decoded({ scope, room, epoch: cursor.epoch, firstOffset: cursor.firstOffset, messages });
}
