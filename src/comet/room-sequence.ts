/**
 * Keeps this node's rooms with history gapless: takes what the bus brings for them, in whatever order and number, and hands it
 * to the comet in the order of the offsets, each once. What is missing is fetched from the history; what cannot be fetched is
 * told as a Gap, never passed over.
 *
 * It stands in front of the bus's room links: a room is linked, and only when its subscription is acknowledged is its position
 * read. What is published between the two comes by the bus and is held, so nothing can fall between.
 *
 * Threads: control thread only.
 * Guarantees: per room offsets rise by one or a Gap says so; what the comet answers FULL to waits and is offered again. Bounds:
 *   `heldMaxMessages` and `heldMaxBytes` per room (what is above them is fetched later), one question per room, and
 *   `MAX_QUESTIONS` over all in a repair. Redis away: the room waits for repair(), or for the next retry.
 */
import {
  type HistoryMessage,
  type MaybePromise,
  PUSH_OUTCOME,
  type PushCommand,
  type PushOutcome,
  type RoomHistory,
  type RoomLinks,
  type RoomPlace,
} from '../push/index.js';
import type { HistoryLog, MemoryHistory } from '../store/index.js';
import { RoomFeed } from './room-feed.js';

export interface RoomSequenceOptions {
  readonly heldMaxMessages: number;
  readonly heldMaxBytes: number;
  /** Messages of one question to the history. */
  readonly rangeMaxMessages: number;
  readonly rangeMaxBytes: number;
  /** Wait before a question that failed is asked again. */
  readonly retryMs: number;
  /** How long a room that its last member left is followed, so that its tail serves those who come back. */
  readonly lingerMs: number;
}

export interface RoomSequenceLinks {
  /** The bus. */
  readonly rooms: RoomLinks;
  readonly history: RoomHistory;
  /** What the sequencer keeps: the tail of what was delivered here. */
  readonly memory: MemoryHistory;
  /** CometControl. */
  readonly comet: {
    deliver(command: PushCommand): PushOutcome;
    placeRoom(room: string, place: RoomPlace, tellsGap: boolean): PushOutcome;
  };
  readonly onError: (error: unknown, room: string) => void;
}

/** One message as the bus brings it. */
export interface PlacedMessage {
  readonly place: RoomPlace;
  readonly op: number;
  readonly messageId: Uint8Array;
  readonly body: Uint8Array;
}

/** Wait before the comet, that was full, is offered the next message again. */
const FULL_RETRY_MS = 2;
/** Rooms that a repair asks about at a time. */
const MAX_QUESTIONS = 64;

export class RoomSequence implements RoomLinks {
  readonly #options: RoomSequenceOptions;
  readonly #links: RoomSequenceLinks;
  readonly #feeds = new Map<string, RoomFeed>();
  /** Rooms without members, in the order in which they lost them, with the moment their following ends. */
  readonly #lingering = new Map<string, number>();
  #sweepTimer: NodeJS.Timeout | undefined;
  #fullTimer: NodeJS.Timeout | undefined;
  readonly #full = new Set<RoomFeed>();
  readonly #retries = new Map<RoomFeed, NodeJS.Timeout>();
  #isClosed = false;

  constructor(options: RoomSequenceOptions, links: RoomSequenceLinks) {
    this.#options = options;
    this.#links = links;
  }

  /** Rooms that are followed, those that linger included. */
  get roomCount(): number {
    return this.#feeds.size;
  }

  // RoomLinks.

