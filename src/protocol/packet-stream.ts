/**
 * Packets out of a byte stream (TCP): chunks arrive split anywhere, packets come out whole.
 *
 * ```ts
 * stream.feed(chunk);
 * while (stream.next() === PARSE.OK) handle(stream.header, stream.bytes);
 * ```
 *
 * Threads: one owner.
 * Guarantees: the same packets and the same outcome for every way of splitting the bytes. Memory is bounded by one
 * packet: at most 16 bytes and the limit of its op are kept, growing with what has really arrived (a peer that only
 * *announces* 64 KiB costs 16 bytes), and an idle stream keeps none. A refusal is final: the stream stays refused.
 * Hot path: `next`. A packet that lies whole in its chunk is handed out in place; only a split one is copied.
 */
import { HalleyError } from '../errors/index.js';
import { FRAMING, NO_BODY_LIMIT_BYTES, PARSE, PacketHeader, type ParseOutcome, readPacket } from './packet.js';
import { PACKET_HEADER_BYTES } from './packet.layout.js';

const EMPTY = new Uint8Array(0);

export class PacketStream {
  /** The packet that the last `next() === PARSE.OK` found. Its `bodyOffset` counts in `bytes`. */
  readonly header = new PacketHeader();
  /** Holds that packet; either the fed chunk or the stream's own buffer. Valid until the next call of `next` or `feed`. */
  bytes: Uint8Array = EMPTY;

  readonly #bodyLimitBytesOf: (op: number) => number;
  #chunk: Uint8Array = EMPTY;
  #chunkOffset = 0;
  /** The beginning of a packet whose end has not arrived. */
  #pending: Uint8Array<ArrayBuffer> = EMPTY;
  #pendingBytes = 0;
  /** The packet in `#pending` has been handed out and may be forgotten. */
  #pendingDone = false;
  #refusal: ParseOutcome = PARSE.OK;

  /** @param bodyLimitBytesOf largest body per operation, asked once its header is there */
  constructor(bodyLimitBytesOf: (op: number) => number) {
    this.#bodyLimitBytesOf = bodyLimitBytesOf;
  }

  /**
   * Take the next bytes of the stream. `chunk` is read in place and may be reused once `next` has said NEED_MORE.
   * @throws HalleyError STREAM_NOT_DRAINED while packets of the previous chunk are waiting
   */
  feed(chunk: Uint8Array): void {
    if (this.#refusal !== PARSE.OK) return;
    const waitingBytes = this.#chunk.length - this.#chunkOffset;
    if (waitingBytes > 0) {
      throw new HalleyError('STREAM_NOT_DRAINED', 'call next() until it says NEED_MORE before feeding more', {
        waitingBytes,
      });
    }
    this.#chunk = chunk;
    this.#chunkOffset = 0;
  }

  /** Advance to the next packet. OK: `header` and `bytes` hold it. NEED_MORE: feed. Anything else: refused, for good. */
  next(): ParseOutcome {
    if (this.#refusal !== PARSE.OK) return this.#refusal;
    if (this.#pendingDone) this.#forgetPending();
    const outcome = this.#pendingBytes === 0 ? this.#readFromChunk() : this.#readFromPending();
    if (outcome !== PARSE.OK) this.bytes = EMPTY;
    if (outcome > PARSE.NEED_MORE) {
      this.#refusal = outcome;
      this.#chunk = EMPTY;
      this.#chunkOffset = 0;
      this.#forgetPending();
    }
    return outcome;
  }

  /** Bytes of an unfinished packet that are being kept. Above 0 at the end of a connection: it ended inside a packet. */
  get keptBytes(): number {
    return this.#pendingDone ? 0 : this.#pendingBytes;
  }

  #readFromChunk(): ParseOutcome {
    const chunk = this.#chunk;
    const outcome = this.#check(chunk, this.#chunkOffset, chunk.length);
    if (outcome === PARSE.OK) {
      this.bytes = chunk;
      this.#chunkOffset += this.header.packetBytes;
    } else if (outcome === PARSE.NEED_MORE) {
      this.#take(chunk.length - this.#chunkOffset);
    }
    return outcome;
  }

  #readFromPending(): ParseOutcome {
    this.#take(PACKET_HEADER_BYTES - this.#pendingBytes);
    let outcome = this.#check(this.#pending, 0, this.#pendingBytes);
    if (outcome === PARSE.NEED_MORE && this.#pendingBytes >= PACKET_HEADER_BYTES) {
      this.#take(this.header.packetBytes - this.#pendingBytes);
      outcome = this.#check(this.#pending, 0, this.#pendingBytes);
    }
    if (outcome === PARSE.OK) {
      this.bytes = this.#pending;
      this.#pendingDone = true;
    }
    return outcome;
  }

  /** `readPacket` with the limit of the packet's own op, known once its header is complete. */
  #check(bytes: Uint8Array, offset: number, endOffset: number): ParseOutcome {
    const header = this.header;
    const outcome = readPacket(bytes, offset, endOffset, header, NO_BODY_LIMIT_BYTES, FRAMING.STREAM);
    if (outcome > PARSE.NEED_MORE || endOffset - offset < PACKET_HEADER_BYTES) return outcome;
    return header.bodyBytes > this.#bodyLimitBytesOf(header.op) ? PARSE.TOO_LARGE : outcome;
  }

  /** Move up to `wantedBytes` from the chunk to the pending packet; a chunk that is used up is let go. */
  #take(wantedBytes: number): void {
    const takenBytes = Math.min(wantedBytes, this.#chunk.length - this.#chunkOffset);
    if (takenBytes > 0) {
      const neededBytes = this.#pendingBytes + takenBytes;
      if (neededBytes > this.#pending.length) {
        const doubledBytes = Math.min(this.#pending.length * 2, this.#pendingBytes + wantedBytes);
        const grown = new Uint8Array(Math.max(neededBytes, doubledBytes));
        grown.set(this.#pending.subarray(0, this.#pendingBytes));
        this.#pending = grown;
      }
      this.#pending.set(this.#chunk.subarray(this.#chunkOffset, this.#chunkOffset + takenBytes), this.#pendingBytes);
      this.#pendingBytes = neededBytes;
      this.#chunkOffset += takenBytes;
    }
    if (this.#chunkOffset === this.#chunk.length) {
      this.#chunk = EMPTY;
      this.#chunkOffset = 0;
    }
  }

  #forgetPending(): void {
    this.#pending = EMPTY;
    this.#pendingBytes = 0;
    this.#pendingDone = false;
  }
}
