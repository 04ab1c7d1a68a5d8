/**
 * Questions that go out a few at a time. A node answers those of one connection one after the other and closes a connection on
 * which too many wait: a client with 1,000 rooms behind must not ask 1,000 times at once.
 *
 * Guarantees: in the order given, at most `maxCount` under way. One that is given up counts no longer: whoever gives it up has
 * heard that its answer is lost, or wants it no more.
 */

/** Asks, calls `settled` when that is over, and returns what gives the question up quietly. */
export type Ask = (settled: () => void) => () => void;

export class QuestionQueue {
  readonly #maxCount: number;
  readonly #isOpen: () => boolean;
  /** A Set keeps the order in which its members were added. */
  readonly #waiting = new Set<() => void>();
  #underWayCount = 0;

  /** @param isOpen false: nothing can be asked now */
  constructor(maxCount: number, isOpen: () => boolean) {
    this.#maxCount = maxCount;
    this.#isOpen = isOpen;
  }

  /** @returns gives it up, whether it has been asked or not; harmless when it is over */
  add(ask: Ask): () => void {
    let isOver = false;
    let cancel = () => {};
    const settled = () => {
      if (isOver) return;
      isOver = true;
      // One that was given up while it waited has never counted.
      if (this.#waiting.delete(begin)) return;
      this.#underWayCount -= 1;
      this.#next();
    };
    const begin = () => {
      cancel = ask(settled);
    };
    this.#waiting.add(begin);
    this.#next();
    return () => {
      cancel();
      settled();
    };
  }

  /** The connection ended: what has not been asked will not be. What has been is settled by whoever was asked. */
  clear(): void {
    this.#waiting.clear();
  }

  #next(): void {
    for (const begin of this.#waiting) {
      if (this.#underWayCount >= this.#maxCount || !this.#isOpen()) return;
      this.#waiting.delete(begin);
      this.#underWayCount += 1;
      begin();
    }
  }
}
