/**
 * One room with history as RoomSequence follows it: the next offset, and what came before its turn.
 *
 * Threads: control thread only.
 * Guarantees: next() is the message with `nextOffset` or nothing; what is held is bounded, except for what a question fetched.
 */
import type { HistoryMessage, RoomPlace } from '../push/index.js';

export class RoomFeed {
  readonly room: string;
  readonly #heldMaxMessages: number;
  readonly #heldMaxBytes: number;
  readonly #held = new Map<number, HistoryMessage>();
  #heldBytes = 0;
  /** 0: where the room stands is not known yet. */
  epoch = 0;
  nextOffset = 1;
  /** The newest message of this epoch that is known to exist. */
  knownOffset = 0;
  /** The room has no members yet; they begin where the next question says. */
  isStarting = false;
  starting: Promise<void> | undefined = undefined;
  asking: Promise<void> | undefined = undefined;
  mustAskAgain = false;
  /** The history went back behind what was delivered: this epoch must end. */
  mustRenew = false;
  /** Where the comet must be told that the room stands, before anything is delivered. */
  placing: { readonly place: RoomPlace; readonly tellsGap: boolean } | undefined = undefined;

  constructor(room: string, heldMaxMessages: number, heldMaxBytes: number) {
    this.room = room;
    this.#heldMaxMessages = heldMaxMessages;
    this.#heldMaxBytes = heldMaxBytes;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** Something in front of what is held, or behind it, must be fetched. */
  get isBehind(): boolean {
    return this.knownOffset >= this.nextOffset && !this.#held.has(this.nextOffset);
  }

  /** Everything up to `place` was delivered. */
  hasReached({ epoch, offset }: RoomPlace): boolean {
    return this.epoch === epoch && this.nextOffset > offset;
  }

  /** Keep a message of this epoch until its turn. Above the bounds only its offset is remembered, unless it was `fetched`. */
  hold(message: HistoryMessage, fetched: boolean): void {
    const { offset } = message;
    if (offset < this.nextOffset) return;
    if (offset > this.knownOffset) this.knownOffset = offset;
    if (this.#held.has(offset)) return;
    const isNext = offset === this.nextOffset;
    const bytes = this.#heldBytes + message.body.length;
    if (!fetched && !isNext && (this.#held.size >= this.#heldMaxMessages || bytes > this.#heldMaxBytes)) return;
    this.#held.set(offset, message);
    this.#heldBytes = bytes;
  }

  next(): HistoryMessage | undefined {
    return this.#held.get(this.nextOffset);
  }

  /** next() was delivered. */
  delivered(): void {
    this.#forget(this.nextOffset);
    this.nextOffset += 1;
  }

  /** What was known up to `knownOffset` and lies behind `offset` was lost by the history: it does not exist any more. */
  forgetLost(offset: number, knownOffset: number): void {
    for (const held of [...this.#held.keys()]) if (held > offset && held <= knownOffset) this.#forget(held);
    this.knownOffset = Math.max(offset, ...this.#held.keys());
  }

  /** Go on behind `place`. */
  restart({ epoch, offset }: RoomPlace): void {
    const isSameLife = this.epoch === epoch;
    this.epoch = epoch;
    this.nextOffset = offset + 1;
    for (const held of [...this.#held.keys()]) if (!isSameLife || held <= offset) this.#forget(held);
    this.knownOffset = isSameLife ? Math.max(this.knownOffset, offset) : offset;
  }

  #forget(offset: number): void {
    this.#heldBytes -= this.#held.get(offset)?.body.length ?? 0;
    this.#held.delete(offset);
  }
}
