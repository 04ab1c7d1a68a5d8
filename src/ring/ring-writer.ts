/**
 * The one writer of a broadcast ring.
 *
 * Threads: one thread owns it; exactly one writer exists per ring at a time. When its thread has died, a new writer on
 *   the same memory goes on at the published tail; what the old one had claimed and not committed never existed.
 * Guarantees: one order for all readers. Nothing is overwritten that an attached or reading reader has not consumed. It
 *   never waits: a ring without room is the outcome FULL.
 * Source: the bounded single-producer log of agrona's broadcast and one-to-one ring buffers (positions that grow for
 *   ever, padding records, a cached consumer position), with LMAX disruptor's gating by the slowest of many readers.
 *   Different: readers may be detached by the writer, and join and leave while it runs.
 * Hot path: claim() and commit(): no CAS, no allocation, one sequentially consistent store per record
 *   (bench/ring/ring.bench.ts).
 */
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import {
  checkReaderIndex,
  cursorWord,
  openRing,
  PADDING,
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

/** In #claimedBytes: there is no claim. Smaller than every body, so commit() needs one comparison. */
const NO_CLAIM = -1;

export class RingWriter {
  /** The whole data area. Write only [offset, offset + claimed bytes) and only between claim() and commit(). */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where the claimed body starts in `bytes`, a multiple of 8; valid after claim() returned OK. */
  offset: number;

  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #capacityUnits: number;
  readonly #halfUnits: number;
  readonly #maxRecordBytes: number;
  readonly #readerCount: number;
  #tailPosition: number;
  /** No attached reader stands before this position. May be older than the truth, never newer. */
  #gatePosition: number;
  #recordPosition: number;
  #claimedBytes: number;
  #unsignalledMask: number;

  /** @throws HalleyError RING_MEMORY */
  constructor(memory: SharedArrayBuffer) {
    const { geometry, control, bytes, view, words } = openRing(memory);
    this.bytes = bytes;
    this.view = view;
    this.offset = 0;
    this.#control = control;
    this.#words = words;
    this.#capacityUnits = geometry.capacityBytes >>> UNIT_SHIFT;
    this.#halfUnits = this.#capacityUnits >>> 1;
    this.#maxRecordBytes = geometry.maxRecordBytes;
    this.#readerCount = geometry.readerCount;
    // Pairs with the store in commit() of the writer before this one.
    this.#tailPosition = Atomics.load(control, TAIL_WORD);
    this.#gatePosition = this.#tailPosition;
    this.#recordPosition = this.#tailPosition;
    this.#claimedBytes = NO_CLAIM;
    // A writer that died between commit() and the doorbell left readers asleep on records: they count as unsignalled.
    this.#unsignalledMask = this.#rescan(0);
  }

  /**
   * Take contiguous room for one body of at most `maxBodyBytes` (0 is a body too). After OK write the body at `offset`,
   * then commit() or abort(). A claim that was not committed is given back by the next one.
   * @returns OK; FULL, when the slowest reader leaves no room now (it is then in takeUnsignalled()); TOO_LARGE, when no
   *   record of this ring may be so large, and for negative sizes
   */
  claim(maxBodyBytes: number): Outcome {
    this.#claimedBytes = NO_CLAIM;
    if (maxBodyBytes >>> 0 > this.#maxRecordBytes) return OUTCOME.TOO_LARGE;
    const tailPosition = this.#tailPosition;
    const capacityUnits = this.#capacityUnits;
    const tailIndex = tailPosition & (capacityUnits - 1);
    const recordUnits = RECORD_HEADER_UNITS + ((maxBodyBytes + UNIT_BYTES - 1) >>> UNIT_SHIFT);
    const paddingUnits = recordUnits > capacityUnits - tailIndex ? capacityUnits - tailIndex : 0;
    const usableUnits = capacityUnits - recordUnits - paddingUnits;
    if ((tailPosition - this.#gatePosition) >>> 0 > usableUnits) {
      const laggingMask = this.#rescan(usableUnits);
      if (laggingMask !== 0) {
        this.#unsignalledMask |= laggingMask;
        return OUTCOME.FULL;
      }
    }
    let recordIndex = tailIndex;
    if (paddingUnits !== 0) {
      // Beyond the published tail, so nobody reads it before commit() publishes the record behind it.
      const paddingWord = tailIndex << UNIT_TO_WORD_SHIFT;
      this.#words[paddingWord + RECORD_BODY_BYTES_WORD] = PADDING;
      this.#words[paddingWord + RECORD_POSITION_WORD] = tailPosition;
      recordIndex = 0;
    }
    this.#recordPosition = (tailPosition + paddingUnits) | 0;
    this.offset = (recordIndex << UNIT_SHIFT) + RECORD_HEADER_BYTES;
    this.#claimedBytes = maxBodyBytes;
    return OUTCOME.OK;
  }

  /**
   * Publish the claimed record with a body of `bodyBytes`, which may be fewer than claimed.
   * @param kind any int32, handed to the sink as it is
   * @param targetMask bit i = reader i; the other readers skip the record
   * @throws HalleyError RING_COMMIT without a claim or beyond it
   */
  commit(kind: number, targetMask: number, bodyBytes: number): void {
    if (!(bodyBytes >= 0 && bodyBytes <= this.#claimedBytes)) this.#refuseCommit(bodyBytes);
    const recordPosition = this.#recordPosition;
    const words = this.#words;
    const recordWord = (recordPosition & (this.#capacityUnits - 1)) << UNIT_TO_WORD_SHIFT;
    words[recordWord + RECORD_BODY_BYTES_WORD] = bodyBytes;
    words[recordWord + RECORD_POSITION_WORD] = recordPosition;
    words[recordWord + RECORD_TARGET_WORD] = targetMask;
    words[recordWord + RECORD_KIND_WORD] = kind;
    const tailPosition = (recordPosition + RECORD_HEADER_UNITS + ((bodyBytes + UNIT_BYTES - 1) >>> UNIT_SHIFT)) | 0;
    this.#tailPosition = tailPosition;
    this.#claimedBytes = NO_CLAIM;
    this.#unsignalledMask |= targetMask;
    // Releases header and body. Pairs with the loads of the tail in RingReader; for sleepers with the one that
    // Doorbell.listen() makes through hasWork() after it has marked itself asleep.
    Atomics.store(this.#control, TAIL_WORD, tailPosition);
  }

  /** Give the claim back; readers never see it. Without a claim it does nothing. */
  abort(): void {
    this.#claimedBytes = NO_CLAIM;
  }

  /**
   * The threads to wake, for Doorbell.ring(), and forget them: targets of what was committed since the last call, readers
   * that lag by more than half the capacity (nothing may concern them, but their cursors must move), those whose lag
   * made a claim FULL, and those just detached. An int32 mask: bit 31 makes it negative.
   */
  takeUnsignalled(): number {
    const unsignalledMask = this.#unsignalledMask;
    this.#unsignalledMask = 0;
    if ((this.#tailPosition - this.#gatePosition) >>> 0 <= this.#halfUnits) return unsignalledMask;
    return unsignalledMask | this.#rescan(this.#halfUnits);
  }

  /** Published bytes (headers and padding included) that `reader` has not consumed; 0 when it gates nothing. */
  lagBytes(reader: number): number {
    checkReaderIndex(reader, this.#readerCount);
    return this.#lagUnits(reader) * UNIT_BYTES;
  }

  /** Bytes that the slowest reader leaves free, headers included; a record at the end may need padding on top. */
  freeBytes(): number {
    this.#rescan(0);
    return Math.max(0, this.#capacityUnits - ((this.#tailPosition - this.#gatePosition) >>> 0)) * UNIT_BYTES;
  }

  /**
   * Stop waiting for a reader that the caller judged stalled. It rejoins at the head with its next drain(), which tells
   * it so.
   * @returns false when it was not ATTACHED: READING holds a view of the data area and cannot be detached
   */
  detachStalled(reader: number): boolean {
    checkReaderIndex(reader, this.#readerCount);
    // Pairs with the CAS to READING in RingReader.drain(): exactly one of the two wins.
    const seen = Atomics.compareExchange(
      this.#control,
      stateWord(reader),
      READER_STATE.ATTACHED,
      READER_STATE.DETACHED,
    );
    if (seen !== READER_STATE.ATTACHED) return false;
    this.#unsignalledMask |= 1 << reader;
    return true;
  }

  /** One of READER_STATE, as it was a moment ago. */
  readerState(reader: number): number {
    checkReaderIndex(reader, this.#readerCount);
    // Pairs with the stores and CAS of RingReader.
    return Atomics.load(this.#control, stateWord(reader));
  }

  /**
   * Units between the cursor of `reader` and the tail; 0 when it does not gate. More than the capacity for the moment
   * between the two cursor stores of a join that was interrupted.
   */
  #lagUnits(reader: number): number {
    // State before cursor. Pairs with RingReader's join, which stores the state before it loads the tail for the second
    // time: a reader that this scan misses joins at a tail not older than the one seen here, so a gate at this tail
    // leaves it whole.
    const state = Atomics.load(this.#control, stateWord(reader));
    if (state !== READER_STATE.ATTACHED && state !== READER_STATE.READING) return 0;
    // Pairs with the cursor stores in RingReader.drain(): what lies before it has been read.
    return (this.#tailPosition - Atomics.load(this.#control, cursorWord(reader))) >>> 0;
  }

  /** Move the gate to the slowest reader, or to the tail without one. Returns who lags by more than `boundUnits`. */
  #rescan(boundUnits: number): number {
    let slowestUnits = 0;
    let laggingMask = 0;
    for (let reader = 0; reader < this.#readerCount; reader++) {
      const lagUnits = this.#lagUnits(reader);
      if (lagUnits > slowestUnits) slowestUnits = lagUnits;
      if (lagUnits > boundUnits) laggingMask |= 1 << reader;
    }
    this.#gatePosition = (this.#tailPosition - slowestUnits) | 0;
    return laggingMask;
  }

  #refuseCommit(bodyBytes: number): never {
    const claimed = this.#claimedBytes;
    throw claimed === NO_CLAIM
      ? new HalleyError('RING_COMMIT', 'commit() needs a claim() that returned OK', { bodyBytes })
      : new HalleyError('RING_COMMIT', `a commit has 0 to the claimed ${claimed} bytes`, { bodyBytes });
  }
}
