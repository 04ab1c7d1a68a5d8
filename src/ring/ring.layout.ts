/**
 * Where everything stands in the shared memory of one broadcast ring, and the call that makes such memory.
 *
 * Layout. Offsets in bytes. Every line has 128 bytes: x64 prefetches cache lines in pairs, and some ARM cores have lines
 * of 128, so what different threads store never shares one.
 *
 *          0       4       8      12      16      20
 *        0 +-------+-------+-------+-------+-------+-----------------------------------+
 *          | MAGIC | VERSN | CAPAC | MAXRC | RDRCT | written once by allocateRing()    |
 *      128 +-------+-------+-------+-------+-------+-----------------------------------+
 *          | TAIL  | position: the writer stores it, everyone loads it                 |
 *      256 +-------+-------+-----------------------------------------------------------+
 *          | STATE | CURSR | reader 0: state by CAS, position stored by the reader     |
 *      384 +-------+-------+-----------------------------------------------------------+
 *          |  ...  one line per reader                                                 |
 *  256+128n+---------------------------------------------------------------------------+
 *          | data area: capacityBytes (a power of two)                                 |
 *          +---------------------------------------------------------------------------+
 *
 * A record, at a multiple of 8 in the data area:
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *   0 | body bytes (int32 >= 0), or PADDING (-1)                      |
 *     +---------------------------------------------------------------+
 *   4 | position of this record: what the reader's cursor must be     |
 *     +---------------------------------------------------------------+
 *   8 | target mask: bit i = thread i                                 |
 *     +---------------------------------------------------------------+
 *  12 | kind (int32, the caller's own meaning)                        |
 *     +---------------------------------------------------------------+
 *  16 | body, then 0 to 7 unspecified bytes up to a multiple of 8     |
 *     +---------------------------------------------------------------+
 *
 * PADDING means "nothing more up to the end of the data area": its record has the first two words only, because as
 * little as 8 bytes may be left there. A record never crosses the end.
 *
 * A position counts units of 8 bytes for ever, modulo 2^32, kept as int32. The data area is a power of two, so
 * `position & (units - 1)` stays right across the wrap of the counter, and `(later - earlier) >>> 0` is the distance as
 * long as it is below 2^32 units (32 GiB; the largest ring has 1 GiB).
 */
import { HalleyError } from '../errors/index.js';

const WORD_BYTES = 4;
const LINE_WORDS = 32;

/** "HRNG": an attach to memory that is not a ring fails here and not in the middle of a drain. */
const RING_MAGIC = 0x48_52_4e_47;
const RING_VERSION = 1;

const MAGIC_WORD = 0;
const VERSION_WORD = 1;
const CAPACITY_BYTES_WORD = 2;
const MAX_RECORD_BYTES_WORD = 3;
const READER_COUNT_WORD = 4;

/** The published tail: everything before it may be read. */
export const TAIL_WORD = LINE_WORDS;
const FIRST_READER_WORD = 2 * LINE_WORDS;

/** Bytes of one position step. */
export const UNIT_BYTES = 8;
export const UNIT_SHIFT = 3;
/** From a unit index to an index in an Int32Array over the data area. */
export const UNIT_TO_WORD_SHIFT = 1;

export const RECORD_HEADER_BYTES = 16;
export const RECORD_HEADER_UNITS = RECORD_HEADER_BYTES / UNIT_BYTES;
export const RECORD_BODY_BYTES_WORD = 0;
export const RECORD_POSITION_WORD = 1;
export const RECORD_TARGET_WORD = 2;
export const RECORD_KIND_WORD = 3;
/** In the word of the body bytes: the rest of the data area is empty. */
export const PADDING = -1;

export const MIN_CAPACITY_BYTES = 64 * 1024;
export const MAX_CAPACITY_BYTES = 1024 * 1024 * 1024;
/** As many as a target mask has bits. */
export const MAX_READER_COUNT = 32;

/**
 * What a reader's slot may say. LEFT is 0, so fresh memory has no readers.
 *
 *   LEFT -> ATTACHED           attach(), by the reader
 *   ATTACHED -> READING        entering drain(), by the reader: from here a view of the data area exists
 *   READING -> ATTACHED        leaving drain(), by the reader
 *   ATTACHED -> DETACHED       detachStalled(), by the writer
 *   DETACHED -> ATTACHED       the next drain(), by the reader, at the head
 *   any -> LEFT                leave(), by the reader; resetReader() when its thread is dead
 *
 * ATTACHED and READING gate the writer.
 */
export const READER_STATE = { LEFT: 0, ATTACHED: 1, READING: 2, DETACHED: 3 } as const;
export type ReaderState = (typeof READER_STATE)[keyof typeof READER_STATE];

export interface RingGeometry {
  /** Size of the data area: a power of two from 64 KiB to 1 GiB. */
  readonly capacityBytes: number;
  /** Largest body of one record, from 1 to a quarter of the capacity. */
  readonly maxRecordBytes: number;
  /** Slots for readers, 1 to 32; a reader's index is its thread's index. */
  readonly readerCount: number;
}

/** Index of the state word of a reader's slot. */
export function stateWord(readerIndex: number): number {
  return FIRST_READER_WORD + readerIndex * LINE_WORDS;
}

/** Index of the cursor word of a reader's slot. */
export function cursorWord(readerIndex: number): number {
  return FIRST_READER_WORD + readerIndex * LINE_WORDS + 1;
}

function controlWords(readerCount: number): number {
  return FIRST_READER_WORD + readerCount * LINE_WORDS;
}

