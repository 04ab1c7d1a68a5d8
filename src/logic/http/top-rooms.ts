/**
 * top-rooms: the fullest rooms, without sorting all of them: a cluster may hold hundreds of thousands, and this runs on the
 * control thread between pushes. Of very many rooms it looks at some per turn of the loop.
 *
 * Source: selection with a bounded min-heap, O(rooms * log limit).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MaybePromise, RoomCount } from '../../push/index.js';

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

/** Keeps the first `limitCount` of all rooms it is shown. */
class Ranking {
  readonly #limitCount: number;
  readonly #heap: RoomCount[] = [];

  constructor(limitCount: number) {
    this.#limitCount = limitCount;
  }

  add(room: RoomCount): void {
    const heap = this.#heap;
    if (heap.length < this.#limitCount) {
      heap.push(room);
      siftUp(heap);
    } else if (isBehind(heap[0] as RoomCount, room)) {
      heap[0] = room;
      siftDown(heap);
    }
  }

  /** The fullest first. The ranking is used up. */
  sorted(): RoomCount[] {
    return this.#heap.sort((a, b) => (isBehind(a, b) ? 1 : -1));
  }
}

/** Rooms looked at in one turn of the loop, so that pushes go on in between. */
const ROOMS_PER_TURN = 8_192;

/**
 * @param rooms an iterator that may be used over several turns of the loop
 * @param limitCount 1 or more
 * @returns full room ids, the fullest first, equal ones by name; at once where one turn is enough for all rooms
 */
export function topRooms(rooms: Iterable<RoomCount>, limitCount: number): MaybePromise<RoomCount[]> {
  const ranking = new Ranking(limitCount);
  const iterator = rooms[Symbol.iterator]();
  return rankTurn(iterator, ranking) ? ranking.sorted() : rankRest(iterator, ranking);
}

/** True: those were all. */
function rankTurn(iterator: Iterator<RoomCount>, ranking: Ranking): boolean {
  for (let room = 0; room < ROOMS_PER_TURN; room++) {
    const next = iterator.next();
    if (next.done === true) return true;
    ranking.add(next.value);
  }
  return false;
}

async function rankRest(iterator: Iterator<RoomCount>, ranking: Ranking): Promise<RoomCount[]> {
  do await nextTurn();
  while (!rankTurn(iterator, ranking));
  return ranking.sorted();
}
