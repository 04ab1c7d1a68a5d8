/**
 * How many connections each address has on this node, exact over all buckets, without a lock.
 *
 * **Algorithm**: every bucket has a table of its own that only it writes; the count of an address is the sum over the tables.
 * `enter` first publishes its own connection (one atomic store), then adds up all tables. A sum within the limit admits;
 * otherwise the connection is taken back. Of any number of attempts at once, the one that publishes last sees all others, so
 * the limit is never exceeded (store then load, as in Dekker's algorithm; Atomics are sequentially consistent). The price: two
 * attempts at once for the last place may each see the other and both step back. They try again, TRIES times, unless the
 * others alone have reached the limit.
 * A table is open-addressed with a fixed window: a key stands in one of the 32 slots from its home, in the first that was
 * free. Keys never move, so a reader cannot miss one, and with one writer none stands twice. A slot is free while its count is
 * 0; a reader that meets a slot in the middle of its reuse can only count too many, and then the attempt is repeated.
 *
 * IPv4 addresses count one by one, IPv6 ones by their prefix (64 bits by default): who has one address there has them all.
 *
 * Threads: enter and leave by the bucket that owns the table; forgetThread by the control thread when that bucket is gone
 *   (its table is cleared: nothing else is to be corrected, wherever it died); countOf by anyone.
 * Layout: address-counts.layout.ts. Memory: 48 bytes per possible channel, touched only where used.
 * Guarantees: wait-free, but for the bounded repeats. Hashes are seeded, so nobody outside can choose keys of one window.
 */
import { parseIp } from '../../address/index.js';
import {
  COUNT_HEADER,
  COUNT_HEADER_WORDS,
  COUNT_SLOT,
  COUNT_SLOT_WORDS,
  COUNT_SLOTS_PER_CHANNEL,
  COUNT_WINDOW_SLOTS,
} from './address-counts.layout.js';

/** What `enter` answers instead of a slot. */
export const COUNT_REFUSED = {
  /** The address has as many connections as it may. */
  LIMIT: -1,
  /** No slot of the window is free. Nothing was counted. */
  FULL: -2,
} as const;

const TRIES = 8;
/** Halves of keys that no IPv6 prefix in use begins with (0000::/8 is reserved), for what is no IPv6 address. */
const IPV4_MARK = 1;
const UNKNOWN_MARK = 2;

/**
 * @param threadCount tables, one per thread of the node
 * @param channelsPerBucket most connections of one bucket
 * @param ipv6PrefixBits 1 to 64
 * @param seed any 32 bits that clients do not know
 */
export function allocateAddressCounts(
  threadCount: number,
  channelsPerBucket: number,
  ipv6PrefixBits: number,
  seed: number,
): SharedArrayBuffer {
  let slotCount = COUNT_WINDOW_SLOTS * 2;
  while (slotCount < channelsPerBucket * COUNT_SLOTS_PER_CHANNEL) slotCount *= 2;
  const wordCount = COUNT_HEADER_WORDS + threadCount * slotCount * COUNT_SLOT_WORDS;
  const memory = new SharedArrayBuffer(wordCount * Int32Array.BYTES_PER_ELEMENT);
  const words = new Int32Array(memory);
  words[COUNT_HEADER.TABLES] = threadCount;
  words[COUNT_HEADER.SLOTS] = slotCount;
  words[COUNT_HEADER.PREFIX_BITS] = ipv6PrefixBits;
  words[COUNT_HEADER.SEED] = seed;
  return memory;
}

export class AddressCounts {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #tableCount: number;
  readonly #slotCount: number;
  readonly #tableWords: number;
  readonly #ownWord: number;
  readonly #seed: number;
  readonly #highMask: number;
  readonly #lowMask: number;
  readonly #address = new Uint32Array(4);
  /** The key that was read last. */
  #keyHigh = 0;
  #keyLow = 0;

  /** @param thread whose table `enter` and `leave` write */
  constructor(memory: SharedArrayBuffer, thread: number) {
    const words = new Int32Array(memory);
    this.#words = words;
    this.#tableCount = words[COUNT_HEADER.TABLES]!;
    this.#slotCount = words[COUNT_HEADER.SLOTS]!;
    this.#tableWords = this.#slotCount * COUNT_SLOT_WORDS;
    this.#ownWord = COUNT_HEADER_WORDS + thread * this.#tableWords;
    this.#seed = words[COUNT_HEADER.SEED]!;
    const prefixBits = words[COUNT_HEADER.PREFIX_BITS]!;
    this.#highMask = prefixBits >= 32 ? -1 : ~(-1 >>> prefixBits);
    this.#lowMask = prefixBits >= 64 ? -1 : prefixBits <= 32 ? 0 : ~(-1 >>> (prefixBits - 32));
  }

