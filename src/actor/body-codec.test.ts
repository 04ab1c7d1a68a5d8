/**
 * msgpack in shared memory: what comes out, and that nothing else is touched.
 */
import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { ActorRef, type RefPort } from './actor-ref.js';
import { BodyCodec, OUTGROWN } from './body-codec.js';
import { FORM } from './envelope.layout.js';
import { allocateShapeTable, MAX_SHAPES, ShapeTable } from './shape-table.js';

const PORT: RefPort = { tellTo: () => 0, askTo: () => Promise.resolve() };

function pair(): {
  shapes: SharedArrayBuffer[];
  writer: BodyCodec;
  reader: BodyCodec;
  bytes: Uint8Array;
  words: Int32Array;
} {
  const shapes = [allocateShapeTable(), allocateShapeTable()];
  // An offset into the memory, as the data area of a ring has.
  const bytes = new Uint8Array(new SharedArrayBuffer(70_000), 1024, 65_536);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  return { shapes, writer: new BodyCodec(shapes, 0, PORT), reader: new BodyCodec(shapes, 1, PORT), bytes, words };
}

function through(codecs: ReturnType<typeof pair>, message: unknown, offset = 4096): unknown {
  const length = codecs.writer.encodeInto(codecs.bytes, offset, offset + 30_000, message);
  expect(length).toBeGreaterThan(0);
  return codecs.reader.decode(0, codecs.writer.form, codecs.bytes, codecs.words, offset, offset + length);
}

const MESSAGES: [string, unknown][] = [
  ['a flat object', { id: 1, room: 'live://1', text: 'hello', at: 1.5, ok: true }],
  ['nested objects and arrays', { list: [{ a: 1 }, { a: 2 }], deep: { deeper: { deepest: [null, undefined] } } }],
  [
    'strings of every width, also beyond the short paths',
    ['', 'a', 'ü', '€', '😀', 'x'.repeat(139), 'ü€😀'.repeat(500)],
  ],
  ['numbers', [0, -1, 127, 128, 65_536, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 1.25, Number.NaN, Number.POSITIVE_INFINITY]],
  ['64-bit integers', [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n]],
  ['dates and sets', { date: new Date(1_700_000_000_123), set: new Set(['a', 1]) }],
  ['bytes inside an object', { bytes: new Uint8Array([1, 2, 3]), floats: new Float64Array([1.5, -2.5]) }],
];

describe('what is written into shared memory is read as it was', () => {
  test.each(MESSAGES)('%s', (_name, message) => {
    const codecs = pair();
    // Five times: shapes are shared from the third time on.
    for (let round = 0; round < 5; round++) expect(through(codecs, message)).toEqual(message);
  });

  test('refs, which then send through the port of the reading thread', () => {
    const codecs = pair();
    const ref = new ActorRef(PORT, 0, 1, 3, 77);
    const { to } = through(codecs, { to: ref }) as { to: ActorRef };
    expect(to.equals(ref)).toBe(true);
    expect(to.tell('x')).toBe(0);
  });
});

describe('flat objects go the short way once their shape is shared', () => {
  const FLAT: [string, Record<string, unknown>][] = [
    ['integers at their limits', { a: 0, b: -1, c: 2 ** 31 - 1, d: -(2 ** 31) }],
    ['numbers that are no int32', { a: 2 ** 31, b: 0.1, c: Number.NaN, d: Number.NEGATIVE_INFINITY, e: 2 ** 53 }],
    ['texts from empty to 255 characters', { a: '', b: 'x', c: 'y'.repeat(255), d: '\u0000\u007f' }],
    ['the four constants', { a: true, b: false, c: null, d: undefined }],
  ];

  test.each(FLAT)('%s', (_name, message) => {
    const codecs = pair();
    for (let round = 0; round < 5; round++) expect(through(codecs, message)).toStrictEqual(message);
    expect(codecs.writer.form).toBe(FORM.FLAT);
  });

  const NOT_FLAT: [string, Record<string, unknown>][] = [
    ['a nested value', { a: 1, b: [1] }],
    ['text that is not ASCII', { a: 1, b: 'ü' }],
    ['text above 255 characters', { a: 1, b: 'x'.repeat(256) }],
    ['a bigint', { a: 1, b: 1n }],
    ['the name that sets a prototype', JSON.parse('{"a": 1, "__proto__": 2}')],
  ];

  test.each(NOT_FLAT)('%s goes through msgpack', (_name, message) => {
    const codecs = pair();
    for (let round = 0; round < 80; round++) {
      const read = through(codecs, message) as Record<string, unknown>;
      expect(codecs.writer.form).toBe(FORM.MSGPACK);
      expect(read['a']).toBe(1);
      if (!Object.hasOwn(message, '__proto__')) expect(read).toEqual(message);
      expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    }
  });

  test('objects of several shapes in turn, with the same first name, each come out as they were', () => {
    const codecs = pair();
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom('a', 'b', 'c', 'd'),
          fc.oneof(
            fc.integer(),
            fc.double().map((value) => value + 0),
            fc.string(),
            fc.boolean(),
          ),
        ),
        (message) => {
          const plain = { ...message };
          expect(through(codecs, plain)).toStrictEqual(plain);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(new ShapeTable(codecs.shapes[0]!).version()).toBeGreaterThan(10);
  });

  test('a message that does not fit its claim writes nothing behind it', () => {
    const codecs = pair();
    const message = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`n${index}`, 'x'.repeat(200)]));
    for (let round = 0; round < 5; round++) through(codecs, message);
    expect(codecs.writer.form).toBe(FORM.FLAT);
    codecs.bytes.fill(7);
    expect(codecs.writer.encodeInto(codecs.bytes, 4096, 4096 + 2_500, message)).toBe(OUTGROWN);
    expect(codecs.bytes.subarray(4096 + 2_500).every((byte) => byte === 7)).toBe(true);
  });
});

