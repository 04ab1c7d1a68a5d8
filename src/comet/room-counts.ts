/**
 * Members of every room per thread, in shared memory: what heartbeats answer with and what `online/*` reads, right after
 * churn and without a message between threads.
 *
 * Threads: a cell is written by its own thread only (the control thread clears the column of a dead one); anyone reads.
 * Layout: Int32 cells, row = room number, column = thread index; row 0 is unused. Untouched rows cost address space only.
 */
const CELL_BYTES = 4;

/** Memory for `roomCapacity` rooms (numbers 1 to roomCapacity) and `threadCount` threads. */
export function allocateRoomCounts(roomCapacity: number, threadCount: number): SharedArrayBuffer {
  return new SharedArrayBuffer((roomCapacity + 1) * threadCount * CELL_BYTES);
}

export class RoomCounts {
  readonly #cells: Int32Array;
  readonly #threadCount: number;

  constructor(memory: SharedArrayBuffer, threadCount: number) {
    this.#cells = new Int32Array(memory);
    this.#threadCount = threadCount;
  }

  /** Set the number of members that `thread` has in the room. Pairs with the loads in total(). */
  set(roomNo: number, thread: number, count: number): void {
    Atomics.store(this.#cells, roomNo * this.#threadCount + thread, count);
  }

  /** Members of the room on this node. */
  total(roomNo: number): number {
    let sum = 0;
    const start = roomNo * this.#threadCount;
    for (let cell = start; cell < start + this.#threadCount; cell++) sum += Atomics.load(this.#cells, cell);
    return sum;
  }
}
