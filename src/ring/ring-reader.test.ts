import { describe, expect, it } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { CollectingSink } from './fixtures/collecting-sink.js';
import { allocateRing, READER_STATE, resetReader } from './ring.layout.js';
import { DRAIN_DETACHED, type RecordSink, RingReader } from './ring-reader.js';
import { RingWriter } from './ring-writer.js';

const CAPACITY_BYTES = 64 * 1024;
const EVERYONE = -1;

function makeRing(readerCount = 2) {
  const memory = allocateRing({ capacityBytes: CAPACITY_BYTES, maxRecordBytes: CAPACITY_BYTES / 4, readerCount });
  const readers = Array.from({ length: readerCount }, (_, index) => new RingReader(memory, index));
  const writer = new RingWriter(memory);
  return { memory, writer, readers, reader: readers[0]!, sink: new CollectingSink() };
}

function put(writer: RingWriter, kind: number, bodyBytes = 100, targetMask = EVERYONE): void {
  expect(writer.claim(bodyBytes)).toBe(OUTCOME.OK);
  writer.commit(kind, targetMask, bodyBytes);
}

describe('a ring reader', () => {
  it('sees only records that have its bit, the 32nd reader too', () => {
    const { writer, readers, sink } = makeRing(32);
    for (const reader of readers) reader.attach();
    put(writer, 1, 100, 0b1);
    put(writer, 2, 100, 1 << 31);
    put(writer, 3, 100, 0);
    put(writer, 4, 100, EVERYONE);
    expect(readers[0]!.drain(sink, 10)).toBe(2);
    expect(sink.takeKinds()).toEqual([1, 4]);
    expect(readers[31]!.drain(sink, 10)).toBe(2);
    expect(sink.takeKinds()).toEqual([2, 4]);
    expect(readers[7]!.drain(sink, 10)).toBe(1);
    expect(sink.takeKinds()).toEqual([4]);
    for (const reader of readers.slice(0, 1)) expect(reader.hasRecords()).toBe(false);
  });

  it('does not count skipped records towards maxRecords, and goes on where it stopped', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    for (let kind = 0; kind < 20; kind++) put(writer, kind, 10, kind % 2 === 0 ? 0b01 : 0b10);
    expect(reader.drain(sink, 3)).toBe(3);
    expect(reader.drain(sink, 0)).toBe(0);
    expect(reader.drain(sink, 100)).toBe(7);
    expect(sink.takeKinds()).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    expect(reader.hasRecords()).toBe(false);
  });

  it('hands kinds over as int32', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    for (const kind of [0, -1, 2 ** 31 - 1, -(2 ** 31)]) put(writer, kind, 0);
    reader.drain(sink, 10);
    expect(sink.takeKinds()).toEqual([0, -1, 2 ** 31 - 1, -(2 ** 31)]);
  });

  it('drains what was committed when the call began, not what its own sink causes', () => {
    const { writer, reader } = makeRing();
    reader.attach();
    put(writer, 0);
    let seenCount = 0;
    const echo: RecordSink = {
      onRecord: (kind) => {
        seenCount++;
        put(writer, kind + 1);
      },
    };
    expect(reader.drain(echo, 1000)).toBe(1);
    expect(reader.drain(echo, 1000)).toBe(1);
    expect(seenCount).toBe(2);
    expect(reader.backlogBytes()).toBe(120);
  });

  it('frees space while a long drain is under way', () => {
    const { writer, reader } = makeRing();
    reader.attach();
    while (writer.claim(1000) === OUTCOME.OK) writer.commit(1, EVERYONE, 1000);
    const freeBytes: number[] = [];
    reader.drain({ onRecord: () => freeBytes.push(writer.freeBytes()) }, 1000);
    expect(freeBytes[0]).toBeLessThan(1000);
    // A sixteenth of the capacity is what a reader may hold back, and one record.
    const consumedBytes = (freeBytes.length - 1) * 1016;
    expect(freeBytes.at(-1)).toBeGreaterThan(consumedBytes - CAPACITY_BYTES / 16 - 1016);
  });

  it('counts its backlog, and has none before it attaches', () => {
    const { writer, reader, sink } = makeRing();
    put(writer, 1, 8);
    expect(reader.hasRecords()).toBe(false);
    expect(reader.backlogBytes()).toBe(0);
    expect(reader.drain(sink, 10)).toBe(0);
    reader.attach();
    expect(reader.hasRecords()).toBe(false);
    put(writer, 2, 8);
    put(writer, 3, 1);
    expect(reader.hasRecords()).toBe(true);
    expect(reader.backlogBytes()).toBe(48);
    expect(writer.lagBytes(0)).toBe(48);
  });

  it('refuses to attach twice: it would skip records silently', () => {
    const { reader } = makeRing();
    reader.attach();
    expect(() => reader.attach()).toThrow(expect.objectContaining({ code: 'RING_READER_ATTACHED' }));
  });

  it('leaves, no longer gates, and comes back at the head', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    put(writer, 1);
    reader.leave();
    expect(reader.drain(sink, 10)).toBe(0);
    for (let kind = 0; kind < 1000; kind++) put(writer, kind, 1000);
    reader.attach();
    put(writer, 5);
    expect(reader.drain(sink, 10)).toBe(1);
    expect(sink.takeKinds()).toEqual([5]);
  });

  it('may leave inside its sink: the drain ends there, and the record at hand stays gated until it returns', () => {
    const { writer, reader } = makeRing();
    reader.attach();
    for (let kind = 0; kind < 5; kind++) put(writer, kind);
    const kinds: number[] = [];
    const sink: RecordSink = {
      onRecord: (kind) => {
        kinds.push(kind);
        if (kind !== 2) return;
        reader.leave();
        expect(writer.readerState(0)).toBe(READER_STATE.READING);
      },
    };
    expect(reader.drain(sink, 10)).toBe(3);
    expect(kinds).toEqual([0, 1, 2]);
    expect(writer.readerState(0)).toBe(READER_STATE.LEFT);
    expect(writer.freeBytes()).toBe(CAPACITY_BYTES);
  });

  it('counts a record as consumed when its sink throws, stays attached, and passes the exception on', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    for (let kind = 0; kind < 5; kind++) put(writer, kind);
    const kinds: number[] = [];
    const failure = new Error('the sink failed');
    const throwing: RecordSink = {
      onRecord: (kind) => {
        kinds.push(kind);
        if (kind === 2) throw failure;
      },
    };
    expect(() => reader.drain(throwing, 10)).toThrow(failure);
    expect(kinds).toEqual([0, 1, 2]);
    expect(writer.readerState(0)).toBe(READER_STATE.ATTACHED);
    expect(writer.lagBytes(0)).toBe(2 * 120);
    expect(reader.drain(sink, 10)).toBe(2);
    expect(sink.takeKinds()).toEqual([3, 4]);
  });

  it('refuses to be drained by its own sink', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    put(writer, 1);
    expect(() => reader.drain({ onRecord: () => void reader.drain(sink, 1) }, 1)).toThrow(
      expect.objectContaining({ code: 'RING_REENTRANT' }),
    );
    expect(reader.hasRecords()).toBe(false);
  });

  it('refuses a record that does not carry its own position', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    put(writer, 1, 8);
    put(writer, 2, 8);
    // Somebody writes 4 bytes beyond its claim, over the position of the record behind it.
    writer.view.setInt32(RECORD_AND_BODY_BYTES + 4, 12345, true);
    expect(() => reader.drain(sink, 10)).toThrow(expect.objectContaining({ code: 'RING_CORRUPT' }));
    expect(sink.takeKinds()).toEqual([1]);
  });
});

