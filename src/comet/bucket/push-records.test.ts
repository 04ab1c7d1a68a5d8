import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BucketParts, TEST_LIMITS, TEST_THREAD } from '../fixtures/bucket-parts.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { RAW_KIND } from '../push-record.layout.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import { DirectOutbox } from './direct-outbox.js';
import { GapRecords } from './gap-records.js';
import { PacedBroadcasts } from './paced-broadcasts.js';
import { PushRecords } from './push-records.js';

let bucket: BucketParts;
let outbox: DirectOutbox;
let broadcasts: PacedBroadcasts;
let gaps: GapRecords;
let records: PushRecords;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] });
  setUp();
});
afterEach(() => {
  broadcasts.close();
  vi.useRealTimers();
});

/** @param cohortMembers see RoomShards */
function setUp(cohortMembers?: number): void {
  bucket = new BucketParts(TEST_LIMITS, false, cohortMembers);
  outbox = new DirectOutbox((channel, bytes) => void bucket.writer.raw(channel, bytes), 65_536);
  broadcasts = new PacedBroadcasts(bucket.slots, outbox);
  const { shards, watchSets, slots } = bucket;
  gaps = new GapRecords({
    shards,
    watchSets,
    slots,
    outbox,
    allEpoch: 77,
    tell: (channel, gap) => {
      // uWS sends what was published to a socket before it sends anything else to it.
      bucket.spread();
      bucket.subscriptions.tellGap(channel, gap);
    },
  });
  records = new PushRecords({
    thread: TEST_THREAD,
    shards,
    watchSets,
    slots,
    outbox,
    broadcasts,
    gaps,
    tellRoomGap: (shard) => {
      bucket.spread();
      bucket.subscriptions.tellRoomGap(slots.all(), shard);
    },
  });
}

/** Take what the sequencer has written, at an odd place of a larger buffer, and what a turn does before it flushes. */
function take(): void {
  const handlers = {
    [RAW_KIND.ROOM_PUSH]: (bytes: Uint8Array, offset: number) => records.onRoomPush(bytes, offset),
    [RAW_KIND.ROOM_PLACE]: (bytes: Uint8Array, offset: number) => records.onRoomPlace(bytes, offset),
    [RAW_KIND.ALL_PUSH]: (bytes: Uint8Array, offset: number) => records.onAllPush(bytes, offset),
    [RAW_KIND.DIRECT_PUSH]: (bytes: Uint8Array, offset: number, length: number) =>
      records.onDirectPush(bytes, offset, length),
    [RAW_KIND.GAP]: (bytes: Uint8Array, offset: number) => gaps.onGap(bytes, offset),
  };
  for (const { kind, bytes } of bucket.ring.read(TEST_THREAD)) {
    const memory = new Uint8Array(bytes.length + 48).fill(0xee);
    memory.set(bytes, 24);
    handlers[kind as keyof typeof handlers](memory, 24, bytes.length);
    memory.fill(0);
  }
  gaps.settle();
  outbox.flush();
}

/** Take what the sequencer has written and end the turn. */
function turn(): void {
  take();
  for (const group of bucket.published.pending.splice(0)) group.flush();
  bucket.spread();
}

/** A channel that watches these operations. */
function watching(...ops: number[]) {
  const made = bucket.channel();
  bucket.packets.setWatch(made.channel, ops);
  return made;
}

const body = (text: string) => new TextEncoder().encode(text);
const connIds = (...channels: Channel[]) => channels.map((channel) => bucket.slots.connIdOf(channel));

