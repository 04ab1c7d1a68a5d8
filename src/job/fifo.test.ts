import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fifo } from './fifo.js';

describe('Fifo', () => {
  it('behaves like an array under any sequence of operations, over block borders', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('append' as const), times: fc.integer({ min: 1, max: 600 }) }),
      fc.record({ kind: fc.constant('remove' as const), times: fc.integer({ min: 1, max: 600 }) }),
      fc.record({ kind: fc.constant('clear' as const), times: fc.constant(1) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        let next = 0;
        for (const { kind, times } of operations) {
          for (let time = 0; time < times; time++) {
            if (kind === 'append') {
              fifo.append(next);
              model.push(next++);
            } else if (kind === 'remove') {
              expect(fifo.peek()).toBe(model[0]);
              fifo.removeFirst();
              model.shift();
            } else {
              fifo.clear();
              model.length = 0;
            }
          }
          expect(fifo.count).toBe(model.length);
          expect(fifo.peek()).toBe(model[0]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('lets go of an item when it is removed, and of all memory when a burst has drained', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const fifo = new Fifo<Uint8Array>();
    const appendTracked = () => {
      const body = new Uint8Array(64);
      fifo.append(body);
      return new WeakRef(body);
    };
    const refs = Array.from({ length: 3000 }, appendTracked);
    const aliveCount = () => refs.filter((ref) => ref.deref() !== undefined).length;
    const collectUntil = async (maxCount: number) => {
      const deadlineMs = Date.now() + 10_000;
      do {
        // A WeakRef holds its target until the end of the turn in which it was read.
        await new Promise((resolve) => setImmediate(resolve));
        collectGarbage();
      } while (aliveCount() > maxCount && Date.now() < deadlineMs);
      return aliveCount();
    };
    expect(aliveCount()).toBe(3000);
    // 100 items into a block of 256: they must not wait for the rest of their block.
    for (let index = 0; index < 100; index++) fifo.removeFirst();
    expect(await collectUntil(2900)).toBe(2900);
    while (fifo.count > 0) fifo.removeFirst();
    expect(await collectUntil(0)).toBe(0);
    expect(fifo.peek()).toBeUndefined();
  });
});
