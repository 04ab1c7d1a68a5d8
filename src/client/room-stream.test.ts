import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Hole, RoomStream } from './room-stream.js';

const EPOCH = 7;

/** What an application saw of one room: offsets delivered, and offsets told as missing, in one line. */
class Log {
  readonly events: (number | readonly [from: number, to: number])[] = [];
  readonly newEpochs: Hole[] = [];
  readonly questions: (readonly [epoch: number, offset: number])[] = [];
  readonly stream: RoomStream<{ readonly offset: number }>;

  constructor(maxKept = 100) {
    this.stream = new RoomStream(
      {
        deliver: (_epoch, { offset }) => void this.events.push(offset),
        gap: (hole) => {
          if (hole.isNewEpoch) this.newEpochs.push(hole);
          else this.events.push([hole.from, hole.to]);
        },
        recovered: () => {},
        ask: (epoch, offset) => void this.questions.push([epoch, offset]),
      },
      maxKept,
    );
  }

  /** The offsets that are accounted for, which must be every one from the first to the last, once. */
  accounted(): number[] {
    return this.events.flatMap((event) => {
      if (typeof event === 'number') return [event];
      return Array.from({ length: event[1] - event[0] + 1 }, (_, index) => event[0] + index);
    });
  }
}

function range(from: number, to: number): { offset: number }[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => ({ offset: from + index }));
}

describe('the stream of a room', () => {
  it('hands messages out in order and drops what it had', () => {
    const log = new Log();
    log.stream.placed({ epoch: EPOCH, offset: 4 });
    log.stream.arrived(EPOCH, range(5, 6));
    log.stream.arrived(EPOCH, range(4, 7));
    expect(log.events).toEqual([5, 6, 7]);
    expect(log.questions).toEqual([]);
  });

  it('keeps what comes while it recovers, and hands it out behind the recovered', () => {
    const log = new Log();
    log.stream.placed({ epoch: EPOCH, offset: 0 });
    log.stream.disconnected();
    log.stream.placed({ epoch: EPOCH, offset: 3 });
    log.stream.arrived(EPOCH, range(4, 5));
    expect(log.questions).toEqual([[EPOCH, 0]]);
    log.stream.recovered(EPOCH, range(1, 4));
    expect(log.events).toEqual([1, 2, 3, 4, 5]);
    expect(log.stream.isBehind).toBe(false);
  });

  it('tells a hole once where recovery is refused, in front of what came behind it', () => {
    const log = new Log();
    log.stream.placed({ epoch: EPOCH, offset: 2 });
    log.stream.placed({ epoch: EPOCH, offset: 5 });
    log.stream.arrived(EPOCH, range(6, 7));
    log.stream.refused();
    log.stream.refused();
    expect(log.events).toEqual([[3, 5], 6, 7]);
  });

  it('asks for a hole between two messages by itself', () => {
    const log = new Log();
    log.stream.arrived(EPOCH, range(1, 1));
    log.stream.arrived(EPOCH, range(3, 3));
    expect(log.questions).toEqual([[EPOCH, 1]]);
    log.stream.recovered(EPOCH, range(2, 3));
    expect(log.events).toEqual([1, 2, 3]);
  });

  it('says that a sequence began anew, behind what it kept of the old one', () => {
    const log = new Log();
    log.stream.placed({ epoch: EPOCH, offset: 1 });
    log.stream.arrived(EPOCH, range(3, 3));
    log.stream.placed({ epoch: EPOCH + 1, offset: 2 });
    log.stream.arrived(EPOCH + 1, range(3, 3));
    expect(log.events).toEqual([[2, 2], 3, 3]);
    expect(log.newEpochs).toEqual([{ epoch: EPOCH + 1, from: 1, to: 2, isNewEpoch: true }]);
  });

  it('gives a hole up when the answers bring nothing', () => {
    const log = new Log();
    log.stream.placed({ epoch: EPOCH, offset: 1 });
    log.stream.placed({ epoch: EPOCH, offset: 2 });
    log.stream.recovered(EPOCH, []);
    log.stream.recovered(EPOCH, []);
    expect(log.events).toEqual([[2, 2]]);
    expect(log.questions).toHaveLength(2);
  });

  it('keeps a bounded number of messages, and gets the rest by recovery', () => {
    const log = new Log(3);
    log.stream.placed({ epoch: EPOCH, offset: 0 });
    log.stream.arrived(EPOCH, range(2, 11));
    expect(log.stream.keptCount).toBe(3);
    log.stream.recovered(EPOCH, range(1, 5));
    expect(log.questions.at(-1)).toEqual([EPOCH, 5]);
    log.stream.recovered(EPOCH, range(6, 11));
    expect(log.events).toEqual(range(1, 11).map(({ offset }) => offset));
  });

  /**
   * A server with a history of `window` messages against a client whose connection breaks anywhere: published, lost on the way,
   * cut, back, answered early or late, refused for now. Whatever the order, every offset is accounted for exactly once and ascending,
   * and what the history held when it was asked is delivered.
   */
  it('accounts for every offset once and in order, whatever is lost, cut, recovered or refused', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant('lose' as const), count: fc.integer({ min: 1, max: 4 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constantFrom('cut' as const, 'back' as const, 'gap' as const),
          count: fc.constant(0),
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('answer' as const), count: fc.constant(0) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('repeat' as const), count: fc.integer({ min: 1, max: 6 }) }),
      },
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 6 }),
        (steps, window, maxKept) => {
          const log = new Log(maxKept);
          let newest = 0;
          let isUp = true;
          let answeredCount = 0;
          const answer = () => {
            if (!isUp || !log.stream.isBehind || answeredCount === log.questions.length) return;
            answeredCount = log.questions.length;
            const [, offset] = log.questions.at(-1)!;
            if (offset + 1 <= newest - window) log.stream.refused();
            else log.stream.recovered(EPOCH, range(offset + 1, newest));
          };
          log.stream.placed({ epoch: EPOCH, offset: 0 });
          for (const { kind, count } of steps) {
            if (kind === 'publish' || kind === 'lose') {
              if (kind === 'publish' && isUp) log.stream.arrived(EPOCH, range(newest + 1, newest + count));
              newest += count;
            } else if (kind === 'repeat' && isUp) log.stream.arrived(EPOCH, range(Math.max(1, newest - count), newest));
            else if (kind === 'answer') answer();
            else if (kind === 'gap' && isUp) log.stream.placed({ epoch: EPOCH, offset: newest });
            else if (kind === 'cut' && isUp) {
              isUp = false;
              answeredCount = log.questions.length;
              log.stream.disconnected();
            } else if (kind === 'back' && !isUp) {
              isUp = true;
              log.stream.placed({ epoch: EPOCH, offset: newest });
            }
            expect(log.stream.keptCount).toBeLessThanOrEqual(maxKept);
          }
          // Everything that is under way comes to its end.
          if (!isUp) {
            isUp = true;
          }
          log.stream.placed({ epoch: EPOCH, offset: newest });
          for (let round = 0; round < 100 && log.stream.isBehind; round++) answer();
          expect(log.stream.isBehind).toBe(false);
          expect(log.accounted()).toEqual(range(1, newest).map(({ offset }) => offset));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
