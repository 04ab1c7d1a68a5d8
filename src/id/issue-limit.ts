/**
 * The issue limit of a node whose ids stand on several promises: the earliest one counts. In a cluster these are the
 * high-water mark on disk (no earlier process of this data directory) and the lease of the machine ids (no other node).
 *
 * Threads: the control thread.
 * Guarantees: no ids before every promise has been made; one that is withdrawn (-Infinity) stops them at once.
 */
import { HalleyError } from '../errors/index.js';
import { setIssueLimitMs } from './snowflake-memory.js';

export class IssueLimit<Promise extends string> {
  readonly #memory: SharedArrayBuffer;
  readonly #limitMsByPromise: Map<Promise, number>;

  /** @param memory made by allocateSnowflake; its issue limit belongs to this object @param promises all there will be */
  constructor(memory: SharedArrayBuffer, promises: readonly Promise[]) {
    if (promises.length === 0) throw new HalleyError('ID_BAD_OPTION', 'ids stand on at least one promise');
    this.#memory = memory;
    this.#limitMsByPromise = new Map(promises.map((promise) => [promise, Number.NEGATIVE_INFINITY]));
  }

  /** What the keeper of a promise calls with the wall clock ms that ids must lie before; -Infinity: none may be drawn. */
  setterOf(promise: Promise): (limitMs: number) => void {
    return (limitMs) => {
      this.#limitMsByPromise.set(promise, limitMs);
      setIssueLimitMs(this.#memory, Math.min(...this.#limitMsByPromise.values()));
    };
  }
}
