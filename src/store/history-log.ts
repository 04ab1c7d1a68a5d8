/**
 * The kept messages of one room in memory: a queue of finished entries (message id, then the goim packet that clients see),
 * with the place of the newest one.
 *
 * Threads: control thread only.
 * Guarantees: the entries are contiguous and end at `offset`.
 */
import type { HistoryRule } from '../config/index.js';
import { PACKET_HEADER_BYTES, PUSH_SEQ, PUSH_VER, readInt32, writePacketHeader } from '../protocol/index.js';
import type { HistoryMessage } from '../push/index.js';

export const ENTRY_ID_BYTES = 8;
const ENTRY_HEADER_BYTES = ENTRY_ID_BYTES + PACKET_HEADER_BYTES;
const OP_IN_ENTRY = ENTRY_ID_BYTES + 8;
/** What an entry costs beside its bytes: array object and buffer of V8, measured at about 200. */
export const ENTRY_OVERHEAD_BYTES = 200;
/** Dead slots at the head of the queue that are tolerated before it is moved up. */
const MAX_DEAD_SLOTS = 64;

/** Message id, then the packet. Copies both. */
export function historyEntry(op: number, body: Uint8Array, messageId: Uint8Array): Uint8Array<ArrayBuffer> {
  const entry = new Uint8Array(ENTRY_HEADER_BYTES + body.length);
  entry.set(messageId.subarray(0, ENTRY_ID_BYTES), 0);
  writePacketHeader(
    new DataView(entry.buffer),
    ENTRY_ID_BYTES,
    PACKET_HEADER_BYTES + body.length,
    PUSH_VER,
    op,
    PUSH_SEQ,
  );
  entry.set(body, ENTRY_HEADER_BYTES);
  return entry;
}

export class HistoryLog {
  readonly room: string;
  readonly rule: HistoryRule;
  epoch: number;
  /** Offset of the newest message, kept or not; 0 before the first. */
  offset = 0;
  /** Somebody needs the place: it outlives the messages. */
  isPinned = false;
  /** Monotonic ms of the newest append, or of when the place was last needed. */
  usedMs = 0;
  #entries: (Uint8Array | undefined)[] = [];
  #atMs: number[] = [];
  #head = 0;
  #bytes = 0;

  constructor(room: string, rule: HistoryRule, epoch: number) {
    this.room = room;
    this.rule = rule;
    this.epoch = epoch;
  }

  get count(): number {
    return this.#entries.length - this.#head;
  }

  /** Memory of the kept messages. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Offset of the oldest that is kept; `offset + 1` where none is. */
  get firstOffset(): number {
    return this.offset - this.count + 1;
  }

  /** Keep the message behind the newest. The entry belongs to the log. */
  append(entry: Uint8Array, nowMs: number): void {
    this.offset += 1;
    this.#entries.push(entry);
    this.#atMs.push(nowMs);
    this.#bytes += entry.length + ENTRY_OVERHEAD_BYTES;
    this.usedMs = nowMs;
    while (this.count > this.rule.maxMessages) this.dropOldest();
  }

  /**
   * Keep older messages in front of the oldest: contiguous with it, oldest first, at most as many as the rule leaves room for.
   * The entries belong to the log. @param atMs when they count as appended; not later than what stands behind them ends
   */
  prepend(entries: readonly Uint8Array[], atMs: number): void {
    this.#entries = [...entries, ...this.#entries.slice(this.#head)];
    this.#atMs = [...entries.map(() => atMs), ...this.#atMs.slice(this.#head)];
    this.#head = 0;
    for (const entry of entries) this.#bytes += entry.length + ENTRY_OVERHEAD_BYTES;
  }

  /** Forget what is older than the rule says. */
  trim(nowMs: number): void {
    const oldestMs = nowMs - this.rule.maxAgeS * 1000;
    while (this.count > 0 && this.#atMs[this.#head]! < oldestMs) this.dropOldest();
  }

  dropOldest(): void {
    const entry = this.#entries[this.#head];
    if (entry === undefined) return;
    this.#bytes -= entry.length + ENTRY_OVERHEAD_BYTES;
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    if (this.#head < MAX_DEAD_SLOTS || this.#head * 2 < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#atMs = this.#atMs.slice(this.#head);
    this.#head = 0;
  }

  clear(): void {
    this.#entries = [];
    this.#atMs = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  /** Id and packet of a kept message, undefined where it is not kept. Read only. */
  entryAt(offset: number): Uint8Array | undefined {
    return offset < this.firstOffset || offset > this.offset
      ? undefined
      : this.#entries[this.#head + (offset - this.firstOffset)];
  }

  /** As `entryAt`, in parts; views of it. */
  messageAt(offset: number): HistoryMessage | undefined {
    const entry = this.entryAt(offset);
    if (entry === undefined) return undefined;
    return {
      offset,
      op: readInt32(entry, OP_IN_ENTRY),
      messageId: entry.subarray(0, ENTRY_ID_BYTES),
      body: entry.subarray(ENTRY_HEADER_BYTES),
    };
  }

  /** Offset of a kept message with this id, the newest first; 0: none. */
  offsetOf(messageId: Uint8Array): number {
    for (let index = this.#entries.length - 1; index >= this.#head; index--) {
      if (startsWith(this.#entries[index]!, messageId)) return this.firstOffset + (index - this.#head);
    }
    return 0;
  }
}

function startsWith(entry: Uint8Array, messageId: Uint8Array): boolean {
  for (let i = ENTRY_ID_BYTES - 1; i >= 0; i--) if (entry[i] !== messageId[i]) return false;
  return true;
}
