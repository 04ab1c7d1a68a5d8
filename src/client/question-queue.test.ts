import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { QuestionQueue } from './question-queue.js';

/** Every question by its number: when it went out, and how to settle it. */
class Asked {
  readonly order: number[] = [];
  readonly cancelled: number[] = [];
  readonly settle = new Map<number, () => void>();
  isOpen = true;
  readonly queue: QuestionQueue;

  constructor(maxCount: number) {
    this.queue = new QuestionQueue(maxCount, () => this.isOpen);
  }

  add(number: number): () => void {
    return this.queue.add((settled) => {
      this.order.push(number);
      this.settle.set(number, settled);
      return () => void this.cancelled.push(number);
    });
  }
}

describe('questions', () => {
  it('go out in order, at most so many at a time', () => {
    const asked = new Asked(2);
    for (const number of [1, 2, 3, 4]) asked.add(number);
    expect(asked.order).toEqual([1, 2]);
    asked.settle.get(2)!();
    asked.settle.get(2)!();
    expect(asked.order).toEqual([1, 2, 3]);
  });

  it('that are given up while they wait are not asked, and leave room when they have been', () => {
    const asked = new Asked(1);
    const [first, second] = [asked.add(1), asked.add(2), asked.add(3)];
    second!();
    first!();
    first!();
    expect(asked.order).toEqual([1, 3]);
    expect(asked.cancelled).toContain(1);
    expect(asked.cancelled).not.toContain(2);
  });

  it('are not asked without a connection, nor after it what waited before', () => {
    const asked = new Asked(1);
    asked.add(1);
    asked.add(2);
    asked.isOpen = false;
    asked.settle.get(1)!();
    expect(asked.order).toEqual([1]);
    asked.queue.clear();
    asked.isOpen = true;
    asked.add(3);
    expect(asked.order).toEqual([1, 3]);
  });

  it('that fail from inside of asking do not hold up the others', () => {
    const order: number[] = [];
    const queue = new QuestionQueue(1, () => true);
    for (const number of [1, 2, 3]) {
      queue.add((settled) => {
        order.push(number);
        settled();
        return () => {};
      });
    }
    expect(order).toEqual([1, 2, 3]);
  });

  it('never exceed the bound and never stall, whatever is settled or given up', () => {
    const actions = fc.array(fc.record({ kind: fc.constantFrom('add', 'settle', 'giveUp'), pick: fc.nat(30) }));
    fc.assert(
      fc.property(actions, fc.integer({ min: 1, max: 4 }), (steps, maxCount) => {
        const asked = new Asked(maxCount);
        const giveUps: (() => void)[] = [];
        const over = new Set<number>();
        for (const { kind, pick } of steps) {
          if (kind === 'add') giveUps.push(asked.add(giveUps.length));
          else if (giveUps.length > 0) {
            const number = pick % giveUps.length;
            if (kind === 'giveUp') giveUps[number]!();
            else asked.settle.get(number)?.();
            if (kind === 'giveUp' || asked.settle.has(number)) over.add(number);
          }
          const underWayCount = asked.order.filter((number) => !over.has(number)).length;
          const openCount = giveUps.length - over.size;
          expect(underWayCount).toBe(Math.min(maxCount, openCount));
          expect(asked.order).toEqual(asked.order.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});
