import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BucketParts, type TestChannelOptions } from '../fixtures/bucket-parts.js';
import { type FakeSocket, UWS_ANSWER } from '../fixtures/fake-socket.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';

let bucket: BucketParts;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setImmediate', 'clearImmediate'] });
  bucket = new BucketParts();
});
afterEach(() => void vi.useRealTimers());

/** Run what setImmediate holds. */
const turn = () => void vi.runAllTimers();

/** A channel in `live://1` that watches operation 1000. */
function member(options: TestChannelOptions = {}): { readonly channel: Channel; readonly socket: FakeSocket } {
  const made = bucket.channel(options);
  bucket.enter(made.channel, 'live://1', true);
  bucket.packets.setWatch(made.channel, [1000]);
  return made;
}

/** uWS dropped something: its buffer is full. */
function drop({ channel, socket }: ReturnType<typeof member>): void {
  socket.bufferedBytes = 1_000;
  bucket.subscriptions.mark(channel);
}

function drain({ channel, socket }: ReturnType<typeof member>): void {
  socket.bufferedBytes = 0;
  bucket.subscriptions.drained(channel);
}

const shard = () => bucket.shards.byRoom('live://1');

describe('a channel that uWS dropped something for', () => {
  it('is only marked at first: nothing touches its socket inside the walk over subscribers', () => {
    const slow = member();
    const topics = new Set(slow.socket.topics);
    drop(slow);
    expect([slow.socket.topics, bucket.events]).toEqual([topics, ['slow']]);
    expect(slow.channel.has(CHANNEL_FLAG.SLOW)).toBe(true);
    bucket.subscriptions.mark(slow.channel);
    expect(bucket.events).toEqual(['slow']);
  });

  it('then leaves its topics, while everyone else goes on', () => {
    const slow = member();
    const other = member();
    drop(slow);
    turn();
    expect([slow.socket.topics.size, bucket.subscriptions.slowCount]).toEqual([0, 1]);
    expect([shard()?.plainCount, shard()?.memberCount]).toEqual([1, 2]);
    bucket.pushRoom('live://1', 'missed');
    expect([slow.socket.take(), other.socket.take()]).toEqual([[], ['1000 missed']]);
  });

  it('stays out while its buffer holds anything', () => {
    const slow = member();
    drop(slow);
    turn();
    bucket.subscriptions.drained(slow.channel);
    expect([slow.socket.topics.size, bucket.subscriptions.slowCount]).toEqual([0, 1]);
  });

  it('comes back when it has drained, and hears from then on', () => {
    const slow = member();
    drop(slow);
    turn();
    drain(slow);
    expect([bucket.events, slow.socket.take(), bucket.subscriptions.slowCount]).toEqual([['slow', 'recovered'], [], 0]);
    bucket.pushRoom('live://1', 'heard');
    bucket.pushAll(1000, 'all too', 1);
    expect(slow.socket.take()).toEqual(['1000 heard', '1000 all too']);
    expect([shard()?.plainCount, slow.channel.watch?.plainCount]).toEqual([1, 1]);
  });

  it('is back at once where it drained before it could leave: no drain event would come any more', () => {
    const slow = member();
    bucket.subscriptions.mark(slow.channel);
    turn();
    expect([bucket.subscriptions.slowCount, slow.socket.topics.size]).toEqual([0, 2]);
    expect(slow.channel.has(CHANNEL_FLAG.SLOW)).toBe(false);
  });

  it('that is extended is told, per room, for all and for direct pushes, up to where it missed something', () => {
    const slow = member({ extended: true });
    bucket.enter(slow.channel, 'live://2');
    bucket.pushRoom('live://1', 'seen');
    slow.socket.take();
    drop(slow);
    turn();
    const other = member({ extended: true });
    bucket.pushRoom('live://1', 'missed');
    bucket.pushAll(1000, 'missed', 5);
    expect(other.socket.take()).toHaveLength(2);
    drain(slow);
    expect(slow.socket.take()).toEqual([
      '22 0 {"scope":"room","room":"live://1","epoch":1001,"to":2}',
      '22 0 {"scope":"room","room":"live://2","epoch":1002,"to":0}',
      '22 0 {"scope":"all","epoch":77,"to":5}',
      '22 0 {"scope":"direct","epoch":0,"to":0}',
    ]);
    expect(bucket.events.filter((event) => event === 'gap')).toHaveLength(4);
    bucket.pushRoom('live://1', 'next');
    expect(slow.socket.take()).toEqual(['live://1@1001+3 #0 1000 next']);
  });

  it('is told a gap up to before what waits, since that it will get', () => {
    const slow = member({ extended: true });
    const other = member({ extended: true });
    drop(slow);
    turn();
    bucket.pushRoom('live://1', 'missed');
    shard()?.append(new Uint8Array(60), 0, 8, 24, 16, 2);
    drain(slow);
    expect(slow.socket.take()[0]).toBe('22 0 {"scope":"room","room":"live://1","epoch":1001,"to":1}');
    shard()?.discard();
    expect(other.channel.state).toBe(CHANNEL_STATE.READY);
  });

  it('is marked again where its gaps were dropped, and told anew later', () => {
    const slow = member({ extended: true });
    drop(slow);
    turn();
    slow.socket.answer = UWS_ANSWER.DROPPED;
    drain(slow);
    expect(slow.channel.has(CHANNEL_FLAG.SLOW)).toBe(true);
    slow.socket.answer = UWS_ANSWER.SENT;
    slow.socket.bufferedBytes = 9;
    turn();
    expect([slow.socket.topics.size, slow.socket.take()]).toEqual([0, []]);
    drain(slow);
    expect(slow.socket.take()).toHaveLength(3);
    expect([slow.socket.topics.size, shard()?.extendedCount]).toEqual([2, 1]);
  });

  it('may join and leave rooms meanwhile; it is subscribed to what it is in when it is back', () => {
    const slow = member();
    drop(slow);
    turn();
    bucket.enter(slow.channel, 'live://2');
    bucket.rooms.leave(slow.channel, ['live://1']);
    bucket.answer();
    expect([slow.socket.topics.size, shard()]).toEqual([0, undefined]);
    drain(slow);
    bucket.pushRoom('live://2', 'here');
    expect([slow.socket.take(), bucket.shards.byRoom('live://2')?.plainCount]).toEqual([['1000 here'], 1]);
  });

  it('that goes, before or after it left its topics, leaves no trace in any count', () => {
    const other = member();
    const slow = [member(), member({ extended: true }), member(), member({ extended: true })];
    drop(slow[0]!);
    drop(slow[1]!);
    turn();
    drop(slow[2]!);
    drop(slow[3]!);
    for (const { channel } of slow) bucket.gone(channel);
    turn();
    expect([bucket.subscriptions.slowCount, shard()?.memberCount]).toEqual([0, 1]);
    expect([shard()?.plainCount, shard()?.extendedCount]).toEqual([1, 0]);
    expect([other.channel.watch?.plainCount, other.channel.watch?.extendedCount]).toEqual([1, 0]);
  });

  it('is not marked before it is ready, nor after it was closed', () => {
    for (const state of [CHANNEL_STATE.OPEN, CHANNEL_STATE.CONNECTING] as const) {
      bucket.subscriptions.mark(bucket.channel({ state }).channel);
    }
    const { channel } = member();
    bucket.gone(channel);
    bucket.subscriptions.mark(channel);
    expect(bucket.events).toEqual([]);
  });
});

