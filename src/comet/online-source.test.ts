import { describe, expect, it } from 'vitest';
import { CometOnlineSource } from './online-source.js';
import { allocateRoomCounts, RoomCounts } from './room-counts.js';

function setUp() {
  const counts = new RoomCounts(allocateRoomCounts(200, 2), 2);
  const numbers = new Map<string, number>();
  const roomNo = (room: string) => numbers.get(room) ?? 0;
  const source = new CometOnlineSource({
    comet: {
      roomCount: (room) => (roomNo(room) === 0 ? 0 : counts.localTotal(roomNo(room))),
      roomCounts: () => [],
      connectionCount: () => 0,
      ipCount: () => 0,
    },
    roomCounts: counts,
    roomNo,
  });
  const open = (room: string, no: number) => {
    numbers.set(room, no);
    source.roomOpened(room, no);
  };
  const take = (maxCount = 1_000) => {
    const taken: Record<string, number> = {};
    const result = source.takeChanges(maxCount, (room, count) => {
      taken[room] = count;
    });
    return { taken, result };
  };
  return { counts, numbers, source, open, take };
}

describe('what a comet tells of its rooms', () => {
  it('is the rooms that changed, with the number as it is when they are taken', () => {
    const { counts, open, take } = setUp();
    open('a', 1);
    open('b', 2);
    counts.set(1, 1, 1);
    counts.set(1, 1, 2);
    expect(take()).toEqual({ taken: { a: 2 }, result: 1 });
    expect(take()).toEqual({ taken: {}, result: 0 });
  });

  it('names a room that closed, also after its number went to another one', () => {
    const { counts, numbers, open, take } = setUp();
    open('a', 1);
    counts.set(1, 1, 3);
    take();
    counts.set(1, 1, 0);
    numbers.delete('a');
    open('b', 1);
    counts.set(1, 1, 5);
    expect(take().taken).toEqual({ a: 0, b: 5 });
  });

  it('counts a room that closed and opened again under another number', () => {
    const { counts, numbers, open, take } = setUp();
    open('a', 1);
    counts.set(1, 1, 3);
    take();
    counts.set(1, 1, 0);
    numbers.delete('a');
    open('b', 1);
    open('a', 2);
    counts.set(2, 1, 4);
    expect(take().taken).toMatchObject({ a: 4 });
  });

  it('comes in portions, none of which is lost', () => {
    const { counts, numbers, open, take } = setUp();
    for (let no = 1; no <= 100; no++) {
      open(`old${no}`, no);
      numbers.delete(`old${no}`);
      open(`new${no}`, no);
      counts.set(no, 1, no);
    }
    const all: Record<string, number> = {};
    for (let round = 0; round < 100; round++) Object.assign(all, take(10).taken);
    expect(Object.keys(all).length).toBe(200);
    expect(Object.values(all).reduce((sum, count) => sum + count)).toBe(5_050);
  });

  it('is everything anew where too many rooms came and went while nobody asked', () => {
    const { open, take } = setUp();
    for (let room = 0; room < 100_002; room++) open(`r${room}`, 1);
    expect(take().result).toBe('overflow');
    expect(take().result).toBe(0);
  });
});

describe('what a comet is told of other nodes', () => {
  it('stands in the shared counts while the room is open here, from the moment it opens', () => {
    const { counts, numbers, source, open } = setUp();
    source.onOpened((room) => (room === 'a' ? 10 : 0));
    source.setRemote('a', 9);
    open('a', 1);
    expect(counts.total(1)).toBe(10);
    source.setRemote('a', 11);
    expect([counts.total(1), counts.localTotal(1)]).toEqual([11, 0]);
    numbers.delete('a');
    open('b', 1);
    expect(counts.total(1)).toBe(0);
  });
});
