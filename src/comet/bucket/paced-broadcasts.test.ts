import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import { DirectOutbox } from './direct-outbox.js';
import { PacedBroadcasts } from './paced-broadcasts.js';

let bucket: BucketParts;
let broadcasts: PacedBroadcasts;
beforeEach(() => {
  vi.useFakeTimers();
  bucket = new BucketParts();
  const outbox = new DirectOutbox((channel, bytes) => void bucket.writer.raw(channel, bytes), 65_536);
  broadcasts = new PacedBroadcasts(bucket.slots, outbox);
});
afterEach(() => {
  broadcasts.close();
  vi.useRealTimers();
});

function channels(count: number, ops = [1000]) {
  return Array.from({ length: count }, () => {
    const made = bucket.channel();
    bucket.packets.setWatch(made.channel, ops);
    return made;
  });
}

function start(op: number, text: string, speedPerSec: number): void {
  const push = new PushBytes(op, text, 1);
  broadcasts.start(push.bytes, push.idOffset, push.innerOffset, push.packet.length, op, speedPerSec);
  push.bytes.fill(0);
}

const received = (all: ReturnType<typeof channels>) => all.map(({ socket }) => socket.frames.length);

describe('a broadcast with a speed', () => {
  it('reaches so many channels per second, each once, and then ends', () => {
    const all = channels(50);
    start(1000, 'slowly', 20);
    expect(received(all)).toEqual(Array(50).fill(0));
    vi.advanceTimersByTime(1_000);
    expect(received(all)).toEqual([...Array(20).fill(1), ...Array(30).fill(0)]);
    vi.advanceTimersByTime(1_500);
    expect(received(all)).toEqual(Array(50).fill(1));
    expect(all[49]?.socket.take()).toEqual(['1000 slowly']);
    expect([broadcasts.count, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('keeps speeds that are no multiple of its slices, below one channel per slice too', () => {
    const all = channels(30);
    start(1000, 'x', 7);
    for (let second = 1; second <= 4; second++) {
      vi.advanceTimersByTime(1_000);
      const total = received(all).reduce((sum, count) => sum + count, 0);
      expect(Math.abs(total - 7 * second)).toBeLessThanOrEqual(1);
    }
  });

  it('leaves out who does not watch the operation, is not ready, or is slow', () => {
    const all = channels(4);
    bucket.packets.setWatch(all[0]!.channel, [1001]);
    bucket.packets.setWatch(all[1]!.channel, []);
    all[2]!.channel.flags |= CHANNEL_FLAG.SLOW;
    const connecting = bucket.channel({ state: CHANNEL_STATE.CONNECTING });
    start(1000, 'x', 1_000);
    vi.advanceTimersByTime(100);
    expect(received([...all, connecting])).toEqual([0, 0, 0, 1, 0]);
  });

  it('is not meant for channels that came later, into whatever slot', () => {
    const all = channels(10);
    start(1000, 'x', 20);
    vi.advanceTimersByTime(100);
    const gone = all.splice(5, 1)[0] as { channel: Channel };
    bucket.gone(gone.channel);
    const late = channels(2);
    expect(late[0]?.channel.slot).toBe(5);
    vi.advanceTimersByTime(2_000);
    expect([received(all), received(late)]).toEqual([Array(9).fill(1), [0, 0]]);
  });

  it('goes side by side with others; a channel that both reach in one slice gets one message', () => {
    const [first] = channels(1);
    start(1000, 'a', 1_000);
    start(1000, 'b', 1_000);
    vi.advanceTimersByTime(50);
    expect(first?.socket.frames).toHaveLength(1);
    expect(first?.socket.take()).toEqual(['1000 a', '1000 b']);
  });

  it('ends at once where there is nobody', () => {
    start(1000, 'x', 10);
    vi.advanceTimersByTime(50);
    expect([broadcasts.count, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it('is dropped by close()', () => {
    const all = channels(3);
    start(1000, 'x', 20);
    broadcasts.close();
    vi.advanceTimersByTime(1_000);
    expect([received(all), vi.getTimerCount()]).toEqual([[0, 0, 0], 0]);
  });
});
