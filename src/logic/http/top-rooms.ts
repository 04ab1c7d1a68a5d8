/**
 * top-rooms: the fullest rooms of one type, without sorting all of them: a node may hold a hundred thousand rooms, and this
 * runs on the control thread between pushes.
 *
 * Source: selection with a bounded min-heap, O(rooms * log limit).
 */
import type { RoomCount } from '../../push/index.js';

/** True where `a` ranks behind `b`: fewer members, or as many and a later name, so that the answer is always the same. */
function isBehind(a: RoomCount, b: RoomCount): boolean {
  return a.count !== b.count ? a.count < b.count : a.room > b.room;
}

/** Restore the heap (the last-ranked room on top) after `heap[0]` was replaced. */
function siftDown(heap: RoomCount[]): void {
  for (let parent = 0; ; ) {
    let last = parent;
    for (const child of [2 * parent + 1, 2 * parent + 2]) {
      if (child < heap.length && isBehind(heap[child] as RoomCount, heap[last] as RoomCount)) last = child;
    }
    if (last === parent) return;
    [heap[parent], heap[last]] = [heap[last] as RoomCount, heap[parent] as RoomCount];
    parent = last;
  }
}

function siftUp(heap: RoomCount[]): void {
  for (let child = heap.length - 1; child > 0; ) {
    const parent = (child - 1) >> 1;
    if (!isBehind(heap[child] as RoomCount, heap[parent] as RoomCount)) return;
    [heap[parent], heap[child]] = [heap[child] as RoomCount, heap[parent] as RoomCount];
    child = parent;
  }
}

/**
 * @param prefix rooms whose id begins with it, `type://`
 * @param limitCount 1 or more
 * @returns full room ids, the fullest first, equal ones by name
 */
export function topRooms(rooms: Iterable<RoomCount>, prefix: string, limitCount: number): RoomCount[] {
  const heap: RoomCount[] = [];
  for (const room of rooms) {
    if (!room.room.startsWith(prefix)) continue;
    if (heap.length < limitCount) {
      heap.push(room);
      siftUp(heap);
    } else if (isBehind(heap[0] as RoomCount, room)) {
      heap[0] = room;
      siftDown(heap);
    }
  }
  return heap.sort((a, b) => (isBehind(a, b) ? 1 : -1));
}
