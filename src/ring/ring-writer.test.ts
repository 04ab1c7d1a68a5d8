import { describe, expect, it } from 'vitest';
import { HalleyError, OUTCOME } from '../errors/index.js';
import { CollectingSink } from './fixtures/collecting-sink.js';
import { fillPattern, hasPattern } from './fixtures/pattern.js';
import { allocateRing, READER_STATE, RECORD_HEADER_BYTES } from './ring.layout.js';
import { RingReader } from './ring-reader.js';
import { RingWriter } from './ring-writer.js';

const CAPACITY_BYTES = 64 * 1024;
const MAX_RECORD_BYTES = CAPACITY_BYTES / 4;
const EVERYONE = -1;

function makeRing(options: { readerCount?: number; maxRecordBytes?: number; startPosition?: number } = {}) {
  const { readerCount = 2, maxRecordBytes = MAX_RECORD_BYTES, startPosition = 0 } = options;
  const memory = allocateRing({ capacityBytes: CAPACITY_BYTES, maxRecordBytes, readerCount }, startPosition);
  const readers = Array.from({ length: readerCount }, (_, index) => new RingReader(memory, index));
  return { memory, writer: new RingWriter(memory), readers, reader: readers[0]!, sink: new CollectingSink() };
}

/** Commit a record whose body follows from `kind`. */
function put(writer: RingWriter, kind: number, bodyBytes: number, targetMask = EVERYONE): number {
  const outcome = writer.claim(bodyBytes);
  if (outcome !== OUTCOME.OK) return outcome;
  fillPattern(writer.bytes, writer.offset, bodyBytes, kind);
  writer.commit(kind, targetMask, bodyBytes);
  return outcome;
}

/** Bytes that one record takes, without padding. */
function footprintBytes(bodyBytes: number): number {
  return RECORD_HEADER_BYTES + Math.ceil(bodyBytes / 8) * 8;
}

