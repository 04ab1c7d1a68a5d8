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
        const sorted = all
          .filter((one) => one.room.startsWith('a://'))
          .sort((x, y) => y.count - x.count || (x.room < y.room ? -1 : 1));
        expect(topRooms(all, 'a://', limit)).toEqual(sorted.slice(0, limit));
      }),
    );
  });
});
