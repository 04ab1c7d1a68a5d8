/**
 * goim's batch: an outer packet with op 9, ver 1, seq 0, whose body is complete packets back to back. Every push to a
 * plain channel comes in one; on TCP the outer header is left out and the packets stand in the stream.
 *
 * Ownership: the writer fills the caller's buffer; the cursor and `decodeBatch` hand out positions and views of the bytes
 * they were given.
 * Hot path: `writeBatchHeader`, `PacketCursor.next`: no allocation; timed by bench/protocol/batch.bench.ts.
 */
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
import { PACKET_HEADER_BYTES, PUSH_SEQ, PUSH_VER } from './packet.layout.js';

/** Bytes in front of the first packet of an op-9 batch. */
export const BATCH_HEADER_BYTES = PACKET_HEADER_BYTES;

/**
 * Write the outer header of an op-9 batch at `offset`.
 * @param packetBytes the whole batch: `BATCH_HEADER_BYTES` and the packets
 * @returns the offset of the first packet, which the caller copies there
 */
export function writeBatchHeader(view: DataView, offset: number, packetBytes: number): number {
  return writePacketHeader(view, offset, packetBytes, PUSH_VER, OP.RAW, PUSH_SEQ);
}

/** Walks over packets that stand back to back. Reusable; allocates nothing after construction. */
export class PacketCursor {
  /** The packet of the last `next() === true`; positions count in the bytes given to `reset`. */
  readonly header = new PacketHeader();
  /** OK during the walk and after a clean end; otherwise why the walk stopped. */
  outcome: ParseOutcome = PARSE.OK;

  #bytes: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #endOffset = 0;

  /** Start over on `[offset, endOffset)` of `bytes`, which the cursor reads in place until it is reset again. */
  reset(bytes: Uint8Array, offset: number, endOffset: number): void {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#endOffset = endOffset;
    this.outcome = PARSE.OK;
  }

  /** Step to the next packet. False at the end and at the first malformed one: see `outcome`. */
  next(): boolean {
    if (this.outcome !== PARSE.OK || this.#offset >= this.#endOffset) return false;
    const header = this.header;
    this.outcome = readPacket(this.#bytes, this.#offset, this.#endOffset, header, NO_BODY_LIMIT_BYTES, FRAMING.BATCH);
    if (this.outcome !== PARSE.OK) return false;
    this.#offset += header.packetBytes;
    return true;
  }
}

/**
 * The packets of an op-9 batch. Everything is checked before the first one is returned.
 * @param body the body of the op-9 packet; the packets' bodies are views of it
 */
export function decodeBatch(body: Uint8Array): Decoded<Packet[]> {
  const cursor = new PacketCursor();
  cursor.reset(body, 0, body.length);
  const packets: Packet[] = [];
  while (cursor.next()) {
    const { ver, op, seq, bodyOffset, bodyBytes } = cursor.header;
    packets.push({ ver, op, seq, body: body.subarray(bodyOffset, bodyOffset + bodyBytes) });
  }
  if (cursor.outcome === PARSE.OK) return decoded(packets);
  return refused(
    `a batch must hold whole packets back to back: packet=${packets.length} outcome=${parseOutcomeName(cursor.outcome)}`,
  );
}