  link(room: string): MaybePromise<void> | undefined {
    const linking = this.#links.rooms.link(room);
    if (!this.#links.history.hasHistory(room)) return linking;
    this.#lingering.delete(room);
    const known = this.#feeds.get(room);
    if (known !== undefined && linking === undefined) return known.starting;
    const feed = known ?? new RoomFeed(room, this.#options.heldMaxMessages, this.#options.heldMaxBytes);
    this.#feeds.set(room, feed);
    feed.starting = this.#start(feed, linking);
    return feed.starting;
  }

  unlink(room: string): void {
    this.#links.rooms.unlink(room);
    if (!this.#feeds.has(room)) return;
    this.#lingering.delete(room);
    this.#lingering.set(room, performance.now() + this.#options.lingerMs);
    this.#sweepLater();
  }

  /** A message of a room with history from the bus. Ignored where the room is not followed. */
  receive(room: string, message: PlacedMessage): void {
    const feed = this.#feeds.get(room);
    if (feed === undefined) return;
    const { epoch, offset } = message.place;
    if (feed.epoch === epoch && offset < feed.nextOffset) {
      this.#onRepeat(feed, message);
      return;
    }
    if (feed.epoch === epoch) {
      feed.hold({ offset, op: message.op, messageId: message.messageId, body: message.body }, false);
      this.#advance(feed);
      return;
    }
    // Of another life of the room, or the room's place is not known yet. Only the history knows, and it has this message too.
    void this.#ask(feed);
  }

  /**
   * The bus may have missed something of these rooms: compare with the history, and fill. Resolves when it has been tried.
   * @param mayLackPlace something may be lost that never got a place, so that no offset will ever show it: the members are told a
   *   Gap up to where the room then stands
   */
  async repair(rooms: Iterable<string>, mayLackPlace = false): Promise<void> {
    const queue: RoomFeed[] = [];
    for (const room of rooms) {
      const feed = this.#feeds.get(room);
      if (feed !== undefined) queue.push(feed);
    }
    const worker = async () => {
      for (let feed = queue.pop(); feed !== undefined; feed = queue.pop()) {
        await this.#ask(feed);
        if (mayLackPlace) this.#tellLoss(feed);
      }
    };
    await Promise.all(Array.from({ length: Math.min(MAX_QUESTIONS, queue.length) }, worker));
  }

  /** Every room that is followed. */
  rooms(): Iterable<string> {
    return this.#feeds.keys();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#sweepTimer);
    clearTimeout(this.#fullTimer);
    for (const timer of this.#retries.values()) clearTimeout(timer);
    this.#retries.clear();
    this.#feeds.clear();
    this.#lingering.clear();
  }

  /** The room's first member: where it stands now is where its members begin. */
  async #start(feed: RoomFeed, linking: MaybePromise<void> | undefined): Promise<void> {
    await linking;
    if (this.#isGone(feed)) return;
    feed.isStarting = true;
    await this.#ask(feed);
    // Redis was away: whoever is let in now is told a Gap when the place is known.
    feed.isStarting = false;
    feed.starting = undefined;
  }

  #isGone(feed: RoomFeed): boolean {
    return this.#isClosed || this.#feeds.get(feed.room) !== feed;
  }

  /** An offset that was delivered: the same message again, or the store went back and gave the offset to another one. */
  #onRepeat(feed: RoomFeed, { place, messageId }: PlacedMessage): void {
    const delivered = this.#log(feed)?.messageAt(place.offset);
    if (delivered === undefined || Buffer.compare(delivered.messageId, messageId) === 0) return;
    feed.mustRenew = true;
    void this.#ask(feed);
  }

  /** Deliver what is next for as long as it is there; fetch what is missing in front of what is held. */
  #advance(feed: RoomFeed): void {
    if (this.#full.has(feed) || feed.epoch === 0) return;
    if (feed.placing !== undefined) {
      const { place, tellsGap } = feed.placing;
      if (this.#links.comet.placeRoom(feed.room, place, tellsGap) === PUSH_OUTCOME.FULL) {
        this.#wait(feed);
        return;
      }
      feed.placing = undefined;
    }
    for (let message = feed.next(); message !== undefined; message = feed.next()) {
      if (!this.#deliver(feed, message)) return;
      feed.delivered();
    }
    if (feed.isBehind) void this.#ask(feed);
  }

  /** False: the comet is full, and the room goes on when it is not. */
  #deliver(feed: RoomFeed, { offset, op, messageId, body }: HistoryMessage): boolean {
    const outcome = this.#links.comet.deliver({
      target: { kind: 'rooms', rooms: [feed.room] },
      op,
      body,
      messageId,
      place: { epoch: feed.epoch, offset },
    });
    if (outcome === PUSH_OUTCOME.FULL) {
      this.#wait(feed);
      return false;
    }
    // What this node's own limit refuses its members do not get: the next one comes with a Gap in front (see Sequencer).
    if (outcome !== PUSH_OUTCOME.OK)
      this.#links.onError(new Error(`the comet refused a message: ${outcome}`), feed.room);
    return true;
  }

  #wait(feed: RoomFeed): void {
    this.#full.add(feed);
    this.#fullTimer ??= setTimeout(() => {
      this.#fullTimer = undefined;
      const waiting = [...this.#full];
      this.#full.clear();
      for (const waiter of waiting) if (!this.#isGone(waiter)) this.#advance(waiter);
    }, FULL_RETRY_MS);
  }

