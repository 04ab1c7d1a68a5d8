/**
 * Pushes to single channels, collected over one turn: the body is copied once per push, and a channel with several pushes
 * gets them in one WebSocket message.
 *
 * Threads: its bucket.
 * Guarantees: order per channel; flush() leaves nothing behind.
 * Hot path: begin(), add() and flush(); links between entries are typed arrays, no object per entry.
 *   Bench: bench/comet/direct-outbox.bench.ts.
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
import { CHANNEL_FLAG, type Channel } from './channel.js';

/** Sends one finished message; `messageCount` packets are in it. The bytes are valid until return. */
export type SendDirect = (channel: Channel, message: Uint8Array, messageCount: number) => void;

const ID_BYTES = 8;
const NO_ROOM = new Uint8Array(0);
const EXTENDED_HEADER_BYTES = batch26HeaderBytes(0);
const FIRST_ARENA_BYTES = 65_536;
const RETAINED_ARENA_BYTES = 4_194_304;

export class DirectOutbox {
  readonly #send: SendDirect;
  readonly #maxMessageBytes: number;
  readonly #channels: Channel[] = [];
  /** Copied pushes of this turn: id, then the packet. */
  #arena = new Uint8Array(FIRST_ARENA_BYTES);
  #arenaLength = 0;
  #messageStart = 0;
  #messageBytes = 0;
  #entryStart = new Int32Array(1024);
  #entryBytes = new Int32Array(1024);
  #entryNext = new Int32Array(1024);
  #entryCount = 0;
  #scratch = new Uint8Array(FIRST_ARENA_BYTES);
  #scratchView = new DataView(this.#scratch.buffer);

  /** @param maxMessageBytes a message to a channel is ended when it has reached so many bytes */
  constructor(send: SendDirect, maxMessageBytes: number) {
    this.#send = send;
    this.#maxMessageBytes = maxMessageBytes;
  }

  get isEmpty(): boolean {
    return this.#channels.length === 0;
  }

  /** Memory for copies, kept from turn to turn: at most twice 4 MiB after a flush. */
  get heldBytes(): number {
    return this.#arena.length + this.#scratch.length;
  }

  /** Copy one push: its id and its packet. */
  begin(bytes: Uint8Array, idOffset: number, packetOffset: number, packetBytes: number): void {
    this.#messageBytes = ID_BYTES + packetBytes;
    this.#messageStart = this.#arenaLength;
    const needed = this.#arenaLength + this.#messageBytes;
    if (needed > this.#arena.length) this.#arena = grown(this.#arena, needed);
    for (let i = 0; i < ID_BYTES; i++) this.#arena[this.#messageStart + i] = bytes[idOffset + i]!;
    this.#arena.set(bytes.subarray(packetOffset, packetOffset + packetBytes), this.#messageStart + ID_BYTES);
    this.#arenaLength = needed;
  }

  /** The push begun last is for this channel. */
  add(channel: Channel): void {
    const entry = this.#entryCount;
    if (entry === this.#entryStart.length) {
      this.#entryStart = doubled(this.#entryStart);
      this.#entryBytes = doubled(this.#entryBytes);
      this.#entryNext = doubled(this.#entryNext);
    }
    this.#entryCount += 1;
    this.#entryStart[entry] = this.#messageStart;
    this.#entryBytes[entry] = this.#messageBytes;
    this.#entryNext[entry] = -1;
    if (channel.directHead < 0) {
      channel.directHead = entry;
      this.#channels.push(channel);
    } else {
      this.#entryNext[channel.directTail] = entry;
    }
    channel.directTail = entry;
  }

  /** Send what the turn collected. */
  flush(): void {
    for (const channel of this.#channels) {
      const head = channel.directHead;
      channel.directHead = -1;
      channel.directTail = -1;
      if (channel.has(CHANNEL_FLAG.EXTENDED)) this.#flushExtended(channel, head);
      else this.#flushPlain(channel, head);
    }
    this.#channels.length = 0;
    this.#entryCount = 0;
    this.#arenaLength = 0;
    if (this.#arena.length > RETAINED_ARENA_BYTES) this.#arena = new Uint8Array(FIRST_ARENA_BYTES);
    if (this.#scratch.length > RETAINED_ARENA_BYTES) this.#setScratch(new Uint8Array(FIRST_ARENA_BYTES));
  }

  #flushPlain(channel: Channel, head: number): void {
    let length = PACKET_HEADER_BYTES;
    let count = 0;
    for (let entry = head; entry >= 0; entry = this.#entryNext[entry]!) {
      const packetBytes = this.#entryBytes[entry]! - ID_BYTES;
      if (count > 0 && length + packetBytes > this.#maxMessageBytes) {
        this.#finishPlain(channel, length, count);
        length = PACKET_HEADER_BYTES;
        count = 0;
      }
      this.#copyToScratch(this.#entryStart[entry]! + ID_BYTES, packetBytes, length);
      length += packetBytes;
      count += 1;
    }
    this.#finishPlain(channel, length, count);
  }

  #finishPlain(channel: Channel, length: number, count: number): void {
    writePacketHeader(this.#scratchView, 0, length, PUSH_VER, OP.RAW, PUSH_SEQ);
    this.#send(channel, this.#scratch.subarray(0, length), count);
  }

  #flushExtended(channel: Channel, head: number): void {
    let length = EXTENDED_HEADER_BYTES;
    let count = 0;
    for (let entry = head; entry >= 0; entry = this.#entryNext[entry]!) {
      const bytes = this.#entryBytes[entry]!;
      if (count > 0 && length + bytes > this.#maxMessageBytes) {
        this.#finishExtended(channel, length, count);
        length = EXTENDED_HEADER_BYTES;
        count = 0;
      }
      this.#copyToScratch(this.#entryStart[entry]!, bytes, length);
      length += bytes;
      count += 1;
    }
    this.#finishExtended(channel, length, count);
  }

  #finishExtended(channel: Channel, length: number, count: number): void {
    writeBatch26Header(this.#scratchView, this.#scratch, 0, length, NO_ROOM, 0, 0);
    this.#send(channel, this.#scratch.subarray(0, length), count);
  }

  #copyToScratch(start: number, lengthBytes: number, at: number): void {
    if (at + lengthBytes > this.#scratch.length) this.#setScratch(grown(this.#scratch, at + lengthBytes));
    this.#scratch.set(this.#arena.subarray(start, start + lengthBytes), at);
  }

  #setScratch(scratch: Uint8Array<ArrayBuffer>): void {
    this.#scratch = scratch;
    this.#scratchView = new DataView(scratch.buffer);
  }
}

function grown(bytes: Uint8Array, neededBytes: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(neededBytes, bytes.length * 2));
  larger.set(bytes);
  return larger;
}

function doubled(numbers: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
