/**
 * What every connection received: counts, gaps, duplicates and order, in typed arrays by connection.
 *
 * Guarantees: exact. A number that comes after a later one is `late` where it was missing and a duplicate where it was
 *   not; the set of missing numbers exists only on connections that miss something.
 */
export interface OrderTotals {
  /** Messages received, duplicates included. */
  readonly receivedCount: number;
  readonly duplicateCount: number;
  /** Messages that came after a later one of the same connection. */
  readonly backwardCount: number;
  /** Fewest and most distinct messages of a connection. */
  readonly minPerConnection: number;
  readonly maxPerConnection: number;
}

export class OrderTally {
  readonly #received: Float64Array;
  readonly #next: Float64Array;
  readonly #duplicates: Float64Array;
  readonly #missing = new Map<number, Set<number>>();
  #backwardCount = 0;

  constructor(connectionCount: number) {
    this.#received = new Float64Array(connectionCount);
    this.#next = new Float64Array(connectionCount);
    this.#duplicates = new Float64Array(connectionCount);
  }

  reset(): void {
    this.#received.fill(0);
    this.#next.fill(0);
    this.#duplicates.fill(0);
    this.#missing.clear();
    this.#backwardCount = 0;
  }

  /** Connection `slot` received message `number`. */
  add(slot: number, number: number): void {
    this.#received[slot]! += 1;
    const next = this.#next[slot]!;
    if (number === next) this.#next[slot] = next + 1;
    else this.#outOfTurn(slot, number, next);
  }

  /** Connection `slot` received a message whose number nobody read (no verification). */
  addUnread(slot: number): void {
    this.#received[slot]! += 1;
  }

  totals(): OrderTotals {
    let receivedCount = 0;
    let duplicateCount = 0;
    let minPerConnection = Number.POSITIVE_INFINITY;
    let maxPerConnection = 0;
    for (let slot = 0; slot < this.#received.length; slot++) {
      const received = this.#received[slot]!;
      const duplicates = this.#duplicates[slot]!;
      receivedCount += received;
      duplicateCount += duplicates;
      minPerConnection = Math.min(minPerConnection, received - duplicates);
      maxPerConnection = Math.max(maxPerConnection, received - duplicates);
    }
    return { receivedCount, duplicateCount, backwardCount: this.#backwardCount, minPerConnection, maxPerConnection };
  }

  #outOfTurn(slot: number, number: number, next: number): void {
    let missing = this.#missing.get(slot);
    if (number > next) {
      if (missing === undefined) {
        missing = new Set();
        this.#missing.set(slot, missing);
      }
      for (let gap = next; gap < number; gap++) missing.add(gap);
      this.#next[slot] = number + 1;
    } else if (missing?.delete(number) === true) {
      this.#backwardCount += 1;
    } else {
      this.#duplicates[slot]! += 1;
    }
  }
}
