import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packetsIn } from '../fixtures/fake-socket.js';
import { Published } from '../fixtures/published.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { FanoutGroup, LARGE_MESSAGE_BYTES } from './fanout-group.js';

const utf8 = new TextEncoder();
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex');

/** A room's group with subscribers of each form. */
function setUp(plainCount: number, extendedCount: number, limits = { maxMessages: 256, maxBytes: 65_536 }) {
  const published = new Published(limits);
  const group = new FanoutGroup(published.context, 'r1', utf8.encode('live://1'));
  group.epoch = 5;
  group.plainCount = plainCount;
  group.extendedCount = extendedCount;
  /** Append messages with these offsets; the body says the offset. */
  const append = (...offsets: number[]) => {
    for (const offset of offsets) new PushBytes(1000, `m${offset}`, offset).appendTo(group, offset);
  };
  const lentCount = () => published.pool.stats().lentCount;
  return { published, group, append, lentCount };
}

describe('a flush', () => {
  it('sends a plain batch byte for byte as goim does', () => {
    const { published, group } = setUp(3, 0);
    for (const text of ['{"test":1}', '', 'one']) new PushBytes(1000, text, 1).appendTo(group, 1);
    group.flush();
    expect(published.messages.map(({ topic, bytes }) => [topic, hex(bytes)])).toEqual([
      [
        'pr1',
        '0000004d001000010000000900000000' +
          '0000001a00100001000003e8000000007b2274657374223a317d' +
          '0000001000100001000003e800000000' +
          '0000001300100001000003e8000000006f6e65',
      ],
    ]);
    expect(published.counts).toEqual(['3x3']);
  });

  it('sends an extended batch with room, epoch, first offset and an id in front of each packet', () => {
    const { published, group } = setUp(0, 2);
    new PushBytes(1000, 'one', 0x0a0b).appendTo(group, 7);
    new PushBytes(1001, '', 0x0a0c).appendTo(group, 8);
    group.flush();
    expect(published.messages.map(({ topic, bytes }) => [topic, hex(bytes)])).toEqual([
      [
        'xr1',
        '0000005d001000010000001a00000000' + // op 26
          '0008' +
          hex(utf8.encode('live://1')) +
          '0000000000000005' +
          '0000000000000007' +
          '0000000000000a0b' +
          '0000001300100001000003e8000000006f6e65' +
          '0000000000000a0c' +
          '0000001000100001000003e900000000',
      ],
    ]);
    expect(published.counts).toEqual(['2x2']);
  });

  it('sends both forms of the same messages, each to its own subscribers', () => {
    const { published, group, append } = setUp(1, 4);
    append(1, 2);
    group.flush();
    expect(published.read('pr1')).toEqual(['1000 m1', '1000 m2']);
    expect(published.read('xr1')).toEqual(['live://1@5+1 #1 1000 m1', 'live://1@5+2 #2 1000 m2']);
    expect(published.counts).toEqual(['1x2', '4x2']);
  });

  it('leaves nothing behind: no message, no buffer, no second publish', () => {
    const { published, group, append, lentCount } = setUp(1, 1);
    append(1, 2, 3);
    expect([group.pendingCount, lentCount()]).toEqual([3, 2]);
    group.flush();
    expect([group.pendingCount, lentCount()]).toEqual([0, 0]);
    group.flush();
    expect(published.messages).toHaveLength(2);
  });

  it('builds nothing for a form without subscribers, and nothing at all for an empty group', () => {
    const { published, group, append, lentCount } = setUp(0, 0);
    append(1, 2);
    group.flush();
    expect([published.messages, published.pending, lentCount(), group.lastOffset]).toEqual([[], [], 0, 2]);
  });

  it('does not show later messages in the bytes of earlier ones: nothing is kept by reference', () => {
    const { published, group } = setUp(1, 1);
    const push = new PushBytes(1000, 'kept', 1);
    push.appendTo(group, 1);
    push.bytes.fill(0);
    group.flush();
    expect(published.read('pr1')).toEqual(['1000 kept']);
    expect(published.read('xr1')).toEqual(['live://1@5+1 #1 1000 kept']);
  });
});

