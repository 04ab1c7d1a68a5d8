/**
 * The numbers that make a loss visible: each producer counts what it sends on a channel, each receiver sees the holes.
 *
 * Threads: control thread only.
 * Guarantees: a hole is reported when the next message behind it arrives. A producer that restarted, or has forgotten the
 *   channel, begins again at 1: that is a new beginning and no hole.
 */
import type { BusOrigin } from '../../protocol/index.js';

/** What this node has sent, by channel. Bounded: the channel that was silent longest is forgotten first. */
export class SentCounters {
  readonly #last = new Map<string, number>();
  readonly #maxChannels: number;

  constructor(maxChannels: number) {
    this.#maxChannels = maxChannels;
  }

  /** The number of the next message, from 1 on. */
  next(channel: string): number {
    const counter = (this.#last.get(channel) ?? 0) + 1;
    // Taken out and put in again, so that the oldest stands first.
    this.#last.delete(channel);
    this.#last.set(channel, counter);
    if (this.#last.size > this.#maxChannels) {
      for (const oldest of this.#last.keys()) {
        this.#last.delete(oldest);
        break;
      }
    }
    return counter;
  }
}

interface Seen {
  incarnation: number;
  counter: number;
}

/** What has come on one channel, by producer. */
export class SeenCounters {
  readonly #byProducer = new Map<string, Seen>();

  /** Take note of a message. True: at least one was lost in front of it. */
  isHole({ serverId, incarnation, counter }: BusOrigin): boolean {
    if (counter === 0) return false;
    const seen = this.#byProducer.get(serverId);
    if (seen === undefined) {
      this.#byProducer.set(serverId, { incarnation, counter });
      return false;
    }
    const isHole = seen.incarnation === incarnation && counter > seen.counter + 1;
    seen.incarnation = incarnation;
    seen.counter = counter;
    return isHole;
  }

  /** What was missed is told in another way: whatever comes next is a new beginning. */
  clear(): void {
    this.#byProducer.clear();
  }
}
