import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BucketParts, TEST_THREAD } from '../fixtures/bucket-parts.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { PushTurns, takenWithGaps } from '../fixtures/push-turns.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';

let bucket: BucketParts;
let turns: PushTurns;
beforeEach(() => {
  vi.useFakeTimers();
  turns = new PushTurns();
  bucket = turns.bucket;
});
afterEach(() => {
  turns.broadcasts.close();
  vi.useRealTimers();
});

/** A channel that watches these operations. */
function watching(...ops: number[]) {
  const made = bucket.channel();
  bucket.packets.setWatch(made.channel, ops);
  return made;
}

const body = (text: string) => new TextEncoder().encode(text);
const connIds = (...channels: Channel[]) => channels.map((channel) => bucket.slots.connIdOf(channel));

describe('a push to a room', () => {
  it('reaches its members with the offset that the sequencer gave, whatever they watch', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    const other = bucket.channel();
    bucket.sequencer.pushRoom('live://1', 1000, body('a'));
    bucket.sequencer.pushRoom('live://1', 1001, body('b'));
    turns.turn();
    expect(socket.take().map((text) => text.replace(/#\d+/, '#'))).toEqual([
      'live://1@1001+1 # 1000 a',
      'live://1@1001+2 # 1001 b',
    ]);
    expect(other.socket.frames).toEqual([]);
  });

  it('that was left meanwhile is nobody’s', () => {
    const { channel, socket } = bucket.channel();
    bucket.enter(channel, 'live://1');
    bucket.sequencer.pushRoom('live://1', 1000, body('late'));
    bucket.rooms.exitAll(channel);
    turns.turn();
    expect(socket.frames).toEqual([]);
  });
});

describe('a place of a room', () => {
  it('sends what waits first, tells its extended members a Gap and goes on in the new epoch', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    const plain = bucket.channel();
    const elsewhere = bucket.channel({ extended: true });
    for (const one of [channel, plain.channel]) bucket.enter(one, 'live://1');
    bucket.enter(elsewhere.channel, 'live://2');
    bucket.sequencer.pushRoom('live://1', 1000, body('a'));
    bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, true);
    bucket.sequencer.pushRoom('live://1', 1000, body('b'));
    const [old, place, fresh] = bucket.ring.read(TEST_THREAD);
    turns.records.onRoomPush(old!.bytes, 0);
    turns.records.onRoomPlace(place!.bytes, 0);
    bucket.spread();
    turns.records.onRoomPush(fresh!.bytes, 0);
    for (const group of bucket.published.pending.splice(0)) group.flush();
    bucket.spread();
    const texts = socket.take().map((text) => text.replace(/#\d+/, '#'));
    expect([...texts].sort()).toEqual([
      '22 0 {"scope":"room","room":"live://1","epoch":2000,"to":6}',
      'live://1@1001+1 # 1000 a',
      'live://1@2000+7 # 1000 b',
    ]);
    expect(texts.at(-1)).toBe('live://1@2000+7 # 1000 b');
    expect(plain.socket.take()).toEqual(['1000 a', '1000 b']);
    expect(elsewhere.socket.frames).toEqual([]);
  });

  it('that the room stands at already says that what is missing has no offset', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    for (const tellsGap of [true, false]) {
      bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, tellsGap);
      bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, true);
      for (const place of bucket.ring.read(TEST_THREAD)) turns.records.onRoomPlace(place.bytes, 0);
    }
    const gap = '"scope":"room","room":"live://1","epoch":2000,"to":6';
    const unplaced = `22 0 {${gap},"unplaced":true}`;
    expect(socket.take()).toEqual([`22 0 {${gap}}`, unplaced, unplaced]);
  });

  it('without a Gap changes the numbers only', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, false);
    turns.turn();
    expect(socket.frames).toEqual([]);
    expect([channel.otherRooms?.[0]?.epoch, channel.otherRooms?.[0]?.flushedOffset]).toEqual([2_000, 6]);
  });

  // The gap was told at the end of the turn, behind the place: an older epoch, and the client recovered for nothing.
  it('comes behind a gap of the same turn', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    bucket.sequencer.gapRoom('live://1');
    bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, true);
    turns.turn();
    expect(takenWithGaps(socket)).toEqual([
      { scope: 'room', room: 'live://1', epoch: 1001, to: 1 },
      { scope: 'room', room: 'live://1', epoch: 2_000, to: 6 },
    ]);
  });

  it('puts a message without one into a batch of its own, outside the sequence', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    const shard = channel.otherRooms![0]!;
    for (const [text, offset] of [
      ['a', 1],
      ['b', 2],
      ['free', 0],
      ['c', 3],
    ] as const) {
      new PushBytes(1000, text, 0).appendTo(shard, offset);
    }
    for (const group of bucket.published.pending.splice(0)) group.flush();
    bucket.spread();
    expect(socket.frames).toHaveLength(3);
    expect(socket.take().map((text) => text.replace(/#\d+/, '#'))).toEqual([
      'live://1@1001+1 # 1000 a',
      'live://1@1001+2 # 1000 b',
      'live://1@1001+0 # 1000 free',
      'live://1@1001+3 # 1000 c',
    ]);
    expect(shard.flushedOffset).toBe(3);
  });
});

