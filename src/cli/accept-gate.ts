/**
 * Keeps buckets alike: one that holds more than a ratio of the mean stops accepting until the others have caught up, so
 * a fresh bucket fills up again after a crash.
 *
 * Threads: control thread writes, buckets read their own cell once a second.
 */
const SMALL_COUNT = 200;

/** One Int32 per thread. */
export function allocateAcceptGate(threadCount: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threadCount * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * Set the gates from the buckets' channel counts (index = thread; undefined = not up).
 * A bucket that is alone stays open whatever it holds.
 */
export function setAcceptGates(
  memory: SharedArrayBuffer,
  channelCounts: readonly (number | undefined)[],
  aboveMeanRatio: number,
): void {
  const gates = new Int32Array(memory);
  const up = channelCounts.filter((count) => count !== undefined);
  const mean = up.reduce((sum, count) => sum + count, 0) / Math.max(1, up.length);
  for (const [thread, count] of channelCounts.entries()) {
    const closed = up.length > 1 && count !== undefined && count > mean * aboveMeanRatio && count - mean > SMALL_COUNT;
    // Pairs with the load in the bucket's tick.
    Atomics.store(gates, thread, closed ? 1 : 0);
  }
}
