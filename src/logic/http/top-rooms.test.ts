import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { topRooms } from './top-rooms.js';

describe('topRooms', () => {
  it('is the beginning of the sorted list, for any rooms and any limit', () => {
    const rooms = fc.uniqueArray(
      fc.record({ room: fc.stringMatching(/^(a|b|ab):\/\/[0-9]{1,3}$/), count: fc.integer({ min: 1, max: 20 }) }),
      { selector: (one) => one.room, maxLength: 200 },
    );
    fc.assert(
      fc.property(rooms, fc.integer({ min: 1, max: 220 }), (all, limit) => {
        const sorted = all.sort((x, y) => y.count - x.count || (x.room < y.room ? -1 : 1));
        expect(topRooms(all, limit)).toEqual(sorted.slice(0, limit));
      }),
    );
  });

  it('lets the loop turn while it looks at very many, and finds the same', async () => {
    const all = Array.from({ length: 50_000 }, (_, index) => ({
      room: `a://${index}`,
      count: (index * 7919) % 50_021,
    }));
    let turnCount = 0;
    const counting = setInterval(() => {
      turnCount += 1;
    }, 0);
    const found = await topRooms(all, 20);
    clearInterval(counting);
    expect(found).toEqual([...all].sort((x, y) => y.count - x.count).slice(0, 20));
    expect(turnCount).toBeGreaterThan(0);
  });
});
