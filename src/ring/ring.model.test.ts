/**
 * Random operations on the shipped writer and readers against a naive model: a plain list of records and one index per
 * reader. Positions start anywhere, also just before the 32-bit wrap. A failure prints fast-check's seed and path.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { CollectingSink } from './fixtures/collecting-sink.js';
import { fillPattern, hasPattern } from './fixtures/pattern.js';
import { allocateRing, READER_STATE, RECORD_HEADER_BYTES, resetReader } from './ring.layout.js';
import { DRAIN_DETACHED, RingReader } from './ring-reader.js';
import { RingWriter } from './ring-writer.js';

const CAPACITY_BYTES = 64 * 1024;
const MAX_RECORD_BYTES = CAPACITY_BYTES / 4;
const READER_COUNT = 3;

interface ModelRecord {
  readonly kind: number;
  readonly bodyBytes: number;
  readonly targetMask: number;
  /** Ever-growing byte offset behind the record. */
  readonly endBytes: number;
}

/** Where a naive reader stands: `next` is an index in the list of all records, `atBytes` the same as an offset. */
interface ModelReader {
  state: 'left' | 'attached' | 'detached';
  next: number;
  atBytes: number;
}

class Model {
  readonly records: ModelRecord[] = [];
  readonly readers: ModelReader[] = Array.from({ length: READER_COUNT }, () => ({
    state: 'left',
    next: 0,
    atBytes: 0,
  }));
  tailBytes: number;

  constructor(startBytes: number) {
    this.tailBytes = startBytes;
  }

  lagBytes(reader: ModelReader): number {
    return reader.state === 'attached' ? this.tailBytes - reader.atBytes : 0;
  }

  paddingBytes(bodyBytes: number): number {
    const restBytes = CAPACITY_BYTES - (this.tailBytes % CAPACITY_BYTES);
    return footprintBytes(bodyBytes) > restBytes ? restBytes : 0;
  }

  fits(bodyBytes: number): boolean {
    const needBytes = footprintBytes(bodyBytes) + this.paddingBytes(bodyBytes);
    return this.readers.every((reader) => this.lagBytes(reader) + needBytes <= CAPACITY_BYTES);
  }

  commit(kind: number, claimedBytes: number, bodyBytes: number, targetMask: number): void {
    this.tailBytes += this.paddingBytes(claimedBytes) + footprintBytes(bodyBytes);
    this.records.push({ kind, bodyBytes, targetMask, endBytes: this.tailBytes });
  }

  toHead(reader: ModelReader): void {
    reader.state = 'attached';
    reader.next = this.records.length;
    reader.atBytes = this.tailBytes;
  }

  drain(index: number, maxRecords: number): ModelRecord[] {
    const reader = this.readers[index]!;
    const given: ModelRecord[] = [];
    while (reader.next < this.records.length && given.length < maxRecords) {
      const record = this.records[reader.next++]!;
      reader.atBytes = record.endBytes;
      if ((record.targetMask & (1 << index)) !== 0) given.push(record);
    }
    return given;
  }
}

function footprintBytes(bodyBytes: number): number {
  return RECORD_HEADER_BYTES + Math.ceil(bodyBytes / 8) * 8;
}

const anyReader = fc.nat(READER_COUNT - 1);
const anySize = fc.oneof(
  { weight: 4, arbitrary: fc.nat(300) },
  { weight: 3, arbitrary: fc.nat(MAX_RECORD_BYTES) },
  { weight: 1, arbitrary: fc.constantFrom(0, MAX_RECORD_BYTES, MAX_RECORD_BYTES - 1, MAX_RECORD_BYTES + 1) },
);
const anyOperation = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      claimBytes: anySize,
      usedRatio: fc.constantFrom(1, 1, 1, 0.5, 0),
      targetMask: fc.nat(7),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('drain' as const), reader: anyReader, maxRecords: fc.nat(40) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), claimBytes: anySize }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('attach' as const, 'leave' as const), reader: anyReader }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('detach' as const, 'die' as const), reader: anyReader }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('newWriter' as const) }) },
);
type Operation = typeof anyOperation extends fc.Arbitrary<infer T> ? T : never;

/** The real thing and the model, side by side. */
class Pair {
  readonly memory: SharedArrayBuffer;
  readonly readers: RingReader[];
  readonly model: Model;
  readonly sink = new CollectingSink();
  writer: RingWriter;
  kind = 0;
  wokenMask = 0;

  constructor(startPosition: number) {
    const geometry = { capacityBytes: CAPACITY_BYTES, maxRecordBytes: MAX_RECORD_BYTES, readerCount: READER_COUNT };
    this.memory = allocateRing(geometry, startPosition);
    this.writer = new RingWriter(this.memory);
    this.readers = Array.from({ length: READER_COUNT }, (_, index) => new RingReader(this.memory, index));
    this.model = new Model((startPosition >>> 0) * 8);
  }

