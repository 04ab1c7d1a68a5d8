/**
 * Rows of Float64 cells in shared memory, one row per thread: the ground under counters and histograms.
 *
 * Threads: a row is written by its owner only, with plain stores, and read by anyone, with plain loads.
 * Guarantees: a reader sees for each cell some value that its owner wrote, never half of one. ECMAScript does not promise
 *   that for Float64; the machines do: an aligned 8-byte load or store is one access on x64 (Intel SDM 3A, "Guaranteed
 *   Atomic Operations") and on ARMv8 (ARM ARM, "Single-copy atomicity"), V8 emits exactly one for
 *   a Float64Array there, and cells are aligned to 8 bytes. Elsewhere (uWebSockets.js also has a binary for 32-bit ARM)
 *   nothing promises it, so allocateRows refuses. shared-rows.test.ts races a writer against a reader.
 *   Atomics on two Int32 halves would promise it anywhere, at the price of a lock prefix per count and of a torn pair; a
 *   BigInt64 cell would allocate. A value is exact up to 2^53. A reader may be late by what its core has not seen yet; cells
 *   are not read at one instant, so sums of several cells are approximate while their owners run.
 * Layout: counters.layout.ts
 */
import { HalleyError } from '../errors/index.js';
import { rowStrideCells, rowsBytes } from './counters.layout.js';

/** Plain data around shared memory: send it to a worker as it is, both sides then see the same cells. */
export interface SharedRows {
  readonly buffer: SharedArrayBuffer;
  readonly cellCount: number;
  readonly threadCount: number;
}

/** Machines on which an aligned 8-byte access is one access. */
const WHOLE_ACCESS_ARCHS: readonly string[] = ['x64', 'arm64'];

/**
 * Zeroed rows for `threadCount` threads (1 or more) of `cellCount` cells each.
 *
 * @throws HalleyError `UNSUPPORTED_ARCH` on a machine where a reader could see half a value
 */
export function allocateRows(cellCount: number, threadCount: number, arch: string = process.arch): SharedRows {
  if (!WHOLE_ACCESS_ARCHS.includes(arch)) {
    throw new HalleyError(
      'UNSUPPORTED_ARCH',
      `counters in shared memory need one of ${WHOLE_ACCESS_ARCHS.join(', ')}`,
      {
        arch,
      },
    );
  }
  if (!Number.isInteger(threadCount) || threadCount < 1) {
    throw new HalleyError('BAD_THREAD_COUNT', 'threadCount must be an integer of 1 or more', { threadCount });
  }
  return { buffer: new SharedArrayBuffer(rowsBytes(cellCount, threadCount)), cellCount, threadCount };
}

/** A view of the row of thread `threadIndex` (0 to threadCount - 1), without copying. */
export function rowView(rows: SharedRows, threadIndex: number): Float64Array {
  const { buffer, cellCount, threadCount } = rows;
  if (!Number.isInteger(threadIndex) || threadIndex < 0 || threadIndex >= threadCount) {
    throw new HalleyError('BAD_THREAD_INDEX', `threadIndex must be an integer of 0 to ${threadCount - 1}`, {
      threadIndex,
    });
  }
  const strideBytes = rowStrideCells(cellCount) * Float64Array.BYTES_PER_ELEMENT;
  return new Float64Array(buffer, threadIndex * strideBytes, cellCount);
}
