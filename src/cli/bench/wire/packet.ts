/**
 * goim's packets as the bench speaks them: written here a second time on purpose, so that the clients check the server's
 * bytes against the wire's description (facts: README, "Wire") and not against the codec that produced them.
 */
import { MESSAGE_BYTES } from './message.layout.js';

export const HEADER_BYTES = 16;

export const OPERATION = {
  HEARTBEAT: 2,
  HEARTBEAT_REPLY: 3,
  SEND: 4,
  AUTH: 7,
  AUTH_REPLY: 8,
  RAW: 9,
  CHANGE_ROOM: 12,
  CHANGE_ROOM_REPLY: 13,
  /** The operation of every pushed message. */
  PUSHED: 1000,
  /** Runner to server under test, not part of goim: publish what the JSON body says. */
  FEED: 1998,
  /** Server under test to runner: the feed is over, JSON body. */
  FEED_REPORT: 1999,
} as const;

/** Bytes of one pushed message inside a batch. */
export const INNER_BYTES = HEADER_BYTES + MESSAGE_BYTES;

function writeHeader(bytes: Buffer, offset: number, packetBytes: number, op: number, seq: number): void {
  bytes.writeInt32BE(packetBytes, offset);
  bytes.writeInt16BE(HEADER_BYTES, offset + 4);
  bytes.writeInt16BE(1, offset + 6);
  bytes.writeInt32BE(op, offset + 8);
  bytes.writeInt32BE(seq, offset + 12);
}

/** One bare packet, owned by the caller. */
export function makePacket(op: number, seq: number, body: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  writeHeader(packet, 0, packet.length, op, seq);
  packet.set(body, HEADER_BYTES);
  return packet;
}

/** An op 9 packet around the messages: what goim pushes on WebSocket. Owned by the caller. */
export function makeBatch(op: number, bodies: readonly Uint8Array[]): Buffer {
  let innerBytes = 0;
  for (const body of bodies) innerBytes += HEADER_BYTES + body.length;
  const batch = Buffer.allocUnsafe(HEADER_BYTES + innerBytes);
  writeHeader(batch, 0, batch.length, OPERATION.RAW, 0);
  let offset = HEADER_BYTES;
  for (const body of bodies) {
    writeHeader(batch, offset, HEADER_BYTES + body.length, op, 0);
    batch.set(body, offset + HEADER_BYTES);
    offset += HEADER_BYTES + body.length;
  }
  return batch;
}

/** Big-endian int32 without a DataView. */
export function readInt32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
}

/** Sees one packet; its body lies in [bodyStart, bodyEnd) of `bytes` and is valid until it returns. */
export type PacketVisitor = (op: number, bytes: Uint8Array, bodyStart: number, bodyEnd: number) => void;

/**
 * Call `visit` for each packet in one WebSocket message, those inside an op 9 one by one.
 * @throws Error for bytes that are no packets: a bench never counts what it cannot read
 */
export function visitPackets(bytes: Uint8Array, start: number, end: number, visit: PacketVisitor): void {
  let offset = start;
  while (offset < end) {
    const packetBytes = offset + HEADER_BYTES <= end ? readInt32(bytes, offset) : -1;
    if (packetBytes < HEADER_BYTES || offset + packetBytes > end) {
      throw new Error(`not a goim packet: packet_bytes=${packetBytes} left_bytes=${end - offset}`);
    }
    const op = readInt32(bytes, offset + 8);
    if (op === OPERATION.RAW) {
      offset += HEADER_BYTES;
      continue;
    }
    visit(op, bytes, offset + HEADER_BYTES, offset + packetBytes);
    offset += packetBytes;
  }
}

/** Bytes of the whole packets at the beginning of `bytes`, up to `end`: the rest of a stream is still to come. */
export function wholePacketBytes(bytes: Uint8Array, end: number): number {
  let offset = 0;
  while (offset + HEADER_BYTES <= end) {
    const packetBytes = readInt32(bytes, offset);
    if (packetBytes < HEADER_BYTES) throw new Error(`not a goim packet: packet_bytes=${packetBytes}`);
    if (offset + packetBytes > end) break;
    offset += packetBytes;
  }
  return offset;
}
