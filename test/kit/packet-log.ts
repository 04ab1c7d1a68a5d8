/**
 * Everything that a channel received, on whatever door: packets as they came, pushes out of op 9, out of op 26 and bare (TCP), and
 * Gaps, each in the order of arrival.
 */
import {
  FIRST_APPLICATION_OP,
  FRAMING,
  type Framing,
  NO_BODY_LIMIT_BYTES,
  OP,
  PACKET_HEADER_BYTES,
  PARSE,
  PacketHeader,
  PUSH_SEQ,
  readInt32,
  readPacket,
} from '../../src/protocol/index.js';
import type { ReceivedGap } from './tally-client.js';
import { messageOf, unpackPush } from './unpack-push.js';
import type { ReceivedMessage, ReceivedPacket } from './wire-client.js';

export class PacketLog {
  readonly packets: ReceivedPacket[] = [];
  readonly messages: ReceivedMessage[] = [];
  readonly gaps: ReceivedGap[] = [];
  readonly #header = new PacketHeader();
  /** The beginning of a packet whose rest has not come. */
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  #neededBytes = PACKET_HEADER_BYTES;

  /** Whole packets: one WebSocket message, one event, one poll. Kept, not copied. */
  take(bytes: Buffer): void {
    this.#read(bytes, FRAMING.BATCH);
  }

  /** The next bytes of a stream, split anywhere. */
  feed(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    // Joining the pieces of a large packet for each of them would take the square of its length.
    if (this.#waitingBytes < this.#neededBytes) return;
    const bytes = Buffer.concat(this.#chunks);
    const rest = bytes.subarray(this.#read(bytes, FRAMING.STREAM));
    this.#chunks = [rest];
    this.#waitingBytes = rest.length;
    this.#neededBytes = rest.length < PACKET_HEADER_BYTES ? PACKET_HEADER_BYTES : readInt32(rest, 0);
  }

  /** Returns where the first packet begins that is not whole. */
  #read(bytes: Buffer, framing: Framing): number {
    const header = this.#header;
    let offset = 0;
    while (offset < bytes.length) {
      const outcome = readPacket(bytes, offset, bytes.length, header, NO_BODY_LIMIT_BYTES, framing);
      if (outcome === PARSE.NEED_MORE) break;
      const { op, seq, ver, bodyOffset, bodyBytes, packetBytes } = header;
      // The server writes exact lengths; what framing forgives in a client is wrong here.
      if (outcome !== PARSE.OK || readInt32(bytes, offset) !== packetBytes) {
        throw new Error(`the server sent a malformed packet: ${bytes.toString('hex', offset, offset + 32)}`);
      }
      const body = bytes.subarray(bodyOffset, bodyOffset + bodyBytes);
      this.packets.push({ op, seq, ver, body, raw: bytes.subarray(offset, offset + packetBytes) });
      this.#unpack(op, seq, body);
      offset += packetBytes;
    }
    return offset;
  }

  #unpack(op: number, seq: number, body: Buffer): void {
    const messages = unpackPush(op, body);
    if (messages !== undefined) this.messages.push(...messages);
    else if (op === OP.GAP) this.gaps.push(JSON.parse(body.toString()) as ReceivedGap);
    else if (op >= FIRST_APPLICATION_OP && seq === PUSH_SEQ) this.messages.push(messageOf({ op, body }));
  }
}
