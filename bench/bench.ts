/**
 * What every bench file exports, and the two helpers they share. `bench/run.mjs` bundles each `*.bench.ts`, calls its
 * `run`, prints one table and writes bench/results/*.json with machine, commit and flags.
 */
import { Bench } from 'tinybench';

export interface BenchRow {
  readonly name: string;
  readonly opsPerSec: number;
  /** Mean time per operation in nanoseconds, all threads' waiting included (drained before the clock stops). */
  readonly nsPerOp: number;
  readonly p50Ns?: number;
  readonly p99Ns?: number;
  readonly bytesPerOp?: number;
  /** "3.4x ring batch" and the like: the ratio to another row of the same run. */
  readonly note?: string;
}

export interface BenchResult {
  readonly title: string;
  /** The question it answers, topology, message size, cores required, competitor. */
  readonly topology: string;
  readonly rows: readonly BenchRow[];
}

export interface BenchOptions {
  /** True in CI: a smoke of a few hundred milliseconds a row; its figures are not quoted. */
  readonly quick: boolean;
}

export type RunBench = (options: BenchOptions) => Promise<BenchResult>;

/** Throw unless `condition`: a bench proves that its result is right before it reports a time. */
export function assertResult(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`bench result is wrong: ${what}`);
}

/**
 * Time `work`, which performs `operations` operations, over `rounds` rounds with tinybench and keep the median as one row.
 * Rounds that a bench needs before that (compilers, caches) are its own; every call of `work` is a counted one.
 */
export async function measureRounds(
  name: string,
  operations: number,
  rounds: number,
  work: () => void | Promise<void>,
): Promise<BenchRow> {
  const bench = new Bench({ iterations: rounds, time: 0, warmup: false, throws: true, timestampProvider: 'hrtimeNow' });
  // Told, not probed: tinybench would call an unknown function once to see whether it returns a promise.
  bench.add(name, work, { async: true });
  const [task] = await bench.run();
  const result = task?.result;
  if (result === undefined || !('latency' in result)) throw new Error(`${name} was not measured: ${result?.state}`);
  const nsPerOp = (result.latency.p50 * 1e6) / operations;
  return { name, nsPerOp, opsPerSec: 1e9 / nsPerOp };
}
