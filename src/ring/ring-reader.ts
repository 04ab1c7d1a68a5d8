/**
 * One of the readers of a broadcast ring, with its own cursor.
 *
 * Threads: one thread owns it; its slot in the ring is the one of that thread's index.
 * Guarantees: the records of one ring in the writer's order, each whole, each once. None is missed without
 *   DRAIN_DETACHED. Views of shared memory exist only inside drain(), while the slot says READING, and the writer
 *   detaches only from ATTACHED: so a record never changes under its sink.
 * Hot path: drain(): nothing allocated, no CAS per record (bench/ring/ring.bench.ts; ring.allocation.test.ts).
 */
import { HalleyError } from '../errors/index.js';
import {
  checkReaderIndex,
  cursorWord,
  openRing,
  READER_STATE,
  RECORD_BODY_BYTES_WORD,
  RECORD_HEADER_BYTES,
  RECORD_HEADER_UNITS,
  RECORD_KIND_WORD,
  RECORD_POSITION_WORD,
  RECORD_TARGET_WORD,
  stateWord,
  TAIL_WORD,
  UNIT_BYTES,
  UNIT_SHIFT,
  UNIT_TO_WORD_SHIFT,
} from './ring.layout.js';

/** drain(): the reader had been detached, has rejoined at the head, and what lay between is lost to it. */
export const DRAIN_DETACHED = -1;

/** A long drain frees space every 1/16 of the capacity, but at least this often. */
const MAX_PUBLISH_UNITS = (32 * 1024) / UNIT_BYTES;

export interface RecordSink {
  /**
   * One record that concerns this reader.
   * @param kind the writer's int32
   * @param bytes the whole data area, shared with all threads: read [offset, offset + lengthBytes) only, never write,
   *   and copy what must outlive the call
   */
  onRecord(kind: number, bytes: Uint8Array, offset: number, lengthBytes: number): void;
}

export class RingReader {
  /** The data area as a DataView, for sinks that parse numbers; the offsets of onRecord() hold for it. */
  readonly view: DataView;

  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #control: Int32Array;
  readonly #readerIndex: number;
  readonly #stateWord: number;
  readonly #cursorWord: number;
  readonly #ownBit: number;
  readonly #capacityUnits: number;
  readonly #publishUnits: number;
  #cursorPosition: number;
  #joined: boolean;
  #draining: boolean;

  /** Does not attach yet. @throws HalleyError RING_MEMORY, RING_READER_INDEX */
  constructor(memory: SharedArrayBuffer, readerIndex: number) {
    const { geometry, control, bytes, view, words } = openRing(memory);
    checkReaderIndex(readerIndex, geometry.readerCount);
    this.view = view;
    this.#bytes = bytes;
    this.#words = words;
    this.#control = control;
    this.#readerIndex = readerIndex;
    this.#stateWord = stateWord(readerIndex);
    this.#cursorWord = cursorWord(readerIndex);
    this.#ownBit = 1 << readerIndex;
    this.#capacityUnits = geometry.capacityBytes >>> UNIT_SHIFT;
    this.#publishUnits = Math.min(this.#capacityUnits >>> 4, MAX_PUBLISH_UNITS);
    this.#cursorPosition = 0;
    this.#joined = false;
    this.#draining = false;
  }

  /**
   * Join at the head: only what is committed afterwards is read. Takes the slot in whatever state a dead thread left it.
   * @throws HalleyError RING_READER_ATTACHED when this reader is attached already: it would skip records silently
   */
  attach(): void {
    if (this.#joined || this.#draining) {
      throw new HalleyError('RING_READER_ATTACHED', 'attach() is for a reader that has left or never joined', {
        readerIndex: this.#readerIndex,
      });
    }
    this.#joined = true;
    this.#join();
  }

