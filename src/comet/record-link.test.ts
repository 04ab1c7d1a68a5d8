import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { InMemoryRing } from './fixtures/in-memory-ring.js';
import { RAW_KIND } from './push-record.layout.js';
import { RecordLink } from './record-link.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp() {
  const ring = new InMemoryRing();
  let signalCount = 0;
  const link = new RecordLink(ring.writer, () => {
    signalCount += 1;
  });
  /** Messages that a thread reads now. */
  const read = (thread: number) => ring.read(thread).map(({ bytes }) => link.decode(bytes, 0, bytes.length));
  /** Occupy the ring until nothing fits. */
  const fill = () => {
    while (ring.writer.claim(16_000) === OUTCOME.OK) ring.writer.commit(99, 0, 16_000);
    while (ring.writer.claim(8) === OUTCOME.OK) ring.writer.commit(99, 0, 8);
  };
  const empty = () => {
    for (let thread = 0; thread < 4; thread++) ring.read(thread);
  };
  return { ring, link, read, fill, empty, signalCount: () => signalCount };
}

describe('messages between threads', () => {
  it('go to the threads of the mask at once, and somebody is told to wake them', () => {
    const { ring, link, read, signalCount } = setUp();
    link.send(0b0110, [1, 2 ** 40, 'text', new Uint8Array([1, 2, 3]), ['a', 'b']]);
    expect(ring.read(1)[0]?.kind).toBe(RAW_KIND.CONTROL);
    expect(read(2)).toEqual([[1, 2 ** 40, 'text', new Uint8Array([1, 2, 3]), ['a', 'b']]]);
    expect([read(3), signalCount(), link.backlogCount]).toEqual([[], 1, 0]);
  });

  it('are decoded into memory of their own, so the ring may go on', () => {
    const { ring, link } = setUp();
    link.send(0b0010, [1, new Uint8Array([1, 2, 3])]);
    const [record] = ring.read(1);
    const message = link.decode(record!.bytes, 0, record!.bytes.length) as [number, Uint8Array];
    record!.bytes.fill(0);
    expect([...message[1]]).toEqual([1, 2, 3]);
  });

  it('wait in order while the ring is full, and what comes later waits behind them', () => {
    const { link, read, fill, empty } = setUp();
    fill();
    link.send(0b0010, ['first']);
    link.send(0b0100, ['second']);
    empty();
    // There is room again, but nothing may overtake.
    link.send(0b0010, ['third']);
    expect([link.backlogCount, read(1)]).toEqual([3, []]);
    vi.advanceTimersByTime(1);
    expect([link.backlogCount, read(1), read(2)]).toEqual([0, [['first'], ['third']], [['second']]]);
  });

  it('are tried again for as long as the ring stays full', () => {
    const { link, read, fill, empty } = setUp();
    fill();
    link.send(0b0010, ['patient']);
    vi.advanceTimersByTime(50);
    expect(link.backlogCount).toBe(1);
    empty();
    vi.advanceTimersByTime(1);
    expect([link.backlogCount, read(1)]).toEqual([0, [['patient']]]);
  });

  // While something waited the size was not looked at: the retry threw inside a timer, which ended the thread.
  it('that can never fit are refused where they are sent, also while others wait', () => {
    const { link, read, fill, empty } = setUp();
    const tooLarge = new Uint8Array(20_000);
    expect(() => link.send(0b0010, [tooLarge])).toThrow(/must fit the ring: bytes=200/);
    fill();
    link.send(0b0010, ['waits']);
    expect(() => link.send(0b0010, [tooLarge])).toThrow(expect.objectContaining({ code: 'CONTROL_RECORD_TOO_LARGE' }));
    empty();
    vi.advanceTimersByTime(1);
    expect(read(1)).toEqual([['waits']]);
  });

  it('to a thread that died are forgotten, those to others are not', () => {
    const { link, read, fill, empty } = setUp();
    fill();
    link.send(0b0010, ['to the dead']);
    link.send(0b0110, ['to both']);
    link.send(0b0100, ['to the living']);
    link.forgetThread(1);
    expect(link.backlogCount).toBe(2);
    empty();
    vi.advanceTimersByTime(1);
    expect([read(1), read(2)]).toEqual([[], [['to both'], ['to the living']]]);
  });

  it('are dropped by close(), and no timer is left', () => {
    const { link, fill } = setUp();
    fill();
    link.send(0b0010, ['late']);
    link.close();
    expect([link.backlogCount, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('are neither lost nor reordered under random pressure', () => {
    const step = fc.oneof(
      fc.record({ act: fc.constant('send' as const), thread: fc.integer({ min: 1, max: 3 }), bytes: fc.nat(9_000) }),
      fc.record({ act: fc.constant('read' as const), thread: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ act: fc.constant('tick' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const { link, read } = setUp();
        const sent: number[][] = [[], [], [], []];
        const seen: number[][] = [[], [], [], []];
        const take = (thread: number) => seen[thread]?.push(...read(thread).map((message) => (message as [number])[0]));
        for (const [index, action] of steps.entries()) {
          if (action.act === 'send') {
            link.send(1 << action.thread, [index, new Uint8Array(action.bytes)]);
            sent[action.thread]?.push(index);
          } else if (action.act === 'read') take(action.thread);
          else vi.advanceTimersByTime(1);
        }
        for (let round = 0; round < 100 && link.backlogCount > 0; round++) {
          for (let thread = 0; thread < 4; thread++) take(thread);
          vi.advanceTimersByTime(1);
        }
        for (let thread = 0; thread < 4; thread++) take(thread);
        expect(link.backlogCount).toBe(0);
        expect(seen).toEqual(sent);
      }),
      { numRuns: 100 },
    );
  });
});
