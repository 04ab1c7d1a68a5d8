import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { OUTCOME } from '../errors/index.js';
import { Sonyflake } from './sonyflake.js';
import { allocateSonyflake, sonyflakeGate } from './sonyflake-memory.js';

const EPOCH_MS = 1_700_000_000_000;
const NOW_MS = EPOCH_MS + 86_400_000;

function unlimitedMemory(machineId = 0xabcd): SharedArrayBuffer {
  const memory = allocateSonyflake({ epochMs: EPOCH_MS, machineId });
  sonyflakeGate(memory).setLimitMs(Number.POSITIVE_INFINITY);
  return memory;
}

function drawAll(sonyflake: Sonyflake): bigint[] {
  const ids: bigint[] = [];
  for (let id = sonyflake.tryNext(); id !== undefined; id = sonyflake.tryNext()) ids.push(id);
  return ids;
}

const code = (errorCode: string): unknown => expect.objectContaining({ code: errorCode });

describe('a sonyflake', () => {
  test('is 39 bits of 10 ms, 8 of sequence and 16 of machine, the same as bytes and as bigint', () => {
    const clock = new ManualClock(NOW_MS + 9);
    const sonyflake = new Sonyflake(unlimitedMemory(), clock);
    const base = (8_640_000n << 24n) | 0xabcdn;
    expect(sonyflake.next()).toBe(base);
    const bytes = new Uint8Array(10).fill(0xaa);
    expect(sonyflake.tryWriteTo(bytes, 1)).toBe(OUTCOME.OK);
    expect(new DataView(bytes.buffer).getBigUint64(1)).toBe(base + (1n << 16n));
    expect([bytes[0], bytes[9]]).toEqual([0xaa, 0xaa]);
    const parts = { timestampMs: NOW_MS, sequence: 1, machineId: 0xabcd };
    for (const id of [base + 65_536n, String(base + 65_536n), bytes.subarray(1, 9)]) {
      expect(sonyflake.decode(id)).toEqual(parts);
    }
  });

  test('comes 256 times in 10 ms, then none until the next tick', () => {
    const clock = new ManualClock(NOW_MS);
    const sonyflake = new Sonyflake(unlimitedMemory(), clock);
    expect(drawAll(sonyflake)).toHaveLength(256);
    expect(sonyflake.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.FULL);
    clock.advance(9);
    expect(sonyflake.tryNext()).toBeUndefined();
    clock.advance(1);
    expect(drawAll(sonyflake).map((id) => sonyflake.decode(id))[255]).toMatchObject({
      timestampMs: NOW_MS + 10,
      sequence: 255,
    });
  });

  test('keeps the sign bit clear up to its last tick, 174 years on, and ends there', () => {
    const clock = new ManualClock(EPOCH_MS + 2 ** 39 * 10 - 1);
    const sonyflake = new Sonyflake(unlimitedMemory(65_535), clock);
    expect(drawAll(sonyflake).at(-1)).toBe((1n << 63n) - 1n);
    clock.advance(1);
    expect(() => sonyflake.next()).toThrow(code('ID_LIMIT_REACHED'));
  });

  test('sleeps for the next tick in next, waits for it in ready, on the real clock', async () => {
    const sonyflake = new Sonyflake(unlimitedMemory());
    const startedMs = performance.now();
    const ids = sonyflake.nextMany(1_500);
    expect(ids.every((id, index) => index === 0 || id > ids[index - 1]!)).toBe(true);
    expect(performance.now() - startedMs).toBeGreaterThan(40);
    drawAll(sonyflake);
    await sonyflake.ready();
    expect(sonyflake.tryNext()).toBeGreaterThan(ids.at(-1)!);
  });

  test('says so where the clock stands still', () => {
    const sonyflake = new Sonyflake(unlimitedMemory(), new ManualClock(NOW_MS));
    expect(() => sonyflake.nextMany(257)).toThrow(code('ID_CLOCK_STOPPED'));
  });
});

