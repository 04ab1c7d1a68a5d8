/**
 * Messages to bytes and back: msgpackr that writes straight into a ring and reads from a private copy of the record.
 *
 * Threads: one codec per thread, used by that thread only.
 * Guarantees: what decode() returns is a copy, nothing points into the ring. Plain objects, arrays, strings, numbers,
 *   bigint (64 bits), Date, Set, Error, RegExp, typed arrays and actor refs survive; a Map arrives as a plain object,
 *   class instances as plain objects, functions are refused.
 * Hot path: encodeInto() and decode(). No buffer is made per message: msgpackr's target is one Buffer over the whole
 *   ring, whose own `length` is moved to the end of the claim, so that msgpackr grows into a private buffer instead of
 *   writing behind the claim (bench/actor/actor.bench.ts).
 *
 * msgpackr keeps its target and position in the module, for all Packr instances of the thread. Whoever packs next would
 * go on writing into the ring. Therefore every call here ends with a parked target that counts as full: the next pack of
 * anybody else begins with a buffer of its own.
 */
import { Packr, REUSE_BUFFER_MODE, Unpackr } from 'msgpackr';
import { HalleyError } from '../errors/index.js';
import { decodeScope, type RefPort } from './actor-ref.js';
import { FORM, type Form } from './envelope.layout.js';
import { FlatReader, FlatWriter, NOT_FLAT } from './flat-codec.js';
import { MAX_SHAPES, type Shape, ShapeTable } from './shape-table.js';

const PARKED_BYTES = 8192;
const SCRATCH_BYTES = 16 * 1024;
/** Up to here a loop over words beats making a view for set(). */
const MAX_WORD_COPY_BYTES = 256;
/** A shape is shared the third time it is seen: objects used as dictionaries must not fill the table. */
const SIGHTINGS_BEFORE_SHARED = 3;
const MAX_CANDIDATES = 256;
/** A shape with more names than this stays a plain map. */
const MAX_NAMES = 32;

/** encodeInto(): the message needs more room than was claimed. */
export const OUTGROWN = -1;

/** A Buffer whose `length` is its own, writable property. */
type MovableBuffer = Buffer & { length: number };

export class BodyCodec {
  readonly #port: RefPort;
  readonly #own: ShapeTable;
  readonly #shapes: readonly ShapeTable[];
  readonly #packr: Packr;
  readonly #unpackrs: Unpackr[];
  readonly #flatWriter: FlatWriter;
  readonly #flatReaders: FlatReader[];
  readonly #loadedVersions: number[];
  readonly #unpackRange: { start: number; end: number };
  readonly #parked: Buffer;
  readonly #sightings: Map<string, number>;
  #scratch: Buffer;
  #scratchWords: Int32Array;
  #scratchView: DataView;
  #target: MovableBuffer | undefined;
  #targetBytes: Uint8Array | undefined;
  #targetView: DataView | undefined;
  #wasFlat: boolean;
  #encoding: boolean;
  #refusedCount: number;

