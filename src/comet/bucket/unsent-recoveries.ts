/**
 * What the sockets of a bucket still hold of recoveries that were written to them. A thousand clients that come back over bad
 * lines would otherwise hold a thousand whole answers at once; so the next are written as the first are taken. It also bounds how
 * many sockets can become writable in one turn of the loop, each with 0.1 ms of uWS's own writing.
 *
 * Threads: its bucket.
 * Guarantees: one that does not read counts for `COUNTED_MS` and is then what every slow reader is, the business of
 *   `slow.max_backpressure_bytes`: it cannot hold up the others for longer.
 */
import { CHANNEL_STATE, type Channel } from './channel.js';

export const COUNTED_MS = 250;

interface Unsent {
  readonly channel: Channel;
  readonly untilMs: number;
}

export class UnsentRecoveries {
  readonly #maxBytes: number;
  #unsent: Unsent[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  get isEmpty(): boolean {
    return this.#unsent.length === 0;
  }

  /** An answer was written to the channel. */
  written(channel: Channel, nowMs: number): void {
    const bytes = channel.state === CHANNEL_STATE.READY ? (channel.socket?.getBufferedAmount() ?? 0) : 0;
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#unsent.push({ channel, untilMs: nowMs + COUNTED_MS });
  }

  /** Look what is left. */
  measure(nowMs: number): void {
    this.#bytes = 0;
    this.#unsent = this.#unsent.filter(({ channel, untilMs }) => {
      if (nowMs >= untilMs || channel.state !== CHANNEL_STATE.READY) return false;
      const bytes = channel.socket?.getBufferedAmount() ?? 0;
      this.#bytes += bytes;
      return bytes > 0;
    });
  }

  clear(): void {
    this.#unsent = [];
    this.#bytes = 0;
  }
}
