import { beforeEach, describe, expect, it } from 'vitest';
import { CLIENT_ERROR, type ClientError } from '../../errors/index.js';
import type { RoomReply } from '../../protocol/index.js';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { packetsIn } from '../fixtures/fake-socket.js';
import type { Channel } from './channel.js';

let bucket: BucketParts;
beforeEach(() => {
  bucket = new BucketParts();
});

const ANY = () => undefined;

/** Change the primary room and let the sequencer answer. */
function change(channel: Channel, room: string): boolean | undefined {
  let outcome: boolean | undefined;
  bucket.rooms.changePrimary(channel, room, (changed) => {
    outcome = changed;
  });
  bucket.answer();
  return outcome;
}

function join(
  channel: Channel,
  rooms: readonly string[],
  check: (room: string) => ClientError | undefined = ANY,
): readonly RoomReply[] | undefined {
  let results: readonly RoomReply[] | undefined;
  bucket.rooms.join(channel, rooms, check, (answer) => {
    results = answer;
  });
  bucket.answer();
  return results;
}

const online = (room: string) => {
  const roomNo = bucket.sequencer.roomNo(room);
  return roomNo === 0 ? 0 : bucket.roomCounts.total(roomNo);
};

describe('changing the primary room', () => {
  // goim W3: the channel was taken out of its room and never put back, and room pushes were lost.
  it('to the room one is alone in keeps everything as it is, every time', () => {
    const { channel, socket } = bucket.channel();
    change(channel, 'live://1');
    const epoch = bucket.shards.byRoom('live://1')?.epoch;
    for (let i = 0; i < 3; i++) {
      expect(change(channel, 'live://1')).toBe(true);
      bucket.pushRoom('live://1', `m${i}`);
    }
    expect(socket.take()).toEqual(['1000 m0', '1000 m1', '1000 m2']);
    expect([online('live://1'), bucket.shards.byRoom('live://1')?.epoch]).toEqual([1, epoch]);
  });

  it('moves the channel: pushes of the old room stop, those of the new one come, counts follow', () => {
    const { channel, socket } = bucket.channel();
    const { channel: other } = bucket.channel();
    change(channel, 'live://1');
    change(other, 'live://1');
    expect(online('live://1')).toBe(2);
    expect(change(channel, 'live://2')).toBe(true);
    bucket.pushRoom('live://1', 'old');
    bucket.pushRoom('live://2', 'new');
    expect(socket.take()).toEqual(['1000 new']);
    expect([online('live://1'), online('live://2'), channel.rooms()]).toEqual([1, 1, ['live://2']]);
  });

  it('out of a room one was alone in closes it, and coming back finds a new incarnation', () => {
    const { channel, socket } = bucket.channel({ extended: true });
    change(channel, 'live://1');
    change(channel, 'live://2');
    expect(bucket.sequencer.roomNo('live://1')).toBe(0);
    change(channel, 'live://1');
    bucket.pushRoom('live://1', 'again');
    expect(socket.take()).toEqual(['live://1@1003+1 #0 1000 again']);
  });

  it('to nothing leaves the room, also when there was none', () => {
    const { channel, socket } = bucket.channel();
    expect(change(channel, '')).toBe(true);
    change(channel, 'live://1');
    expect(change(channel, '')).toBe(true);
    expect([channel.rooms(), socket.topics.size, bucket.shards.count, online('live://1')]).toEqual([[], 0, 0, 0]);
  });

  it('to one of its other rooms makes that one primary, without a second membership', () => {
    const { channel, socket } = bucket.channel();
    change(channel, 'live://1');
    join(channel, ['live://2']);
    expect(change(channel, 'live://2')).toBe(true);
    expect([channel.primaryRoom?.shard.room, channel.otherRooms, channel.roomCount()]).toEqual([
      'live://2',
      undefined,
      1,
    ]);
    expect([online('live://1'), online('live://2')]).toEqual([0, 1]);
    bucket.pushRoom('live://2', 'once');
    expect(socket.take()).toEqual(['1000 once']);
  });

  it('is refused where the node has no place for the room; the channel stays where it was', () => {
    const { channel, socket } = bucket.channel();
    const holders = ['a://1', 'a://2', 'a://3'].map((room) => {
      const { channel: holder } = bucket.channel();
      change(holder, room);
      return holder;
    });
    change(channel, 'live://1');
    expect(change(channel, 'live://2')).toBe(false);
    bucket.pushRoom('live://1', 'still here');
    expect([socket.take(), channel.rooms()]).toEqual([['1000 still here'], ['live://1']]);
    for (const holder of holders) bucket.gone(holder);
    bucket.answer();
    expect(change(channel, 'live://2')).toBe(true);
  });

  it('of a channel that went meanwhile changes nothing and leaves no room open', () => {
    const { channel } = bucket.channel();
    let outcome: boolean | undefined;
    bucket.rooms.changePrimary(channel, 'live://1', (changed) => {
      outcome = changed;
    });
    bucket.gone(channel);
    bucket.answer();
    expect([outcome, bucket.shards.count, bucket.sequencer.roomCount()]).toEqual([false, 0, 0]);
  });
});

