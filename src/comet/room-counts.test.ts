import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
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

it('keeps the members on other nodes apart: in the total, not in the local one', () => {
  const memory = allocateRoomCounts(2, 3);
  const control = new RoomCounts(memory, 3);
  const bucket = new RoomCounts(memory, 3);
  bucket.set(1, 1, 2);
  bucket.set(1, 2, 3);
  control.setRemote(1, 100);
  expect([bucket.total(1), bucket.localTotal(1), control.localTotal(1), control.total(2)]).toEqual([105, 5, 5, 0]);
  control.setRemote(1, 0);
  expect(bucket.total(1)).toBe(5);
});

describe('takeChanged', () => {
  const takeAll = (counts: RoomCounts, maxCount = Number.POSITIVE_INFINITY) => {
    const taken: number[] = [];
    const count = counts.takeChanged(maxCount, (roomNo) => taken.push(roomNo));
    expect(count).toBe(taken.length);
    return taken.sort((a, b) => a - b);
  };

  it('names every room whose members changed, once, and none that others have', () => {
    const counts = new RoomCounts(allocateRoomCounts(100, 3), 3);
    for (const roomNo of [1, 31, 32, 63, 100]) counts.set(roomNo, 1, 1);
    counts.set(31, 2, 1);
    counts.set(5, 1, 0);
    counts.setRemote(7, 9);
    expect(takeAll(counts)).toEqual([1, 31, 32, 63, 100]);
    expect(takeAll(counts)).toEqual([]);
    counts.set(100, 1, 0);
    expect(takeAll(counts)).toEqual([100]);
  });

  it('loses no change whatever the limits, and the last one visited is the one that stands', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ roomNo: fc.integer({ min: 1, max: 90 }), count: fc.integer({ min: 0, max: 3 }) }),
        fc.record({ maxCount: fc.integer({ min: 1, max: 40 }) }),
      ),
      { maxLength: 120 },
    );
    fc.assert(
      fc.property(steps, (all) => {
        const counts = new RoomCounts(allocateRoomCounts(90, 2), 2);
        const seen = new Map<number, number>();
        const visit = (roomNo: number) => seen.set(roomNo, counts.localTotal(roomNo));
        const model = new Map<number, number>();
        for (const step of all) {
          if ('maxCount' in step) {
            expect(counts.takeChanged(step.maxCount, visit)).toBeLessThan(step.maxCount + 32);
          } else {
            counts.set(step.roomNo, 1, step.count);
            model.set(step.roomNo, step.count);
          }
        }
        counts.takeChanged(Number.POSITIVE_INFINITY, visit);
        for (const [roomNo, count] of model) expect(seen.get(roomNo) ?? 0).toBe(count);
      }),
    );
  });
});