describe('a channel that stays slow', () => {
  it('is closed after slow.close_after_ms where it cannot be told what it misses', () => {
    const slow = member();
    drop(slow);
    turn();
    bucket.subscriptions.tick(100);
    bucket.subscriptions.tick(109);
    expect(slow.socket.fate).toBe('open');
    bucket.subscriptions.tick(110);
    expect([slow.socket.fate, bucket.subscriptions.slowCount, shard()]).toEqual([
      'ended 3004 slow reader',
      0,
      undefined,
    ]);
  });

  it('is closed after slow.extended_close_after_ms where it is extended, heartbeats or not', () => {
    bucket = new BucketParts(undefined, false, undefined, 30_000);
    const slow = member({ extended: true });
    const plain = member();
    drop(slow);
    drop(plain);
    turn();
    bucket.subscriptions.tick(100);
    bucket.subscriptions.tick(110);
    bucket.subscriptions.tick(129);
    expect([slow.socket.fate, plain.socket.fate]).toEqual(['open', 'ended 3004 slow reader']);
    bucket.subscriptions.tick(130);
    expect([slow.socket.fate, bucket.subscriptions.slowCount]).toEqual(['ended 3004 slow reader', 0]);
  });

  it('may stay where it is extended', () => {
    const slow = member({ extended: true });
    drop(slow);
    turn();
    for (let nowS = 100; nowS < 1_000; nowS += 100) bucket.subscriptions.tick(nowS);
    expect([slow.socket.fate, bucket.subscriptions.slowCount]).toEqual(['open', 1]);
  });

  it('has its time counted from the last time it became slow', () => {
    const slow = member();
    drop(slow);
    turn();
    bucket.subscriptions.tick(100);
    drain(slow);
    drop(slow);
    turn();
    bucket.subscriptions.tick(110);
    bucket.subscriptions.tick(119);
    expect(slow.socket.fate).toBe('open');
    bucket.subscriptions.tick(120);
    expect(slow.socket.fate).not.toBe('open');
  });
});

