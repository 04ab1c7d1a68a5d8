import { expect, test } from 'vitest';
import { cityHash32 } from './city-hash.js';

/** Values of goim's own CityHash32, taken from the running build (facts/goim.md 4.6). */
const VECTORS: readonly (readonly [string, number])[] = [
  ['', 3696677242],
  ['a', 1016544589],
  ['ab', 1098068221],
  ['abc', 795041479],
  ['abcd', 2562006677],
  ['abcde', 2750637740],
  ['k123', 593518908],
  ['test://1', 4274401948],
  ['live://1000', 1126145323],
  ['live://9', 1330878476],
  ['123456789012', 3307383567],
  ['1234567890123', 297541912],
  ['live://room-12345', 3879585592],
  ['abcdefghijklmnopqrstuvwx', 3806931513],
  ['abcdefghijklmnopqrstuvwxy', 3562860892],
  ['11641f19-b597-49bd-9e7e-68deee355c9d', 2126473523],
  ['live://中文房间', 1650879720],
  ['the quick brown fox jumps over the lazy dog', 3859818432],
];

test.each(VECTORS)('hashes %j as goim does', (text, hash) => {
  expect(cityHash32(new TextEncoder().encode(text))).toBe(hash);
});

test('puts a room into the same one of 64 Redis fields as goim', () => {
  const field = (room: string): number => cityHash32(new TextEncoder().encode(room)) % 64;
  expect([field('test://1'), field('live://1000')]).toEqual([28, 43]);
});

test('reads a view of shared memory at an odd offset', () => {
  const text = 'the quick brown fox jumps over the lazy dog';
  const view = new Uint8Array(new SharedArrayBuffer(64), 3, text.length);
  view.set(new TextEncoder().encode(text));
  expect(cityHash32(view)).toBe(3859818432);
});