/** Throw RING_GEOMETRY unless `geometry` is inside its bounds. */
function checkGeometry(geometry: RingGeometry): void {
  const { capacityBytes, maxRecordBytes, readerCount } = geometry;
  const powerOfTwo = Number.isInteger(capacityBytes) && 2 ** Math.round(Math.log2(capacityBytes)) === capacityBytes;
  if (!powerOfTwo || capacityBytes < MIN_CAPACITY_BYTES || capacityBytes > MAX_CAPACITY_BYTES) {
    throw new HalleyError(
      'RING_GEOMETRY',
      `the capacity of a ring is a power of two from ${MIN_CAPACITY_BYTES} to ${MAX_CAPACITY_BYTES} bytes`,
      { capacityBytes },
    );
  }
  const boundBytes = capacityBytes / 4;
  if (!Number.isInteger(maxRecordBytes) || maxRecordBytes < 1 || maxRecordBytes > boundBytes) {
    throw new HalleyError('RING_GEOMETRY', `the largest record of this ring has 1 to ${boundBytes} bytes`, {
      maxRecordBytes,
    });
  }
  if (!Number.isInteger(readerCount) || readerCount < 1 || readerCount > MAX_READER_COUNT) {
    throw new HalleyError('RING_GEOMETRY', `a ring has 1 to ${MAX_READER_COUNT} readers`, { readerCount });
  }
}

/**
 * Memory of a ring without readers or records. Its geometry stands in its header, so the buffer alone is what goes to
 * other threads (posted, it is shared and not copied).
 * @param startPosition the int32 at which positions begin; 0 outside tests, which use it to stand near the counter's wrap
 * @throws HalleyError RING_GEOMETRY
 */
export function allocateRing(geometry: RingGeometry, startPosition = 0): SharedArrayBuffer {
  checkGeometry(geometry);
  const controlBytes = controlWords(geometry.readerCount) * WORD_BYTES;
  const memory = new SharedArrayBuffer(controlBytes + geometry.capacityBytes);
  const control = new Int32Array(memory, 0, controlWords(geometry.readerCount));
  control[VERSION_WORD] = RING_VERSION;
  control[CAPACITY_BYTES_WORD] = geometry.capacityBytes;
  control[MAX_RECORD_BYTES_WORD] = geometry.maxRecordBytes;
  control[READER_COUNT_WORD] = geometry.readerCount;
  control[TAIL_WORD] = startPosition | 0;
  // Pairs with the load in openRing(): who sees the magic sees the geometry.
  Atomics.store(control, MAGIC_WORD, RING_MAGIC);
  return memory;
}

/** The views that a writer or a reader makes once over the memory of a ring. */
export interface RingViews {
  readonly geometry: RingGeometry;
  /** Magic, geometry, tail, reader slots. */
  readonly control: Int32Array;
  /** The data area in its three shapes. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: Int32Array;
}

/**
 * Open memory that allocateRing() made, on any thread.
 * @throws HalleyError RING_MEMORY when it is something else
 */
export function openRing(memory: SharedArrayBuffer): RingViews {
  const header = memory.byteLength >= LINE_WORDS * WORD_BYTES ? new Int32Array(memory, 0, LINE_WORDS) : undefined;
  // Pairs with the store in allocateRing().
  const magic = header === undefined ? 0 : Atomics.load(header, MAGIC_WORD);
  const version = header?.[VERSION_WORD] ?? 0;
  if (header === undefined || magic !== RING_MAGIC || version !== RING_VERSION) {
    throw new HalleyError('RING_MEMORY', 'this shared memory was not made by allocateRing() of this version', {
      byteLength: memory.byteLength,
      magic,
      version,
    });
  }
  const geometry: RingGeometry = {
    capacityBytes: header[CAPACITY_BYTES_WORD]!,
    maxRecordBytes: header[MAX_RECORD_BYTES_WORD]!,
    readerCount: header[READER_COUNT_WORD]!,
  };
  const words = controlWords(geometry.readerCount);
  const dataOffset = words * WORD_BYTES;
  return {
    geometry,
    control: new Int32Array(memory, 0, words),
    bytes: new Uint8Array(memory, dataOffset, geometry.capacityBytes),
    view: new DataView(memory, dataOffset, geometry.capacityBytes),
    words: new Int32Array(memory, dataOffset, geometry.capacityBytes / WORD_BYTES),
  };
}

/** Throw RING_READER_INDEX unless a ring of `readerCount` slots has slot `readerIndex`. */
export function checkReaderIndex(readerIndex: number, readerCount: number): void {
  if (!Number.isInteger(readerIndex) || readerIndex < 0 || readerIndex >= readerCount) {
    throw new HalleyError('RING_READER_INDEX', `this ring has readers 0 to ${readerCount - 1}`, { readerIndex });
  }
}

/**
 * For the supervisor, once the thread of reader `readerIndex` is dead: its slot becomes LEFT whatever it said, also
 * READING, so that it gates the writer no longer. Never for a thread that lives: it could be reading while the writer,
 * no longer held back, overwrites; its next drain() throws RING_READER_TAKEN.
 */
export function resetReader(memory: SharedArrayBuffer, readerIndex: number): void {
  const { control, geometry } = openRing(memory);
  checkReaderIndex(readerIndex, geometry.readerCount);
  // Pairs with the loads in RingWriter's rescan.
  Atomics.store(control, stateWord(readerIndex), READER_STATE.LEFT);
}
