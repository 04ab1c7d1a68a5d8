/**
 * A first-in first-out list in linked blocks. A plain array with `shift` moves every element; one with a head index keeps its
 * largest capacity for ever. Here an emptied block is garbage at once, so the memory of a burst returns when it has drained.
 *
 * Threads: one.
 */
const BLOCK_COUNT = 256;

interface Block<T> {
  readonly items: (T | undefined)[];
  next: Block<T> | undefined;
}

function emptyBlock<T>(): Block<T> {
  return { items: [], next: undefined };
}

export class Fifo<T> {
  #head: Block<T> = emptyBlock();
  #tail: Block<T> = this.#head;
  /** Index of the first item in the head block; what stands before it has been taken. */
  #headIndex = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  append(item: T): void {
    if (this.#tail.items.length === BLOCK_COUNT) {
      const block = emptyBlock<T>();
      this.#tail.next = block;
      this.#tail = block;
    }
    this.#tail.items.push(item);
    this.#count++;
  }

  /** The oldest item, left in place; undefined when empty. */
  peek(): T | undefined {
    return this.#head.items[this.#headIndex];
  }

  /** Forget the oldest item. Does nothing when empty. */
  removeFirst(): void {
    if (this.#count === 0) return;
    this.#count--;
    // The block lives on until its last item is taken: it must not keep the bodies of the first ones.
    this.#head.items[this.#headIndex] = undefined;
    this.#headIndex++;
    if (this.#count === 0) this.clear();
    else if (this.#headIndex === BLOCK_COUNT) {
      this.#head = this.#head.next as Block<T>;
      this.#headIndex = 0;
    }
  }

  clear(): void {
    this.#head = emptyBlock();
    this.#tail = this.#head;
    this.#headIndex = 0;
    this.#count = 0;
  }
}
