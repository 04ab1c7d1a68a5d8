import { describe, expect, it } from 'vitest';
import { SEEN, SeenCounters, SentCounters } from './redis-bus-counters.js';

const from = (counter: number, incarnation = 1) => ({ serverId: 'n', incarnation, counter });

describe('what a node has sent', () => {
  it('is counted by channel, and only ever rises, also on a channel that was forgotten', () => {
    const sent = new SentCounters(2);
    expect([sent.next('a'), sent.next('a'), sent.next('b'), sent.next('a')]).toEqual([1, 2, 1, 3]);
    sent.next('c');
    sent.next('d');
    expect(sent.next('a')).toBe(4);
  });
});

describe('what has come from a producer', () => {
  it('has a hole where a number is missing, and what fills it afterwards is late', () => {
    const seen = new SeenCounters();
    const outcomes = [5, 6, 8, 7, 7, 9].map((counter) => seen.note(from(counter)));
    expect(outcomes).toEqual([SEEN.NEXT, SEEN.NEXT, SEEN.HOLE, SEEN.LATE, SEEN.LATE, SEEN.NEXT]);
  });

  it('begins anew with the next life of the producer', () => {
    const seen = new SeenCounters();
    seen.note(from(9));
    expect([seen.note(from(1, 2)), seen.note(from(2, 2)), seen.note(from(4, 2))]).toEqual([
      SEEN.NEXT,
      SEEN.NEXT,
      SEEN.HOLE,
    ]);
  });

  it('may jump once where the loss was told in another way, and is late all the same', () => {
    const seen = new SeenCounters();
    seen.note(from(3));
    seen.allowJumps();
    expect([seen.note(from(2)), seen.note(from(8)), seen.note(from(10))]).toEqual([SEEN.LATE, SEEN.NEXT, SEEN.HOLE]);
  });

  it('has no order without a number', () => {
    const seen = new SeenCounters();
    seen.note(from(3));
    expect([seen.note(from(0)), seen.note(from(4))]).toEqual([SEEN.NEXT, SEEN.NEXT]);
  });
});