describe('a ring writer', () => {
  it('hands every body size around the 8-byte steps to its reader whole', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    for (let bodyBytes = 0; bodyBytes <= 130; bodyBytes++) expect(put(writer, bodyBytes, bodyBytes)).toBe(OUTCOME.OK);
    expect(reader.drain(sink, 1000)).toBe(131);
    sink.records.forEach((record, index) => {
      expect(record.kind).toBe(index);
      expect(record.body.length).toBe(index);
      expect(record.offset % 8).toBe(0);
      expect(hasPattern(record.body, 0, index, index)).toBe(true);
    });
  });

  it('wraps whole records at every alignment of the end, also across the wrap of the 32-bit positions', () => {
    for (const startPosition of [0, -4096, 0x7fff_f000]) {
      for (let restBytes = 0; restBytes <= 256; restBytes += 8) {
        const { writer, reader, sink } = makeRing({ startPosition });
        reader.attach();
        // Walk to `restBytes` before the end, in records that the reader takes at once.
        let toWalkBytes = CAPACITY_BYTES - restBytes;
        while (toWalkBytes > 0) {
          const stepBytes = toWalkBytes > 8192 + RECORD_HEADER_BYTES ? 8192 : toWalkBytes;
          expect(put(writer, 1, stepBytes - RECORD_HEADER_BYTES)).toBe(OUTCOME.OK);
          toWalkBytes -= stepBytes;
          reader.drain(sink, 10);
        }
        sink.takeKinds();
        for (let kind = 0; kind < 5; kind++) expect(put(writer, kind, 60 + kind)).toBe(OUTCOME.OK);
        expect(reader.drain(sink, 10)).toBe(5);
        sink.records.forEach((record, kind) => {
          expect(record.kind).toBe(kind);
          expect(record.offset + record.body.length).toBeLessThanOrEqual(CAPACITY_BYTES);
          expect(hasPattern(record.body, 0, 60 + kind, kind)).toBe(true);
        });
        expect(writer.lagBytes(0)).toBe(0);
      }
    }
  });

  it('fills the ring to the last byte, says FULL, and goes on when the reader has made room', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    const bodyBytes = 1024 - RECORD_HEADER_BYTES;
    for (let kind = 0; kind < 64; kind++) expect(put(writer, kind, bodyBytes)).toBe(OUTCOME.OK);
    expect(writer.freeBytes()).toBe(0);
    expect(writer.lagBytes(0)).toBe(CAPACITY_BYTES);
    expect(writer.claim(0)).toBe(OUTCOME.FULL);
    expect(reader.drain(sink, 1)).toBe(1);
    expect(writer.freeBytes()).toBe(1024);
    expect(writer.claim(bodyBytes + 1)).toBe(OUTCOME.FULL);
    expect(put(writer, 64, bodyBytes)).toBe(OUTCOME.OK);
    expect(writer.claim(0)).toBe(OUTCOME.FULL);
    expect(reader.drain(sink, 1000)).toBe(64);
    expect(sink.takeKinds()).toEqual(Array.from({ length: 65 }, (_, kind) => kind));
  });

  it('takes records of the largest size at every position, because two of them fit with padding', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    for (let round = 0; round < 600; round++) {
      expect(put(writer, round, MAX_RECORD_BYTES)).toBe(OUTCOME.OK);
      expect(put(writer, round, round % 100)).toBe(OUTCOME.OK);
      expect(reader.drain(sink, 10)).toBe(2);
      for (const record of sink.records.splice(0)) {
        expect(hasPattern(record.body, 0, record.body.length, round)).toBe(true);
      }
    }
  });

  it('answers TOO_LARGE above the bound and for negative sizes, however empty it is', () => {
    const { writer } = makeRing({ maxRecordBytes: 1000 });
    expect(writer.claim(1000)).toBe(OUTCOME.OK);
    expect(writer.claim(1001)).toBe(OUTCOME.TOO_LARGE);
    expect(writer.claim(-1)).toBe(OUTCOME.TOO_LARGE);
    expect(writer.claim(2 ** 31)).toBe(OUTCOME.TOO_LARGE);
  });

  it('never says FULL without readers, and keeps nothing for those that come later', () => {
    const { writer, reader, sink } = makeRing();
    for (let kind = 0; kind < 1000; kind++) expect(put(writer, kind, 1000)).toBe(OUTCOME.OK);
    reader.attach();
    expect(reader.drain(sink, 10)).toBe(0);
    put(writer, 7, 3);
    expect(reader.drain(sink, 10)).toBe(1);
    expect(sink.takeKinds()).toEqual([7]);
  });

  it('publishes only what was committed: fewer bytes than claimed, nothing after an abort', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    expect(writer.claim(5000)).toBe(OUTCOME.OK);
    writer.abort();
    expect(reader.hasRecords()).toBe(false);
    expect(writer.claim(5000)).toBe(OUTCOME.OK);
    writer.bytes[writer.offset] = 42;
    writer.commit(1, EVERYONE, 1);
    expect(writer.lagBytes(0)).toBe(footprintBytes(1));
    expect(reader.drain(sink, 10)).toBe(1);
    expect(sink.records[0]!.body).toEqual(new Uint8Array([42]));
  });

  it('refuses a commit without a claim, after an abort, a second one, and one beyond the claim', () => {
    const { writer } = makeRing();
    const expectRefusal = (bodyBytes: number): void => {
      expect(() => writer.commit(1, EVERYONE, bodyBytes)).toThrow(expect.objectContaining({ code: 'RING_COMMIT' }));
    };
    expectRefusal(0);
    writer.claim(8);
    writer.abort();
    expectRefusal(0);
    writer.claim(8);
    expectRefusal(9);
    expectRefusal(-1);
    writer.commit(1, EVERYONE, 8);
    expectRefusal(8);
    writer.claim(MAX_RECORD_BYTES + 1);
    expectRefusal(0);
  });

  it('is gated by the slowest of its readers', () => {
    const { writer, readers, sink } = makeRing({ readerCount: 3 });
    for (const reader of readers) reader.attach();
    for (let kind = 0; kind < 60; kind++) put(writer, kind, 1000);
    readers[0]!.drain(sink, 1000);
    readers[1]!.drain(sink, 20);
    readers[2]!.drain(sink, 40);
    const recordBytes = footprintBytes(1000);
    expect([0, 1, 2].map((reader) => writer.lagBytes(reader))).toEqual([0, 40 * recordBytes, 20 * recordBytes]);
    expect(writer.freeBytes()).toBe(CAPACITY_BYTES - 40 * recordBytes);
    readers[1]!.leave();
    expect(writer.freeBytes()).toBe(CAPACITY_BYTES - 20 * recordBytes);
  });

  it('remembers whom to wake until asked, the 32nd thread included', () => {
    const { writer, readers } = makeRing({ readerCount: 32 });
    for (const reader of readers) reader.attach();
    expect(writer.takeUnsignalled()).toBe(0);
    put(writer, 1, 10, 0b01);
    put(writer, 2, 10, 0b10);
    put(writer, 3, 10, 1 << 31);
    expect(writer.takeUnsignalled()).toBe(0b11 | (1 << 31));
    expect(writer.takeUnsignalled()).toBe(0);
  });

  it('wakes readers that lag by more than half, although nothing concerns them', () => {
    const { writer, readers, sink } = makeRing({ readerCount: 3 });
    for (const reader of readers) reader.attach();
    const recordBytes = footprintBytes(1000);
    const halfCount = Math.floor(CAPACITY_BYTES / 2 / recordBytes);
    for (let kind = 0; kind < halfCount; kind++) {
      put(writer, kind, 1000, 0b100);
      readers[2]!.drain(sink, 1);
      expect(writer.takeUnsignalled()).toBe(0b100);
    }
    put(writer, 99, 1000, 0b100);
    readers[2]!.drain(sink, 1);
    expect(writer.takeUnsignalled()).toBe(0b111);
    // Until they have moved.
    expect(writer.takeUnsignalled()).toBe(0b011);
    expect(readers[0]!.drain(sink, 1000)).toBe(0);
    expect(writer.takeUnsignalled()).toBe(0b010);
  });

  it('wakes whoever made a claim FULL, even below half', () => {
    // A largest record that does not fit before the end needs nearly half the ring with its padding: a reader that lags
    // by a little less than half would be in nobody's mask, and the writer FULL for ever.
    const { writer, readers, sink } = makeRing();
    readers[0]!.attach();
    put(writer, 1, MAX_RECORD_BYTES - 8, 0b10);
    readers[0]!.drain(sink, 10);
    // Up to 8 bytes less than a largest record before the end.
    while (writer.lagBytes(0) < CAPACITY_BYTES / 2 - 16) put(writer, 2, 0, 0b10);
    expect(writer.takeUnsignalled()).toBe(0b10);
    expect(writer.claim(MAX_RECORD_BYTES)).toBe(OUTCOME.FULL);
    expect(writer.takeUnsignalled()).toBe(0b01);
    readers[0]!.drain(sink, 10);
    expect(writer.claim(MAX_RECORD_BYTES)).toBe(OUTCOME.OK);
  });

  it('after the death of its thread is continued by a new one at the published tail', () => {
    const { memory, writer, readers, sink } = makeRing();
    for (const reader of readers) reader.attach();
    put(writer, 1, 100);
    put(writer, 2, 100);
    writer.claim(5000);
    fillPattern(writer.bytes, writer.offset, 5000, 77);
    const successor = new RingWriter(memory);
    // The dead one may not have rung: all who have something to read are to be woken.
    readers[1]!.drain(sink, 10);
    sink.takeKinds();
    expect(successor.takeUnsignalled()).toBe(0b11);
    put(successor, 3, 100);
    expect(readers[0]!.drain(sink, 10)).toBe(3);
    expect(sink.takeKinds()).toEqual([1, 2, 3]);
    expect(successor.lagBytes(1)).toBe(footprintBytes(100));
  });

  it('says in readerState what the slot is', () => {
    const { writer, reader } = makeRing();
    expect(writer.readerState(0)).toBe(READER_STATE.LEFT);
    reader.attach();
    expect(writer.readerState(0)).toBe(READER_STATE.ATTACHED);
    put(writer, 1, 8);
    reader.drain({ onRecord: () => expect(writer.readerState(0)).toBe(READER_STATE.READING) }, 1);
    expect(writer.readerState(0)).toBe(READER_STATE.ATTACHED);
    expect(writer.detachStalled(0)).toBe(true);
    expect(writer.readerState(0)).toBe(READER_STATE.DETACHED);
    reader.leave();
    expect(writer.readerState(0)).toBe(READER_STATE.LEFT);
    expect(() => writer.readerState(2)).toThrow(HalleyError);
    expect(() => writer.lagBytes(-1)).toThrow(HalleyError);
    expect(() => writer.detachStalled(0.5)).toThrow(HalleyError);
  });
});