describe('a push to all', () => {
  it('reaches who watches its operation', () => {
    const watcher = watching(1000);
    const other = watching(1001);
    bucket.sequencer.pushAll(1 << TEST_THREAD, 0, 1000, body('x'));
    turns.turn();
    expect([watcher.socket.take(), other.socket.frames]).toEqual([['1000 x'], []]);
    expect(bucket.watchSets.allOffset).toBe(1);
  });

  it('with a speed is walked, one channel after the other', () => {
    const watchers = [watching(1000), watching(1000)];
    bucket.sequencer.pushAll(1 << TEST_THREAD, 10, 1000, body('x'));
    turns.turn();
    expect(turns.broadcasts.count).toBe(1);
    vi.advanceTimersByTime(100);
    expect(watchers.map(({ socket }) => socket.frames.length)).toEqual([1, 0]);
    vi.advanceTimersByTime(100);
    expect(watchers.map(({ socket }) => socket.take())).toEqual([['1000 x'], ['1000 x']]);
  });
});

describe('a push to single channels', () => {
  it('reaches the ones of this bucket among its targets, and those only that may have it', () => {
    const chosen = watching(1000);
    const elsewhere = watching(1000);
    const unwatching = watching(1001);
    const slow = watching(1000);
    slow.channel.flags |= CHANNEL_FLAG.SLOW;
    const connecting = watching(1000);
    connecting.channel.state = CHANNEL_STATE.CONNECTING;
    const gone = watching(1000);
    const targets = new Map([
      [TEST_THREAD + 1, connIds(elsewhere.channel)],
      [TEST_THREAD, connIds(gone.channel, slow.channel, unwatching.channel, connecting.channel, chosen.channel)],
      [TEST_THREAD + 2, connIds(elsewhere.channel)],
    ]);
    bucket.gone(gone.channel);
    for (const text of ['', 'odd', 'longer than eight']) bucket.sequencer.pushDirect(targets, 1000, body(text));
    turns.turn();
    expect(chosen.socket.frames).toHaveLength(1);
    expect(chosen.socket.take()).toEqual(['1000 ', '1000 odd', '1000 longer than eight']);
    for (const { socket } of [elsewhere, unwatching, slow, connecting, gone]) expect(socket.frames).toEqual([]);
  });

  it('for nobody here copies nothing', () => {
    bucket.sequencer.pushDirect(new Map([[TEST_THREAD, [7]]]), 1000, body('x'));
    turns.turn();
    expect(turns.outbox.isEmpty).toBe(true);
  });
});

