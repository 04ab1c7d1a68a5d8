/**
 * The numbers that make a loss visible: each producer counts what it sends on a channel, each receiver sees the holes.
 *
 * Threads: control thread only.
 * Guarantees: a hole is reported when the next message behind it arrives, and what should have stood in it is late: its loss has
 *   been told, and it must not be delivered behind what came after it (a server that stood still carries
 *   out later what came by a connection that was given up). A producer that restarted begins again at 1: that is a new beginning and no hole. The numbers of one life
 *   only rise: a channel that it had to forget goes on above all numbers that it forgot, which looks like a hole and is told so.
 */
import type { BusOrigin } from '../../protocol/index.js';

/** What this node has sent, by channel. Bounded: the channel that was silent longest is forgotten first. */
export class SentCounters {
  readonly #last = new Map<string, number>();
  readonly #maxChannels: number;
  /** The highest number that was forgotten. */
  #forgotten = 0;

  constructor(maxChannels: number) {
    this.#maxChannels = maxChannels;
  }

  /** The number of the next message, from 1 on. */
  next(channel: string): number {
    const counter = (this.#last.get(channel) ?? this.#forgotten) + 1;
    // Taken out and put in again, so that the oldest stands first.
    this.#last.delete(channel);
    this.#last.set(channel, counter);
    if (this.#last.size > this.#maxChannels) {
      for (const [oldest, last] of this.#last) {
        this.#last.delete(oldest);
        this.#forgotten = Math.max(this.#forgotten, last);
        break;
      }
    }
    return counter;
  }
}

/** What the number of a message says. */
export const SEEN = {
  NEXT: 0,
  /** At least one was lost in front of it. */
  HOLE: 1,
  /** One with a higher number has come: its own loss was told then. */
  LATE: 2,
} as const;
export type SeenOutcome = (typeof SEEN)[keyof typeof SEEN];

interface Seen {
  incarnation: number;
  counter: number;
  /** What was missed is told in another way: a jump of the next number is no news. */
  mayJump: boolean;
}

/** What has come on one channel, by producer. */
export class SeenCounters {
  readonly #byProducer = new Map<string, Seen>();

  /** Take note of a message. */
  note({ serverId, incarnation, counter }: BusOrigin): SeenOutcome {
    if (counter === 0) return SEEN.NEXT;
    const seen = this.#byProducer.get(serverId);
    if (seen === undefined) {
      this.#byProducer.set(serverId, { incarnation, counter, mayJump: false });
      return SEEN.NEXT;
    }
    const isSameLife = seen.incarnation === incarnation;
    if (isSameLife && counter <= seen.counter) return SEEN.LATE;
    const isHole = isSameLife && counter > seen.counter + 1 && !seen.mayJump;
    seen.mayJump = false;
    seen.incarnation = incarnation;
    seen.counter = counter;
    return isHole ? SEEN.HOLE : SEEN.NEXT;
  }

  /** What was missed is told in another way. What comes late is late all the same. */
  allowJumps(): void {
    for (const seen of this.#byProducer.values()) seen.mayJump = true;
  }
}
