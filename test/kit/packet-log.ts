/**
 * Everything that a channel received, on whatever door: packets as they came, pushes out of op 9, out of op 26 and bare (TCP), and
 * Gaps, each in the order of arrival.
 */
import {
  decodeBatch,
  decodeBatch26,
  FRAMING,
  OP,
  PARSE,
  PacketHeader,
  PUSH_SEQ,
  readPacket,
} from '../../src/protocol/index.js';
import type { ReceivedGap } from './tally-client.js';
import type { ReceivedMessage, ReceivedPacket } from './wire-client.js';

const FIRST_APPLICATION_OP = 1000;

export class PacketLog {
  readonly packets: ReceivedPacket[] = [];
  readonly messages: ReceivedMessage[] = [];
  readonly gaps: ReceivedGap[] = [];
  readonly #header = new PacketHeader();
  /** The beginning of a packet whose rest has not come. */
  #rest: Buffer = Buffer.alloc(0);

  /** Whole packets: one WebSocket message, one event, one poll. Kept, not copied. */
  take(bytes: Buffer): void {
    this.feed(bytes);
    if (this.#rest.length > 0) throw new Error(`the server sent half a packet: ${this.#rest.toString('hex', 0, 32)}`);
  }

  /** The next bytes of a stream, split anywhere. */
  feed(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const header = this.#header;
    let offset = 0;
    while (offset < bytes.length) {
      const outcome = readPacket(bytes, offset, bytes.length, header, Number.MAX_SAFE_INTEGER, FRAMING.BATCH);
      if (outcome === PARSE.NEED_MORE) break;
      if (outcome !== PARSE.OK) {
        throw new Error(`the server sent a malformed packet: ${bytes.toString('hex', offset, offset + 32)}`);
      }
      const { op, seq, ver, bodyOffset, bodyBytes, packetBytes } = header;
      const body = bytes.subarray(bodyOffset, bodyOffset + bodyBytes);
      this.packets.push({ op, seq, ver, body, raw: bytes.subarray(offset, offset + packetBytes) });
      this.#unpack(op, seq, body);
      offset += packetBytes;
    }
    this.#rest = bytes.subarray(offset);
  }

  #unpack(op: number, seq: number, body: Buffer): void {
    if (op === OP.RAW) {
      const inner = decodeBatch(body);
      if (!inner.ok) throw new Error(inner.error);
      for (const packet of inner.value) this.messages.push(messageOf(packet));
    } else if (op === OP.BATCH) {
      const batch = decodeBatch26(body);
      if (!batch.ok) throw new Error(batch.error);
      const { room, epoch } = batch.value;
      for (const message of batch.value.messages) {
        const id = ((BigInt(message.idHi) << 32n) | BigInt(message.idLo)).toString();
        this.messages.push({ ...messageOf(message), room, epoch, offset: message.offset, id });
      }
    } else if (op === OP.GAP) {
      this.gaps.push(JSON.parse(body.toString()) as ReceivedGap);
    } else if (op >= FIRST_APPLICATION_OP && seq === PUSH_SEQ) {
      this.messages.push(messageOf({ op, body }));
    }
  }
}

function messageOf({ op, body }: { readonly op: number; readonly body: Uint8Array }): ReceivedMessage {
  const bytes = Buffer.from(body);
  return { op, body: bytes, text: bytes.toString() };
}