describe('with the clock stepped back', () => {
  test.each([1, 1_000, 3_600_000])('by %i ms sonyflakes rise on, 256 per 10 ms of monotonic time', (stepMs) => {
    const clock = new ManualClock(NOW_MS);
    const sonyflake = new Sonyflake(unlimitedMemory(), clock);
    const ids = [sonyflake.next()];
    clock.stepWall(-stepMs);
    ids.push(...drawAll(sonyflake));
    expect(ids).toHaveLength(256);
    for (let tick = 0; tick < 20; tick++) {
      clock.advance(10);
      const drawn = drawAll(sonyflake);
      expect(drawn).toHaveLength(256);
      ids.push(...drawn);
    }
    expect(ids.every((id, index) => index === 0 || id > ids[index - 1]!)).toBe(true);
    expect(sonyflake.decode(ids.at(-1)!).timestampMs).toBe(NOW_MS + 200);
  });

  test('by any steps in any order, with threads taking over, no sonyflake repeats or falls', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('wall' as const), ms: fc.integer({ min: -5_000, max: 5_000 }) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(50) }),
      fc.record({ kind: fc.constant('draw' as const), ms: fc.nat(400) }),
      fc.record({ kind: fc.constant('thread' as const), ms: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new ManualClock(NOW_MS);
        const memory = unlimitedMemory();
        let sonyflake = new Sonyflake(memory, clock);
        let last = 0n;
        for (const { kind, ms } of steps) {
          if (kind === 'wall') clock.stepWall(ms);
          else if (kind === 'pass') clock.advance(ms);
          else if (kind === 'thread') sonyflake = new Sonyflake(memory, clock);
          else {
            for (let draw = 0; draw < ms; draw++) {
              const id = sonyflake.tryNext();
              if (id === undefined) break;
              expect(id > last).toBe(true);
              last = id;
            }
          }
        }
      }),
    );
  });
});

describe('the gate of a sonyflake', () => {
  test('lets nothing through before it was opened, below the floor, or at the limit', async () => {
    const memory = allocateSonyflake({ epochMs: EPOCH_MS, machineId: 1 });
    const gate = sonyflakeGate(memory);
    const clock = new ManualClock(NOW_MS);
    const sonyflake = new Sonyflake(memory, clock);
    expect(sonyflake.tryWriteTo(new Uint8Array(8), 0)).toBe(OUTCOME.CLOSED);
    await expect(sonyflake.ready()).rejects.toMatchObject({ code: 'ID_LIMIT_REACHED' });
    gate.raiseFloorMs(NOW_MS + 25);
    gate.setLimitMs(NOW_MS + 45);
    expect(sonyflake.decode(sonyflake.next())).toMatchObject({ timestampMs: NOW_MS + 30, sequence: 0 });
    expect(drawAll(sonyflake)).toHaveLength(255);
    // The tick from 40 would end past the limit.
    clock.advance(44);
    expect(() => sonyflake.next()).toThrow(code('ID_LIMIT_REACHED'));
    expect(gate.highestIssuedMs()).toBe(NOW_MS + 39);
    gate.setLimitMs(NOW_MS + 50);
    sonyflake.next();
    gate.setLimitMs(Number.NEGATIVE_INFINITY);
    expect(() => sonyflake.next()).toThrow(code('ID_LIMIT_REACHED'));
  });

  test('closes for a generator whose memory another one took over', () => {
    const memory = unlimitedMemory();
    const clock = new ManualClock(NOW_MS);
    const old = new Sonyflake(memory, clock);
    old.next();
    const successor = new Sonyflake(memory, clock);
    expect(() => old.next()).toThrow(code('ID_SLOT_TAKEN_OVER'));
    expect(successor.decode(successor.next()).sequence).toBe(1);
  });

  test('belongs to memory of its own kind', () => {
    expect(() => sonyflakeGate(new SharedArrayBuffer(128))).toThrow(code('ID_BAD_MEMORY'));
    expect(() => allocateSonyflake({ epochMs: 5, machineId: 0 })).toThrow(code('ID_BAD_OPTION'));
    expect(() => allocateSonyflake({ epochMs: 0, machineId: 65_536 })).toThrow(code('ID_BAD_OPTION'));
    expect(() => new Sonyflake(unlimitedMemory(), new ManualClock(EPOCH_MS - 1))).toThrow(
      code('ID_CLOCK_BEFORE_EPOCH'),
    );
  });
});
