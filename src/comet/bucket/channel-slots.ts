/**
 * The bucket's table of channels: slot numbers for typed arrays (timing wheel) and connection ids for the rest of the node.
 *
 *   connection id = serial * 2^20 + slot; serials rise with every connection, and a bucket's next incarnation begins 2^24
 *   serials higher, so an id names one connection of one bucket for as long as the node lives.
 *
 * Threads: its bucket.
 */
import type { Channel } from './channel.js';

const SLOTS_PER_ID = 2 ** 20;
const SERIALS_PER_INCARNATION = 2 ** 24;

/** The connection id of who has, or had, this serial and slot. */
export function connIdOf({ serial, slot }: { readonly serial: number; readonly slot: number }): number {
  return serial * SLOTS_PER_ID + slot;
}

export class ChannelSlots {
  readonly #channels: (Channel | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #capacity: number;
  #serial: number;
  #count = 0;

  /** @param capacity most channels at a time, at most 2^20 */
  constructor(capacity: number, incarnation: number) {
    this.#capacity = Math.min(capacity, SLOTS_PER_ID);
    this.#serial = (incarnation % 512) * SERIALS_PER_INCARNATION;
  }

  get count(): number {
    return this.#count;
  }

  /** Serial of the newest channel. */
  get lastSerial(): number {
    return this.#serial;
  }

  /** One above the highest slot ever used. */
  get slotCount(): number {
    return this.#channels.length;
  }

  /** Give the channel a slot and a serial. False: the table is full. */
  add(channel: Channel): boolean {
    if (this.#count >= this.#capacity) return false;
    const slot = this.#freeSlots.pop() ?? this.#channels.length;
    this.#channels[slot] = channel;
    this.#serial += 1;
    channel.slot = slot;
    channel.serial = this.#serial;
    this.#count += 1;
    return true;
  }

  remove(channel: Channel): void {
    if (channel.slot < 0 || this.#channels[channel.slot] !== channel) return;
    this.#channels[channel.slot] = undefined;
    this.#freeSlots.push(channel.slot);
    channel.slot = -1;
    this.#count -= 1;
  }

  at(slot: number): Channel | undefined {
    return this.#channels[slot];
  }

  connIdOf(channel: Channel): number {
    return connIdOf(channel);
  }

  /** The channel with this connection id, if it still is there. */
  byConnId(connId: number): Channel | undefined {
    const channel = this.#channels[connId % SLOTS_PER_ID];
    return channel !== undefined && channel.serial === Math.floor(connId / SLOTS_PER_ID) ? channel : undefined;
  }

  /** Every channel, oldest slot first. */
  *all(): Generator<Channel> {
    for (const channel of this.#channels) if (channel !== undefined) yield channel;
  }
}
