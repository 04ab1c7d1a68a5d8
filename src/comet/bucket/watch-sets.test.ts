import { describe, expect, it } from 'vitest';
import { Published } from '../fixtures/published.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { WatchSets } from './watch-sets.js';

function setUp() {
  const published = new Published();
  const sets = new WatchSets(published.context, () => 77);
  const pushAll = (op: number, offset: number) => {
    const push = new PushBytes(op, `m${offset}`, offset);
    sets.appendAll(op, push.bytes, push.idOffset, push.outerOffset, push.innerOffset, push.packet.length, offset);
  };
  return { published, sets, pushAll };
}

describe('watch sets', () => {
  it('are shared by channels with the same operations, in whatever order and however often named', () => {
    const { sets } = setUp();
    const set = sets.hold([1001, 1000]);
    expect(sets.hold([1000, 1001, 1000])).toBe(set);
    expect([set.ops, set.holderCount, sets.count]).toEqual([[1000, 1001], 2, 1]);
    expect([set.accepts(1000), set.accepts(1001), set.accepts(100)]).toEqual([true, true, false]);
    const other = sets.hold([1000]);
    expect(other.topicPlain).not.toBe(set.topicPlain);
  });

  it('go with their last holder, and what waited goes with them', () => {
    const { published, sets, pushAll } = setUp();
    const set = sets.hold([1000]);
    sets.hold([1000]);
    set.plainCount = 1;
    pushAll(1000, 1);
    sets.release(set);
    expect([sets.count, set.pendingCount]).toEqual([1, 1]);
    sets.release(set);
    expect([sets.count, set.pendingCount, published.pool.stats().lentCount]).toEqual([0, 0, 0]);
    // A fresh set has topics of its own: a socket that still hangs on the old ones hears nothing.
    expect(sets.hold([1000]).topicPlain).not.toBe(set.topicPlain);
  });

  it('get a push to all where they hold its operation, once per set', () => {
    const { published, sets, pushAll } = setUp();
    const both = sets.hold([1000, 1001]);
    const one = sets.hold([1001]);
    for (const set of [both, one]) set.plainCount = 1;
    pushAll(1000, 1);
    pushAll(1001, 2);
    pushAll(1002, 3);
    both.flush();
    one.flush();
    expect(published.read(both.topicPlain)).toEqual(['1000 m1', '1001 m2']);
    expect(published.read(one.topicPlain)).toEqual(['1001 m2']);
    expect(sets.allOffset).toBe(3);
  });

  it('number an extended batch contiguously although other operations count too', () => {
    const { published, sets, pushAll } = setUp();
    const set = sets.hold([1000]);
    set.extendedCount = 1;
    pushAll(1000, 1);
    pushAll(1001, 2);
    pushAll(1000, 3);
    pushAll(1000, 4);
    set.flush();
    expect(published.read(set.topicExtended)).toEqual([
      'all@77+1 #1 1000 m1',
      'all@77+3 #3 1000 m3',
      'all@77+4 #4 1000 m4',
    ]);
    expect(published.counts).toEqual(['1x1', '1x2']);
  });

  it('begin where the node stands', () => {
    const { sets, pushAll } = setUp();
    pushAll(1000, 9);
    const set = sets.hold([1000]);
    expect([set.epoch, set.flushedOffset]).toEqual([77, 9]);
  });
});