const RECORD_AND_BODY_BYTES = 24;

describe('a stalled reader', () => {
  it('is detached, stops gating, is told so once, and goes on at the head', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    while (writer.claim(1000) === OUTCOME.OK) writer.commit(1, EVERYONE, 1000);
    writer.takeUnsignalled();
    expect(writer.detachStalled(0)).toBe(true);
    expect(writer.detachStalled(0)).toBe(false);
    expect(writer.lagBytes(0)).toBe(0);
    // Woken, so that its clients hear of the gap soon.
    expect(writer.takeUnsignalled()).toBe(0b01);
    for (let kind = 0; kind < 500; kind++) put(writer, kind, 1000);
    expect(reader.hasRecords()).toBe(true);
    expect(reader.backlogBytes()).toBe(0);
    expect(reader.drain(sink, 10)).toBe(DRAIN_DETACHED);
    expect(sink.records).toEqual([]);
    expect(reader.hasRecords()).toBe(false);
    expect(reader.drain(sink, 10)).toBe(0);
    put(writer, 7);
    expect(reader.drain(sink, 10)).toBe(1);
    expect(sink.takeKinds()).toEqual([7]);
  });

  it('has something to do after a detachment even when nothing was committed', () => {
    const { writer, reader, sink } = makeRing();
    reader.attach();
    expect(writer.detachStalled(0)).toBe(true);
    expect(reader.hasRecords()).toBe(true);
    expect(reader.drain(sink, 10)).toBe(DRAIN_DETACHED);
    expect(reader.hasRecords()).toBe(false);
  });

  it('is not detached while it reads: its view stays whole', () => {
    const { writer, reader } = makeRing();
    reader.attach();
    put(writer, 1, 1000);
    let refused = 0;
    reader.drain(
      {
        onRecord: () => {
          if (!writer.detachStalled(0)) refused++;
          while (writer.claim(1000) === OUTCOME.OK) writer.commit(2, EVERYONE, 1000);
        },
      },
      1,
    );
    expect(refused).toBe(1);
    expect(reader.backlogBytes()).toBeGreaterThan(CAPACITY_BYTES - 3 * 1016);
  });

  it('does not hold the others up, and does not come back by itself', () => {
    const { writer, readers, sink } = makeRing();
    for (const reader of readers) reader.attach();
    while (writer.claim(1000) === OUTCOME.OK) writer.commit(1, EVERYONE, 1000);
    readers[1]!.drain(sink, 1000);
    sink.takeKinds();
    expect(writer.claim(1000)).toBe(OUTCOME.FULL);
    writer.detachStalled(0);
    for (let kind = 0; kind < 100; kind++) {
      put(writer, kind, 1000);
      readers[1]!.drain(sink, 10);
    }
    expect(sink.takeKinds()).toEqual(Array.from({ length: 100 }, (_, kind) => kind));
    expect(writer.readerState(0)).toBe(READER_STATE.DETACHED);
  });
});

