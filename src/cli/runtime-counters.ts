/**
 * Copies what a thread's runtime and actor system count for themselves into the node's counters, once a second.
 *
 * They count from their own start, the shared counters go on over a bucket's restart: so growth is added, not values set.
 */
import type { ActorSystem, ThreadRuntime } from '../actor/index.js';
import type { DiscardCounter } from '../errors/index.js';
import { METRIC, type Metric, type ThreadCounters } from '../telemetry/index.js';

export interface CountedParts {
  readonly runtime: Pick<ThreadRuntime, 'stats'>;
  readonly system: Pick<ActorSystem, 'stats'>;
  readonly discards: readonly Pick<DiscardCounter, 'counts'>[];
}

export class RuntimeCounters {
  readonly #counters: ThreadCounters;
  readonly #parts: CountedParts;
  readonly #seen = new Map<Metric, number>();

  constructor(counters: ThreadCounters, parts: CountedParts) {
    this.#counters = counters;
    this.#parts = parts;
  }

  /** Add what has come since the last call. */
  sample(): void {
    const { runtime, system, discards } = this.#parts;
    const { types, deadLetters } = system.stats();
    this.#grow(METRIC.doorbells, runtime.stats().notified);
    this.#grow(METRIC.dead_letters, deadLetters);
    this.#grow(METRIC.actor_restarts, sum(Object.values(types).map(({ restarted }) => restarted)));
    this.#grow(METRIC.discarded, sum(discards.flatMap((counter) => Object.values(counter.counts()))));
  }

  /** For counts that are kept elsewhere in the same way. */
  grow(metric: Metric, total: number): void {
    this.#grow(metric, total);
  }

  #grow(metric: Metric, total: number): void {
    this.#counters.add(metric, total - (this.#seen.get(metric) ?? 0));
    this.#seen.set(metric, total);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
