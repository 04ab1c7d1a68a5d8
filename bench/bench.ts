/**
 * What every bench file exports, and the two helpers they share. `bench/run.mjs` bundles each `*.bench.ts`, calls its
 * `run`, prints one table and writes bench/results/*.json with machine, commit and flags.
 */
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

export type Bench = (options: BenchOptions) => Promise<BenchResult>;

/** Throw unless `condition`: a bench proves that its result is right before it reports a time. */
export function assertResult(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`bench result is wrong: ${what}`);
}

/** Run `work` (which performs `operations` operations) `rounds` times and keep the median as one row. */
export async function measureRounds(
  name: string,
  operations: number,
  rounds: number,
  work: () => void | Promise<void>,
): Promise<BenchRow> {
  const nsPerOp: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const startedNs = process.hrtime.bigint();
    await work();
    nsPerOp.push(Number(process.hrtime.bigint() - startedNs) / operations);
  }
  nsPerOp.sort((a, b) => a - b);
  const median = nsPerOp[Math.floor(nsPerOp.length / 2)] ?? Number.NaN;
  return { name, nsPerOp: median, opsPerSec: 1e9 / median };
}
