import { beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/kit/index.js';
import { CLIENT_ERROR } from '../../errors/index.js';
import { encodePacket, encodeRecover, OP } from '../../protocol/index.js';
import { BucketParts, MAX_BACKPRESSURE_BYTES, TEST_LIMITS } from '../fixtures/bucket-parts.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { MESSAGE, RECOVER_STATUS } from '../thread-messages.js';
import { CHANNEL_FLAG, type Channel } from './channel.js';
import { WAIT_MS } from './recoveries.js';

const ROOM = 'live://1';
const BODY = Uint8Array.from(Buffer.from('\0packets'));
let bucket: BucketParts;
beforeEach(() => {
  bucket = new BucketParts(TEST_LIMITS, true);
});

function member(room = ROOM) {
  const made = bucket.channel({ extended: true });
  bucket.enter(made.channel, room);
  return made;
}

function recover(channel: Channel, seq: number, body: Uint8Array | string, ...more: Uint8Array[]): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  for (const packet of [encodePacket(OP.RECOVER, seq, 1, bytes), ...more]) bucket.packets.receive(channel, packet);
}

/** What the control thread found for a request of this bucket. */
function answer(request: number, body: Uint8Array = BODY): void {
  bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, request, RECOVER_STATUS.RECOVERED, body]);
}

const at = (offset: number, room = ROOM, epoch = 9) => encodeRecover('json', { room, epoch, offset });
const refusal = (seq: number, error?: object) =>
  `24 ${seq} ${JSON.stringify({ recovered: false, ...(error === undefined ? {} : { error }) })}`;

