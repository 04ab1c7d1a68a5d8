import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TimingWheel } from './timing-wheel.js';

/** A wheel of 10 ms ticks and 8 buckets: one turn is 80 ms, so that a test passes turns quickly. */
function smallWheel(initialSlots = 4): TimingWheel {
  return new TimingWheel({ tickMs: 10, bucketCount: 8, initialSlots });
}

/** The slots that expire at `nowMs`, in order. */
function expiredAt(wheel: TimingWheel, nowMs: number): number[] {
  const slots: number[] = [];
  const count = wheel.advance(nowMs, (slot) => slots.push(slot));
  expect(count).toBe(slots.length);
  return slots;
}

describe('a timing wheel', () => {
  test('expires a slot at its deadline and not a millisecond before', () => {
    const wheel = smallWheel();
    wheel.schedule(2, 50);
    expect(expiredAt(wheel, 49)).toEqual([]);
    expect(expiredAt(wheel, 50)).toEqual([2]);
    expect(wheel.size).toBe(0);
    expect(expiredAt(wheel, 1000)).toEqual([]);
  });

  test('rounds a deadline between two ticks up: at most one tick late, never early', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 41);
    expect(expiredAt(wheel, 49.9)).toEqual([]);
    expect(expiredAt(wheel, 50)).toEqual([0]);
  });

  test('keeps an entry that is many turns away', () => {
    const wheel = smallWheel();
    wheel.schedule(1, 80 * 5 + 30);
    for (let nowMs = 10; nowMs < 430; nowMs += 10) expect(expiredAt(wheel, nowMs)).toEqual([]);
    expect(expiredAt(wheel, 430)).toEqual([1]);
  });

  test('moves a re-armed entry to its later deadline', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 30);
    wheel.schedule(0, 60);
    wheel.schedule(0, 200);
    expect(wheel.size).toBe(1);
    expect(expiredAt(wheel, 190)).toEqual([]);
    expect(expiredAt(wheel, 200)).toEqual([0]);
  });

  test('moves a re-armed entry to its earlier deadline, also after it was moved to a later one', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 70);
    wheel.schedule(0, 20);
    wheel.schedule(1, 20);
    wheel.schedule(1, 200);
    wheel.schedule(1, 40);
    expect(expiredAt(wheel, 20)).toEqual([0]);
    expect(expiredAt(wheel, 39)).toEqual([]);
    expect(expiredAt(wheel, 40)).toEqual([1]);
  });

  test('forgets a cancelled slot and takes it again', () => {
    const wheel = smallWheel();
    wheel.schedule(3, 20);
    wheel.cancel(3);
    wheel.cancel(3);
    expect([wheel.size, wheel.has(3)]).toEqual([0, false]);
    expect(expiredAt(wheel, 100)).toEqual([]);
    wheel.schedule(3, 120);
    expect([wheel.size, wheel.has(3)]).toEqual([1, true]);
    expect(expiredAt(wheel, 120)).toEqual([3]);
  });

  test('ignores a cancel of a slot that it never held', () => {
    const wheel = smallWheel(1);
    for (const slot of [0, 1, 1_000_000, -1, 0.5]) wheel.cancel(slot);
    wheel.schedule(0, 10);
    expect(expiredAt(wheel, 10)).toEqual([0]);
  });

  test('expires a deadline in the past with the next tick', () => {
    const wheel = smallWheel();
    expect(expiredAt(wheel, 1000)).toEqual([]);
    wheel.schedule(0, 5);
    wheel.schedule(1, 1000);
    expect(expiredAt(wheel, 1009)).toEqual([]);
    expect(expiredAt(wheel, 1010)).toEqual([0, 1]);
  });

  test('never expires a deadline at infinity', () => {
    const wheel = smallWheel();
    wheel.schedule(0, Number.POSITIVE_INFINITY);
    expect(expiredAt(wheel, 1e15)).toEqual([]);
    wheel.schedule(0, 1e15 + 20);
    expect(expiredAt(wheel, 1e15 + 20)).toEqual([0]);
  });

  test('expires everything due after a jump of the clock over many turns, and nothing else', () => {
    const wheel = smallWheel();
    for (let slot = 0; slot < 100; slot++) wheel.schedule(slot, 10 + slot * 10);
    expect(expiredAt(wheel, 500).sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, slot) => slot));
    expect(wheel.size).toBe(50);
    expect(expiredAt(wheel, 1_700_000_000_000).length).toBe(50);
    wheel.schedule(7, 1_700_000_000_030);
    expect(expiredAt(wheel, 1_700_000_000_020)).toEqual([]);
    expect(expiredAt(wheel, 1_700_000_000_030)).toEqual([7]);
  });

  test('expires in the order of the deadlines while an advance spans less than a turn', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 70);
    wheel.schedule(1, 10);
    wheel.schedule(1, 60);
    wheel.schedule(2, 40);
    wheel.schedule(3, 20);
    expect(expiredAt(wheel, 70)).toEqual([3, 2, 1, 0]);
  });

  test('changes nothing when the clock stands still or steps back', () => {
    const wheel = smallWheel();
    expiredAt(wheel, 500);
    wheel.schedule(0, 510);
    expect(expiredAt(wheel, 500)).toEqual([]);
    expect(expiredAt(wheel, 10)).toEqual([]);
    expect(expiredAt(wheel, Number.NaN)).toEqual([]);
    expect(expiredAt(wheel, 510)).toEqual([0]);
  });

  test('grows for a slot far beyond the initial ones and keeps what it held', () => {
    const wheel = smallWheel(1);
    wheel.schedule(0, 30);
    wheel.schedule(70_000, 20);
    wheel.schedule(3, 40);
    expect(expiredAt(wheel, 40)).toEqual([70_000, 0, 3]);
  });

  test('refuses options, slots and deadlines that make no sense', () => {
    const good = { tickMs: 10, bucketCount: 8, initialSlots: 1 };
    for (const bad of [{ tickMs: 0 }, { bucketCount: 6 }, { bucketCount: 1 }, { initialSlots: 0 }]) {
      expect(() => new TimingWheel({ ...good, ...bad })).toThrow(expect.objectContaining({ code: 'WHEEL_BAD_OPTION' }));
    }
    const wheel = new TimingWheel(good);
    for (const slot of [-1, 1.5, Number.NaN, 2 ** 31, 2 ** 32]) {
      expect(() => wheel.schedule(slot, 10)).toThrow(expect.objectContaining({ code: 'WHEEL_BAD_SLOT' }));
    }
    expect(() => wheel.schedule(0, Number.NaN)).toThrow(expect.objectContaining({ code: 'WHEEL_BAD_DEADLINE' }));
    expect(wheel.size).toBe(0);
  });
});

