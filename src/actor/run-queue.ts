/**
 * The actors of one thread that have something to receive, in the order in which they got it.
 *
 * Threads: one.
 * Guarantees: fair: an actor receives a bounded number of messages before the next one does, and a turn is bounded too.
 * Hot path: two arrays that swap; nothing is allocated per actor or message.
 */
import type { ActorCell } from './actor-cell.js';

/** Messages that one actor receives before the next actor of the same turn. */
const MAX_MESSAGES_PER_ACTOR = 64;
/** Messages that all actors together receive in one turn. */
const MAX_MESSAGES_PER_TURN = 2048;

export class RunQueue {
  #ready: ActorCell[];
  #spare: ActorCell[];
  #halted: boolean;

  constructor() {
    this.#ready = [];
    this.#spare = [];
    this.#halted = false;
  }

  get isEmpty(): boolean {
    return this.#halted || this.#ready.length === 0;
  }

  push(cell: ActorCell): void {
    this.#ready.push(cell);
  }

  /** Run nothing more, also in the midst of run(). */
  halt(): void {
    this.#halted = true;
  }

  /** One turn. */
  run(): void {
    let left = MAX_MESSAGES_PER_TURN;
    while (left > 0 && !this.isEmpty) {
      const batch = this.#ready;
      this.#ready = this.#spare;
      let index = 0;
      while (index < batch.length && left > 0 && !this.#halted) left -= batch[index++]!.run(MAX_MESSAGES_PER_ACTOR);
      // Cells that had no turn go to the front: they waited longer than those that were scheduled meanwhile.
      if (index < batch.length) this.#ready = batch.slice(index).concat(this.#ready);
      batch.length = 0;
      this.#spare = batch;
    }
  }
}