describe('a gap', () => {
  it('of a room is told to its extended members, behind what came before and in front of what follows', () => {
    const extended = bucket.channel({ extended: true });
    const plain = bucket.channel();
    const elsewhere = bucket.channel({ extended: true });
    bucket.enter(extended.channel, 'live://1');
    bucket.enter(plain.channel, 'live://1');
    bucket.enter(elsewhere.channel, 'live://2');
    bucket.sequencer.pushRoom('live://1', 1000, body('a'));
    bucket.sequencer.gapRoom('live://1');
    bucket.sequencer.pushRoom('live://1', 1000, body('b'));
    turns.turn();
    expect(takenWithGaps(extended.socket)).toEqual([
      'live://1@1001+1 # 1000 a',
      { scope: 'room', room: 'live://1', epoch: 1001, to: 2 },
      'live://1@1001+3 # 1000 b',
    ]);
    expect(takenWithGaps(plain.socket)).toEqual(['1000 a', '1000 b']);
    expect(elsewhere.socket.frames).toEqual([]);
  });

  it('of several rooms is told once per room to a channel that is in them', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1', true);
    bucket.enter(channel, 'live://2');
    for (const room of ['live://1', 'live://2', 'live://nobody']) bucket.sequencer.gapRoom(room);
    turns.turn();
    expect(takenWithGaps(socket)).toEqual([
      { scope: 'room', room: 'live://1', epoch: 1001, to: 1 },
      { scope: 'room', room: 'live://2', epoch: 1002, to: 1 },
    ]);
    turns.turn();
    expect(socket.frames).toEqual([]);
  });

  it('leaves a room where a channel that joins behind it starts', () => {
    const first = bucket.channel({ extended: true });
    bucket.enter(first.channel, 'live://1');
    bucket.sequencer.gapRoom('live://1');
    turns.turn();
    expect(bucket.shards.byRoom('live://1')?.flushedOffset).toBe(1);
    expect(bucket.sequencer.occupy('live://1', TEST_THREAD)).toEqual([1, 1001, 1]);
  });

  it('of all spends an offset of all and is told in its place', () => {
    const extended = bucket.channel({ extended: true });
    bucket.packets.setWatch(extended.channel, [1000]);
    const unwatching = bucket.channel({ extended: true });
    const mask = 1 << TEST_THREAD;
    bucket.sequencer.pushAll(mask, 0, 1000, body('a'));
    bucket.sequencer.gapAll(mask);
    bucket.sequencer.pushAll(mask, 0, 1000, body('b'));
    turns.turn();
    const gap = { scope: 'all', epoch: 77, to: 2 };
    expect(takenWithGaps(extended.socket)).toEqual(['all@77+1 # 1000 a', gap, 'all@77+3 # 1000 b']);
    expect(takenWithGaps(unwatching.socket)).toEqual([gap]);
  });

  it('of direct pushes is told between them; slow and unready channels are passed over', () => {
    const extended = bucket.channel({ extended: true });
    bucket.packets.setWatch(extended.channel, [1000]);
    const slow = bucket.channel({ extended: true });
    slow.channel.flags |= CHANNEL_FLAG.SLOW;
    const unready = bucket.channel({ extended: true, state: CHANNEL_STATE.CONNECTING });
    const targets = new Map([[TEST_THREAD, connIds(extended.channel)]]);
    bucket.sequencer.pushDirect(targets, 1000, body('a'));
    bucket.sequencer.gapDirect(1 << TEST_THREAD);
    bucket.sequencer.pushDirect(targets, 1000, body('b'));
    turns.turn();
    expect(takenWithGaps(extended.socket)).toEqual([
      'direct@0+0 # 1000 a',
      { scope: 'direct', epoch: 0, to: 0 },
      'direct@0+0 # 1000 b',
    ]);
    for (const { socket } of [slow, unready]) expect(socket.frames).toEqual([]);
  });
});
