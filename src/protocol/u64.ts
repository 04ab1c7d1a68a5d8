/**
 * 64-bit unsigned integers without BigInt: as two words (`hi`, `lo`) where all 64 bits count (message ids), as one number
 * where the value stays below 2^53 (epochs, offsets). Big-endian like the rest of the wire.
 *
 * Hot path: `writeU64`, `writeU64Words`, `readU64`, `readU32` allocate nothing; `u64ToText` is for people and JSON.
 */

export const U64_BYTES = 8;
/** What `readU64` returns for a value above 2^53-1, which a number cannot hold exactly. */
export const U64_UNSAFE = -1;

const WORD = 0x1_0000_0000;
/** The largest upper word of a safe integer: 2^53-1 has 21 bits above the lower word. */
const MAX_SAFE_HI = 0x1f_ffff;

/** Write `value`, an integer from 0 to 2^53-1, as 8 bytes at `offset`. */
export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, Math.floor(value / WORD));
  view.setUint32(offset + 4, value >>> 0);
}

/** Write two 32-bit words (taken modulo 2^32) as 8 bytes at `offset`. */
export function writeU64Words(view: DataView, offset: number, hi: number, lo: number): void {
  view.setUint32(offset, hi >>> 0);
  view.setUint32(offset + 4, lo >>> 0);
}

/** The unsigned 32-bit big-endian integer at `offset`. */
export function readU32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0;
}

/** The 8 bytes at `offset` as a number from 0 to 2^53-1, or `U64_UNSAFE`. */
export function readU64(bytes: Uint8Array, offset: number): number {
  const hi = readU32(bytes, offset);
  return hi > MAX_SAFE_HI ? U64_UNSAFE : hi * WORD + readU32(bytes, offset + 4);
}

/** Decimal text of a 64-bit id: what stands in JSON, where a number would be rounded. */
export function u64ToText(hi: number, lo: number): string {
  return ((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toString();
}
