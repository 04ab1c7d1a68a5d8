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
});
