/**
 * Pushes to all with a speed: instead of everyone at once, the bucket walks its channels in slices, so many per second.
 *
 * Threads: its bucket.
 * Guarantees: every channel that was connected at the start and still is gets the message once (watch set permitting);
 *   broadcasts with speed run side by side and make no promise about the order among them.
 */
import { CHANNEL_FLAG, CHANNEL_STATE } from './channel.js';
import type { ChannelSlots } from './channel-slots.js';
import type { DirectOutbox } from './direct-outbox.js';

const SLICE_MS = 50;

interface Walk {
  /** Message id, then the packet. */
  readonly message: Uint8Array;
  readonly op: number;
  readonly speedPerSec: number;
  /** Channels that came later are not meant. */
  readonly lastSerial: number;
  slot: number;
  /** Channels it may visit in this slice; fractions carry over. */
  credit: number;
}

export class PacedBroadcasts {
  readonly #slots: ChannelSlots;
  readonly #outbox: DirectOutbox;
  #walks: Walk[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(slots: ChannelSlots, outbox: DirectOutbox) {
    this.#slots = slots;
    this.#outbox = outbox;
  }

  get count(): number {
    return this.#walks.length;
  }

  /** Begin a walk; the bytes are copied. */
  start(
    bytes: Uint8Array,
    idOffset: number,
    packetOffset: number,
    packetBytes: number,
    op: number,
    speedPerSec: number,
  ): void {
    const message = new Uint8Array(8 + packetBytes);
    message.set(bytes.subarray(idOffset, idOffset + 8));
    message.set(bytes.subarray(packetOffset, packetOffset + packetBytes), 8);
    this.#walks.push({ message, op, speedPerSec, lastSerial: this.#slots.lastSerial, slot: 0, credit: 0 });
    this.#timer ??= setInterval(() => this.#slice(), SLICE_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#walks = [];
  }

  #slice(): void {
    for (const walk of this.#walks) this.#advance(walk);
    this.#outbox.flush();
    this.#walks = this.#walks.filter((walk) => walk.slot < this.#slots.slotCount);
    if (this.#walks.length === 0) this.close();
  }

  #advance(walk: Walk): void {
    walk.credit += (walk.speedPerSec * SLICE_MS) / 1000;
    let begun = false;
    while (walk.credit >= 1 && walk.slot < this.#slots.slotCount) {
      const channel = this.#slots.at(walk.slot);
      walk.slot += 1;
      if (channel === undefined || channel.serial > walk.lastSerial) continue;
      walk.credit -= 1;
      if (channel.state !== CHANNEL_STATE.READY || channel.has(CHANNEL_FLAG.SLOW)) continue;
      if (!channel.watch?.accepts(walk.op)) continue;
      if (!begun) {
        begun = true;
        this.#outbox.begin(walk.message, 0, 8, walk.message.length - 8);
      }
      this.#outbox.add(channel);
    }
  }
}
