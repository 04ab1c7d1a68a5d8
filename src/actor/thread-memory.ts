/**
 * All shared memory of one node's threads, allocated once by the control thread and handed to every worker.
 */
import { HalleyError } from '../errors/index.js';
import { allocateDoorbells, allocateRing } from '../ring/index.js';
import { allocateCrashNote } from './crash-note.js';
import { allocateShapeTable } from './shape-table.js';
import { allocateThreadStates } from './thread-state.layout.js';

/** Plain data of SharedArrayBuffers: it may be posted to a worker as it is. Index i belongs to thread i. */
export interface ThreadMemory {
  readonly threadCount: number;
  /** Largest record of every ring. */
  readonly maxRecordBytes: number;
  readonly rings: readonly SharedArrayBuffer[];
  readonly shapes: readonly SharedArrayBuffer[];
  readonly doorbells: SharedArrayBuffer;
  readonly states: SharedArrayBuffer;
  /** What a thread died of, see CrashNote. */
  readonly notes: readonly SharedArrayBuffer[];
}

export interface ThreadMemoryOptions {
  /** Control thread included: 1 (no workers) to 32. */
  readonly threadCount: number;
  /** Of each worker's ring: a power of two, 64 KiB to 1 GiB. Default 4 MiB. */
  readonly ringCapacityBytes?: number;
  /** Of the control thread's ring, which carries every push. Default: as the workers'. */
  readonly controlRingCapacityBytes?: number;
  /** Largest record of any ring. Default and bound: a quarter of the smaller capacity. */
  readonly maxRecordBytes?: number;
}

/** A target mask is 32 bits wide. */
export const MAX_THREADS = 32;

export function allocateThreadMemory(options: ThreadMemoryOptions): ThreadMemory {
  const { threadCount } = options;
  if (!Number.isInteger(threadCount) || threadCount < 1 || threadCount > MAX_THREADS) {
    throw new HalleyError('THREAD_COUNT_RANGE', `a node has 1 to ${MAX_THREADS} threads, the control thread included`, {
      threadCount,
    });
  }
  const capacityBytes = options.ringCapacityBytes ?? 4 * 1024 * 1024;
  const controlCapacityBytes = options.controlRingCapacityBytes ?? capacityBytes;
  const maxRecordBytes = options.maxRecordBytes ?? Math.min(capacityBytes, controlCapacityBytes) / 4;
  return {
    threadCount,
    maxRecordBytes,
    rings: Array.from({ length: threadCount }, (_, thread) =>
      allocateRing({
        capacityBytes: thread === 0 ? controlCapacityBytes : capacityBytes,
        maxRecordBytes,
        readerCount: threadCount,
      }),
    ),
    shapes: Array.from({ length: threadCount }, () => allocateShapeTable()),
    doorbells: allocateDoorbells(threadCount),
    states: allocateThreadStates(threadCount),
    notes: Array.from({ length: threadCount }, () => allocateCrashNote()),
  };
}
