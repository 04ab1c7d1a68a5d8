import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packetsIn } from '../fixtures/fake-socket.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { CHANNEL_FLAG, Channel, type ChannelOwner } from './channel.js';
import { DirectOutbox } from './direct-outbox.js';

const OWNER = {} as ChannelOwner;
const MAX_MESSAGE_BYTES = 500;

function channelOf(key: string, extended = false): Channel {
  const channel = new Channel(OWNER);
  channel.key = key;
  if (extended) channel.flags |= CHANNEL_FLAG.EXTENDED;
  return channel;
}

function setUp() {
  const sent: { readonly key: string; readonly bytes: Uint8Array; readonly messageCount: number }[] = [];
  const outbox = new DirectOutbox(
    (channel, bytes, messageCount) => sent.push({ key: channel.key, bytes: bytes.slice(), messageCount }),
    MAX_MESSAGE_BYTES,
  );
  let id = 0;
  const push = (text: string, ...channels: Channel[]) => {
    id += 1;
    new PushBytes(1000, text, id).beginIn(outbox);
    for (const channel of channels) outbox.add(channel);
  };
  const received = (key: string) => sent.filter((message) => message.key === key).map(({ bytes }) => packetsIn(bytes));
  return { outbox, sent, push, received };
}

describe('pushes to single channels', () => {
  it('of one turn reach a channel in one message, in their order, plain or extended', () => {
    const { outbox, sent, push, received } = setUp();
    const [plain, extended] = [channelOf('plain'), channelOf('extended', true)];
    push('a', plain, extended);
    push('b', extended);
    push('c', extended, plain);
    expect(outbox.isEmpty).toBe(false);
    outbox.flush();
    expect(received('plain')).toEqual([['1000 a', '1000 c']]);
    expect(received('extended')).toEqual([['direct@0+0 #1 1000 a', 'direct@0+0 #2 1000 b', 'direct@0+0 #3 1000 c']]);
    expect(sent.map(({ messageCount }) => messageCount)).toEqual([2, 3]);
  });

  it('are on the wire as goim and the op-26 layout have them', () => {
    const { outbox, sent, push } = setUp();
    push('one', channelOf('plain'), channelOf('extended', true));
    outbox.flush();
    const packet = '0000001300100001000003e8000000006f6e65';
    expect(sent.map(({ bytes }) => Buffer.from(bytes).toString('hex'))).toEqual([
      `00000023001000010000000900000000${packet}`,
      `0000003d001000010000001a00000000${'0000'}${'00'.repeat(16)}${'0000000000000001'}${packet}`,
    ]);
  });

  it('leave nothing behind: a second flush sends nothing, and the next turn starts afresh', () => {
    const { outbox, sent, push, received } = setUp();
    const channel = channelOf('a');
    push('first', channel);
    outbox.flush();
    expect([outbox.isEmpty, channel.directHead, channel.directTail]).toEqual([true, -1, -1]);
    outbox.flush();
    expect(sent).toHaveLength(1);
    push('nobody');
    push('second', channel);
    outbox.flush();
    expect(received('a')).toEqual([['1000 first'], ['1000 second']]);
  });

  it('are split where a message would grow beyond its bytes; only a lone one may be larger', () => {
    const { outbox, sent, push, received } = setUp();
    const channels = [channelOf('plain'), channelOf('extended', true)];
    const texts = ['x'.repeat(200), 'x'.repeat(200), 'x'.repeat(200), 'x'.repeat(900), 'y', 'z'];
    for (const text of texts) push(text, ...channels);
    outbox.flush();
    for (const key of ['plain', 'extended']) {
      expect(
        received(key)
          .flat()
          .map((packet) => packet.split(' ').at(-1)),
      ).toEqual(texts);
      expect(received(key).map((packets) => packets.length)).toEqual([2, 1, 1, 2]);
    }
    for (const { bytes, messageCount } of sent) {
      if (messageCount > 1) expect(bytes.length).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
    }
  });

  it('grow with what comes: thousands of entries and megabytes in one turn arrive whole', () => {
    const { outbox, push, received } = setUp();
    const channels = Array.from({ length: 5_000 }, (_, index) => channelOf(`k${index}`));
    push('to all', ...channels);
    const large = 'L'.repeat(5_000_000);
    push(large, channels[7]!);
    push('last', channels[7]!);
    outbox.flush();
    expect(received('k0')).toEqual([['1000 to all']]);
    expect(received('k4999')).toEqual([['1000 to all']]);
    expect(received('k7')).toEqual([['1000 to all'], [`1000 ${large}`], ['1000 last']]);
    push('small again', channels[7]!);
    outbox.flush();
    expect(received('k7').at(-1)).toEqual(['1000 small again']);
  });

  it('give their memory back after a large turn, and keep it after a usual one', () => {
    const { outbox, push } = setUp();
    const channel = channelOf('a');
    const atFirst = outbox.heldBytes;
    for (let i = 0; i < 5; i++) push('L'.repeat(1_000_000), channel);
    expect(outbox.heldBytes).toBeGreaterThan(5_000_000);
    outbox.flush();
    push('L'.repeat(9_000_000), channel);
    outbox.flush();
    expect(outbox.heldBytes).toBe(atFirst);
    push('L'.repeat(1_000_000), channel);
    outbox.flush();
    const kept = outbox.heldBytes;
    expect(kept).toBeGreaterThan(2_000_000);
    push('L'.repeat(1_000_000), channel);
    outbox.flush();
    expect(outbox.heldBytes).toBe(kept);
  });

  it('are delivered completely and in order for random turns', () => {
    const step = fc.record({
      bytes: fc.nat(220),
      to: fc.subarray([0, 1, 2, 3]),
      flush: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const { outbox, push, received } = setUp();
        const channels = [0, 1, 2, 3].map((index) => channelOf(`k${index}`, index % 2 === 1));
        const expected: string[][] = [[], [], [], []];
        for (const [index, { bytes, to, flush }] of steps.entries()) {
          const text = `${index}:${'x'.repeat(bytes)}`;
          push(text, ...to.map((target) => channels[target]!));
          for (const target of to) expected[target]?.push(text);
          if (flush) outbox.flush();
        }
        outbox.flush();
        for (const [index, texts] of expected.entries()) {
          expect(
            received(`k${index}`)
              .flat()
              .map((packet) => packet.split(' ').at(-1)),
          ).toEqual(texts);
        }
      }),
      { numRuns: 100 },
    );
  });
});
