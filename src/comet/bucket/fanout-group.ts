/**
 * Members that get the same bytes: a cohort of a room in this bucket (most rooms have one), or the channels that share a
 * watch set. Messages pile up here as finished wire bytes and leave as one WebSocket message per form; uWS does the walk
 * over the members.
 *
 * Threads: its bucket.
 * Guarantees: order of append; an extended batch holds contiguous offsets only; a form is built only while it has
 *   subscribers; after flush() nothing is pending.
 * Hot path: append() and flush(); per flush one small view object per form, nothing per message.
 *   Bench: bench/comet/fanout-group.bench.ts.
 */
import {
  batch26HeaderBytes,
  OP,
  PACKET_HEADER_BYTES,
  PUSH_SEQ,
  PUSH_VER,
  writeBatch26Header,
  writePacketHeader,
} from '../../protocol/index.js';
import type { BufferPool } from '../../ring/index.js';

/** Where finished messages go: every uWS app of the bucket publishes them to the topic. */
export type Publish = (topic: string, message: Uint8Array) => void;

export interface BatchLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export interface FanoutContext {
  readonly publish: Publish;
  readonly pool: BufferPool;
  readonly limits: BatchLimits;
  /** Called when a group gets its first pending message of a window. */
  readonly onPending: (group: FanoutGroup) => void;
  /** Called for every finished message: recipients and messages in it, for the counters. */
  readonly onPublished: (recipientCount: number, messageCount: number) => void;
}

const MESSAGE_ID_BYTES = 8;
/** uWS copies smaller messages and sends larger ones straight to every subscriber: from here on a view is passed on. */
export const LARGE_MESSAGE_BYTES = 16_384;

/** One growing message: header space, then entries. The buffer is borrowed from the pool while anything is pending. */
class PendingBatch {
  readonly #pool: BufferPool;
  buffer: Uint8Array | undefined;
  lengthBytes = 0;
  messageCount = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** Make room for `bytes` more behind `headerBytes` of header; returns the buffer. */
  reserve(headerBytes: number, bytes: number): Uint8Array {
    if (this.buffer === undefined) {
      this.buffer = this.#pool.acquire(headerBytes + bytes);
      this.lengthBytes = headerBytes;
    } else if (this.lengthBytes + bytes > this.buffer.length) {
      const larger = this.#pool.acquire(Math.max(this.lengthBytes + bytes, this.buffer.length * 2));
      larger.set(this.buffer.subarray(0, this.lengthBytes));
      this.#pool.release(this.buffer);
      this.buffer = larger;
    }
    return this.buffer;
  }

  clear(): void {
    if (this.buffer !== undefined) this.#pool.release(this.buffer);
    this.buffer = undefined;
    this.lengthBytes = 0;
    this.messageCount = 0;
  }
}

export class FanoutGroup {
  readonly #context: FanoutContext;
  readonly topicPlain: string;
  readonly topicExtended: string;
  /** Room id in UTF-8 for the op-26 header; empty for direct and all. */
  readonly #roomUtf8: Uint8Array;
  readonly #extendedHeaderBytes: number;
  readonly #plain: PendingBatch;
  readonly #extended: PendingBatch;
  #firstOffset = 0;
  #pendingSince = false;
  epoch = 0;
  /** Offset of the newest message that was appended or, for a group without messages, where it started. */
  lastOffset = 0;
  /** Channels subscribed to the topics now (slow ones are not). */
  plainCount = 0;
  extendedCount = 0;

  /** @param topic name without the form's prefix, unique in the bucket */
  constructor(context: FanoutContext, topic: string, roomUtf8: Uint8Array) {
    this.#context = context;
    this.topicPlain = `p${topic}`;
    this.topicExtended = `x${topic}`;
    this.#roomUtf8 = roomUtf8;
    this.#extendedHeaderBytes = batch26HeaderBytes(roomUtf8.length);
    this.#plain = new PendingBatch(context.pool);
    this.#extended = new PendingBatch(context.pool);
  }