  /** Gate the writer no longer. Inside a sink the drain ends after the record at hand, and then the reader leaves. */
  leave(): void {
    if (!this.#joined) return;
    this.#joined = false;
    // The view of the record at hand must stay gated: drain() stores LEFT at its end.
    if (this.#draining) return;
    // Pairs with the loads in RingWriter's rescan.
    Atomics.store(this.#control, this.#stateWord, READER_STATE.LEFT);
  }

  /**
   * Give the sink what had been committed when the call began, at most `maxRecords` records. Records for others are
   * skipped and not counted. If the sink throws, its record counts as consumed, the reader stays attached and the
   * exception goes on to the caller.
   * @returns the records given, 0 also for a reader that is not attached; or DRAIN_DETACHED: nothing was given, tell the
   *   clients of a gap
   * @throws HalleyError RING_READER_TAKEN (another owner of the slot), RING_REENTRANT, RING_CORRUPT
   */
  drain(sink: RecordSink, maxRecords: number): number {
    if (this.#draining) throw new HalleyError('RING_REENTRANT', 'a sink may not drain its own reader');
    if (!this.#joined) return 0;
    const control = this.#control;
    // Pairs with the store in RingWriter.commit(): all before this tail is whole. Loaded before READING is entered, which
    // is right because only this thread can attach again: if the CAS below finds ATTACHED, the cursor gated all along.
    const tailPosition = Atomics.load(control, TAIL_WORD);
    let position = this.#cursorPosition;
    // Pairs with the CAS in RingWriter.detachStalled().
    if (position === tailPosition && Atomics.load(control, this.#stateWord) === READER_STATE.ATTACHED) return 0;
    // Pairs with the same CAS: exactly one of the two wins.
    const seen = Atomics.compareExchange(control, this.#stateWord, READER_STATE.ATTACHED, READER_STATE.READING);
    if (seen !== READER_STATE.ATTACHED) return this.#rejoin(seen);

    const words = this.#words;
    const bytes = this.#bytes;
    const ownBit = this.#ownBit;
    const capacityUnits = this.#capacityUnits;
    const publishUnits = this.#publishUnits;
    const cursorIndex = this.#cursorWord;
    let publishedPosition = position;
    let givenCount = 0;
    this.#draining = true;
    try {
      while (position !== tailPosition && givenCount < maxRecords && this.#joined) {
        const recordIndex = position & (capacityUnits - 1);
        const recordWord = recordIndex << UNIT_TO_WORD_SHIFT;
        const bodyBytes = words[recordWord + RECORD_BODY_BYTES_WORD]!;
        if (words[recordWord + RECORD_POSITION_WORD] !== position) this.#refuseRecord(position, recordWord);
        if (bodyBytes < 0) {
          position = (position + capacityUnits - recordIndex) | 0;
        } else {
          // Before the sink runs, so that a sink that throws has consumed its record; published only behind it.
          position = (position + RECORD_HEADER_UNITS + ((bodyBytes + UNIT_BYTES - 1) >>> UNIT_SHIFT)) | 0;
          if ((words[recordWord + RECORD_TARGET_WORD]! & ownBit) !== 0) {
            givenCount++;
            sink.onRecord(
              words[recordWord + RECORD_KIND_WORD]!,
              bytes,
              (recordIndex << UNIT_SHIFT) + RECORD_HEADER_BYTES,
              bodyBytes,
            );
          }
        }
        if ((position - publishedPosition) >>> 0 >= publishUnits) {
          // Pairs with the load in RingWriter's rescan: a long drain frees space as it goes.
          Atomics.store(control, cursorIndex, position);
          publishedPosition = position;
        }
      }
    } finally {
      this.#draining = false;
      this.#cursorPosition = position;
      // Pairs with the loads in RingWriter's rescan; the state last, so that who sees ATTACHED sees this cursor. By CAS, so
      // that a slot which was reset meanwhile stays LEFT.
      Atomics.store(control, cursorIndex, position);
      const after = this.#joined ? READER_STATE.ATTACHED : READER_STATE.LEFT;
      Atomics.compareExchange(control, this.#stateWord, READER_STATE.READING, after);
    }
    return givenCount;
  }

  /** True when a drain() has something to do: records, not all of them ours perhaps, or a detachment to report. */
  hasRecords(): boolean {
    if (!this.#joined) return false;
    // Pairs with the store in RingWriter.commit(), and the second load with the CAS in detachStalled().
    if (Atomics.load(this.#control, TAIL_WORD) !== this.#cursorPosition) return true;
    return Atomics.load(this.#control, this.#stateWord) === READER_STATE.DETACHED;
  }

  /** Committed bytes between cursor and head, headers included. 0 when detached or not attached. */
  backlogBytes(): number {
    if (!this.#joined) return 0;
    // Pairs with the CAS in RingWriter.detachStalled() and the store in commit().
    if (Atomics.load(this.#control, this.#stateWord) === READER_STATE.DETACHED) return 0;
    return ((Atomics.load(this.#control, TAIL_WORD) - this.#cursorPosition) >>> 0) * UNIT_BYTES;
  }

  /**
   * Gate the writer from the head on. The head moves while we join, hence twice: with the first cursor the slot may say
   * ATTACHED; the tail loaded after that is one which the writer cannot overwrite unseen (see RingWriter's rescan). In
   * between the first cursor may be too old; that makes the writer FULL for this moment and nothing worse.
   */
  #join(): void {
    const control = this.#control;
    Atomics.store(control, this.#cursorWord, Atomics.load(control, TAIL_WORD));
    // Pairs with the load of the state in RingWriter's rescan, and with the CAS in detachStalled().
    Atomics.store(control, this.#stateWord, READER_STATE.ATTACHED);
    // Pairs with the store in RingWriter.commit().
    this.#cursorPosition = Atomics.load(control, TAIL_WORD);
    Atomics.store(control, this.#cursorWord, this.#cursorPosition);
  }

  /** drain() did not find ATTACHED. */
  #rejoin(seen: number): number {
    if (seen === READER_STATE.DETACHED) {
      this.#join();
      return DRAIN_DETACHED;
    }
    throw new HalleyError('RING_READER_TAKEN', 'this slot was reset, or another thread reads with it', {
      readerIndex: this.#readerIndex,
      state: seen,
    });
  }

  #refuseRecord(position: number, recordWord: number): never {
    throw new HalleyError('RING_CORRUPT', 'a record must carry its own position: somebody wrote outside its claim', {
      readerIndex: this.#readerIndex,
      position,
      found: this.#words[recordWord + RECORD_POSITION_WORD],
    });
  }
}
