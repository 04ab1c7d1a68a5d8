/**
 * Where the doorbells of a process stand in shared memory: one line per thread, 128 bytes as in ring.layout.ts.
 *
 *          0       4
 *        0 +-------+-----------------------------------------------------+
 *          | STATE | thread 0: AWAKE (0) or ASLEEP (1)                   |
 *      128 +-------+-----------------------------------------------------+
 *          | STATE | thread 1 ...                                        |
 *          +-------+-----------------------------------------------------+
 *
 * AWAKE -> ASLEEP by the thread itself, which then looks for work once more before it really sleeps. ASLEEP -> AWAKE by
 * CAS: by whoever rings (and then notifies), or by the thread itself when that second look found work.
 */
import { HalleyError } from '../errors/index.js';

const WORD_BYTES = 4;
const LINE_WORDS = 32;

/** As many as a target mask has bits. */
const MAX_THREAD_COUNT = 32;

export const DOORBELL_STATE = { AWAKE: 0, ASLEEP: 1 } as const;

/** Index of the state word of a thread. */
export function doorbellWord(threadIndex: number): number {
  return threadIndex * LINE_WORDS;
}

/** How many threads the memory of allocateDoorbells() has doorbells for. */
export function doorbellThreadCount(memory: SharedArrayBuffer): number {
  return Math.floor(memory.byteLength / (LINE_WORDS * WORD_BYTES));
}

/**
 * Memory for the doorbells of `threadCount` threads (1 to 32), all AWAKE.
 * @throws HalleyError DOORBELL_THREADS
 */
export function allocateDoorbells(threadCount: number): SharedArrayBuffer {
  if (!Number.isInteger(threadCount) || threadCount < 1 || threadCount > MAX_THREAD_COUNT) {
    throw new HalleyError('DOORBELL_THREADS', `there are doorbells for 1 to ${MAX_THREAD_COUNT} threads`, {
      threadCount,
    });
  }
  return new SharedArrayBuffer(threadCount * LINE_WORDS * WORD_BYTES);
}
