/**
 * Recovery of rooms (op 23), on the control thread: what a channel missed, from the node's memory where that reaches back far
 * enough, otherwise from the cluster's history; as wire bytes, over the control thread's ring.
 *
 * The joint with the live stream is the ring's order. An answer is encoded in the moment in which it is written, and holds
 * everything up to the newest message that was numbered until then. Those stand on the ring in front of it, and every later
 * message behind it: what the bucket has not sent to the room yet when it reads the answer it sends first.
 *
 * A storm of reconnects asks Redis hardly ever: the node keeps what it delivers; what it has to fetch once for a room it keeps
 * in front of that for some seconds (`MemoryHistory.backfill`); whoever misses part of what is being fetched waits for it; and
 * of a room that has lost what was asked for, or has too much behind it, it is known that nobody gets more.
 *
 * Threads: control thread only.
 * Guarantees: all of what was missed or nothing; requests are answered in their order, except for those that wait for Redis; each
 *   within `timeoutMs`, if only with a refusal. Bounds: messages and bytes per answer, bytes per second over all, `MAX_REMOTE`
 *   questions to Redis at a time, `SLICE_MS` of the thread at a time. No messages are written while the ring's backlog is not
 *   empty.
 */
import type { Clock } from '../clock/index.js';
import { batch26HeaderBytes, encodeUtf8, writeBatch26Header } from '../protocol/index.js';
import type { HistoryMessage, HistoryRange, RoomHistory } from '../push/index.js';
import { type HistoryLog, historyEntry, type MemoryHistory } from '../store/index.js';
import { METRIC, type ThreadCounters } from '../telemetry/index.js';
import { BriefAnswers } from './brief-answers.js';
import {
  MESSAGE,
  RECOVER_STATUS,
  type RecoveredMessage,
  type RecoverMessage,
  type RecoverStatus,
} from './thread-messages.js';

export interface RoomRecoveryOptions {
  /** What the sequencer keeps. */
  readonly memory: MemoryHistory;
  /** The cluster's; undefined: memory is all there is. */
  readonly history?: RoomHistory;
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly bytesPerSec: number;
  readonly timeoutMs: number;
}

export interface RoomRecoveryLinks {
  readonly clock: Clock;
  readonly counters: Pick<ThreadCounters, 'add'>;
  /** False while the ring has no room: nothing may be sent then. */
  readonly canSend: () => boolean;
  readonly send: (thread: number, message: RecoveredMessage) => void;
}

interface Waiting {
  readonly thread: number;
  readonly request: number;
  readonly room: string;
  readonly epoch: number;
  /** Of the oldest message that is wanted. */
  readonly fromOffset: number;
  readonly deadlineMs: number;
  /** What the cluster's history gave: contiguous from `fromOffset`. */
  older: readonly HistoryMessage[];
  /** It gave less than the room has, because that is more than one answer may hold. */
  isCut: boolean;
  askCount: number;
  /** The bucket does not wait for it any more. */
  isForgotten: boolean;
}

type Verdict = Uint8Array | 'refused' | 'too old';

const NO_BYTES = new Uint8Array(0);
/** Answers, and time, per turn of the loop; then pushes and timers get theirs. */
const SLICE_COUNT = 64;
const SLICE_MS = 4;
const RETRY_MS = 2;
const MAX_REMOTE = 32;
/** Questions to the cluster's history for one request: what it gives may end in front of what memory has by then. */
const MAX_ASKS = 2;
/** Rooms of which it is known from where on they cannot be recovered. */
const MAX_FLOORS = 4_096;

interface Fetching {
  readonly fromOffset: number;
  readonly range: Promise<HistoryRange | undefined>;
}

interface Floor {
  readonly epoch: number;
  readonly offset: number;
}

export class RoomRecovery {
  readonly #options: RoomRecoveryOptions;
  readonly #links: RoomRecoveryLinks;
  #waiting: Waiting[] = [];
  /** Ranges that are being fetched, the widest of each life of a room, so that a crowd asks once. */
  readonly #remote = new Map<string, Fetching>();
  #remoteCount = 0;
  /** By room: nobody can have what begins in front of it. It only rises: a room's messages get older and more. */
  readonly #floors = new Map<string, Floor>();
  readonly #atRemote = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Bytes that may be sent now; below zero after a large answer. */
  #budgetBytes: number;
  #budgetAtMs: number;
  /** In one life of a room an offset is one message for ever, so an answer from one offset to another never changes. */
  readonly #answers = new BriefAnswers<Uint8Array>();

