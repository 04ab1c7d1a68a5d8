import { describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { OUTCOME } from '../errors/index.js';
import { UuidPrinter } from './uuid-text.js';
import { UuidV4 } from './uuid-v4.js';
import { UuidV7 } from './uuid-v7.js';

const NOW_MS = 1_800_000_000_123;

describe('a UUID of version 4', () => {
  test('has its version and variant and 122 random bits, as text and as bytes', () => {
    const uuids = new UuidV4();
    const bytes = new Uint8Array(20);
    const seen = new Set<string>();
    // A bit that never or always is set would be one of the 122 that are not random.
    const ones = new Array<number>(128).fill(0);
    for (let draw = 0; draw < 2_000; draw++) {
      uuids.writeTo(bytes, 2);
      const uuid = bytes.slice(2, 18);
      expect(uuids.decode(uuid)).toEqual({ timestampMs: undefined, version: 4 });
      seen.add(new UuidPrinter().print(uuid));
      for (let bit = 0; bit < 128; bit++) ones[bit]! += (uuid[bit >> 3]! >> (7 - (bit & 7))) & 1;
    }
    expect(seen.size).toBe(2_000);
    expect([bytes[0], bytes[1], bytes[18], bytes[19]]).toEqual([0, 0, 0, 0]);
    expect(ones.filter((count) => count > 850 && count < 1_150)).toHaveLength(122);
    for (const text of [uuids.next(), uuids.tryNext(), ...uuids.nextMany(3)])
      expect(uuids.decode(text).version).toBe(4);
  });
});

test('16 bytes are printed as 8-4-4-4-12 hexadecimal digits', () => {
  const printer = new UuidPrinter();
  for (let round = 0; round < 256; round++) {
    const bytes = Buffer.from(Array.from({ length: 16 }, (_, index) => (round + index * 17) & 255));
    const hex = bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    expect(printer.print(bytes)).toBe(hex);
  }
});

describe('a UUID of version 7', () => {
  test('holds the millisecond and sorts as text and as bytes', () => {
    const clock = new ManualClock(NOW_MS);
    const uuids = new UuidV7(clock);
    const texts: string[] = [];
    for (let ms = 0; ms < 50; ms++) {
      texts.push(...uuids.nextMany(50));
      clock.advance(1);
    }
    expect([...texts].sort()).toEqual(texts);
    expect(new Set(texts).size).toBe(2_500);
    expect(uuids.decode(texts[0]!).timestampMs).toBe(NOW_MS);
    expect(uuids.decode(texts.at(-1)!.toUpperCase()).timestampMs).toBe(NOW_MS + 49);
  });

  test('of RFC 9562 is read as the RFC says', () => {
    // Appendix A.6: 2022-02-22 14:22:22.000 -05:00.
    const parts = new UuidV7().decode('017F22E2-79B0-7CC3-98C4-DC0C0C07398F');
    expect(parts).toMatchObject({ timestampMs: 1_645_557_742_000, version: 7 });
  });

  test.each([1, 1_000, 3_600_000])(
    'rises on when the clock is stepped back by %i ms, without a repeat or a wait',
    (stepMs) => {
      const clock = new ManualClock(NOW_MS);
      const uuids = new UuidV7(clock);
      const before = uuids.nextMany(10);
      clock.stepWall(-stepMs);
      const during = uuids.nextMany(1_000);
      clock.advance(stepMs + 1);
      const all = [...before, ...during, ...uuids.nextMany(10)];
      expect(all.every((uuid, index) => index === 0 || uuid > all[index - 1]!)).toBe(true);
      expect(uuids.decode(during.at(-1)!).timestampMs).toBe(NOW_MS);
      expect(uuids.decode(all.at(-1)!).timestampMs).toBe(NOW_MS + 1);
    },
  );

  test('counts by one within a millisecond, from a random start below 2^31', () => {
    const clock = new ManualClock(NOW_MS);
    const uuids = new UuidV7(clock);
    const starts = new Set<number>();
    for (let ms = 0; ms < 100; ms++) {
      clock.advance(1);
      const [first, second] = uuids.nextMany(2).map((uuid) => uuids.decode(uuid).counter);
      expect(first).toBeLessThan(2 ** 31);
      expect(second).toBe(first! + 1);
      starts.add(first!);
    }
    expect(starts.size).toBeGreaterThan(95);
  });

  test('is refused where 48 bits of milliseconds end', async () => {
    const clock = new ManualClock(2 ** 48 - 1);
    const uuids = new UuidV7(clock);
    expect(uuids.next()).toMatch(/^ffffffff-ffff-7/);
    clock.advance(1);
    expect(uuids.tryWriteTo(new Uint8Array(16), 0)).toBe(OUTCOME.CLOSED);
    expect(uuids.tryNext()).toBeUndefined();
    await expect(uuids.ready()).rejects.toMatchObject({ code: 'ID_TIME_RANGE' });
  });
});

test.each([
  '017F22E2-79B0-7CC3-98C4-DC0C0C07398',
  '017F22E279B07CC398C4DC0C0C07398F',
  'G17F22E2-79B0-7CC3-98C4-DC0C0C07398F',
  '017F22E2-79B0-6CC3-98C4-DC0C0C07398F',
  '017F22E2-79B0-7CC3-C8C4-DC0C0C07398F',
])('%s is no UUID of version 7', (text) => {
  expect(() => new UuidV7().decode(text)).toThrow(expect.objectContaining({ code: 'ID_MALFORMED' }));
});