describe('a callback of a timing wheel', () => {
  test('may schedule its own slot again, which then waits for the next advance even if it is due', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 10);
    let calls = 0;
    const again = (): void => {
      calls++;
      wheel.schedule(0, 0);
    };
    expect(wheel.advance(10_000, again)).toBe(1);
    expect(wheel.advance(10_010, again)).toBe(1);
    expect([calls, wheel.size]).toEqual([2, 1]);
  });

  test('may cancel slots of the bucket that is being visited and of later ones', () => {
    const wheel = smallWheel();
    for (let slot = 0; slot < 6; slot++) wheel.schedule(slot, slot < 3 ? 20 : 50);
    const expired: number[] = [];
    wheel.advance(70, (slot) => {
      expired.push(slot);
      if (slot === 0) for (const other of [1, 4]) wheel.cancel(other);
    });
    expect(expired).toEqual([0, 2, 3, 5]);
    expect(wheel.size).toBe(0);
  });

  test('may push back slots that were due in the same advance', () => {
    const wheel = smallWheel();
    for (let slot = 0; slot < 4; slot++) wheel.schedule(slot, slot < 2 ? 20 : 60);
    const expired: number[] = [];
    const onExpired = (slot: number): void => {
      expired.push(slot);
      if (slot === 0) for (const other of [1, 2, 3]) wheel.schedule(other, other === 3 ? 30 : 90);
    };
    wheel.advance(70, onExpired);
    expect(expired).toEqual([0]);
    wheel.advance(80, onExpired);
    expect(expired).toEqual([0, 3]);
    wheel.advance(90, onExpired);
    expect(expired.slice(2).sort()).toEqual([1, 2]);
  });

  test('may grow the wheel', () => {
    const wheel = smallWheel(1);
    wheel.schedule(0, 10);
    wheel.advance(10, () => wheel.schedule(5000, 30));
    expect(expiredAt(wheel, 30)).toEqual([5000]);
  });

  test('that throws costs no other entry: the next advance expires the rest', () => {
    const wheel = smallWheel();
    for (let slot = 0; slot < 5; slot++) wheel.schedule(slot, slot < 3 ? 20 : 40);
    const expired: number[] = [];
    const throwOnce = (slot: number): void => {
      expired.push(slot);
      if (slot === 1) throw new Error('listener failed');
    };
    expect(() => wheel.advance(40, throwOnce)).toThrow('listener failed');
    expect([expired, wheel.size]).toEqual([[0, 1], 3]);
    expect(wheel.advance(40, throwOnce)).toBe(3);
    expect([expired, wheel.size]).toEqual([[0, 1, 2, 3, 4], 0]);
  });

  test('that throws in the last bucket leaves the rest to a call at the same time', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 20);
    wheel.schedule(1, 20);
    expect(() =>
      wheel.advance(20, () => {
        throw new Error('listener failed');
      }),
    ).toThrow();
    expect(expiredAt(wheel, 20)).toEqual([1]);
  });

  test('must not advance the wheel', () => {
    const wheel = smallWheel();
    wheel.schedule(0, 10);
    expect(() => wheel.advance(20, () => wheel.advance(30, () => {}))).toThrow(
      expect.objectContaining({ code: 'WHEEL_REENTERED' }),
    );
  });
});