test('nothing that was read points into the shared memory', () => {
  const codecs = pair();
  const message = { bytes: new Uint8Array([1, 2, 3]), text: 'y'.repeat(300), buffer: Buffer.from('abc') };
  const read = through(codecs, message) as typeof message;
  codecs.bytes.fill(0xff);
  expect([...read.bytes]).toEqual([1, 2, 3]);
  expect(read.text).toBe('y'.repeat(300));
  expect(Buffer.from(read.buffer).toString()).toBe('abc');
});

test('a message that does not fit its claim says so and writes nothing behind it', () => {
  const { writer, bytes } = pair();
  bytes.fill(7);
  const limit = 4096 + 2_500;
  expect(writer.encodeInto(bytes, 4096, limit, { text: 'x'.repeat(10_000) })).toBe(OUTGROWN);
  expect(
    writer.encodeInto(
      bytes,
      4096,
      limit,
      Array.from({ length: 3_000 }, (_, index) => index),
    ),
  ).toBe(OUTGROWN);
  expect(bytes.subarray(limit).every((byte) => byte === 7)).toBe(true);
  expect(bytes.subarray(0, 4096).every((byte) => byte === 7)).toBe(true);
});

test('whoever else packs on this thread writes into memory of its own, before and after', () => {
  // msgpackr keeps its target per module: without parking, the next pack() of a store would write into the ring.
  const codecs = pair();
  const before = pack({ before: 'a'.repeat(40) });
  through(codecs, { id: 1 });
  const copy = Uint8Array.from(codecs.bytes);
  const after = pack({ after: 'b'.repeat(40) });
  through(codecs, { id: 2 }, 32_768);
  expect(after.buffer).not.toBe(codecs.bytes.buffer);
  expect(codecs.bytes.slice(0, 32_768)).toEqual(copy.slice(0, 32_768));
  expect(Buffer.from(before).includes('aaaa')).toBe(true);
  expect(Buffer.from(after).includes('bbbb')).toBe(true);
});

describe('shapes', () => {
  test('a shape that comes back costs its number only', () => {
    const codecs = pair();
    const message = { someLongPropertyName: 1, anotherLongPropertyName: 2 };
    const first = codecs.writer.encodeInto(codecs.bytes, 0, 30_000, message);
    for (let round = 0; round < 3; round++) through(codecs, message);
    const later = codecs.writer.encodeInto(codecs.bytes, 0, 30_000, message);
    expect(codecs.writer.form).toBe(FORM.FLAT);
    expect(later).toBeLessThan(first - 30);
  });

  test('objects used as dictionaries take no shapes, and thousands of them are read right', () => {
    const codecs = pair();
    for (let index = 0; index < 3_000; index++) {
      const message = { [`user-${index}`]: index, [`other-${index}`]: { [`deep-${index}`]: [index] } };
      expect(through(codecs, message)).toEqual(message);
    }
    expect(new ShapeTable(codecs.shapes[0]!).version()).toBe(0);
  });

  test('more shapes than there are numbers are written out in full', () => {
    const codecs = pair();
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 100; index++) {
        const message = { [`field-${index}`]: index, common: round };
        expect(through(codecs, message)).toEqual(message);
      }
    }
    expect(new ShapeTable(codecs.shapes[0]!).version()).toBe(MAX_SHAPES);
  });

  test('several new shapes in one message are all known to its reader', () => {
    const codecs = pair();
    const message = { a: { b: 1 }, c: [{ d: 1 }, { e: { f: 2 } }] };
    for (let round = 0; round < 5; round++) expect(through(codecs, message)).toEqual(message);
    expect(new ShapeTable(codecs.shapes[0]!).version()).toBe(5);
  });

  test('a successor of the writing thread goes on with the shapes that are published', () => {
    const codecs = pair();
    for (let round = 0; round < 4; round++) through(codecs, { one: 1, two: 2 });
    const successor = { ...codecs, writer: new BodyCodec(codecs.shapes, 0, PORT) };
    for (let round = 0; round < 4; round++) {
      expect(through(successor, { three: 3, four: 4 })).toEqual({ three: 3, four: 4 });
      expect(through(successor, { one: 1, two: 2 })).toEqual({ one: 1, two: 2 });
    }
    expect(new ShapeTable(codecs.shapes[0]!).version()).toBe(2);
  });
});
