/**
 * Rooms with history in this process: of a standalone node the history itself, of a node in a cluster the tail of what it
 * delivered, from which it serves reconnects without asking Redis.
 *
 * Threads: control thread only. Every method answers at once.
 * Guarantees: bounded by the rules' counts and ages, and by `maxBytes` over all rooms: the rooms that were silent for longest
 *   lose their messages first. A room that somebody is in keeps its place whatever is dropped; any other is forgotten
 *   `SLACK_MS` after its newest message aged out, or under memory pressure, and has a new epoch afterwards.
 * Hot path: put(); one entry per message, two map operations.
 */
import type { Clock } from '../clock/index.js';
import type { HistoryRule, HistoryRules } from '../config/index.js';
import type { HistoryMessage, HistoryRange, RangeLimits, RoomHistory, RoomPlace } from '../push/index.js';
import { ENTRY_OVERHEAD_BYTES, HistoryLog, historyEntry } from './history-log.js';

/** How long an idle room's place is kept beyond its messages. */
const SLACK_MS = 60_000;
/** How long messages that were fetched are kept: nobody knows their age, so they may be handed out so long after it. */
const FETCHED_KEEP_MS = 5_000;
/** What a room costs beside its messages: log, map entries, name. */
const ROOM_OVERHEAD_BYTES = 512;
/** Logs looked at for their end per append: more than one, so that ends keep up with beginnings. */
const SWEEP_COUNT = 2;

export interface MemoryHistoryOptions {
  readonly rules: HistoryRules;
  /** Memory for all messages and rooms together. */
  readonly maxBytes: number;
  /** Epochs given lie above it: those of an earlier life of the node lie below. */
  readonly firstEpoch: number;
  readonly clock: Clock;
}

export class MemoryHistory implements RoomHistory {
  readonly #options: MemoryHistoryOptions;
  readonly #logs = new Map<string, HistoryLog>();
  /** Per rule, in the order of their last use: all but pinned ones without messages. The head of each is next to end. */
  readonly #orders = new Map<HistoryRule, Map<string, HistoryLog>>();
  #lastEpoch: number;
  #bytes = 0;

  constructor(options: MemoryHistoryOptions) {
    this.#options = options;
    this.#lastEpoch = options.firstEpoch;
  }

  get roomCount(): number {
    return this.#logs.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  hasHistory(room: string): boolean {
    return this.#options.rules.hasHistory(room);
  }

