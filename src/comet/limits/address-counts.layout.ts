/**
 * Connections per address in shared memory: one table per bucket, each written by its bucket alone.
 *
 *   header (16 words): table count, slots per table (a power of two), prefix bits of IPv6, hash seed
 *   table of thread t: slots x 3 words
 *     word 0, 1   key, upper and lower half (valid while the count is above 0)
 *     word 2      connections of this bucket from the key's addresses; 0: the slot is free
 */
export const COUNT_HEADER = { TABLES: 0, SLOTS: 1, PREFIX_BITS: 2, SEED: 3 } as const;
export const COUNT_HEADER_WORDS = 16;
export const COUNT_SLOT_WORDS = 3;
export const COUNT_SLOT = { KEY_HIGH: 0, KEY_LOW: 1, COUNT: 2 } as const;
/**
 * A key stands within so many slots from its home. With a quarter of the slots in use, an insertion that finds none free is
 * rarer than one in 10^8 (linear probing: (a * e^(1-a))^k at load a over k slots).
 */
export const COUNT_WINDOW_SLOTS = 32;
export const COUNT_SLOTS_PER_CHANNEL = 4;
