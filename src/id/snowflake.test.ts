import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CachedClock, type Clock, ManualClock, systemClock } from '../clock/index.js';
import { OUTCOME } from '../errors/index.js';
import { decodeSnowflake } from './decode-snowflake.js';
import { Snowflake } from './snowflake.js';
import {
  allocateSnowflake,
  highestIssuedMs,
  issueLimitMs,
  raiseIssueFloorMs,
  setIssueLimitMs,
} from './snowflake-memory.js';

const EPOCH_MS = 1_700_000_000_000;
const NOW_MS = EPOCH_MS + 86_400_000;

/** Memory of `slotCount` slots that may issue for ever. */
function unlimitedMemory(slotCount = 4, machineBase = 64): SharedArrayBuffer {
  const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase, slotCount });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  return memory;
}

/** A clock on which every reading takes `readingMs`, so that a wait on it ends. */
class SlowReadingClock extends ManualClock {
  #readings = 0;
  readonly #readingMs: number;

  constructor(nowMs: number, readingMs: number) {
    super(nowMs);
    this.#readingMs = readingMs;
  }

  override nowMs(): number {
    return super.nowMs() + Math.floor(++this.#readings * this.#readingMs);
  }

  override monotonicMs(): number {
    return super.monotonicMs() + ++this.#readings * this.#readingMs;
  }
}

const code = (errorCode: string): unknown => expect.objectContaining({ code: errorCode });

describe('a snowflake', () => {
  test('is 41 bits of milliseconds, 10 of machine and 12 of sequence', () => {
    const snowflake = new Snowflake(unlimitedMemory(), 3, new ManualClock(NOW_MS));
    const base = (86_400_000n << 22n) | (67n << 12n);
    expect([snowflake.next(), snowflake.next(), snowflake.next()]).toEqual([base, base + 1n, base + 2n]);
    expect(snowflake.machineId).toBe(67);
    expect(snowflake.lastTimestampMs).toBe(NOW_MS);
    expect(decodeSnowflake(base + 2n, EPOCH_MS)).toEqual({ timestampMs: NOW_MS, machineId: 67, sequence: 2 });
  });

  test('is the same as bytes, bigint and decimal string', () => {
    const draw = (): Snowflake => new Snowflake(unlimitedMemory(), 1, new ManualClock(NOW_MS));
    const bytes = new Uint8Array(10).fill(0xaa);
    expect(draw().tryWriteTo(bytes, 1)).toBe(OUTCOME.OK);
    const id = draw().next();
    expect(draw().nextString()).toBe(id.toString());
    expect(new DataView(bytes.buffer).getBigUint64(1)).toBe(id);
    expect([bytes[0], bytes[9]]).toEqual([0xaa, 0xaa]);
  });

  test('keeps the sign bit clear up to the last millisecond of 41 bits and stops there', () => {
    const clock = new ManualClock(EPOCH_MS + 2 ** 41 - 1);
    const snowflake = new Snowflake(unlimitedMemory(1, 1023), 0, clock);
    let id = 0n;
    for (let draw = 0; draw < 4096; draw++) id = snowflake.next();
    expect(id).toBe((1n << 63n) - 1n);
    expect(snowflake.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.CLOSED);
  });

  test('comes 4,096 times in one millisecond and then from the next one', () => {
    const clock = new SlowReadingClock(NOW_MS, 1 / 100_000);
    const snowflake = new Snowflake(unlimitedMemory(), 0, clock);
    const parts = Array.from({ length: 4097 }, () => decodeSnowflake(snowflake.next(), EPOCH_MS));
    expect(parts.slice(0, 4096).map((part) => part.sequence)).toEqual(Array.from({ length: 4096 }, (_, n) => n));
    expect(new Set(parts.slice(0, 4096).map((part) => part.timestampMs))).toEqual(new Set([NOW_MS]));
    expect(parts[4096]).toEqual({ timestampMs: NOW_MS + 1, machineId: 64, sequence: 0 });
  });

  test('reaches 4,096 in a millisecond on the real clock', () => {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
    setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
    const snowflake = new Snowflake(memory, 0);
    const bytes = new Uint8Array(8);
    let highestSequence = 0;
    const deadlineMs = systemClock.monotonicMs() + 10_000;
    while (highestSequence < 4095 && systemClock.monotonicMs() < deadlineMs) {
      for (let draw = 0; draw < 5_000; draw++) {
        snowflake.writeTo(bytes, 0);
        highestSequence = Math.max(highestSequence, ((bytes[6]! & 15) << 8) | bytes[7]!);
      }
    }
    expect(highestSequence).toBe(4095);
  });
});

describe('a slot', () => {
  test('counts on in its last millisecond when the clock is stepped back', () => {
    const clock = new ManualClock(NOW_MS);
    const snowflake = new Snowflake(unlimitedMemory(), 0, clock);
    const before = snowflake.next();
    clock.stepWall(-5_000);
    expect([snowflake.next(), snowflake.next()]).toEqual([before + 1n, before + 2n]);
    clock.stepWall(5_001);
    expect(decodeSnowflake(snowflake.next(), EPOCH_MS)).toMatchObject({ timestampMs: NOW_MS + 1, sequence: 0 });
  });

  test.each([1, 1_000, 3_600_000])(
    'takes one more millisecond per millisecond while the clock is behind by %i ms, and does not wait for it',
    (stepMs) => {
      const clock = new SlowReadingClock(NOW_MS, 1 / 1_000);
      const snowflake = new Snowflake(unlimitedMemory(), 0, clock);
      const seen = new Set([snowflake.next()]);
      clock.stepWall(-stepMs);
      const startedMs = clock.monotonicMs();
      let last = 0n;
      for (let draw = 0; draw < 3 * 4096; draw++) {
        const id = snowflake.next();
        expect(id > last).toBe(true);
        last = id;
        seen.add(id);
      }
      expect(seen.size).toBe(3 * 4096 + 1);
      const aheadMs = decodeSnowflake(last, EPOCH_MS).timestampMs - NOW_MS;
      // A small step is over before the ids are.
      if (stepMs >= 1_000) expect(aheadMs).toBe(3);
      expect(clock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(aheadMs);
    },
  );

  test('goes on after the last id with a new generator, also if its clock is behind', () => {
    const memory = unlimitedMemory();
    const last = new Snowflake(memory, 2, new ManualClock(NOW_MS)).next();
    expect(new Snowflake(memory, 2, new ManualClock(NOW_MS)).next()).toBe(last + 1n);
    expect(new Snowflake(memory, 2, new ManualClock(NOW_MS - 60_000)).next()).toBe(last + 2n);
    expect(highestIssuedMs(memory)).toBe(NOW_MS);
  });

  test('belongs to the newest generator: an older one refuses', () => {
    const memory = unlimitedMemory();
    const older = new Snowflake(memory, 0, new ManualClock(NOW_MS));
    const other = new Snowflake(memory, 1, new ManualClock(NOW_MS));
    older.next();
    const newer = new Snowflake(memory, 0, new ManualClock(NOW_MS));
    expect(older.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.CLOSED);
    expect(() => older.next()).toThrow(code('ID_SLOT_TAKEN_OVER'));
    expect(decodeSnowflake(newer.next(), EPOCH_MS).sequence).toBe(1);
    expect(decodeSnowflake(other.next(), EPOCH_MS).sequence).toBe(0);
  });

  test('refuses a clock that stands still while it waits', () => {
    const snowflake = new Snowflake(unlimitedMemory(), 0, new CachedClock(new ManualClock(NOW_MS)));
    for (let draw = 0; draw < 4096; draw++) snowflake.next();
    expect(() => snowflake.next()).toThrow(code('ID_CLOCK_STOPPED'));
  });
});

describe('the issue limit', () => {
  test('is below every id until an owner has set one', () => {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
    const snowflake = new Snowflake(memory, 0, new ManualClock(NOW_MS));
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
    expect(() => snowflake.next()).toThrow(code('ID_LIMIT_REACHED'));
  });

  test('is not reached by an id: the draw refuses, leaves the bytes alone and goes on when it is raised', () => {
    const memory = unlimitedMemory();
    const clock = new ManualClock(NOW_MS);
    const snowflake = new Snowflake(memory, 0, clock);
    setIssueLimitMs(memory, NOW_MS + 1);
    expect(decodeSnowflake(snowflake.next(), EPOCH_MS).timestampMs).toBe(NOW_MS);
    clock.advance(1);
    const bytes = new Uint8Array(8).fill(7);
    expect(snowflake.tryWriteTo(bytes, 0)).toBe(OUTCOME.CLOSED);
    expect(bytes).toEqual(new Uint8Array(8).fill(7));
    expect(() => snowflake.writeTo(bytes, 0)).toThrow(code('ID_LIMIT_REACHED'));
    expect(() => snowflake.nextString()).toThrow(`limitMs=${NOW_MS + 1} nowMs=${NOW_MS + 1} lastTimestampMs=${NOW_MS}`);
    setIssueLimitMs(memory, NOW_MS + 2);
    expect(decodeSnowflake(snowflake.next(), EPOCH_MS)).toMatchObject({ timestampMs: NOW_MS + 1, sequence: 0 });
  });

  test('lets a millisecond be used up and refuses the next one without a wait', () => {
    const memory = unlimitedMemory();
    setIssueLimitMs(memory, NOW_MS + 1);
    // On this clock a wait would end in ID_CLOCK_STOPPED.
    const snowflake = new Snowflake(memory, 0, new ManualClock(NOW_MS));
    for (let draw = 0; draw < 4096; draw++) snowflake.next();
    expect(snowflake.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.CLOSED);
  });

  test('stops draws at once when it is lowered', () => {
    const memory = unlimitedMemory();
    const snowflake = new Snowflake(memory, 0, new ManualClock(NOW_MS));
    snowflake.next();
    setIssueLimitMs(memory, Number.NEGATIVE_INFINITY);
    expect(snowflake.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.CLOSED);
  });

  test('has a floor: no slot goes below it although the clock is set back before the first draw', () => {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 2 });
    raiseIssueFloorMs(memory, NOW_MS);
    raiseIssueFloorMs(memory, NOW_MS - 1_000);
    setIssueLimitMs(memory, NOW_MS + 10);
    const snowflake = new Snowflake(memory, 1, new SlowReadingClock(NOW_MS - 60_000, 0.1));
    expect(decodeSnowflake(snowflake.next(), EPOCH_MS)).toMatchObject({ timestampMs: NOW_MS, sequence: 0 });
    expect(() => raiseIssueFloorMs(memory, NOW_MS)).toThrow(code('ID_BAD_OPTION'));
  });
});