const gapOf = (text: string) => (text.startsWith('22 0 ') ? (JSON.parse(text.slice(5)) as object) : text);
const taken = (socket: { take(): string[] }) => socket.take().map((text) => gapOf(text.replace(/#\d+/, '#')));

describe('a push to a room', () => {
  it('reaches its members with the offset that the sequencer gave, whatever they watch', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    const other = bucket.channel();
    bucket.sequencer.pushRoom('live://1', 1000, body('a'));
    bucket.sequencer.pushRoom('live://1', 1001, body('b'));
    turn();
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
    turn();
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
    records.onRoomPush(old!.bytes, 0);
    records.onRoomPlace(place!.bytes, 0);
    bucket.spread();
    records.onRoomPush(fresh!.bytes, 0);
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

  it('without a Gap changes the numbers only', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, false);
    turn();
    expect(socket.frames).toEqual([]);
    expect([channel.otherRooms?.[0]?.epoch, channel.otherRooms?.[0]?.flushedOffset]).toEqual([2_000, 6]);
  });

  // The gap was told at the end of the turn, behind the place: an older epoch, and the client recovered for nothing.
  it('comes behind a gap of the same turn', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1');
    bucket.sequencer.gapRoom('live://1');
    bucket.sequencer.placeRoom('live://1', { epoch: 2_000, offset: 6 }, true);
    turn();
    expect(taken(socket)).toEqual([
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
    turn();
    expect([watcher.socket.take(), other.socket.frames]).toEqual([['1000 x'], []]);
    expect(bucket.watchSets.allOffset).toBe(1);
  });

  it('with a speed is walked, one channel after the other', () => {
    const watchers = [watching(1000), watching(1000)];
    bucket.sequencer.pushAll(1 << TEST_THREAD, 10, 1000, body('x'));
    turn();
    expect(broadcasts.count).toBe(1);
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
    turn();
    expect(chosen.socket.frames).toHaveLength(1);
    expect(chosen.socket.take()).toEqual(['1000 ', '1000 odd', '1000 longer than eight']);
    for (const { socket } of [elsewhere, unwatching, slow, connecting, gone]) expect(socket.frames).toEqual([]);
  });

  it('for nobody here copies nothing', () => {
    bucket.sequencer.pushDirect(new Map([[TEST_THREAD, [7]]]), 1000, body('x'));
    turn();
    expect(outbox.isEmpty).toBe(true);
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
    turn();
    expect(taken(extended.socket)).toEqual([
      'live://1@1001+1 # 1000 a',
      { scope: 'room', room: 'live://1', epoch: 1001, to: 2 },
      'live://1@1001+3 # 1000 b',
    ]);
    expect(taken(plain.socket)).toEqual(['1000 a', '1000 b']);
    expect(elsewhere.socket.frames).toEqual([]);
  });

  it('of several rooms is told once per room to a channel that is in them', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    bucket.enter(channel, 'live://1', true);
    bucket.enter(channel, 'live://2');
    for (const room of ['live://1', 'live://2', 'live://nobody']) bucket.sequencer.gapRoom(room);
    turn();
    expect(taken(socket)).toEqual([
      { scope: 'room', room: 'live://1', epoch: 1001, to: 1 },
      { scope: 'room', room: 'live://2', epoch: 1002, to: 1 },
    ]);
    turn();
    expect(socket.frames).toEqual([]);
  });

  it('leaves a room where a channel that joins behind it starts', () => {
    const first = bucket.channel({ extended: true });
    bucket.enter(first.channel, 'live://1');
    bucket.sequencer.gapRoom('live://1');
    turn();
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
    turn();
    const gap = { scope: 'all', epoch: 77, to: 2 };
    expect(taken(extended.socket)).toEqual(['all@77+1 # 1000 a', gap, 'all@77+3 # 1000 b']);
    expect(taken(unwatching.socket)).toEqual([gap]);
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
    turn();
    expect(taken(extended.socket)).toEqual([
      'direct@0+0 # 1000 a',
      { scope: 'direct', epoch: 0, to: 0 },
      'direct@0+0 # 1000 b',
    ]);
    for (const { socket } of [slow, unready]) expect(socket.frames).toEqual([]);
  });
});

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Flush one of the groups that wait, as the scheduler does in a round of several slices. */
function flushOne(index: number): void {
  const [group] = bucket.published.pending.splice(index % bucket.published.pending.length, 1);
  group?.flush();
  bucket.spread();
}

describe('in a room of several cohorts', () => {
  const ROOM = 'live://1';
  const push = (text: string) => void bucket.sequencer.pushRoom(ROOM, 1000, body(text));
  const roomGap = (epoch: number, to: number) => ({ scope: 'room', room: ROOM, epoch, to });
  beforeEach(() => setUp(2));

  /** Two plain members, the first cohort, and one extended member in each of `count` later ones. */
  function setUpMembers(count: number) {
    const plain = [bucket.channel(), bucket.channel()];
    for (const { channel } of plain) bucket.enter(channel, ROOM);
    const extended = Array.from({ length: count }, () => {
      const made = bucket.channel({ extended: true });
      bucket.enter(made.channel, ROOM);
      bucket.enter(bucket.channel().channel, ROOM);
      return made;
    });
    expect(bucket.shards.byRoom(ROOM)!.cohortCount).toBe(1 + count);
    return { plain, extended };
  }

  it('a place finds every cohort flushed, and each goes on in the new epoch', () => {
    const { plain, extended } = setUpMembers(2);
    push('a');
    take();
    // The first later cohort has had its turn, the others have not.
    flushOne(1);
    push('b');
    bucket.sequencer.placeRoom(ROOM, { epoch: 2_000, offset: 6 }, true);
    push('c');
    turn();
    for (const { socket } of extended) {
      expect(taken(socket)).toEqual([
        'live://1@1001+1 # 1000 a',
        'live://1@1001+2 # 1000 b',
        roomGap(2_000, 6),
        'live://1@2000+7 # 1000 c',
      ]);
    }
    for (const { socket } of plain) expect(socket.take()).toEqual(['1000 a', '1000 b', '1000 c']);
    const late = bucket.channel({ extended: true }).channel;
    const later = bucket.channel({ extended: true }).channel;
    for (const channel of [late, later]) bucket.enter(channel, ROOM);
    expect([late, later].map(({ otherRooms }) => [otherRooms?.[0]?.epoch, otherRooms?.[0]?.flushedOffset])).toEqual([
      [2_000, 7],
      [2_000, 7],
    ]);
  });

  it('a place without a Gap changes the numbers of every cohort', () => {
    const { extended } = setUpMembers(2);
    bucket.sequencer.placeRoom(ROOM, { epoch: 2_000, offset: 6 }, false);
    take();
    for (const { channel, socket } of extended) {
      expect(socket.frames).toEqual([]);
      expect([channel.otherRooms?.[0]?.epoch, channel.otherRooms?.[0]?.flushedOffset]).toEqual([2_000, 6]);
    }
  });

  it('a gap is told behind what waited in each of them, and in front of what follows', () => {
    const { plain, extended } = setUpMembers(2);
    push('a');
    take();
    flushOne(2);
    push('b');
    bucket.sequencer.gapRoom(ROOM);
    push('c');
    turn();
    for (const { socket } of extended) {
      expect(taken(socket)).toEqual([
        'live://1@1001+1 # 1000 a',
        'live://1@1001+2 # 1000 b',
        roomGap(1_001, 3),
        'live://1@1001+4 # 1000 c',
      ]);
    }
    for (const { socket } of plain) expect(socket.take()).toEqual(['1000 a', '1000 b', '1000 c']);
  });

  it('a channel that was slow is told how far its own cohort has come', async () => {
    const { extended } = setUpMembers(2);
    const [first, second] = [extended[0]!, extended[1]!];
    const withSecond = bucket.channel({ extended: true });
    bucket.rooms.exit([...bucket.slots.all()].at(-2)!, bucket.shards.byRoom(ROOM)!);
    bucket.enter(withSecond.channel, ROOM);
    expect(withSecond.channel.otherRooms).toEqual(second.channel.otherRooms);
    for (const { channel, socket } of [first, second]) {
      socket.bufferedBytes = 1;
      bucket.subscriptions.mark(channel);
    }
    await immediate();
    push('a');
    push('b');
    take();
    // Nobody of the extended form is left in the first one's cohort, so there it waits for nothing.
    for (const { channel, socket } of [first, second]) {
      socket.bufferedBytes = 0;
      bucket.subscriptions.drained(channel);
    }
    expect(taken(first.socket)[0]).toEqual(roomGap(1_001, 2));
    expect(taken(second.socket)[0]).toEqual(roomGap(1_001, 0));
    turn();
    expect(first.socket.frames).toEqual([]);
    expect(taken(second.socket)).toEqual(['live://1@1001+1 # 1000 a', 'live://1@1001+2 # 1000 b']);
  });

  /** What a client knows of the room: each place follows the one before, or a Gap accounts for what is missing. */
  class Reader {
    epoch = 0;
    nextOffset = 0;
    problem = '';

    read(text: string): void {
      const message = /^live:\/\/1@(\d+)\+(\d+) /.exec(text);
      if (message !== null) {
        const [epoch, offset] = [Number(message[1]), Number(message[2])];
        if (epoch !== this.epoch || offset !== this.nextOffset) {
          this.problem ||= `${text} at ${this.epoch}+${this.nextOffset}`;
        }
        this.nextOffset = offset + 1;
      } else if (text.startsWith('22 0 {"scope":"room"')) {
        const { epoch, to } = gapOf(text) as { epoch: number; to: number };
        if (epoch < this.epoch || (epoch === this.epoch && to < this.nextOffset - 1)) this.problem ||= `back: ${text}`;
        this.epoch = epoch;
        this.nextOffset = to + 1;
      }
    }
  }

  const WHO_COUNT = 8;
  const who = fc.nat(WHO_COUNT - 1);
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ act: fc.constant('push' as const), who }) },
    { weight: 6, arbitrary: fc.record({ act: fc.constant('flush' as const), who }) },
    { weight: 4, arbitrary: fc.record({ act: fc.constantFrom('join' as const, 'leave' as const), who }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('gap' as const, 'place' as const), who }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('slow' as const, 'drain' as const), who }) },
    { weight: 4, arbitrary: fc.record({ act: fc.constant('take' as const), who }) },
  );

  it('every member reads each place in order or is told of the hole, however gaps and places fall between flushes', async () => {
    const seen = { cohorts: 0, gapsOverPending: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 100, size: 'max' }), async (steps) => {
        setUp(2);
        bucket.enter(bucket.channel().channel, ROOM);
        const shard = bucket.shards.byRoom(ROOM)!;
        const members = Array.from({ length: WHO_COUNT }, () => ({
          ...bucket.channel({ extended: true }),
          reader: new Reader(),
        }));
        let epoch = 3_000;
        const readAll = (): void => {
          bucket.spread();
          for (const { socket, reader } of members) for (const text of socket.take()) reader.read(text);
        };
        for (const { act, who: index } of steps) {
          const { channel, socket, reader } = members[index]!;
          if (act === 'push') push('x');
          else if (act === 'take') take();
          else if (act === 'flush') flushOne(index);
          else if (act === 'gap' || act === 'place') {
            // What the ring brought before it is still unflushed in some cohorts and not in others.
            if (bucket.published.pending.length > 0) seen.gapsOverPending += 1;
            epoch += 1;
            if (act === 'gap') bucket.sequencer.gapRoom(ROOM);
            else bucket.sequencer.placeRoom(ROOM, { epoch, offset: index }, true);
          } else if (act === 'join' && !channel.isIn(shard)) {
            readAll();
            bucket.rooms.join(
              channel,
              [ROOM],
              () => undefined,
              ([joined]) => {
                reader.epoch = joined!.epoch;
                reader.nextOffset = joined!.offset + 1;
              },
            );
          } else if (act === 'leave') {
            bucket.rooms.exit(channel, shard);
          } else if (act === 'slow' && !channel.has(CHANNEL_FLAG.OUT)) {
            socket.bufferedBytes = 1;
            bucket.subscriptions.mark(channel);
            await immediate();
          } else if (act === 'drain') {
            socket.bufferedBytes = 0;
            bucket.subscriptions.drained(channel);
          }
          readAll();
          seen.cohorts = Math.max(seen.cohorts, shard.cohortCount);
        }
        turn();
        readAll();
        expect(members.map(({ reader }) => reader.problem).join('')).toBe('');
        for (const { channel, reader } of members) {
          if (!channel.isIn(shard) || channel.has(CHANNEL_FLAG.OUT)) continue;
          expect([reader.epoch, reader.nextOffset]).toEqual([shard.epoch, shard.lastOffset + 1]);
        }
      }),
    );
    expect(seen.cohorts).toBeGreaterThan(3);
    expect(seen.gapsOverPending).toBeGreaterThan(10);
  });
});
