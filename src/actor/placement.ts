/**
 * Rendezvous hashing: every thread computes the same owner of a key from the same mask, and when a thread goes, only its
 * keys move.
 *
 * Source: Thaler and Ravishankar, highest random weight; weights by a murmur3 finalizer over the key's hash and the
 *   thread's number.
 */

/** A 32-bit FNV-1a hash of the UTF-16 units of `text`, continued from `seed`. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed | 0;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash;
}

function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * The thread that owns the key with hash `keyHash` among those in `mask` (bit i = thread i).
 * @returns its index, or -1 when the mask is empty
 */
export function placeKey(keyHash: number, mask: number): number {
  let owner = -1;
  let heaviest = -1;
  let rest = mask;
  while (rest !== 0) {
    const thread = 31 - Math.clz32(rest);
    rest &= ~(1 << thread);
    const weight = mix(keyHash ^ Math.imul(thread + 1, 0x9e3779b1));
    if (weight > heaviest || (weight === heaviest && thread < owner)) {
      heaviest = weight;
      owner = thread;
    }
  }
  return owner;
}