test('options, slots and memory that make no sense are refused by name and value', () => {
  const good = { epochMs: EPOCH_MS, machineBase: 16, slotCount: 9 };
  for (const bad of [{ machineBase: 8 }, { machineBase: 1024 }, { machineBase: -16 }, { machineBase: 1.5 }]) {
    expect(() => allocateSnowflake({ ...good, ...bad })).toThrow('multiple of 16 below 1024: machineBase=');
  }
  for (const bad of [{ slotCount: 0 }, { slotCount: 1025, machineBase: 0 }, { epochMs: -1 }, { epochMs: 0.5 }]) {
    expect(() => allocateSnowflake({ ...good, ...bad })).toThrow(code('ID_BAD_OPTION'));
  }
  const memory = allocateSnowflake(good);
  for (const slotIndex of [-1, 9, 0.5]) expect(() => new Snowflake(memory, slotIndex)).toThrow(code('ID_BAD_SLOT'));
  for (const bytes of [0, 1024]) {
    expect(() => new Snowflake(new SharedArrayBuffer(bytes), 0)).toThrow(code('ID_BAD_MEMORY'));
  }
  expect(() => setIssueLimitMs(memory, Number.NaN)).toThrow(code('ID_BAD_OPTION'));
  expect(() => new Snowflake(memory, 0, new ManualClock(EPOCH_MS - 1))).toThrow(code('ID_CLOCK_BEFORE_EPOCH'));
});