describe('a recovery', () => {
  it('is asked of the control thread and answered with its bytes as they are', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3));
    expect(bucket.recovers).toEqual([[MESSAGE.RECOVER, 1, ROOM, 9, 3]]);
    expect(socket.frames).toEqual([]);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.RECOVERED, BODY]);
    expect(socket.frames.map((frame) => Buffer.from(frame))).toEqual([
      Buffer.from(encodePacket(OP.RECOVER_REPLY, 5, 1, BODY)),
    ]);
    expect(bucket.recoveries!.pendingCount).toBe(0);
  });

  // What the answer holds and the room has not been sent yet would otherwise come behind it, a second time.
  it('goes out behind everything that waits for the room', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3));
    new PushBytes(1000, 'waits', 0).appendTo(channel.otherRooms![0]!, 1);
    expect(bucket.published.messages).toHaveLength(0);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.RECOVERED, BODY]);
    // uWS sends what was published to the channel before what is sent to it (test/uws-behaviour.test.ts).
    expect(bucket.published.messages).toHaveLength(1);
    expect(channel.otherRooms![0]!.pendingCount).toBe(0);
    expect(socket.frames).toHaveLength(1);
  });

  it('goes out behind what waits in the channel’s own cohort; another cohort’s messages wait for their turn', () => {
    bucket = new BucketParts(TEST_LIMITS, true, 1);
    const [one, two, other] = [member(), member(), member()];
    const shard = bucket.shards.byRoom(ROOM)!;
    const waiting = () => [one, two, other].map(({ channel }) => channel.cohortIn(shard)!.pendingCount);
    recover(two.channel, 5, at(3));
    recover(other.channel, 6, at(3));
    new PushBytes(1000, 'waits', 0).appendTo(shard, 1);
    expect([shard.cohortCount, waiting()]).toEqual([3, [1, 1, 1]]);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.RECOVERED, BODY]);
    expect(waiting()).toEqual([1, 0, 0]);
    const { topicExtended } = two.channel.cohortIn(shard)!;
    expect(bucket.published.messages.map(({ topic }) => topic)).toEqual([
      topicExtended,
      other.channel.cohortIn(shard)!.topicExtended,
    ]);
    expect([one, two, other].map(({ socket }) => socket.frames.length)).toEqual([0, 1, 1]);
    // What comes after the answer continues at its end, without what stands in it.
    new PushBytes(1000, 'next', 0).appendTo(shard, 2);
    for (const group of bucket.published.pending.splice(0)) group.flush();
    expect(bucket.published.read(topicExtended)).toEqual([
      expect.stringMatching(/^live:\/\/1@\d+\+1 .* waits$/),
      expect.stringMatching(/^live:\/\/1@\d+\+2 .* next$/),
    ]);
  });

  it('holds back the channel’s later packets, and lets them go on', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3), encodePacket(OP.HEARTBEAT, 6, 1));
    expect(socket.frames).toEqual([]);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.REFUSED, new Uint8Array(0)]);
    expect(socket.take()).toEqual([refusal(5), expect.stringMatching(/^3 6/)]);
  });

  it('is shared by channels that miss the same', () => {
    const [one, two, other] = [member(), member(), member()];
    recover(one.channel, 5, at(3));
    recover(two.channel, 6, at(3));
    recover(other.channel, 7, at(4));
    expect(bucket.recovers.map(([, request, , , offset]) => [request, offset])).toEqual([
      [1, 3],
      [2, 4],
    ]);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.RECOVERED, BODY]);
    expect([one, two, other].map(({ socket }) => socket.frames.length)).toEqual([1, 1, 0]);
  });

  it('is shared also with whoever asks later, for as long as the room stands where the answer ends', async () => {
    const [one, two] = [member(), member()];
    const shard = bucket.shards.byRoom(ROOM)!;
    recover(one.channel, 5, at(3));
    answer(1);
    recover(two.channel, 6, at(3));
    await eventually(() => two.socket.frames.length === 1, 2_000);
    expect(two.socket.frames.map((frame) => Buffer.from(frame))).toEqual([
      Buffer.from(encodePacket(OP.RECOVER_REPLY, 6, 1, BODY)),
    ]);
    expect(bucket.recovers).toHaveLength(1);
    new PushBytes(1000, 'new', 0).appendTo(shard, 1);
    recover(two.channel, 7, at(3));
    expect(bucket.recovers).toHaveLength(2);
  });

  it('of a crowd is written in slices, and asked for again where the room went on in between', async () => {
    const members = Array.from({ length: 8 }, () => member());
    const shard = bucket.shards.byRoom(ROOM)!;
    for (const { channel } of members) recover(channel, 5, at(3));
    expect(bucket.recovers).toHaveLength(1);
    // Each look at the clock is a millisecond later: a slice ends after a few.
    let nowMs = 0;
    bucket.recoveriesMs = () => {
      nowMs += 1;
      return nowMs;
    };
    answer(1);
    const written = () => members.filter(({ socket }) => socket.frames.length === 1).length;
    const first = written();
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(members.length);
    new PushBytes(1000, 'new', 0).appendTo(shard, 1);
    await eventually(() => bucket.recovers.length === 2, 2_000);
    expect(written()).toBe(first);
    answer(2);
    await eventually(() => written() === members.length, 2_000);
    expect(bucket.recovers).toHaveLength(2);
    expect(bucket.recoveries!.pendingCount).toBe(0);
  });

  it('waits while the socket has no room for it, and is then one that holds what came meanwhile', async () => {
    const { channel, socket } = member();
    const shard = bucket.shards.byRoom(ROOM)!;
    recover(channel, 5, at(3));
    socket.bufferedBytes = MAX_BACKPRESSURE_BYTES;
    answer(1);
    expect(socket.frames).toEqual([]);
    new PushBytes(1000, 'new', 0).appendTo(shard, 1);
    socket.bufferedBytes = MAX_BACKPRESSURE_BYTES - 16 - BODY.length;
    await eventually(() => bucket.recovers.length === 2, 2_000);
    expect(socket.frames).toEqual([]);
    answer(2);
    expect(socket.frames).toHaveLength(1);
    expect(channel.has(CHANNEL_FLAG.SLOW)).toBe(false);
  });

  it('is refused for now where the socket has no room in time', async () => {
    const { channel, socket } = member();
    let nowMs = 0;
    bucket.recoveriesMs = () => nowMs;
    recover(channel, 5, at(3), encodePacket(OP.HEARTBEAT, 6, 1));
    socket.bufferedBytes = MAX_BACKPRESSURE_BYTES;
    answer(1);
    nowMs = WAIT_MS - 1;
    expect(socket.frames).toEqual([]);
    nowMs = WAIT_MS;
    await eventually(() => socket.frames.length === 2, 2_000);
    expect(socket.take()).toEqual([refusal(5, CLIENT_ERROR.OVERLOADED), expect.stringMatching(/^3 6/)]);
  });

  // Written, it would take the bound with it, and the next direct push would be dropped.
  it('that is larger than a channel’s bound is refused whole, one of the bound is not', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3));
    answer(1, new Uint8Array(MAX_BACKPRESSURE_BYTES - 15));
    expect(socket.take()).toEqual([refusal(5)]);
    recover(channel, 6, at(4));
    answer(2, new Uint8Array(MAX_BACKPRESSURE_BYTES - 16));
    expect(socket.frames.map((frame) => frame.length)).toEqual([MAX_BACKPRESSURE_BYTES]);
  });

  it('is not written to a slow channel: the Gap that comes when it has drained ends its wait', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3), encodePacket(OP.HEARTBEAT, 6, 1));
    channel.flags |= CHANNEL_FLAG.SLOW;
    answer(1);
    expect(socket.take()).toEqual([expect.stringMatching(/^3 6/)]);
  });

  it('that cannot be served now says that it may be later', () => {
    const { channel, socket } = member();
    recover(channel, 5, at(3));
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.LATER, new Uint8Array(0)]);
    expect(socket.take()).toEqual([refusal(5, CLIENT_ERROR.OVERLOADED)]);
  });

  it('is refused to a channel that left meanwhile, and nothing is written to one that is gone', () => {
    const [left, gone] = [member(), member()];
    recover(left.channel, 5, at(3));
    recover(gone.channel, 6, at(3));
    bucket.rooms.leave(left.channel, [ROOM]);
    bucket.gone(gone.channel);
    bucket.recoveries!.onRecovered([MESSAGE.RECOVERED, 1, RECOVER_STATUS.RECOVERED, BODY]);
    expect(left.socket.take()).toEqual([refusal(5, CLIENT_ERROR.NOT_MEMBER)]);
    expect(gone.socket.frames).toEqual([]);
  });

  it.each([
    ['a body that is none', '{}', CLIENT_ERROR.BAD_BODY],
    ['a room the channel is not in', at(3, 'live://2'), CLIENT_ERROR.NOT_MEMBER],
    ['a room that the token does not allow', at(3, 'live://secret'), CLIENT_ERROR.ROOM_FORBIDDEN],
  ])('is refused at once for %s', (_name, body, error) => {
    const { channel, socket } = member();
    bucket.enter(bucket.channel({ extended: true }).channel, 'live://2');
    channel.allowsRoom = (room) => room !== 'live://secret';
    recover(channel, 5, body);
    expect(socket.take()).toEqual([refusal(5, error)]);
    expect(bucket.recovers).toEqual([]);
  });

  it('is refused without an error where no room has history', () => {
    bucket = new BucketParts();
    const { channel, socket } = member();
    recover(channel, 5, at(3));
    expect(socket.take()).toEqual([refusal(5)]);
  });
});
