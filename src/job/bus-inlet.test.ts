import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type GapScope, PUSH_OUTCOME, type PushCommand, type PushOutcome } from '../push/index.js';
import { memoryLog } from '../telemetry/index.js';
import { BusInlet } from './bus-inlet.js';

/** A queue and a comet with room for so many things; both write into one list. */
class Node {
  space = Number.POSITIVE_INFINITY;
  gapSpace = Number.POSITIVE_INFINITY;
  queuedCount = 0;
  answer: PushOutcome | undefined;
  readonly taken: string[] = [];

  readonly queue = {
    push: ({ target, body }: PushCommand): PushOutcome => {
      if (this.answer !== undefined) return this.answer;
      if (this.space <= 0) return PUSH_OUTCOME.FULL;
      this.space -= 1;
      this.taken.push(`${target.kind === 'rooms' ? target.rooms.join() : target.kind} ${body[0]}`);
      return PUSH_OUTCOME.OK;
    },
    gauges: () => ({ queuedCount: this.queuedCount }),
  };

  readonly comet = {
    tellGap: (scope: GapScope): PushOutcome => {
      if (this.gapSpace <= 0) return PUSH_OUTCOME.FULL;
      this.gapSpace -= 1;
      this.taken.push(`gap ${scope.kind === 'room' ? scope.room : scope.kind}`);
      return PUSH_OUTCOME.OK;
    },
  };
}

const toRoom = (room: string, id: number): PushCommand => ({
  target: { kind: 'rooms', rooms: [room] },
  op: 1000,
  body: new Uint8Array([id]),
});

function setUp(maxCount = 3) {
  const node = new Node();
  const log = memoryLog();
  const inlet = new BusInlet({ maxCount, maxBytes: 10_000 }, { queue: node.queue, comet: node.comet, log: log.logger });
  return { node, inlet, log };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the inlet', () => {
  it('hands over at once while nothing waits', () => {
    const { node, inlet } = setUp();
    inlet.push(toRoom('a', 1));
    expect(node.taken).toEqual(['a 1']);
  });

  it('keeps what the queue has no room for, and hands it over in order when there is', () => {
    const { node, inlet } = setUp();
    node.space = 1;
    for (const id of [1, 2, 3]) inlet.push(toRoom('a', id));
    expect([node.taken, inlet.gauges().waitingCount]).toEqual([['a 1'], 2]);
    node.space = 9;
    inlet.push(toRoom('a', 4));
    vi.advanceTimersByTime(10);
    expect(node.taken).toEqual(['a 1', 'a 2', 'a 3', 'a 4']);
    expect(inlet.gauges()).toEqual({ waitingCount: 0, waitingBytes: 0, lostCount: 0, gapCount: 0 });
  });

  it('tells a Gap in the place of what it lost, one for what was lost in a row, and logs once', () => {
    const { node, inlet, log } = setUp(2);
    node.space = 0;
    for (const id of [1, 2, 3, 4]) inlet.push(toRoom('a', id));
    inlet.push(toRoom('b', 5));
    expect(inlet.gauges()).toMatchObject({ waitingCount: 2, lostCount: 3 });
    node.space = 9;
    vi.advanceTimersByTime(10);
    inlet.push(toRoom('a', 6));
    vi.advanceTimersByTime(10);
    expect(node.taken).toEqual(['a 1', 'a 2', 'gap a', 'gap b', 'a 6']);
    expect(log.records.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('loses and tells what a queue finds too large', () => {
    const { node, inlet } = setUp();
    node.answer = PUSH_OUTCOME.TOO_LARGE;
    inlet.push({ target: { kind: 'all', speedPerSec: 0 }, op: 1, body: new Uint8Array(1) });
    inlet.push({ target: { kind: 'mids', mids: [1] }, op: 1, body: new Uint8Array(1) });
    vi.advanceTimersByTime(10);
    expect(node.taken).toEqual(['gap all', 'gap direct']);
    expect(inlet.gauges()).toMatchObject({ lostCount: 2, gapCount: 2 });
  });

  it('holds a Gap back while the queue still has what came before it, but not for ever', () => {
    const { node, inlet } = setUp();
    node.queuedCount = 1;
    inlet.missed({ kind: 'room', room: 'a' });
    inlet.missed({ kind: 'room', room: 'b' });
    vi.advanceTimersByTime(900);
    expect(node.taken).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(node.taken).toEqual(['gap a', 'gap b']);
  });

  it('tries a Gap again that the ring had no room for', () => {
    const { node, inlet } = setUp();
    node.gapSpace = 0;
    inlet.missed({ kind: 'direct' });
    inlet.push(toRoom('a', 1));
    vi.advanceTimersByTime(50);
    expect(node.taken).toEqual([]);
    node.gapSpace = 1;
    vi.advanceTimersByTime(50);
    expect(node.taken).toEqual(['gap direct', 'a 1']);
  });

  it('counts as lost what waits when it closes, and what comes after', () => {
    const { node, inlet } = setUp();
    node.space = 0;
    inlet.push(toRoom('a', 1));
    inlet.close();
    inlet.push(toRoom('a', 2));
    inlet.missed({ kind: 'all' });
    vi.advanceTimersByTime(50);
    expect([node.taken, inlet.gauges().lostCount, inlet.gauges().waitingBytes]).toEqual([[], 2, 0]);
  });

  it('never loses in silence: behind every lost message of a room stands a Gap of the room before its next message', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), room: fc.constantFrom('a', 'b'), n: fc.constant(0) }),
      fc.record({ kind: fc.constant('space' as const), room: fc.constant(''), n: fc.integer({ min: 0, max: 4 }) }),
      fc.record({ kind: fc.constant('turn' as const), room: fc.constant(''), n: fc.integer({ min: 0, max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { node, inlet } = setUp(2);
        const sent = { a: 0, b: 0 };
        for (const { kind, room, n } of steps) {
          if (kind === 'space') node.space = n;
          else if (kind === 'turn') vi.advanceTimersByTime(n);
          else {
            const name = room as 'a' | 'b';
            sent[name] += 1;
            inlet.push(toRoom(name, sent[name]));
          }
          expect(inlet.gauges().waitingCount).toBeLessThanOrEqual(2);
        }
        node.space = Number.POSITIVE_INFINITY;
        vi.advanceTimersByTime(3_000);
        for (const name of ['a', 'b'] as const) {
          let last = 0;
          let isTold = false;
          for (const text of node.taken) {
            if (text === `gap ${name}`) isTold = true;
            else if (text.startsWith(`${name} `)) {
              const id = Number(text.slice(2));
              expect(id).toBeGreaterThan(last);
              if (id !== last + 1) expect(isTold).toBe(true);
              last = id;
              isTold = false;
            }
          }
          if (last !== sent[name]) expect(isTold).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
