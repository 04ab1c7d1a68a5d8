import { expect, it } from 'vitest';
import { allocateRoomCounts, RoomCounts } from './room-counts.js';

it('adds the members that every thread has in a room, whoever asks', () => {
  const memory = allocateRoomCounts(3, 4);
  const buckets = [1, 2, 3].map(() => new RoomCounts(memory, 4));
  for (const [index, counts] of buckets.entries()) {
    for (let roomNo = 1; roomNo <= 3; roomNo++) counts.set(roomNo, index + 1, roomNo * 10 ** index);
  }
  const control = new RoomCounts(memory, 4);
  expect([1, 2, 3].map((roomNo) => control.total(roomNo))).toEqual([111, 222, 333]);
  control.set(2, 3, 0);
  expect([1, 2, 3].map((roomNo) => buckets[0]?.total(roomNo))).toEqual([111, 22, 333]);
});

it('has a cell for the last room of the last thread, and none of its own for room 0', () => {
  const counts = new RoomCounts(allocateRoomCounts(2, 32), 32);
  counts.set(2, 31, 7);
  expect([counts.total(0), counts.total(1), counts.total(2)]).toEqual([0, 0, 7]);
});