  /**
   * @param shapes the tables of all threads, by thread index
   * @param port through it the refs inside decoded messages send
   */
  constructor(shapes: readonly SharedArrayBuffer[], ownThread: number, port: RefPort) {
    this.#port = port;
    this.#shapes = shapes.map((memory) => new ShapeTable(memory));
    this.#own = this.#shapes[ownThread]!;
    // Versions before texts: a table that grows meanwhile is then loaded again.
    this.#loadedVersions = this.#shapes.map((table) => table.version());
    this.#unpackrs = this.#shapes.map((table) => makeUnpackr(table.load()));
    this.#flatWriter = new FlatWriter();
    this.#flatReaders = this.#shapes.map((table) => new FlatReader(table.load()));
    this.#unpackRange = { start: 0, end: 0 };
    this.#parked = Buffer.allocUnsafeSlow(PARKED_BYTES);
    this.#sightings = new Map();
    this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    this.#scratchWords = new Int32Array(this.#scratch.buffer);
    this.#scratchView = new DataView(this.#scratch.buffer);
    this.#target = undefined;
    this.#targetBytes = undefined;
    this.#targetView = undefined;
    this.#wasFlat = false;
    this.#encoding = false;
    this.#refusedCount = 0;
    this.#packr = new Packr({
      // An earlier incarnation of this thread may have published shapes: go on where it stopped.
      structures: this.#own.load(),
      maxSharedStructures: MAX_SHAPES,
      maxOwnStructures: 0,
      moreTypes: true,
      shouldShareStructure: (names: string[]) => this.#mayShare(names),
      saveStructures: (shapes: object[]) => {
        const published = this.#own.publish(shapes as unknown as Shape[]);
        if (published) this.#flatWriter.publish(shapes as unknown as Shape[]);
        return published;
      },
    });
    this.#flatWriter.publish(this.#own.load());
  }

  /** True inside encodeInto() or encode(): a toJSON that sends a message must not claim the ring a second time. */
  get isEncoding(): boolean {
    return this.#encoding;
  }

  /**
   * Write `message` at `offset` (a multiple of 8) of `bytes`, at most up to `limit`.
   * @returns its bytes, or OUTGROWN (what was written is rubbish: abort the claim, use encode())
   * @throws HalleyError MESSAGE_NOT_ENCODABLE
   */
  encodeInto(bytes: Uint8Array, offset: number, limit: number, message: unknown): number {
    const packr = this.#packr;
    const target = this.#targetOver(bytes);
    this.#encoding = true;
    try {
      if (typeof message === 'object' && message !== null) {
        const flatBytes = this.#flatWriter.encode(bytes, this.#targetView!, offset, limit, message);
        this.#wasFlat = flatBytes !== NOT_FLAT;
        if (this.#wasFlat) return flatBytes;
      } else this.#wasFlat = false;
      target.length = limit;
      packr.useBuffer(target);
      packr.position = offset;
      const written = packr.pack(message, REUSE_BUFFER_MODE);
      // A view of the target, not the target itself, comes back when a new shape has just been published.
      return written === target || written.buffer === target.buffer ? packr.position - offset : OUTGROWN;
    } catch (error) {
      throw new HalleyError('MESSAGE_NOT_ENCODABLE', 'the message cannot be written as msgpack', {}, error);
    } finally {
      if (this.#wasFlat) this.#encoding = false;
      else this.#park();
    }
  }

  /** How encodeInto() wrote its last message: FORM.FLAT or FORM.MSGPACK. */
  get form(): Form {
    return this.#wasFlat ? FORM.FLAT : FORM.MSGPACK;
  }

  /** Write `message` as msgpack into a buffer that is the caller's. @throws HalleyError MESSAGE_NOT_ENCODABLE */
  encode(message: unknown): Uint8Array {
    const nested = this.#encoding;
    this.#encoding = true;
    try {
      // A copy: pack() returns a view of a buffer that msgpackr goes on using.
      return Uint8Array.from(this.#packr.pack(message));
    } catch (error) {
      throw new HalleyError('MESSAGE_NOT_ENCODABLE', 'the message cannot be written as msgpack', {}, error);
    } finally {
      // Inside another pack() msgpackr itself has put the outer target back: parking would take it away.
      if (!nested) this.#park();
    }
  }

  /**
   * Read [start, end) of `bytes`, which thread `fromThread` wrote; `start` is a multiple of 4.
   * @param form FORM.FLAT or FORM.MSGPACK
   * @param words the same memory as Int32
   */
  decode(fromThread: number, form: Form, bytes: Uint8Array, words: Int32Array, start: number, end: number): unknown {
    if (this.#loadedVersions[fromThread] !== this.#shapes[fromThread]!.version()) this.#reload(fromThread);
    const lengthBytes = end - start;
    if (lengthBytes > this.#scratch.length) this.#growScratch(lengthBytes);
    this.#copyToScratch(bytes, words, start, lengthBytes);
    if (form === FORM.FLAT) return this.#flatReaders[fromThread]!.decode(this.#scratch, this.#scratchView);
    const range = this.#unpackRange;
    range.end = lengthBytes;
    decodeScope.port = this.#port;
    try {
      return this.#unpackrs[fromThread]!.unpack(this.#scratch, range);
    } finally {
      decodeScope.port = undefined;
    }
  }

  /**
   * Into private memory first: msgpackr's native string reader refuses shared memory by an exception per message, which
   * costs 6 us (2026-11, in bench/actor/actor.bench.ts), the copy of a small message some 20 ns.
   */
  #copyToScratch(bytes: Uint8Array, words: Int32Array, start: number, lengthBytes: number): void {
    if (lengthBytes > MAX_WORD_COPY_BYTES) {
      this.#scratch.set(bytes.subarray(start, start + lengthBytes));
      return;
    }
    const scratch = this.#scratchWords;
    const first = start >>> 2;
    const count = (lengthBytes + 3) >>> 2;
    // Up to three bytes more than the message: records are padded to 8 bytes.
    for (let index = 0; index < count; index++) scratch[index] = words[first + index]!;
  }

  #growScratch(lengthBytes: number): void {
    this.#scratch = Buffer.allocUnsafeSlow((lengthBytes + 7) & ~7);
    this.#scratchWords = new Int32Array(this.#scratch.buffer);
    this.#scratchView = new DataView(this.#scratch.buffer);
  }

  #targetOver(bytes: Uint8Array): MovableBuffer {
    if (this.#target === undefined || this.#targetBytes !== bytes) {
      const target = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      Object.defineProperty(target, 'length', { value: bytes.byteLength, writable: true });
      this.#target = target as MovableBuffer;
      this.#targetBytes = bytes;
      this.#targetView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    return this.#target;
  }

  #park(): void {
    this.#packr.useBuffer(this.#parked);
    this.#packr.position = PARKED_BYTES;
    this.#encoding = false;
    // Every shape that was refused has left nodes in msgpackr's trie; without this it grows with the names ever seen.
    if (this.#refusedCount >= MAX_CANDIDATES) {
      this.#refusedCount = 0;
      this.#sightings.clear();
      const structures = (this.#packr as unknown as { structures: { transitions: unknown } }).structures;
      structures.transitions = null;
    }
  }

  #mayShare(names: string[]): boolean {
    this.#refusedCount++;
    if (this.#own.version() >= MAX_SHAPES || names.length > MAX_NAMES) return false;
    const label = JSON.stringify(names);
    const sightings = (this.#sightings.get(label) ?? 0) + 1;
    this.#sightings.set(label, sightings);
    // One message may bring several new shapes before they are published together: leave room for all of them.
    if (sightings < SIGHTINGS_BEFORE_SHARED || label.length * 3 * MAX_SHAPES > this.#own.freeBytes()) return false;
    this.#sightings.delete(label);
    this.#refusedCount--;
    return true;
  }

  #reload(thread: number): void {
    this.#loadedVersions[thread] = this.#shapes[thread]!.version();
    const shapes = this.#shapes[thread]!.load();
    this.#flatReaders[thread] = new FlatReader(shapes);
    this.#unpackrs[thread] = makeUnpackr(shapes);
  }
}

function makeUnpackr(structures: string[][]): Unpackr {
  return new Unpackr({ structures, mapsAsObjects: true, copyBuffers: true, moreTypes: true });
}
