/**
 * Members of every room per thread, in shared memory: what heartbeats answer with and what `online/*` reads, right after
 * churn and without a message between threads. In a cluster the control thread's column holds the members on other nodes.
 *
 * Threads: a cell is written by its own thread only (the control thread clears the column of a dead one); anyone reads.
 *   `takeChanged` is the control thread's.
 * Layout: Int32 words. 16 of header, the first is the number of rows; cells, row = room number, column = thread index, row 0
 *   unused; then a bit per row, set when a bucket changes a cell of it. Untouched rows cost address space only.
 */
const HEADER_WORDS = 16;
const BITS_PER_WORD = 32;
/** No thread of clients: its column is free for what other nodes have. */
const REMOTE_COLUMN = 0;

/** Memory for `roomCapacity` rooms (numbers 1 to roomCapacity) and `threadCount` threads. */
export function allocateRoomCounts(roomCapacity: number, threadCount: number): SharedArrayBuffer {
  const rowCount = roomCapacity + 1;
  const wordCount = HEADER_WORDS + rowCount * threadCount + Math.ceil(rowCount / BITS_PER_WORD);
  const memory = new SharedArrayBuffer(wordCount * Int32Array.BYTES_PER_ELEMENT);
  new Int32Array(memory)[0] = rowCount;
  return memory;
}

export class RoomCounts {
  readonly #cells: Int32Array<SharedArrayBuffer>;
  readonly #changed: Int32Array<SharedArrayBuffer>;
  readonly #threadCount: number;
  /** Where the next takeChanged begins, so that low numbers are not always first. */
  #nextWord = 0;

  constructor(memory: SharedArrayBuffer, threadCount: number) {
    const rowCount = new Int32Array(memory)[0] as number;
    const cellsOffset = HEADER_WORDS * Int32Array.BYTES_PER_ELEMENT;
    const cellCount = rowCount * threadCount;
    this.#cells = new Int32Array(memory, cellsOffset, cellCount);
    this.#changed = new Int32Array(memory, cellsOffset + cellCount * Int32Array.BYTES_PER_ELEMENT);
    this.#threadCount = threadCount;
  }

  /** Set the number of members that `thread`, a bucket's, has in the room. Pairs with the loads in total(). */
  set(roomNo: number, thread: number, count: number): void {
    const cell = roomNo * this.#threadCount + thread;
    if (Atomics.load(this.#cells, cell) === count) return;
    Atomics.store(this.#cells, cell, count);
    const bit = 1 << (roomNo % BITS_PER_WORD);
    const word = Math.floor(roomNo / BITS_PER_WORD);
    // Behind the store; pairs with the exchange in takeChanged. A bit that is set already will be taken later than this store.
    if ((Atomics.load(this.#changed, word) & bit) === 0) Atomics.or(this.#changed, word, bit);
  }

  /** Members of the room on other nodes, as far as this one knows. Control thread. */
  setRemote(roomNo: number, count: number): void {
    Atomics.store(this.#cells, roomNo * this.#threadCount + REMOTE_COLUMN, count);
  }

  /** Members of the room in the whole cluster. */
  total(roomNo: number): number {
    return this.#sum(roomNo, REMOTE_COLUMN);
  }

  /** Members of the room on this node. */
  localTotal(roomNo: number): number {
    return this.#sum(roomNo, REMOTE_COLUMN + 1);
  }

  /**
   * Visit rooms whose members on this node have changed since they were visited last: at least `maxCount` of them, at most 31
   * more, or all there are. Costs a look at every word of 32 room numbers, and the changes.
   *
   * @returns how many were visited
   */
  takeChanged(maxCount: number, visit: (roomNo: number) => void): number {
    const words = this.#changed;
    let count = 0;
    for (let step = 0; step < words.length && count < maxCount; step++) {
      const word = this.#nextWord;
      this.#nextWord = word + 1 === words.length ? 0 : word + 1;
      if (Atomics.load(words, word) === 0) continue;
      let bits = Atomics.exchange(words, word, 0);
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits);
        bits &= ~(1 << bit);
        visit(word * BITS_PER_WORD + bit);
        count += 1;
      }
    }
    return count;
  }

  #sum(roomNo: number, firstColumn: number): number {
    let sum = 0;
    const start = roomNo * this.#threadCount;
    for (let cell = start + firstColumn; cell < start + this.#threadCount; cell++)
      sum += Atomics.load(this.#cells, cell);
    return sum;
  }
}
