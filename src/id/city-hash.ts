/**
 * CityHash32: where goim puts a key's bucket and a room's field in Redis, so ours must agree with it bit for bit.
 *
 * Threads: any; no state.
 * Source: Google CityHash 1.1, CityHash32 (Pike and Alakuijala). Ours reads bytes one by one, so any alignment and any
 *   view of shared memory will do, and keeps every intermediate as an Int32.
 * Hot path: `cityHash32`: no allocation.
 */

const C1 = 0xcc9e2d51 | 0;
const C2 = 0x1b873593;
const MUR = 0xe6546b64 | 0;

/** The hash of `bytes` as an unsigned 32-bit integer. Strings are hashed as their UTF-8. */
export function cityHash32(bytes: Uint8Array): number {
  const length = bytes.length;
  if (length <= 4) return hashUpTo4(bytes, length);
  if (length <= 12) return hash5To12(bytes, length);
  if (length <= 24) return hash13To24(bytes, length);
  return hashLong(bytes, length);
}

function hashUpTo4(bytes: Uint8Array, length: number): number {
  let b = 0;
  let c = 9;
  for (let index = 0; index < length; index++) {
    // The original reads a signed char.
    b = (Math.imul(b, C1) + ((bytes[index]! << 24) >> 24)) | 0;
    c ^= b;
  }
  return finish(mix(b, mix(length, c)));
}

function hash5To12(bytes: Uint8Array, length: number): number {
  const a = (length + fetch32(bytes, 0)) | 0;
  const b = (length * 5 + fetch32(bytes, length - 4)) | 0;
  const c = (9 + fetch32(bytes, (length >>> 1) & 4)) | 0;
  return finish(mix(c, mix(b, mix(a, length * 5))));
}

function hash13To24(bytes: Uint8Array, length: number): number {
  const half = length >>> 1;
  let h = mix(fetch32(bytes, half - 4), length);
  h = mix(fetch32(bytes, 4), h);
  h = mix(fetch32(bytes, length - 8), h);
  h = mix(fetch32(bytes, half), h);
  h = mix(fetch32(bytes, 0), h);
  return finish(mix(fetch32(bytes, length - 4), h));
}

/** 25 bytes and more: the last 20 bytes first, then blocks of 20 from the front. */
function hashLong(bytes: Uint8Array, length: number): number {
  let h = length;
  let g = Math.imul(C1, length);
  let f = g;
  h = step(h, scramble(fetch32(bytes, length - 4)), 19);
  h = step(h, scramble(fetch32(bytes, length - 16)), 19);
  g = step(g, scramble(fetch32(bytes, length - 8)), 19);
  g = step(g, scramble(fetch32(bytes, length - 12)), 19);
  f = timesFive(rotate((f + scramble(fetch32(bytes, length - 20))) | 0, 19));
  const blockCount = Math.floor((length - 1) / 20);
  for (let block = 0, at = 0; block < blockCount; block++, at += 20) {
    const a0 = scramble(fetch32(bytes, at));
    const a1 = fetch32(bytes, at + 4);
    const a2 = scramble(fetch32(bytes, at + 8));
    const a3 = scramble(fetch32(bytes, at + 12));
    const a4 = fetch32(bytes, at + 16);
    h = step(h, a0, 18);
    f = Math.imul(rotate((f + a1) | 0, 19), C1);
    g = timesFive(rotate((g + a2) | 0, 18));
    h = step(h, (a3 + a1) | 0, 19);
    g = Math.imul(swapBytes(g ^ a4), 5);
    h = swapBytes((h + Math.imul(a4, 5)) | 0);
    f = (f + a0) | 0;
    // The original permutes the three between blocks.
    const previousF = f;
    f = g;
    g = h;
    h = previousF;
  }
  g = Math.imul(rotate(Math.imul(rotate(g, 11), C1), 17), C1);
  f = Math.imul(rotate(Math.imul(rotate(f, 11), C1), 17), C1);
  h = timesFive(rotate((h + g) | 0, 19));
  h = Math.imul(rotate(h, 17), C1);
  h = timesFive(rotate((h + f) | 0, 19));
  return Math.imul(rotate(h, 17), C1) >>> 0;
}

/** Four bytes at `at`, little-endian. */
function fetch32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Rotate right by 1 to 31 bits. */
function rotate(value: number, bits: number): number {
  return (value >>> bits) | (value << (32 - bits));
}

function swapBytes(value: number): number {
  return (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}

function timesFive(value: number): number {
  return (Math.imul(value, 5) + MUR) | 0;
}

function scramble(value: number): number {
  return Math.imul(rotate(Math.imul(value, C1), 17), C2);
}

function step(h: number, value: number, bits: number): number {
  return timesFive(rotate(h ^ value, bits));
}

/** The original's Mur(a, h). */
function mix(a: number, h: number): number {
  return step(h, scramble(a), 19);
}

/** The original's fmix, made unsigned. */
function finish(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
