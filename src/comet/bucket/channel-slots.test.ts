import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Channel, type ChannelOwner } from './channel.js';
import { ChannelSlots } from './channel-slots.js';

const channel = () => new Channel({} as ChannelOwner);

describe('connection ids', () => {
  it('find their channel, until it is gone', () => {
    const slots = new ChannelSlots(10, 0);
    const [first, second] = [channel(), channel()];
    slots.add(first);
    slots.add(second);
    const connId = slots.connIdOf(second);
    expect([slots.byConnId(connId), slots.at(second.slot), slots.count]).toEqual([second, second, 2]);
    slots.remove(second);
    expect([slots.byConnId(connId), slots.at(1), second.slot, slots.count]).toEqual([undefined, undefined, -1, 1]);
  });

  it('are new when a slot is used again, so an old id never names the new channel', () => {
    const slots = new ChannelSlots(1, 0);
    const seen = new Set<number>();
    for (let i = 0; i < 100; i++) {
      const each = channel();
      slots.add(each);
      expect(each.slot).toBe(0);
      const connId = slots.connIdOf(each);
      for (const old of seen) expect(slots.byConnId(old)).toBeUndefined();
      expect(slots.byConnId(connId)).toBe(each);
      seen.add(connId);
      slots.remove(each);
    }
    expect([seen.size, slots.slotCount, slots.lastSerial]).toEqual([100, 1, 100]);
  });

  it('differ between the incarnations of a bucket and stay safe integers in the last one', () => {
    const ids = [0, 1, 2, 511].map((incarnation) => {
      const slots = new ChannelSlots(2 ** 20, incarnation);
      const each = channel();
      slots.add(each);
      return slots.connIdOf(each);
    });
    expect(new Set(ids).size).toBe(ids.length);
    expect(Number.isSafeInteger(ids.at(-1)! + 2 ** 20)).toBe(true);
  });
});

describe('the table', () => {
  it('refuses a channel above its capacity and takes one again when a slot is free', () => {
    const slots = new ChannelSlots(2, 0);
    const held = [channel(), channel()];
    for (const each of held) expect(slots.add(each)).toBe(true);
    const late = channel();
    expect([slots.add(late), late.slot, slots.count]).toEqual([false, -1, 2]);
    slots.remove(held[0]!);
    expect(slots.add(late)).toBe(true);
  });

  it('is left alone by the removal of a channel that is not in it', () => {
    const slots = new ChannelSlots(2, 0);
    const each = channel();
    slots.add(each);
    slots.remove(channel());
    slots.remove(each);
    slots.remove(each);
    expect([slots.count, [...slots.all()]]).toEqual([0, []]);
    expect(slots.add(channel())).toBe(true);
    expect(slots.add(channel())).toBe(true);
    expect(slots.add(channel())).toBe(false);
  });

  it('agrees with a set over random churn, and no id comes twice', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 200, size: 'max' }), (draws) => {
        const slots = new ChannelSlots(6, 3);
        const present: Channel[] = [];
        const seen = new Set<number>();
        for (const draw of draws) {
          if (draw < 6) {
            const each = channel();
            expect(slots.add(each)).toBe(present.length < 6);
            if (each.slot < 0) continue;
            expect(seen.has(slots.connIdOf(each))).toBe(false);
            seen.add(slots.connIdOf(each));
            present.push(each);
          } else {
            const [gone] = present.splice(draw % Math.max(1, present.length), 1);
            if (gone !== undefined) slots.remove(gone);
          }
          expect(new Set(slots.all())).toEqual(new Set(present));
          expect(slots.count).toBe(present.length);
        }
        expect(slots.slotCount).toBeLessThanOrEqual(6);
      }),
      { numRuns: 40 },
    );
  });
});
