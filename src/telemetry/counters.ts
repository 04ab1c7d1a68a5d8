/**
 * Counters and gauges in shared memory: written by the thread they count, read by whoever asks (the HTTP API, a test).
 *
 * Threads: one `ThreadCounters` per row, made and used by the row's owner; `read...` from any thread at any time;
 *   `clearGauges` by the owner, or by the supervisor once the owner has ended.
 * Guarantees: no lock, no message, no loss; see shared-rows.ts for why a reader never sees half a value. A thread that takes
 *   over the row of a dead one goes on counting where that one stopped: counters never go back while the process lives.
 * Hot path: add and set; no allocation (hot-path.test.ts holds the budget).
 */
import type { Metric, MetricRow } from './metrics.js';
import { allocateRows, rowView, type SharedRows } from './shared-rows.js';

/** The counters of all threads and the table that names them. Plain data: hand it to workers as it is. */
export interface CounterMemory<Name extends string = string> {
  readonly rows: SharedRows;
  readonly metrics: readonly MetricRow<Name>[];
}

/** Memory for `metrics` (METRICS, or an application's own table) of `threadCount` threads (1 or more), all zero. */
export function allocateCounters<Name extends string>(
  metrics: readonly MetricRow<Name>[],
  threadCount: number,
): CounterMemory<Name> {
  return { rows: allocateRows(metrics.length, threadCount), metrics };
}

/** One thread's own row. */
export class ThreadCounters {
  readonly #cells: Float64Array;

  /**
   * @param threadIndex 0 to threadCount - 1; no two living threads may use the same. Gauges that a former owner left are
   *   set to 0, counters go on.
   */
  constructor(memory: CounterMemory, threadIndex: number) {
    this.#cells = rowView(memory.rows, threadIndex);
    clearGauges(memory, threadIndex);
  }

  /** Add `n`, which may be negative for a gauge. */
  add(metric: Metric, n: number): void {
    this.#cells[metric] = (this.#cells[metric] as number) + n;
  }

  /** Set a gauge. */
  set(metric: Metric, value: number): void {
    this.#cells[metric] = value;
  }

  /** This thread's own value. */
  get(metric: Metric): number {
    return this.#cells[metric] as number;
  }
}

/** Set the gauges of one row to 0. Its owner must be the caller, or have ended. */
export function clearGauges(memory: CounterMemory, threadIndex: number): void {
  const cells = rowView(memory.rows, threadIndex);
  for (const [index, metric] of memory.metrics.entries()) {
    if (metric.kind === 'gauge') cells[index] = 0;
  }
}

/** The values of one thread, copied. */
export function readThread<Name extends string>(
  memory: CounterMemory<Name>,
  threadIndex: number,
): Record<Name, number> {
  const cells = rowView(memory.rows, threadIndex);
  return valuesOf(memory, (_metric, index) => cells[index] as number);
}

/** The values of the node, copied: per metric the sum over all threads, or the largest, as its table row says. */
export function readTotals<Name extends string>(memory: CounterMemory<Name>): Record<Name, number> {
  const views = Array.from({ length: memory.rows.threadCount }, (_, threadIndex) => rowView(memory.rows, threadIndex));
  return valuesOf(memory, (metric, index) => totalOf(metric, views, index));
}

function valuesOf<Name extends string>(
  { metrics }: CounterMemory<Name>,
  read: (metric: MetricRow<Name>, index: number) => number,
): Record<Name, number> {
  return Object.fromEntries(metrics.map((metric, index) => [metric.name, read(metric, index)])) as Record<Name, number>;
}

function totalOf(metric: MetricRow, views: readonly Float64Array[], index: number): number {
  let total = 0;
  for (const cells of views) {
    const value = cells[index] as number;
    total = metric.total === 'sum' ? total + value : Math.max(total, value);
  }
  return total;
}