describe('joining rooms', () => {
  it('answers per room, in the order asked, with where each one stands', () => {
    const { channel: early } = bucket.channel();
    join(early, ['live://1']);
    bucket.pushRoom('live://1', 'before');
    const { channel } = bucket.channel({ extended: true });
    expect(join(channel, ['live://2', 'live://1'])).toEqual([
      { room: 'live://2', epoch: 1_002, offset: 0 },
      { room: 'live://1', epoch: 1_001, offset: 1 },
    ]);
    expect(channel.rooms()).toEqual(['live://2', 'live://1']);
  });

  it('tells a member that joins while messages wait to expect those too', () => {
    const { channel: early } = bucket.channel({ extended: true });
    join(early, ['live://1']);
    const shard = bucket.shards.byRoom('live://1')!;
    for (const offset of [1, 2]) {
      shard.append(new Uint8Array(60), 0, 8, 24, 16, offset);
    }
    const { channel, socket } = bucket.channel({ extended: true });
    expect(join(channel, ['live://1'])).toEqual([{ room: 'live://1', epoch: 1_001, offset: 0 }]);
    shard.discard();
    expect(socket.topics).toEqual(new Set([shard.topicExtended]));
  });

  it('twice is one membership', () => {
    const { channel, socket } = bucket.channel();
    join(channel, ['live://1', 'live://1']);
    join(channel, ['live://1']);
    expect([online('live://1'), channel.roomCount(), socket.topics.size]).toEqual([1, 1, 1]);
    const shard = bucket.shards.byRoom('live://1')!;
    expect([shard.memberCount, shard.plainCount]).toEqual([1, 1]);
  });

  it('refuses what the check refuses, what is too many and what the node has no place for, and joins the rest', () => {
    const { channel } = bucket.channel();
    const { channel: other } = bucket.channel();
    join(other, ['a://1', 'a://2']);
    const results = join(channel, ['bad', 'live://1', 'a://1', 'live://2', 'live://3', 'a://2'], (room) =>
      room === 'bad' ? CLIENT_ERROR.BAD_ROOM : undefined,
    );
    expect(results?.map(({ room, error }) => [room, error?.code])).toEqual([
      ['bad', CLIENT_ERROR.BAD_ROOM.code],
      ['live://1', undefined],
      ['a://1', undefined],
      ['live://2', undefined],
      ['live://3', CLIENT_ERROR.NODE_ROOMS_FULL.code],
      ['a://2', CLIENT_ERROR.TOO_MANY_ROOMS.code],
    ]);
    expect(channel.rooms()).toEqual(['live://1', 'a://1', 'live://2']);
    expect(online('a://2')).toBe(1);
  });

  it('where everything is refused asks nobody', () => {
    const { channel } = bucket.channel();
    expect(join(channel, ['x'], () => CLIENT_ERROR.ROOM_FORBIDDEN)).toHaveLength(1);
    expect([bucket.shards.count, bucket.sequencer.roomCount()]).toEqual([0, 0]);
  });

  it('of a channel that went meanwhile is not answered and leaves no room open', () => {
    const { channel } = bucket.channel();
    let answered = false;
    bucket.rooms.join(channel, ['live://1'], ANY, () => {
      answered = true;
    });
    bucket.gone(channel);
    bucket.answer();
    expect([answered, bucket.shards.count, bucket.sequencer.roomCount()]).toEqual([false, 0, 0]);
  });
});

describe('leaving rooms', () => {
  it('answers per room, and knows which ones the channel was not in', () => {
    const { channel, socket } = bucket.channel();
    const { channel: other } = bucket.channel();
    change(channel, 'live://1');
    join(channel, ['live://2', 'live://3']);
    join(other, ['live://2', 'live://4']);
    expect(bucket.rooms.leave(channel, ['live://2', 'live://4', 'live://9', 'live://1', 'live://2'])).toEqual([
      { room: 'live://2', epoch: 1_002, offset: 0 },
      { room: 'live://4', epoch: 0, offset: 0, error: CLIENT_ERROR.NOT_MEMBER },
      { room: 'live://9', epoch: 0, offset: 0, error: CLIENT_ERROR.NOT_MEMBER },
      { room: 'live://1', epoch: 1_001, offset: 0 },
      { room: 'live://2', epoch: 0, offset: 0, error: CLIENT_ERROR.NOT_MEMBER },
    ]);
    bucket.answer();
    expect([channel.rooms(), socket.topics.size]).toEqual([['live://3'], 1]);
    expect([online('live://1'), online('live://2'), online('live://4')]).toEqual([0, 1, 1]);
  });

  it('all of them at once, as at the end of a channel, leaves counts, topics and lists empty', () => {
    const { channel, socket } = bucket.channel();
    change(channel, 'live://1');
    join(channel, ['live://2', 'live://3']);
    bucket.rooms.exitAll(channel);
    bucket.answer();
    expect([channel.rooms(), channel.otherRooms, socket.topics.size]).toEqual([[], undefined, 0]);
    expect([bucket.shards.count, bucket.sequencer.roomCount()]).toEqual([0, 0]);
  });
});

it('subscribes before it answers: a message that follows the join is received', () => {
  const { channel, socket } = bucket.channel({ extended: true });
  bucket.rooms.join(channel, ['live://1'], ANY, ([result]) => {
    bucket.pushRoom('live://1', `after ${result?.offset}`);
  });
  bucket.answer();
  expect(socket.frames.flatMap(packetsIn)).toEqual(['live://1@1001+1 #0 1000 after 0']);
});