  /** Messages of the fuller form that wait for a flush. */
  get pendingCount(): number {
    return Math.max(this.#plain.messageCount, this.#extended.messageCount);
  }

  /** The offset up to which a channel that subscribes now must not expect messages from this group. */
  get flushedOffset(): number {
    return this.#extended.messageCount > 0 ? this.#firstOffset - 1 : this.lastOffset;
  }

  /**
   * Take one push. `bytes[idOffset, +8)` is its id, `bytes[outerOffset, +16)` an op-9 header for it alone and
   * `bytes[innerOffset, +packetBytes)` the packet; outer header and packet are adjacent. Nothing of it is kept by reference.
   * @param offset 0: it has no place in the sequence, and leaves at once in a batch of its own
   */
  append(
    bytes: Uint8Array,
    idOffset: number,
    outerOffset: number,
    innerOffset: number,
    packetBytes: number,
    offset: number,
  ): void {
    const { maxMessages, maxBytes } = this.#context.limits;
    if (
      this.pendingCount >= maxMessages ||
      (this.#extended.messageCount > 0 && offset !== this.lastOffset + 1) ||
      Math.max(this.#plain.lengthBytes, this.#extended.lengthBytes) + packetBytes + MESSAGE_ID_BYTES > maxBytes
    ) {
      this.flush();
    }
    // Its last subscriber left: what waited is nobody's, and a later subscriber's batch must not continue behind a hole.
    if (this.plainCount === 0 && this.#plain.messageCount > 0) this.#plain.clear();
    if (this.extendedCount === 0 && this.#extended.messageCount > 0) this.#extended.clear();
    if (offset > 0) this.lastOffset = offset;
    if (this.plainCount > 0 && packetBytes >= LARGE_MESSAGE_BYTES) {
      if (this.#plain.messageCount > 0) this.#flushPlain();
      this.#context.publish(this.topicPlain, bytes.subarray(outerOffset, innerOffset + packetBytes));
      this.#context.onPublished(this.plainCount, 1);
    } else if (this.plainCount > 0) {
      this.#appendTo(this.#plain, PACKET_HEADER_BYTES, bytes, innerOffset, packetBytes);
      this.#plain.messageCount += 1;
    }
    if (this.extendedCount > 0) {
      if (this.#extended.messageCount === 0) this.#firstOffset = offset;
      this.#appendTo(this.#extended, this.#extendedHeaderBytes, bytes, idOffset, MESSAGE_ID_BYTES);
      this.#appendTo(this.#extended, this.#extendedHeaderBytes, bytes, innerOffset, packetBytes);
      this.#extended.messageCount += 1;
    }
    if (offset === 0) {
      // Outside the sequence: the next message must not seem to follow it.
      this.flush();
      return;
    }
    if (!this.#pendingSince && this.pendingCount > 0) {
      this.#pendingSince = true;
      this.#context.onPending(this);
    }
  }

  /** Publish what is pending. */
  flush(): void {
    if (this.#plain.messageCount > 0) this.#flushPlain();
    if (this.#extended.messageCount > 0) this.#flushExtended();
    this.#pendingSince = false;
  }

  /** Forget what is pending: nobody is left to get it. */
  discard(): void {
    this.#plain.clear();
    this.#extended.clear();
    this.#pendingSince = false;
  }

  #appendTo(batch: PendingBatch, headerBytes: number, bytes: Uint8Array, start: number, lengthBytes: number): void {
    const buffer = batch.reserve(headerBytes, lengthBytes);
    const to = batch.lengthBytes;
    copy(bytes, start, buffer, to, lengthBytes);
    batch.lengthBytes = to + lengthBytes;
  }

  #flushPlain(): void {
    const batch = this.#plain;
    const buffer = batch.buffer;
    if (buffer === undefined) return;
    writePacketHeader(viewOf(buffer), 0, batch.lengthBytes, PUSH_VER, OP.RAW, PUSH_SEQ);
    this.#context.publish(this.topicPlain, buffer.subarray(0, batch.lengthBytes));
    this.#context.onPublished(this.plainCount, batch.messageCount);
    batch.clear();
  }

  #flushExtended(): void {
    const batch = this.#extended;
    const buffer = batch.buffer;
    if (buffer === undefined) return;
    writeBatch26Header(viewOf(buffer), buffer, 0, batch.lengthBytes, this.#roomUtf8, this.epoch, this.#firstOffset);
    this.#context.publish(this.topicExtended, buffer.subarray(0, batch.lengthBytes));
    this.#context.onPublished(this.extendedCount, batch.messageCount);
    batch.clear();
  }
}

/**
 * Up to here a copy byte by byte beats subarray() and set(), whose view object costs 45 ns whatever its length: ids take
 * 5 ns instead, bare headers 28; at 24 bytes both are equal, at 64 the loop takes twice as long
 * (bench/comet/fanout-group.bench.ts).
 */
const SHORT_COPY_BYTES = 16;

function copy(from: Uint8Array, start: number, to: Uint8Array, at: number, lengthBytes: number): void {
  if (lengthBytes <= SHORT_COPY_BYTES) {
    for (let i = 0; i < lengthBytes; i++) to[at + i] = from[start + i]!;
  } else {
    to.set(from.subarray(start, start + lengthBytes), at);
  }
}

/** A view over a pooled buffer: made once per flush, not per message. */
function viewOf(buffer: Uint8Array): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
