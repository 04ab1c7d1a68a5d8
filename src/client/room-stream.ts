/**
 * The messages of one room in their order, each once, or a statement of what is missing.
 *
 * ```text
 *            place ahead of ours, hole between messages
 *   LIVE  ------------------------------------------------>  BEHIND   asks for what is missing, keeps what arrives
 *    ^                                                          |
 *    +---- recovered: missed ones, then the kept ones ----------+
 *    +---- refused: a gap, then the kept ones ------------------+
 *                                                               +---- disconnected: stays behind, asks again at the next place
 * ```
 *
 * A stream knows nothing of connections: it is told where the sequence stands (op 8, op 19, op 22), what arrived, and what its
 * question brought. Offsets of one epoch are contiguous; another epoch is another sequence, with which nothing compares.
 *
 * Guarantees: what `deliver` gets ascends strictly within an epoch; every offset between two delivered ones, and up to every
 * place that was told, is either delivered or in exactly one gap. At most `maxKept` messages are kept; above it the oldest go and
 * become part of the hole, which the recovery fills.
 */
import type { Place } from './server-bodies.js';

export interface Numbered {
  readonly offset: number;
}

/** Offsets that were missed, both ends included. */
export interface Hole {
  readonly epoch: number;
  readonly from: number;
  /** `from - 1`: the sequence began anew, and nothing is known to be missing of the new one. */
  readonly to: number;
  /** The sequence is another one than before: what was missed at the end of the old one is not known. */
  readonly isNewEpoch: boolean;
}

export interface RoomStreamLinks<M extends Numbered> {
  deliver(epoch: number, message: M): void;
  gap(hole: Hole): void;
  /** A hole was filled: so many messages were handed out, the last with offset `to`. */
  recovered(messageCount: number, to: number): void;
  /** Ask for everything behind `offset`. Asked again: the question before is void. */
  ask(epoch: number, offset: number): void;
}

/** Questions in a row that bring nothing new before the hole is given up. */
const MAX_VAIN_COUNT = 2;

export class RoomStream<M extends Numbered> {
  readonly #links: RoomStreamLinks<M>;
  readonly #maxKept: number;
  #epoch = 0;
  /** Of the newest message handed out or given up. */
  #offset = 0;
  /** The sequence goes at least so far. */
  #target = 0;
  #hasPlace = false;
  #isBehind = false;
  #kept: M[] = [];
  #vainCount = 0;

  constructor(links: RoomStreamLinks<M>, maxKept: number) {
    this.#links = links;
    this.#maxKept = maxKept;
  }

  /** undefined until the first place or message. */
  get place(): Place | undefined {
    return this.#hasPlace ? { epoch: this.#epoch, offset: this.#offset } : undefined;
  }

  get isBehind(): boolean {
    return this.#isBehind;
  }

  get keptCount(): number {
    return this.#kept.length;
  }

  /** The sequence stands at `offset`: the next message has the one behind it. Everything up to it that we lack was missed. */
  placed({ epoch, offset }: Place): void {
    if (!this.#hasPlace) {
      this.#adopt(epoch, offset);
      return;
    }
    if (epoch !== this.#epoch) {
      this.#startOver(epoch, offset);
      return;
    }
    if (offset > this.#target) this.#target = offset;
    if (this.#target > this.#offset || this.#kept.length > 0) this.#ask();
    else this.#isBehind = false;
  }

  /** Messages of one batch, contiguous. */
  arrived(epoch: number, messages: readonly M[]): void {
    const first = messages[0];
    if (first === undefined) return;
    if (!this.#hasPlace) this.#adopt(epoch, first.offset - 1);
    else if (epoch !== this.#epoch) this.#startOver(epoch, first.offset - 1);
    for (const message of messages) {
      if (this.#isBehind) this.#keep(message);
      else if (message.offset === this.#offset + 1) this.#deliver(message);
      else if (message.offset > this.#offset) {
        this.#keep(message);
        this.#ask();
      }
    }
  }

  /** The question's answer: everything behind our offset, up to the newest at that time. */
  recovered(epoch: number, messages: readonly M[]): void {
    if (!this.#isBehind || (messages.length > 0 && epoch !== this.#epoch)) return;
    const before = this.#offset;
    for (const message of messages) if (message.offset === this.#offset + 1) this.#deliver(message);
    const recoveredCount = this.#offset - before;
    this.#drain();
    if (recoveredCount > 0) this.#links.recovered(recoveredCount, before + recoveredCount);
    if (!this.#isBehind) return;
    if (this.#offset > before) this.#vainCount = 0;
    else this.#vainCount += 1;
    if (this.#vainCount >= MAX_VAIN_COUNT) this.#giveUp();
    else this.#links.ask(this.#epoch, this.#offset);
  }

  /** What is missing will not come. */
  refused(): void {
    if (this.#isBehind) this.#giveUp();
  }

  /** Nothing arrives until the next place. Like being behind: nobody knows yet what came meanwhile. */
  disconnected(): void {
    this.#isBehind = this.#hasPlace;
    this.#vainCount = 0;
  }

  #adopt(epoch: number, offset: number): void {
    this.#hasPlace = true;
    this.#isBehind = false;
    this.#epoch = epoch;
    this.#offset = offset;
    this.#target = offset;
    this.#vainCount = 0;
  }

  #startOver(epoch: number, offset: number): void {
    // What was kept of the old sequence is handed out in front of the news that there is a new one.
    if (this.#kept.length > 0 || this.#target > this.#offset) this.#giveUp();
    this.#adopt(epoch, offset);
    this.#links.gap({ epoch, from: 1, to: offset, isNewEpoch: true });
  }

  #deliver(message: M): void {
    this.#offset = message.offset;
    if (message.offset > this.#target) this.#target = message.offset;
    this.#links.deliver(this.#epoch, message);
  }

  #keep(message: M): void {
    const newest = this.#kept.at(-1)?.offset ?? this.#offset;
    if (message.offset <= newest) return;
    this.#kept.push(message);
    if (message.offset > this.#target) this.#target = message.offset;
    if (this.#kept.length > this.#maxKept) this.#kept.shift();
  }

  #ask(): void {
    this.#isBehind = true;
    this.#links.ask(this.#epoch, this.#offset);
  }

  /** Hand out what was kept as far as it continues ours. */
  #drain(): void {
    let index = 0;
    for (; index < this.#kept.length; index++) {
      const message = this.#kept[index]!;
      if (message.offset > this.#offset + 1) break;
      if (message.offset === this.#offset + 1) this.#deliver(message);
    }
    this.#kept.splice(0, index);
    this.#isBehind = this.#kept.length > 0 || this.#target > this.#offset;
    if (!this.#isBehind) this.#vainCount = 0;
  }

  #giveUp(): void {
    const kept = this.#kept;
    const target = this.#target;
    this.#kept = [];
    this.#isBehind = false;
    this.#vainCount = 0;
    for (const message of kept) {
      if (message.offset <= this.#offset) continue;
      if (message.offset > this.#offset + 1) this.#skipTo(message.offset - 1);
      this.#deliver(message);
    }
    if (target > this.#offset) this.#skipTo(target);
  }

  #skipTo(to: number): void {
    const from = this.#offset + 1;
    this.#offset = to;
    this.#links.gap({ epoch: this.#epoch, from, to, isNewEpoch: false });
  }
}