  step(operation: Operation): void {
    if (operation.do === 'put') {
      this.put(operation.claimBytes, Math.floor(operation.claimBytes * operation.usedRatio), operation.targetMask);
    } else if (operation.do === 'abort') {
      this.writer.claim(operation.claimBytes);
      this.writer.abort();
    } else if (operation.do === 'newWriter') {
      this.writer = new RingWriter(this.memory);
    } else if (operation.do === 'drain') {
      this.drain(operation.reader, operation.maxRecords);
    } else {
      this.move(operation.do, operation.reader);
    }
  }

  /** A change of one reader's state. */
  move(change: 'attach' | 'leave' | 'detach' | 'die', index: number): void {
    const modelReader = this.model.readers[index]!;
    if (change === 'attach') {
      if (modelReader.state !== 'left') return;
      this.readers[index]!.attach();
      this.model.toHead(modelReader);
    } else if (change === 'detach') {
      expect(this.writer.detachStalled(index)).toBe(modelReader.state === 'attached');
      if (modelReader.state === 'attached') modelReader.state = 'detached';
    } else {
      if (change === 'leave') this.readers[index]!.leave();
      else {
        resetReader(this.memory, index);
        this.readers[index] = new RingReader(this.memory, index);
      }
      modelReader.state = 'left';
    }
  }

  put(claimBytes: number, bodyBytes: number, targetMask: number): void {
    const outcome = this.writer.claim(claimBytes);
    const fitting = this.model.fits(claimBytes) ? OUTCOME.OK : OUTCOME.FULL;
    expect(outcome).toBe(claimBytes > MAX_RECORD_BYTES ? OUTCOME.TOO_LARGE : fitting);
    if (outcome !== OUTCOME.OK) return;
    const kind = this.kind++;
    fillPattern(this.writer.bytes, this.writer.offset, bodyBytes, kind);
    this.writer.commit(kind, targetMask, bodyBytes);
    this.model.commit(kind, claimBytes, bodyBytes, targetMask);
    const signalled = this.writer.takeUnsignalled();
    expect(signalled & targetMask).toBe(targetMask);
    this.model.readers.forEach((reader, index) => {
      if (this.model.lagBytes(reader) > CAPACITY_BYTES / 2) expect(signalled & (1 << index)).not.toBe(0);
    });
  }

  drain(index: number, maxRecords: number): void {
    const modelReader = this.model.readers[index]!;
    const given = this.readers[index]!.drain(this.sink, maxRecords);
    const records = this.sink.records.splice(0);
    if (modelReader.state !== 'attached') {
      expect(given).toBe(modelReader.state === 'left' ? 0 : DRAIN_DETACHED);
      expect(records).toEqual([]);
      if (modelReader.state === 'detached') this.model.toHead(modelReader);
      return;
    }
    const expected = this.model.drain(index, maxRecords);
    expect(given).toBe(expected.length);
    expect(records.map((record) => record.kind)).toEqual(expected.map((record) => record.kind));
    records.forEach((record, at) => {
      expect(record.body.length).toBe(expected[at]!.bodyBytes);
      if (!hasPattern(record.body, 0, record.body.length, record.kind)) expect.unreachable(`torn: ${record.kind}`);
    });
  }

  /** What must hold between any two operations. */
  check(): void {
    this.model.readers.forEach((reader, index) => {
      const lagBytes = this.model.lagBytes(reader);
      expect(this.writer.lagBytes(index)).toBe(lagBytes);
      expect(this.readers[index]!.backlogBytes()).toBe(lagBytes);
      expect(this.readers[index]!.hasRecords()).toBe(lagBytes > 0 || reader.state === 'detached');
      const stateName = { left: READER_STATE.LEFT, attached: READER_STATE.ATTACHED, detached: READER_STATE.DETACHED };
      expect(this.writer.readerState(index)).toBe(stateName[reader.state]);
    });
    const slowestBytes = Math.max(...this.model.readers.map((reader) => this.model.lagBytes(reader)));
    expect(this.writer.freeBytes()).toBe(CAPACITY_BYTES - slowestBytes);
  }
}

it('does what a naive list of records does, for random operations from any position', { timeout: 60_000 }, () => {
  const anyStart = fc.oneof(
    fc.integer({ min: -20_000, max: 20_000 }),
    fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  );
  fc.assert(
    fc.property(anyStart, fc.array(anyOperation, { minLength: 20, maxLength: 200 }), (startPosition, operations) => {
      const pair = new Pair(startPosition);
      pair.readers.forEach((reader, index) => {
        reader.attach();
        pair.model.toHead(pair.model.readers[index]!);
      });
      for (const operation of operations) {
        pair.step(operation);
        pair.check();
      }
    }),
    { numRuns: 300 },
  );
});
