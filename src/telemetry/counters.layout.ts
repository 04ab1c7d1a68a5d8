/**
 * Layout of the counters in shared memory.
 *
 *   row of thread 0                                row of thread 1
 *   |0       8       16          8 x metrics | pad |0       8 ...
 *   +-------+-------+-----------+------------+-----+-------+---
 *   | cell 0| cell 1|    ...    | last cell  |  0  | cell 0| ...      each cell one Float64
 *   +-------+-------+-----------+------------+-----+-------+---
 *
 * A row fills whole blocks of 128 bytes: two cache lines, because x64 fetches lines in pairs, and a row that shared a pair
 * with another thread's would slow both threads down (false sharing).
 */
export const CELL_BYTES = 8;
export const ROW_ALIGN_BYTES = 128;
const ROW_ALIGN_CELLS = ROW_ALIGN_BYTES / CELL_BYTES;

/** Cells from one thread's row to the next: `cellCount`, rounded up to whole blocks. */
export function rowStrideCells(cellCount: number): number {
  return Math.ceil(cellCount / ROW_ALIGN_CELLS) * ROW_ALIGN_CELLS;
}

/** Bytes of `threadCount` rows of `cellCount` cells each. */
export function rowsBytes(cellCount: number, threadCount: number): number {
  return rowStrideCells(cellCount) * CELL_BYTES * threadCount;
}
