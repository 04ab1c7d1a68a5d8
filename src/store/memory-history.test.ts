import { describe, expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { CONTRACT_RULES, idOf, roomHistoryContract, textsOf } from './history.contract.js';
import { MemoryHistory } from './memory-history.js';

const ALL = { maxMessages: 1000, maxBytes: 10_000_000 };

function setUp(maxBytes = 10_000_000, rules = CONTRACT_RULES) {
  const clock = new ManualClock(1_700_000_000_000);
  const history = new MemoryHistory({ rules: new HistoryRules(rules), maxBytes, firstEpoch: 500, clock });
  return { history, clock };
}

const body = (bytes: number) => new Uint8Array(bytes).fill(65);

roomHistoryContract('MemoryHistory', async () => {
  const { history, clock } = setUp();
  return {
    history,
    pass: async (ms) => clock.advance(ms),
    // What a standalone node does to a room that nobody used for long.
    lose: async () => {
      clock.advance(10_000_000);
      history.append('wide://sweeper', 1, body(1), idOf(clock.nowMs()));
      history.append('wide://sweeper', 1, body(1), idOf(clock.nowMs() + 1));
      for (let i = 0; i < 200; i++) history.append('wide://sweeper', 1, body(1), idOf(i));
    },
  };
});

describe('what was fetched from the history of the cluster', () => {
  const fetched = (from: number, count: number, bytes = 1) =>
    Array.from({ length: count }, (_, index) => ({
      offset: from + index,
      op: 1,
      messageId: idOf(from + index),
      body: body(bytes),
    }));

  function tail(maxBytes = 10_000_000) {
    const { history, clock } = setUp(maxBytes, ['live:10:60']);
    const log = history.logOf('live://1')!;
    history.restart(log, { epoch: 700, offset: 20 });
    for (let offset = 21; offset <= 24; offset++) history.put(log, 1, body(1), idOf(offset));
    const offsets = () => [log.firstOffset, log.offset];
    return { history, clock, log, offsets };
  }

  it('stands in front of what is kept, without what is kept already, and as long as the rule has room', () => {
    const { history, log, offsets } = tail();
    history.backfill(log, 700, fetched(18, 5));
    expect(offsets()).toEqual([18, 24]);
    expect(log.entryAt(18)?.subarray(0, 8)).toEqual(idOf(18));
    expect(log.entryAt(21)?.subarray(0, 8)).toEqual(idOf(21));
    history.backfill(log, 700, fetched(1, 17));
    expect(offsets()).toEqual([15, 24]);
    expect(log.messageAt(15)?.messageId).toEqual(idOf(15));
  });

  it('is not taken of another life, behind a hole, or where nothing of it is older', () => {
    const { history, log, offsets } = tail();
    const { bytes } = history;
    history.backfill(log, 701, fetched(18, 5));
    history.backfill(log, 700, fetched(10, 10));
    history.backfill(log, 700, fetched(21, 4));
    history.backfill(log, 700, []);
    expect([offsets(), history.bytes]).toEqual([[21, 24], bytes]);
    history.backfill(log, 700, fetched(10, 11));
    expect(offsets()).toEqual([15, 24]);
  });

  it('never costs another room its messages: the newest of it that find room are kept', () => {
    const { history, log, offsets } = tail(6_000);
    const other = history.logOf('live://2')!;
    history.put(other, 1, body(1_000), idOf(1));
    history.backfill(log, 700, fetched(15, 6, 500));
    expect(offsets()).toEqual([18, 24]);
    expect([other.count, history.bytes <= 6_000]).toEqual([1, true]);
  });

  it('is kept for seconds, and gives its memory back', () => {
    const { history, clock, log, offsets } = tail();
    const { bytes } = history;
    history.backfill(log, 700, fetched(18, 3));
    clock.advance(4_999);
    history.trim(log);
    expect(offsets()).toEqual([18, 24]);
    clock.advance(2);
    history.trim(log);
    expect([offsets(), history.bytes]).toEqual([[21, 24], bytes]);
  });
});

describe('the memory of kept messages', () => {
  it('stays below its bound: the rooms that were silent for longest go first', () => {
    const { history } = setUp(20_000);
    const rooms = Array.from({ length: 8 }, (_, index) => `wide://${index}`);
    for (const [index, room] of rooms.entries()) {
      for (let i = 0; i < 4; i++) history.append(room, 1, body(1000), idOf(index * 10 + i));
    }
    expect(history.bytes).toBeLessThanOrEqual(20_000);
    expect(rooms.map((room) => history.existing(room)?.count ?? 0)).toEqual([0, 0, 0, 0, 0, 4, 4, 4]);
  });

  it('shortens the only room that is too large', () => {
    const { history } = setUp(20_000);
    for (let i = 1; i <= 50; i++) history.append('wide://1', 1, body(1000), idOf(i));
    expect(history.bytes).toBeLessThanOrEqual(20_000);
    const log = history.existing('wide://1')!;
    expect([log.offset, log.count > 10]).toEqual([50, true]);
    expect(history.range('wide://1', log.epoch, log.firstOffset, ALL)).toMatchObject({ isRecoverable: true });
    expect(textsOf(history.range('wide://1', log.epoch, log.firstOffset - 1, ALL))).toBe('unrecoverable');
  });

  it('keeps the place of a room that somebody is in, whatever else it drops', () => {
    const { history, clock } = setUp(20_000);
    const log = history.logOf('wide://kept')!;
    history.pin(log);
    history.append('wide://kept', 1, body(1000), idOf(1));
    const { epoch } = log;
    for (let i = 1; i <= 60; i++) history.append('wide://loud', 1, body(1000), idOf(i));
    expect(history.existing('wide://kept')).toBe(log);
    expect([log.count, log.offset, log.epoch]).toEqual([0, 1, epoch]);
    expect(history.append('wide://kept', 1, body(10), idOf(2))).toEqual({ epoch, offset: 2 });
    history.unpin(log);
    clock.advance(4_000_000);
    for (let i = 100; i <= 103; i++) history.append('wide://loud', 1, body(1), idOf(i));
    expect(history.existing('wide://kept')).toBeUndefined();
  });

  it('returns to nothing when all rooms have aged out', () => {
    const { history, clock } = setUp();
    for (let round = 0; round < 3; round++) {
      for (let room = 0; room < 500; room++) {
        for (let i = 0; i < 8; i++) history.append(`short://${round}-${room}`, 1, body(50), idOf(i));
      }
      clock.advance(4_000_000);
    }
    for (let i = 0; i < 400; i++) history.append('short://last', 1, body(1), idOf(i));
    expect(history.roomCount).toBe(1);
    expect(history.bytes).toBe(512 + history.existing('short://last')!.bytes);
  });

  it('drops what does not join the place that a room is set to', () => {
    const { history } = setUp();
    history.append('wide://1', 1, body(1), idOf(1));
    const log = history.existing('wide://1')!;
    history.restart(log, { epoch: log.epoch, offset: 1 });
    expect(log.count).toBe(1);
    history.restart(log, { epoch: log.epoch, offset: 7 });
    expect([log.count, log.firstOffset, history.bytes]).toEqual([0, 8, 512]);
  });

  it('keeps its own copy of a body', () => {
    const { history } = setUp();
    const bytes = body(3);
    const { epoch } = history.append('wide://1', 1, bytes, idOf(1));
    bytes.fill(66);
    expect(textsOf(history.range('wide://1', epoch, 1, ALL))).toEqual(['1 AAA']);
  });
});