  /** The log of a room with history, made where there is none; undefined for a room without history. */
  logOf(room: string): HistoryLog | undefined {
    const known = this.#logs.get(room);
    if (known !== undefined) return known;
    const rule = this.#options.rules.of(room);
    if (rule === undefined) return undefined;
    this.#lastEpoch += 1;
    const log = new HistoryLog(room, rule, this.#lastEpoch);
    this.#logs.set(room, log);
    this.#bytes += ROOM_OVERHEAD_BYTES;
    this.#use(log);
    return log;
  }

  /** As `logOf`, without making one. */
  existing(room: string): HistoryLog | undefined {
    return this.#logs.get(room);
  }

  /** The room has members here from now on: its place is kept until unpin(). */
  pin(log: HistoryLog): void {
    log.isPinned = true;
  }

  unpin(log: HistoryLog): void {
    log.isPinned = false;
    if (this.#logs.get(log.room) === log) this.#use(log);
  }

  /** Keep a message behind the newest one of the log. Copies id and body. */
  put(log: HistoryLog, op: number, body: Uint8Array, messageId: Uint8Array): void {
    const before = log.bytes;
    log.append(historyEntry(op, body, messageId), this.#nowMs());
    this.#bytes += log.bytes - before;
    this.#order(log).delete(log.room);
    this.#order(log).set(log.room, log);
    this.#sweep();
    if (this.#bytes > this.#options.maxBytes) this.#evict(log);
  }

  /**
   * Messages that the cluster's history gave, contiguous: what lies in front of the oldest that is kept here is kept for a while,
   * so that a crowd that missed it needs one question. Never at the cost of another room's, nor of newer ones: as many as there
   * is room for, the newest first. Copies ids and bodies.
   */
  backfill(log: HistoryLog, epoch: number, messages: readonly HistoryMessage[]): void {
    const { maxMessages, maxAgeS } = log.rule;
    const last = messages.at(-1);
    if (log.epoch !== epoch || last === undefined || last.offset + 1 < log.firstOffset) return;
    const entries: Uint8Array[] = [];
    let freeBytes = this.#options.maxBytes - this.#bytes;
    for (let index = messages.length - 1; index >= 0 && log.count + entries.length < maxMessages; index--) {
      const { offset, op, body, messageId } = messages[index]!;
      if (offset >= log.firstOffset) continue;
      const entry = historyEntry(op, body, messageId);
      freeBytes -= entry.length + ENTRY_OVERHEAD_BYTES;
      if (freeBytes < 0) break;
      entries.push(entry);
    }
    if (entries.length === 0) return;
    const before = log.bytes;
    const nowMs = this.#nowMs();
    log.prepend(entries.reverse(), Math.min(nowMs, nowMs - maxAgeS * 1000 + FETCHED_KEEP_MS));
    this.#bytes += log.bytes - before;
    this.#use(log);
  }

  /** The room continues behind `place`; what is kept of another epoch or in front of a hole is dropped. */
  restart(log: HistoryLog, place: RoomPlace): void {
    if (log.epoch === place.epoch && log.offset === place.offset) return;
    this.#clear(log);
    log.epoch = place.epoch;
    log.offset = place.offset;
  }

  /** Forget what is too old in this log. */
  trim(log: HistoryLog): void {
    const before = log.bytes;
    log.trim(this.#nowMs());
    this.#bytes += log.bytes - before;
  }

  // RoomHistory.

  append(room: string, op: number, body: Uint8Array, messageId: Uint8Array): RoomPlace {
    const log = this.#required(room);
    const known = log.offsetOf(messageId);
    if (known > 0) return { epoch: log.epoch, offset: known };
    this.put(log, op, body, messageId);
    return { epoch: log.epoch, offset: log.offset };
  }

  range(room: string, epoch: number, fromOffset: number, { maxMessages, maxBytes }: RangeLimits): HistoryRange {
    const log = this.#required(room);
    this.trim(log);
    const place = { epoch: log.epoch, offset: log.offset };
    if (epoch !== log.epoch || fromOffset < log.firstOffset || fromOffset > log.offset + 1) {
      return { isRecoverable: false, place, firstOffset: log.firstOffset };
    }
    const messages: HistoryMessage[] = [];
    let bytes = 0;
    for (let offset = fromOffset; offset <= log.offset && messages.length < maxMessages; offset++) {
      const message = log.messageAt(offset)!;
      bytes += message.body.length;
      if (bytes > maxBytes && messages.length > 0) break;
      messages.push(message);
    }
    return { isRecoverable: true, place, messages };
  }

  position(room: string): RoomPlace {
    const { epoch, offset } = this.#required(room);
    return { epoch, offset };
  }

  renew(room: string, epoch: number): RoomPlace {
    const log = this.#required(room);
    if (log.epoch === epoch) {
      this.#lastEpoch += 1;
      this.restart(log, { epoch: this.#lastEpoch, offset: 0 });
    }
    return { epoch: log.epoch, offset: log.offset };
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  /** For callers who asked `hasHistory` before, as the port demands. */
  #required(room: string): HistoryLog {
    const log = this.logOf(room);
    if (log === undefined) throw new TypeError(`the room has no history: room=${room}`);
    return log;
  }

  #order(log: HistoryLog): Map<string, HistoryLog> {
    let order = this.#orders.get(log.rule);
    if (order === undefined) {
      order = new Map();
      this.#orders.set(log.rule, order);
    }
    return order;
  }

  #use(log: HistoryLog): void {
    log.usedMs = this.#nowMs();
    const order = this.#order(log);
    order.delete(log.room);
    order.set(log.room, log);
  }

  #clear(log: HistoryLog): void {
    this.#bytes -= log.bytes;
    log.clear();
  }

  /** End the logs that are past their time, a few per call. */
  #sweep(): void {
    const nowMs = this.#nowMs();
    for (const [rule, order] of this.#orders) {
      const endMs = nowMs - rule.maxAgeS * 1000 - SLACK_MS;
      let left = SWEEP_COUNT;
      for (const log of order.values()) {
        if (left === 0 || log.usedMs > endMs) break;
        left -= 1;
        this.#drop(log);
      }
    }
  }

  /** Its messages go, and its place too unless it is pinned. */
  #drop(log: HistoryLog): void {
    this.#clear(log);
    this.#order(log).delete(log.room);
    if (log.isPinned) return;
    this.#logs.delete(log.room);
    this.#bytes -= ROOM_OVERHEAD_BYTES;
  }

  /** Over all rules: what was silent for longest goes first; the room just written to last, and then its oldest messages. */
  #evict(written: HistoryLog): void {
    while (this.#bytes > this.#options.maxBytes) {
      let oldest: HistoryLog | undefined;
      for (const order of this.#orders.values()) {
        const [first] = order.values();
        if (first !== undefined && first !== written && (oldest === undefined || first.usedMs < oldest.usedMs)) {
          oldest = first;
        }
      }
      if (oldest !== undefined) {
        this.#drop(oldest);
      } else {
        if (written.count === 0) return;
        const before = written.bytes;
        written.dropOldest();
        this.#bytes += written.bytes - before;
      }
    }
  }
}
