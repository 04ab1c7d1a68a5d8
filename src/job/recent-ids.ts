/**
 * RecentIds: the 64-bit ids seen last, to drop repeats.
 *
 * Threads: one.
 * Layout: two open-addressed tables of 2 x capacity slots, each slot two Int32 words; a used slot is marked in a byte array. The
 *   younger table fills up to `capacity`, then the older one is emptied and takes its place.
 * Guarantees: remembers at least the last `capacityCount` ids and at most twice as many; never takes a new id for an old one.
 * Hot path: `add`: no BigInt, no allocation; emptying costs one fill per `capacityCount` ids.
 */
import { HalleyError } from '../errors/index.js';

export class RecentIds {
  readonly #capacityCount: number;
  readonly #mask: number;
  #young: Int32Array;
  #youngUsed: Uint8Array;
  #old: Int32Array;
  #oldUsed: Uint8Array;
  #youngCount = 0;

  /** @param capacityCount 1 to 2^24, rounded up to a power of two */
  constructor(capacityCount: number) {
    if (!Number.isInteger(capacityCount) || capacityCount < 1 || capacityCount > 1 << 24) {
      throw new HalleyError('BAD_OPTION', 'capacityCount must be an integer of 1 to 16777216', { capacityCount });
    }
    this.#capacityCount = 2 ** Math.ceil(Math.log2(capacityCount));
    const slotCount = 2 * this.#capacityCount;
    this.#mask = slotCount - 1;
    this.#young = new Int32Array(2 * slotCount);
    this.#youngUsed = new Uint8Array(slotCount);
    this.#old = new Int32Array(2 * slotCount);
    this.#oldUsed = new Uint8Array(slotCount);
  }

  /**
   * Remember the id.
   * @param id 8 bytes, big-endian
   * @param part tells parts of one message apart; 0: the message itself
   * @returns false where it was seen already
   */
  add(id: Uint8Array, part = 0): boolean {
    const high = (((id[0]! << 24) | (id[1]! << 16) | (id[2]! << 8) | id[3]!) ^ part) | 0;
    const low = (id[4]! << 24) | (id[5]! << 16) | (id[6]! << 8) | id[7]!;
    const slot = this.#slotOf(this.#young, this.#youngUsed, high, low);
    if (this.#youngUsed[slot] === 1) return false;
    if (this.#oldUsed[this.#slotOf(this.#old, this.#oldUsed, high, low)] === 1) return false;
    this.#young[2 * slot] = high;
    this.#young[2 * slot + 1] = low;
    this.#youngUsed[slot] = 1;
    this.#youngCount++;
    if (this.#youngCount === this.#capacityCount) this.#turn();
    return true;
  }

  /** The slot that holds the id, or the free one where it belongs. A table is half full at most, so there is one. */
  #slotOf(words: Int32Array, used: Uint8Array, high: number, low: number): number {
    // Snowflakes differ in their lowest bits of time, machine and sequence: both words are mixed.
    let slot = (Math.imul(high ^ Math.imul(low, 0x9e3779b1), 0x85ebca6b) >>> 7) & this.#mask;
    while (used[slot] === 1 && (words[2 * slot] !== high || words[2 * slot + 1] !== low))
      slot = (slot + 1) & this.#mask;
    return slot;
  }

  #turn(): void {
    const words = this.#old;
    const used = this.#oldUsed;
    used.fill(0);
    this.#old = this.#young;
    this.#oldUsed = this.#youngUsed;
    this.#young = words;
    this.#youngUsed = used;
    this.#youngCount = 0;
  }
}
