/** Allocation budgets: what a piece of the hot path leaves on the heap. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const WARM_UP_ROUNDS = 20;
const MEASURED_ROUNDS = 10;

/**
 * Heap bytes per operation of `work`, which performs `operations` of them: the least of several rounds, since other work only
 * adds. Keep `operations` so few that what they could allocate fits into the young heap: a collection would hide it.
 */
export function allocatedBytesPer(operations: number, work: () => void): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let round = 0; round < WARM_UP_ROUNDS; round++) work();
  let leastBytes = Number.POSITIVE_INFINITY;
  for (let round = 0; round < MEASURED_ROUNDS; round++) {
    collect();
    const beforeBytes = process.memoryUsage().heapUsed;
    work();
    leastBytes = Math.min(leastBytes, process.memoryUsage().heapUsed - beforeBytes);
  }
  return leastBytes / operations;
}
