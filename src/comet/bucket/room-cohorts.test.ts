/** What the ring brings to a room whose members stand in several cohorts: each is a room of its own to its members. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BucketParts } from '../fixtures/bucket-parts.js';
import { PushTurns, takenWithGaps } from '../fixtures/push-turns.js';
import { CHANNEL_FLAG } from './channel.js';

let turns: PushTurns;
let bucket: BucketParts;

/** @param cohortMembers see RoomShards */
function setUp(cohortMembers: number): void {
  turns = new PushTurns(cohortMembers);
  bucket = turns.bucket;
}

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('in a room of several cohorts', () => {
  const ROOM = 'live://1';
  const push = (text: string) => void bucket.sequencer.pushRoom(ROOM, 1000, new TextEncoder().encode(text));
  const roomGap = (epoch: number, to: number) => ({ scope: 'room', room: ROOM, epoch, to });
  beforeEach(() => setUp(2));

  /** Two plain members, the first cohort, and in each of `count` later ones an extended member and a plain companion. */
  function setUpMembers(count: number) {
    const plain = [bucket.channel(), bucket.channel()];
    for (const { channel } of plain) bucket.enter(channel, ROOM);
    const extended = Array.from({ length: count }, () => {
      const made = bucket.channel({ extended: true });
      const companion = bucket.channel().channel;
      for (const channel of [made.channel, companion]) bucket.enter(channel, ROOM);
      return { ...made, companion };
    });
    const shard = bucket.shards.byRoom(ROOM)!;
    expect(shard.cohortCount).toBe(1 + count);
    return { plain, extended, shard };
  }

  it('a place finds every cohort flushed, and each goes on in the new epoch', () => {
    const { plain, extended } = setUpMembers(2);
    push('a');
    turns.take();
    // The first later cohort has had its turn, the others have not.
    turns.flushOne(1);
    push('b');
    bucket.sequencer.placeRoom(ROOM, { epoch: 2_000, offset: 6 }, true);
    push('c');
    turns.turn();
    for (const { socket } of extended) {
      expect(takenWithGaps(socket)).toEqual([
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
    turns.take();
    for (const { channel, socket } of extended) {
      expect(socket.frames).toEqual([]);
      expect([channel.otherRooms?.[0]?.epoch, channel.otherRooms?.[0]?.flushedOffset]).toEqual([2_000, 6]);
    }
  });

  it('a gap is told behind what waited in each of them, and in front of what follows', () => {
    const { plain, extended } = setUpMembers(2);
    push('a');
    turns.take();
    turns.flushOne(2);
    push('b');
    bucket.sequencer.gapRoom(ROOM);
    push('c');
    turns.turn();
    for (const { socket } of extended) {
      expect(takenWithGaps(socket)).toEqual([
        'live://1@1001+1 # 1000 a',
        'live://1@1001+2 # 1000 b',
        roomGap(1_001, 3),
        'live://1@1001+4 # 1000 c',
      ]);
    }
    for (const { socket } of plain) expect(socket.take()).toEqual(['1000 a', '1000 b', '1000 c']);
  });

  it('a Gap of the room has the extent of the cohort that the member stands in', () => {
    const { extended, shard } = setUpMembers(2);
    push('a');
    turns.take();
    turns.flushOne(1);
    bucket.subscriptions.tellRoomGap(bucket.slots.all(), shard, false);
    expect(extended.map(({ socket }) => takenWithGaps(socket).at(-1))).toEqual([roomGap(1_001, 1), roomGap(1_001, 0)]);
  });

  it('a channel that was slow is told how far its own cohort has come', async () => {
    const { extended, shard } = setUpMembers(2);
    const [first, second] = [extended[0]!, extended[1]!];
    // In the second one's cohort somebody keeps reading, so there the messages wait for a flush.
    const reading = bucket.channel({ extended: true });
    bucket.rooms.exit(second.companion, shard);
    bucket.enter(reading.channel, ROOM);
    expect(reading.channel.cohortIn(shard)).toBe(second.channel.cohortIn(shard));
    for (const { channel, socket } of [first, second]) {
      socket.bufferedBytes = 1;
      bucket.subscriptions.mark(channel);
    }
    await immediate();
    push('a');
    push('b');
    turns.take();
    for (const { channel, socket } of [first, second]) {
      socket.bufferedBytes = 0;
      bucket.subscriptions.drained(channel);
    }
    expect(takenWithGaps(first.socket)[0]).toEqual(roomGap(1_001, 2));
    expect(takenWithGaps(second.socket)[0]).toEqual(roomGap(1_001, 0));
    turns.turn();
    expect(first.socket.frames).toEqual([]);
    expect(takenWithGaps(second.socket)).toEqual(['live://1@1001+1 # 1000 a', 'live://1@1001+2 # 1000 b']);
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
        const { epoch, to } = JSON.parse(text.slice(5)) as { epoch: number; to: number };
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
          else if (act === 'take') turns.take();
          else if (act === 'flush') turns.flushOne(index);
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
        turns.turn();
        readAll();
        expect(members.map(({ reader }) => reader.problem).join('')).toBe('');
        for (const { channel, reader } of members) {
          if (!channel.isIn(shard) || channel.has(CHANNEL_FLAG.OUT)) continue;
          expect([reader.epoch, reader.nextOffset]).toEqual([shard.epoch, shard.lastOffset + 1]);
        }
      }),
    );
    expect(seen.cohorts).toBeGreaterThan(2);
    expect(seen.gapsOverPending).toBeGreaterThan(10);
  });
});