const stepArbitrary = fc.oneof(
  fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }),
  fc.record({ kind: fc.constant('stepWall' as const), ms: fc.integer({ min: -8_000, max: 8_000 }) }),
  fc.record({
    kind: fc.constant('draw' as const),
    count: fc.oneof(fc.nat(20), fc.integer({ min: 4_000, max: 9_000 })),
  }),
  fc.record({ kind: fc.constant('restart' as const) }),
  fc.record({ kind: fc.constant('limit' as const), aheadMs: fc.integer({ min: -50, max: 10_000 }) }),
);

test('ids rise and stay below the limit over random time, steps of the clock, restarts and limits', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 30 }), (steps) => {
      const memory = unlimitedMemory();
      const clock: ManualClock & Clock = new SlowReadingClock(NOW_MS, 1 / 500);
      let snowflake = new Snowflake(memory, 1, clock);
      const bytes = new Uint8Array(8);
      const view = new DataView(bytes.buffer);
      let last = 0n;
      for (const step of steps) {
        if (step.kind === 'pass') clock.advance(step.ms);
        else if (step.kind === 'stepWall') clock.stepWall(step.ms);
        else if (step.kind === 'restart') snowflake = new Snowflake(memory, 1, clock);
        else if (step.kind === 'limit') setIssueLimitMs(memory, clock.nowMs() + step.aheadMs);
        else {
          for (let draw = 0; draw < step.count; draw++) {
            const floorMs = Math.max(clock.nowMs(), snowflake.lastTimestampMs);
            if (snowflake.tryWriteTo(bytes, 0) !== OUTCOME.OK) {
              if (floorMs < issueLimitMs(memory) - 2) throw new Error('refused below the limit');
              break;
            }
            const id = view.getBigUint64(0);
            const parts = decodeSnowflake(bytes, EPOCH_MS);
            if (id <= last) throw new Error(`${id} came after ${last}`);
            if (parts.timestampMs >= issueLimitMs(memory)) throw new Error('an id reached the limit');
            if (parts.timestampMs < floorMs || parts.timestampMs > floorMs + 2)
              throw new Error('not the time of the draw');
            if (parts.machineId !== 65) throw new Error('not the machine of the slot');
            last = id;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
});