/** The naive wheel: a map of deadlines in ticks, scanned on every advance. */
class ModelWheel {
  readonly tickBySlot = new Map<number, number>();
  currentTick = 0;

  schedule(slot: number, deadlineMs: number): void {
    this.tickBySlot.set(slot, Math.max(Math.ceil(deadlineMs / 10), this.currentTick + 1));
  }

  /** Begin an advance: the due slots become fixed by what the callbacks do, so the caller asks `isDue` per expiry. */
  beginAdvance(nowMs: number): void {
    this.currentTick = Math.max(this.currentTick, Math.floor(nowMs / 10));
  }

  isDue(slot: number): boolean {
    return (this.tickBySlot.get(slot) ?? Number.POSITIVE_INFINITY) <= this.currentTick;
  }
}

/** What a step, or a callback inside it, does to a slot: `cancel`, or a deadline so far from now. */
const actionArbitrary = fc.record({
  slot: fc.nat(40),
  deadlineFromNowMs: fc.option(fc.oneof(fc.integer({ min: -30, max: 100 }), fc.integer({ min: 0, max: 900 }))),
});
const stepArbitrary = fc.record({
  actions: fc.array(actionArbitrary, { maxLength: 6 }),
  passMs: fc.oneof({ weight: 8, arbitrary: fc.nat(45) }, { weight: 1, arbitrary: fc.nat(100_000) }),
  inCallbacks: fc.array(actionArbitrary, { maxLength: 4 }),
});

test('a wheel agrees with a naive map over random schedules, cancels, callbacks and clock jumps', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 60 }), (steps) => {
      const wheel = smallWheel(2);
      const model = new ModelWheel();
      let nowMs = 0;
      const apply = (action: { slot: number; deadlineFromNowMs: number | null }): void => {
        if (action.deadlineFromNowMs === null) {
          wheel.cancel(action.slot);
          model.tickBySlot.delete(action.slot);
        } else {
          wheel.schedule(action.slot, nowMs + action.deadlineFromNowMs);
          model.schedule(action.slot, nowMs + action.deadlineFromNowMs);
        }
      };
      for (const step of steps) {
        for (const action of step.actions) apply(action);
        nowMs += step.passMs;
        model.beginAdvance(nowMs);
        const pendingActions = [...step.inCallbacks];
        wheel.advance(nowMs, (slot) => {
          expect(model.isDue(slot), `slot ${slot} expired early`).toBe(true);
          expect(wheel.has(slot)).toBe(false);
          model.tickBySlot.delete(slot);
          const action = pendingActions.pop();
          if (action !== undefined) apply(action);
        });
        for (const slot of model.tickBySlot.keys()) expect(model.isDue(slot), `slot ${slot} was missed`).toBe(false);
        expect(wheel.size).toBe(model.tickBySlot.size);
        for (let slot = 0; slot <= 40; slot++) expect(wheel.has(slot)).toBe(model.tickBySlot.has(slot));
      }
    }),
    { numRuns: 400 },
  );
});