  constructor(options: RoomRecoveryOptions, links: RoomRecoveryLinks) {
    this.#options = options;
    this.#links = links;
    this.#budgetBytes = options.bytesPerSec;
    this.#budgetAtMs = links.clock.monotonicMs();
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  request(thread: number, [, request, room, epoch, offset]: RecoverMessage): void {
    this.#waiting.push({
      thread,
      request,
      room,
      epoch,
      fromOffset: offset + 1,
      deadlineMs: this.#links.clock.monotonicMs() + this.#options.timeoutMs,
      older: [],
      isCut: false,
      askCount: 0,
      isForgotten: false,
    });
    if (this.#timer === undefined) this.#pump();
  }

  /** The bucket died, or has forgotten what it asked. */
  forgetThread(thread: number): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting.thread !== thread);
    for (const waiting of this.#atRemote) if (waiting.thread === thread) waiting.isForgotten = true;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#answers.clear();
    this.#floors.clear();
  }

  #pump(): void {
    const count = Math.min(SLICE_COUNT, this.#waiting.length);
    let served = 0;
    const nowMs = this.#links.clock.monotonicMs();
    const endMs = performance.now() + SLICE_MS;
    for (; served < count; served++) {
      const waiting = this.#waiting[served]!;
      // A refusal is small: it may wait in the ring's backlog, and costs none of the budget.
      if (nowMs > waiting.deadlineMs) this.#answer(waiting, RECOVER_STATUS.LATER, NO_BYTES);
      else if (this.#maySend() && performance.now() < endMs) this.#serve(waiting);
      else break;
    }
    this.#waiting.splice(0, served);
    if (this.#waiting.length > 0 && !this.#isClosed) this.#pumpLater();
  }

  #pumpLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, RETRY_MS);
  }

  #maySend(): boolean {
    if (!this.#links.canSend()) return false;
    const nowMs = this.#links.clock.monotonicMs();
    const { bytesPerSec } = this.#options;
    this.#budgetBytes = Math.min(bytesPerSec, this.#budgetBytes + ((nowMs - this.#budgetAtMs) / 1000) * bytesPerSec);
    this.#budgetAtMs = nowMs;
    return this.#budgetBytes > 0;
  }

  #serve(waiting: Waiting): void {
    const verdict = this.#verdict(waiting);
    if (verdict === 'refused') this.#answer(waiting, RECOVER_STATUS.REFUSED, NO_BYTES);
    else if (verdict !== 'too old') this.#answer(waiting, RECOVER_STATUS.RECOVERED, verdict);
    else if (this.#options.history === undefined || waiting.isCut) {
      this.#answer(waiting, RECOVER_STATUS.REFUSED, NO_BYTES);
    } else if (waiting.askCount >= MAX_ASKS) {
      this.#answer(waiting, RECOVER_STATUS.LATER, NO_BYTES);
    } else {
      const fetching = this.#fetchFor(waiting, this.#options.history);
      if (fetching === undefined) this.#waiting.push(waiting);
      else void this.#await(waiting, fetching);
    }
  }

  /** Everything that is missed as wire bytes, from memory and what was fetched; or why not. */
  #verdict({ room, epoch, fromOffset, older }: Waiting): Verdict {
    const { memory, maxMessages, maxBytes } = this.#options;
    const log = memory.existing(room);
    if (log === undefined || log.epoch !== epoch || fromOffset > log.offset + 1) return 'refused';
    if (fromOffset === log.offset + 1) return NO_BYTES;
    if (log.offset + 1 - fromOffset > maxMessages || this.#isBelowFloor(log, fromOffset)) return 'refused';
    memory.trim(log);
    if (log.firstOffset > fromOffset + older.length) return 'too old';
    const key = `${epoch}:${fromOffset}:${log.offset}:${room}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const bytes = encodeRecovered(log, fromOffset, older, maxBytes);
    if (bytes === undefined) this.#raiseFloor(room, epoch, fromOffset + 1);
    else this.#answers.put(key, bytes);
    return bytes ?? 'refused';
  }

  #isBelowFloor({ room, epoch }: HistoryLog, fromOffset: number): boolean {
    const floor = this.#floors.get(room);
    return floor !== undefined && floor.epoch === epoch && fromOffset < floor.offset;
  }

  #raiseFloor(room: string, epoch: number, offset: number): void {
    const floor = this.#floors.get(room);
    if (floor?.epoch === epoch && floor.offset >= offset) return;
    this.#floors.delete(room);
    this.#floors.set(room, { epoch, offset });
    const [oldest] = this.#floors.keys();
    if (this.#floors.size > MAX_FLOORS && oldest !== undefined) this.#floors.delete(oldest);
  }

  /** Memory does not reach back far enough. undefined: too many questions are under way. */
  #fetchFor({ room, epoch, fromOffset }: Waiting, history: RoomHistory): Fetching | undefined {
    const key = `${epoch}:${room}`;
    const known = this.#remote.get(key);
    if (known !== undefined && known.fromOffset <= fromOffset) return known;
    if (this.#remoteCount >= MAX_REMOTE) return undefined;
    const { maxMessages, maxBytes } = this.#options;
    const range = fetchRange(history, room, epoch, fromOffset, { maxMessages, maxBytes });
    const fetching: Fetching = { fromOffset, range };
    this.#remote.set(key, fetching);
    this.#remoteCount += 1;
    this.#links.counters.add(METRIC.recover_remote, 1);
    void range.then((answer) => {
      this.#remoteCount -= 1;
      if (this.#remote.get(key) === fetching) this.#remote.delete(key);
      if (answer !== undefined && !this.#isClosed) this.#learn(room, epoch, fromOffset, answer);
    });
    return fetching;
  }

  /** What an answer of the cluster's history says about everybody who misses something of the room. */
  #learn(room: string, epoch: number, fromOffset: number, range: HistoryRange): void {
    if (range.isRecoverable) {
      const log = this.#options.memory.existing(room);
      if (log !== undefined) this.#options.memory.backfill(log, epoch, range.messages);
      if (isCut(range, fromOffset)) this.#raiseFloor(room, epoch, fromOffset + 1);
    } else if (range.place.epoch === epoch && fromOffset < range.firstOffset) {
      this.#raiseFloor(room, epoch, range.firstOffset);
    }
  }

  async #await(waiting: Waiting, { fromOffset, range: asked }: Fetching): Promise<void> {
    this.#atRemote.add(waiting);
    const isOwn = fromOffset === waiting.fromOffset;
    if (isOwn) waiting.askCount += 1;
    const range = await asked;
    this.#atRemote.delete(waiting);
    if (this.#isClosed || waiting.isForgotten) return;
    if (range === undefined) {
      this.#answer(waiting, RECOVER_STATUS.LATER, NO_BYTES);
    } else if (range.isRecoverable) {
      waiting.older = range.messages.slice(waiting.fromOffset - fromOffset);
      // One that asks for less than was fetched may find room in an answer of its own.
      waiting.isCut = isOwn && isCut(range, fromOffset);
      this.#again(waiting);
    } else if (isOwn) {
      this.#answer(waiting, RECOVER_STATUS.REFUSED, NO_BYTES);
    } else {
      this.#again(waiting);
    }
  }

  #again(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#pumpLater();
  }

  #answer({ thread, request }: Waiting, status: RecoverStatus, body: Uint8Array): void {
    const { counters } = this.#links;
    this.#budgetBytes -= body.length;
    if (status === RECOVER_STATUS.RECOVERED) {
      counters.add(METRIC.recovered, 1);
      counters.add(METRIC.recover_bytes, body.length);
    } else {
      counters.add(METRIC.recover_refused, 1);
    }
    this.#links.send(thread, [MESSAGE.RECOVERED, request, status, body]);
  }
}

/** It gave less than the room had: more than one answer may hold. */
function isCut(range: HistoryRange & { readonly isRecoverable: true }, fromOffset: number): boolean {
  return fromOffset + range.messages.length <= range.place.offset;
}

/** undefined: Redis did not answer. */
async function fetchRange(
  history: RoomHistory,
  room: string,
  epoch: number,
  fromOffset: number,
  limits: { readonly maxMessages: number; readonly maxBytes: number },
): Promise<HistoryRange | undefined> {
  try {
    return await history.range(room, epoch, fromOffset, limits);
  } catch {
    // The client hears that it may ask again, and the count of refusals tells the operator.
    return undefined;
  }
}

/**
 * One op-26 packet with the messages from `fromOffset` to the log's newest: first what was fetched, as far as the log does not
 * hold it. undefined: more than `maxBytes`.
 */
function encodeRecovered(
  log: HistoryLog,
  fromOffset: number,
  older: readonly HistoryMessage[],
  maxBytes: number,
): Uint8Array | undefined {
  const room = encodeUtf8(log.room);
  const headerBytes = batch26HeaderBytes(room.length);
  const entries: Uint8Array[] = [];
  let packetBytes = headerBytes;
  for (let offset = fromOffset; offset <= log.offset; offset++) {
    const kept = log.entryAt(offset);
    const fetched = kept === undefined ? older[offset - fromOffset] : undefined;
    const entry =
      kept ?? (fetched === undefined ? undefined : historyEntry(fetched.op, fetched.body, fetched.messageId));
    if (entry === undefined) return undefined;
    entries.push(entry);
    packetBytes += entry.length;
    if (packetBytes - headerBytes > maxBytes) return undefined;
  }
  const packet = new Uint8Array(packetBytes);
  const view = new DataView(packet.buffer);
  let at = writeBatch26Header(view, packet, 0, packetBytes, room, log.epoch, fromOffset);
  for (const entry of entries) {
    packet.set(entry, at);
    at += entry.length;
  }
  return packet;
}