  /**
   * Count one more connection of the address, if it then has at most `limit` on this node.
   *
   * @returns its slot, 0 or above, for `leave`; or a COUNT_REFUSED
   */
  enter(address: string, limit: number): number {
    this.#readKey(address);
    const words = this.#words;
    const home = this.#home();
    const slot = this.#ownSlot(home);
    if (slot < 0) return COUNT_REFUSED.FULL;
    const word = this.#ownWord + slot * COUNT_SLOT_WORDS;
    const count = words[word + COUNT_SLOT.COUNT]!;
    for (let tries = 0; tries < TRIES; tries++) {
      if (count === 0) {
        Atomics.store(words, word + COUNT_SLOT.KEY_HIGH, this.#keyHigh);
        Atomics.store(words, word + COUNT_SLOT.KEY_LOW, this.#keyLow);
      }
      // Before the loads of #sum(); pairs with them in the other buckets.
      Atomics.store(words, word + COUNT_SLOT.COUNT, count + 1);
      const total = this.#sum(home);
      if (total <= limit) return slot;
      Atomics.store(words, word + COUNT_SLOT.COUNT, count);
      if (this.#sum(home) >= limit) break;
    }
    return COUNT_REFUSED.LIMIT;
  }

  /** @param slot what `enter` answered */
  leave(slot: number): void {
    const word = this.#ownWord + slot * COUNT_SLOT_WORDS + COUNT_SLOT.COUNT;
    const count = this.#words[word]!;
    if (count > 0) Atomics.store(this.#words, word, count - 1);
  }

  /** Connections of the address on this node. */
  countOf(address: string): number {
    this.#readKey(address);
    return this.#sum(this.#home());
  }

  /** The bucket is gone with all its connections, and its successor has not begun. */
  forgetThread(thread: number): void {
    const start = COUNT_HEADER_WORDS + thread * this.#tableWords;
    const end = start + this.#tableWords;
    for (let word = start + COUNT_SLOT.COUNT; word < end; word += COUNT_SLOT_WORDS) {
      // Most of the memory was never touched; a store would make the system provide it.
      if (this.#words[word] !== 0) Atomics.store(this.#words, word, 0);
    }
  }

  /** The key's slot in the own table, or the first free one of its window; -1: neither. */
  #ownSlot(home: number): number {
    const words = this.#words;
    const mask = this.#slotCount - 1;
    let free = -1;
    for (let step = 0; step < COUNT_WINDOW_SLOTS; step++) {
      const slot = (home + step) & mask;
      const word = this.#ownWord + slot * COUNT_SLOT_WORDS;
      // Plain loads: nobody else writes here.
      if (words[word + COUNT_SLOT.COUNT] === 0) {
        if (free < 0) free = slot;
      } else if (words[word] === this.#keyHigh && words[word + COUNT_SLOT.KEY_LOW] === this.#keyLow) return slot;
    }
    return free;
  }

  #sum(home: number): number {
    const words = this.#words;
    const mask = this.#slotCount - 1;
    let total = 0;
    for (let table = 0; table < this.#tableCount; table++) {
      const start = COUNT_HEADER_WORDS + table * this.#tableWords;
      for (let step = 0; step < COUNT_WINDOW_SLOTS; step++) {
        const word = start + ((home + step) & mask) * COUNT_SLOT_WORDS;
        // The count last: what its store made visible includes the key.
        if (
          Atomics.load(words, word + COUNT_SLOT.KEY_HIGH) === this.#keyHigh &&
          Atomics.load(words, word + COUNT_SLOT.KEY_LOW) === this.#keyLow
        ) {
          total += Atomics.load(words, word + COUNT_SLOT.COUNT);
        }
      }
    }
    return total;
  }

  #readKey(address: string): void {
    const family = parseIp(address, this.#address);
    if (family === 6) {
      this.#keyHigh = this.#address[0]! & this.#highMask;
      this.#keyLow = this.#address[1]! & this.#lowMask;
    } else {
      // What is no address at all counts as one.
      this.#keyHigh = family === 4 ? IPV4_MARK : UNKNOWN_MARK;
      this.#keyLow = family === 4 ? this.#address[3]! | 0 : 0;
    }
  }

  /** Where the key's window begins: murmur3's mixing of both halves and the seed. */
  #home(): number {
    let hash = this.#seed ^ Math.imul(this.#keyHigh, 0xcc9e_2d51);
    hash = Math.imul((hash << 15) | (hash >>> 17), 0x1b87_3593) ^ Math.imul(this.#keyLow, 0xe654_6b64);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    return (hash ^ (hash >>> 16)) & (this.#slotCount - 1);
  }
}