describe('a ring geometry', () => {
  it('is refused outside its bounds, with the bound in the message', () => {
    const fits = { capacityBytes: CAPACITY_BYTES, maxRecordBytes: 1024, readerCount: 1 };
    expect(() => allocateRing(fits)).not.toThrow();
    for (const wrong of [
      { capacityBytes: 32 * 1024 },
      { capacityBytes: 96 * 1024 },
      { capacityBytes: 2 ** 31 },
      { capacityBytes: Number.NaN },
      { maxRecordBytes: 0 },
      { maxRecordBytes: CAPACITY_BYTES / 4 + 1 },
      { maxRecordBytes: 10.5 },
      { readerCount: 0 },
      { readerCount: 33 },
    ]) {
      expect(() => allocateRing({ ...fits, ...wrong })).toThrow(expect.objectContaining({ code: 'RING_GEOMETRY' }));
    }
  });

  it('stands in the memory, and other memory is refused', () => {
    expect(() => new RingWriter(new SharedArrayBuffer(8))).toThrow(expect.objectContaining({ code: 'RING_MEMORY' }));
    expect(() => new RingReader(new SharedArrayBuffer(CAPACITY_BYTES), 0)).toThrow(
      expect.objectContaining({ code: 'RING_MEMORY' }),
    );
    const { memory } = makeRing({ readerCount: 2 });
    expect(() => new RingReader(memory, 2)).toThrow(expect.objectContaining({ code: 'RING_READER_INDEX' }));
  });
});