describe('an append', () => {
  it('reports the group once per window', () => {
    const { published, group, append } = setUp(1, 1);
    append(1, 2, 3);
    expect(published.pending).toEqual([group]);
    group.flush();
    append(4);
    expect(published.pending).toEqual([group, group]);
  });

  it('flushes first where the batch holds as many messages as it may', () => {
    const { published, group, append } = setUp(1, 1, { maxMessages: 3, maxBytes: 65_536 });
    append(1, 2, 3, 4, 5, 6, 7);
    expect(published.counts).toEqual(['1x3', '1x3', '1x3', '1x3']);
    expect(group.pendingCount).toBe(1);
    group.flush();
    expect(published.read('pr1')).toEqual([1, 2, 3, 4, 5, 6, 7].map((offset) => `1000 m${offset}`));
  });

  it('flushes first where a batch would grow beyond its bytes; only a lone message may be larger', () => {
    const { published, group } = setUp(1, 1, { maxMessages: 256, maxBytes: 1_000 });
    const sizes = [400, 400, 400, 1_500, 10, 900, 10];
    for (const [index, size] of sizes.entries()) {
      new PushBytes(1000, new Uint8Array(size), index + 1).appendTo(group, index + 1);
    }
    group.flush();
    for (const { bytes } of published.messages) {
      if (packetsIn(bytes).length > 1) expect(bytes.length).toBeLessThanOrEqual(1_000);
    }
    expect(published.read('pr1')).toHaveLength(sizes.length);
    expect(published.read('xr1').map((text) => text.split(' ')[1])).toEqual(sizes.map((_, index) => `#${index + 1}`));
  });

  it('behind a hole in the offsets begins a new extended batch', () => {
    const { published, group, append } = setUp(1, 1);
    append(1, 2, 5, 6);
    group.flush();
    expect(published.messages.filter(({ topic }) => topic === 'xr1').map(({ bytes }) => packetsIn(bytes))).toEqual([
      ['live://1@5+1 #1 1000 m1', 'live://1@5+2 #2 1000 m2'],
      ['live://1@5+5 #5 1000 m5', 'live://1@5+6 #6 1000 m6'],
    ]);
  });

  // A batch names its first offset only. The pending one of a group without extended subscribers used to stay, the
  // messages meanwhile were not in it, and what a new subscriber got behind them was numbered too low.
  it('never continues an extended batch that missed a message while nobody subscribed', () => {
    const { published, group, append } = setUp(0, 1);
    append(1, 2);
    group.extendedCount = 0;
    append(3);
    expect(group.flushedOffset).toBe(3);
    group.extendedCount = 1;
    append(4);
    group.flush();
    expect(published.read('xr1')).toEqual(['live://1@5+4 #4 1000 m4']);
  });

  it('never continues a plain batch that missed a message while nobody subscribed', () => {
    const { published, group, append, lentCount } = setUp(1, 0);
    append(1);
    group.plainCount = 0;
    append(2);
    expect(lentCount()).toBe(0);
    group.plainCount = 1;
    append(3);
    group.flush();
    expect(published.read('pr1')).toEqual(['1000 m3']);
  });

  it('of a large message to plain subscribers passes the record on as it lies there, behind what waited', () => {
    const { published, group, append, lentCount } = setUp(2, 1);
    append(1);
    const large = new PushBytes(1000, new Uint8Array(LARGE_MESSAGE_BYTES).fill(65), 2);
    large.appendTo(group, 2);
    append(3);
    expect(published.messages.map(({ topic }) => topic)).toEqual(['pr1', 'pr1']);
    const view = published.messages[1]?.view;
    expect([view?.buffer, view?.byteOffset]).toEqual([large.bytes.buffer, large.outerOffset]);
    group.flush();
    expect(published.read('pr1').map((text) => text.slice(0, 7))).toEqual(['1000 m1', '1000 AA', '1000 m3']);
    expect(published.read('xr1').map((text) => text.split(' ')[0])).toEqual([1, 2, 3].map((n) => `live://1@5+${n}`));
    expect(published.counts).toEqual(['2x1', '2x1', '2x1', '1x3']);
    expect(lentCount()).toBe(0);
  });
});

describe('where a channel stands that subscribes now', () => {
  it('is behind everything flushed and before everything that waits', () => {
    const { group, append } = setUp(0, 1);
    group.lastOffset = 41;
    expect(group.flushedOffset).toBe(41);
    append(42, 43);
    expect([group.flushedOffset, group.lastOffset]).toEqual([41, 43]);
    group.flush();
    expect(group.flushedOffset).toBe(43);
  });

  it('is behind messages that only plain subscribers wait for', () => {
    const { group, append } = setUp(1, 0);
    append(1, 2);
    expect(group.flushedOffset).toBe(2);
  });
});

it('discard forgets what waits and gives the buffers back', () => {
  const { published, group, append, lentCount } = setUp(1, 1);
  append(1, 2);
  group.discard();
  group.flush();
  expect([published.messages, group.pendingCount, lentCount()]).toEqual([[], 0, 0]);
});

it('delivers to both forms exactly what was appended while they had subscribers, whatever comes and goes', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ act: fc.constant('push' as const), bytes: fc.integer({ min: 0, max: 300 }) }) },
    { weight: 1, arbitrary: fc.constant({ act: 'large' as const }) },
    { weight: 2, arbitrary: fc.constant({ act: 'flush' as const }) },
    { weight: 1, arbitrary: fc.constant({ act: 'skip' as const }) },
    {
      weight: 2,
      arbitrary: fc.record({ act: fc.constantFrom('plain' as const, 'extended' as const), count: fc.nat(2) }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const { published, group, lentCount } = setUp(1, 1, { maxMessages: 4, maxBytes: 700 });
      const expectedPlain: string[] = [];
      const expectedExtended: string[] = [];
      let offset = 0;
      for (const action of steps) {
        if (action.act === 'flush') group.flush();
        else if (action.act === 'skip') offset += 1;
        else if ('count' in action) {
          // Subscribers that leave have had everything: what waits for nobody may be dropped.
          group.flush();
          if (action.act === 'plain') group.plainCount = action.count;
          else group.extendedCount = action.count;
        } else {
          offset += 1;
          const body = 'x'.repeat('bytes' in action ? action.bytes : LARGE_MESSAGE_BYTES);
          new PushBytes(1000, body, offset).appendTo(group, offset);
          if (group.plainCount > 0) expectedPlain.push(`1000 ${body}`);
          if (group.extendedCount > 0) expectedExtended.push(`live://1@5+${offset} #${offset} 1000 ${body}`);
        }
        expect(group.pendingCount).toBeLessThanOrEqual(4);
      }
      group.flush();
      expect(published.read('pr1')).toEqual(expectedPlain);
      expect(published.read('xr1')).toEqual(expectedExtended);
      expect(lentCount()).toBe(0);
    }),
    { numRuns: 100 },
  );
});