it('keeps topics, counts and flags together whatever order things come in', () => {
  const rooms = ['live://1', 'live://2', 'live://3'];
  const step = fc.record({
    act: fc.constantFrom('drop', 'drain', 'turn', 'enter', 'leave', 'watch', 'unwatch', 'gone', 'new', 'tick'),
    which: fc.nat(3),
    room: fc.constantFrom(...rooms),
    extended: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      bucket = new BucketParts();
      const all = Array.from({ length: 4 }, (_, index) => bucket.channel({ extended: index % 2 === 1 }));
      let nowS = 100;
      const check = () => {
        const groups = [...rooms.flatMap((room) => bucket.shards.byRoom(room) ?? [])];
        for (const { channel } of all) if (channel.watch !== undefined) groups.push(channel.watch as never);
        for (const group of new Set(groups)) {
          const on = (topic: string) => all.filter(({ socket }) => socket.topics.has(topic)).length;
          expect([group.plainCount, group.extendedCount]).toEqual([on(group.topicPlain), on(group.topicExtended)]);
        }
        for (const { channel, socket } of all) {
          const expected = channel.has(CHANNEL_FLAG.OUT) ? 0 : channel.roomCount() + (channel.watch ? 1 : 0);
          if (channel.state === CHANNEL_STATE.READY) expect(socket.topics.size).toBe(expected);
          if (channel.has(CHANNEL_FLAG.OUT)) expect(channel.has(CHANNEL_FLAG.SLOW)).toBe(true);
        }
        const out = all.filter(({ channel }) => channel.state === CHANNEL_STATE.READY && channel.has(CHANNEL_FLAG.OUT));
        expect(bucket.subscriptions.slowCount).toBe(out.length);
      };
      for (const { act, which, room, extended } of steps) {
        const made = all[which]!;
        const { channel } = made;
        const isReady = channel.state === CHANNEL_STATE.READY;
        nowS += 5;
        if (act === 'turn') turn();
        else if (act === 'tick') bucket.subscriptions.tick(nowS);
        else if (act === 'new' && !isReady) all[which] = bucket.channel({ extended });
        else if (!isReady) continue;
        else if (act === 'drop') drop(made);
        else if (act === 'drain') drain(made);
        else if (act === 'enter') bucket.enter(channel, room);
        else if (act === 'leave') bucket.rooms.leave(channel, [room]);
        else if (act === 'watch') bucket.packets.setWatch(channel, [1000, 1000 + which]);
        else if (act === 'unwatch') bucket.packets.setWatch(channel, []);
        else if (act === 'gone') bucket.gone(channel);
        bucket.answer();
        check();
      }
      for (const { channel } of all) if (channel.state === CHANNEL_STATE.READY) bucket.gone(channel);
      turn();
      bucket.answer();
      expect([bucket.shards.count, bucket.watchSets.count, bucket.subscriptions.slowCount]).toEqual([0, 0, 0]);
    }),
    { numRuns: 60 },
  );
});