describe('the slot of a dead reader', () => {
  /** A thread that dies inside its sink leaves READING behind: here its drain simply never returns. */
  function dieReading(memory: SharedArrayBuffer, writer: RingWriter, then: () => void): void {
    const victim = new RingReader(memory, 0);
    victim.attach();
    put(writer, 1);
    victim.drain({ onRecord: then }, 1);
  }

  it('gates the writer until the supervisor resets it', () => {
    const { memory, writer } = makeRing();
    dieReading(memory, writer, () => {
      while (writer.claim(1000) === OUTCOME.OK) writer.commit(1, EVERYONE, 1000);
      expect(writer.detachStalled(0)).toBe(false);
      resetReader(memory, 0);
      expect(writer.readerState(0)).toBe(READER_STATE.LEFT);
      expect(writer.claim(1000)).toBe(OUTCOME.OK);
    });
    expect(() => resetReader(memory, 2)).toThrow(expect.objectContaining({ code: 'RING_READER_INDEX' }));
  });

  it('is taken over by attach() of its successor, reset or not', () => {
    for (const reset of [true, false]) {
      const { memory, writer, sink } = makeRing();
      dieReading(memory, writer, () => {
        if (reset) resetReader(memory, 0);
        const successor = new RingReader(memory, 0);
        successor.attach();
        put(writer, 2);
        expect(successor.drain(sink, 10)).toBe(1);
        expect(sink.takeKinds()).toEqual([2]);
        expect(writer.readerState(0)).toBe(READER_STATE.ATTACHED);
      });
    }
  });

  it('makes the next drain of a reader that lives after all an error, not a loss', () => {
    const { memory, writer, reader, sink } = makeRing();
    reader.attach();
    put(writer, 1);
    resetReader(memory, 0);
    expect(() => reader.drain(sink, 10)).toThrow(expect.objectContaining({ code: 'RING_READER_TAKEN' }));
    expect(sink.records).toEqual([]);
  });
});