  /** One question per room at a time; a further one is asked when the first is answered. Never rejects. */
  #ask(feed: RoomFeed): Promise<void> {
    if (feed.asking !== undefined) {
      feed.mustAskAgain = true;
      return feed.asking;
    }
    feed.asking = this.#askUntilStill(feed);
    return feed.asking;
  }

  async #askUntilStill(feed: RoomFeed): Promise<void> {
    try {
      do {
        feed.mustAskAgain = false;
        await this.#question(feed);
      } while (feed.mustAskAgain && !this.#isGone(feed));
    } catch (error) {
      if (!this.#isGone(feed)) {
        this.#links.onError(error, feed.room);
        this.#retryLater(feed);
      }
    } finally {
      feed.asking = undefined;
    }
  }

  async #question(feed: RoomFeed): Promise<void> {
    const { history } = this.#links;
    const { room } = feed;
    if (feed.epoch === 0 || feed.isStarting) {
      const tellsGap = !feed.isStarting;
      const place = await history.position(room);
      feed.isStarting = false;
      // The bus may have been faster than the answer, and the room be further than it.
      if (this.#isGone(feed) || feed.hasReached(place)) return;
      // Members that were there before the position was known may have missed anything up to it.
      this.#place(feed, place, tellsGap);
      return;
    }
    if (feed.mustRenew) await history.renew(room, feed.epoch);
    feed.mustRenew = false;
    const { epoch, nextOffset, knownOffset } = feed;
    const { rangeMaxMessages: maxMessages, rangeMaxBytes: maxBytes } = this.#options;
    const range = await history.range(room, epoch, nextOffset, { maxMessages, maxBytes });
    if (this.#isGone(feed)) return;
    if (range.isRecoverable) {
      for (const message of range.messages) feed.hold(message, true);
      // Everything is kept before it is published: what was known and is not there was lost by the history.
      if (knownOffset > range.place.offset) feed.forgetLost(range.place.offset, knownOffset);
      feed.knownOffset = Math.max(feed.knownOffset, range.place.offset);
      this.#advance(feed);
    } else if (range.place.epoch === 0) {
      // The record was lost and nobody has written since.
      const place = await history.position(room);
      if (!this.#isGone(feed)) this.#place(feed, place, true);
    } else if (range.place.epoch === epoch && range.place.offset + 1 < nextOffset) {
      // It lost what was delivered, and would give its offsets to other messages: this life of the room must end.
      feed.mustRenew = true;
      feed.mustAskAgain = true;
    } else if (range.place.epoch === epoch && feed.nextOffset > nextOffset) {
      // The bus brought meanwhile what was missing, so the answer is about what is past.
      feed.mustAskAgain = true;
    } else {
      // Too old, or a new life. From the oldest that is kept everything follows; the Gap says what is lost in front of it.
      const isProgress = range.place.epoch !== epoch || range.firstOffset > nextOffset;
      const firstOffset = isProgress ? range.firstOffset : range.place.offset + 1;
      this.#place(feed, { epoch: range.place.epoch, offset: firstOffset - 1 }, true, range.place.offset);
    }
  }

  /** The room goes on behind `place`; messages up to `knownOffset` are there. */
  #place(feed: RoomFeed, place: RoomPlace, tellsGap: boolean, knownOffset = 0): void {
    // A Gap that the comet had no room for yet is not lost with the one in its place.
    const isGapDue = tellsGap || feed.placing?.tellsGap === true;
    feed.restart(place);
    feed.knownOffset = Math.max(feed.knownOffset, knownOffset);
    feed.placing = { place, tellsGap: isGapDue };
    this.#advance(feed);
  }

  /** The room stays where it is; that something is missing in front of that is told. */
  #tellLoss(feed: RoomFeed): void {
    // Where its place is not known yet a Gap is due anyway.
    if (this.#isGone(feed) || feed.epoch === 0) return;
    feed.placing = { place: feed.placing?.place ?? { epoch: feed.epoch, offset: feed.nextOffset - 1 }, tellsGap: true };
    this.#advance(feed);
  }

  #retryLater(feed: RoomFeed): void {
    if (this.#isGone(feed) || this.#retries.has(feed)) return;
    const timer = setTimeout(() => {
      this.#retries.delete(feed);
      if (!this.#isGone(feed)) void this.#ask(feed);
    }, this.#options.retryMs);
    this.#retries.set(feed, timer);
  }

  #log(feed: RoomFeed): HistoryLog | undefined {
    const log = this.#links.memory.existing(feed.room);
    return log?.epoch === feed.epoch ? log : undefined;
  }

  #sweepLater(): void {
    this.#sweepTimer ??= setTimeout(() => {
      this.#sweepTimer = undefined;
      const nowMs = performance.now();
      for (const [room, untilMs] of this.#lingering) {
        if (untilMs > nowMs) break;
        this.#lingering.delete(room);
        this.#feeds.delete(room);
      }
      if (this.#lingering.size > 0 && !this.#isClosed) this.#sweepLater();
    }, this.#options.lingerMs).unref();
  }
}
