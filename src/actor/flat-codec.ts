/**
 * The short way for the commonest message: a flat plain object whose shape is published, of small values.
 *
 * Threads: a writer and its readers each belong to one thread's BodyCodec.
 * Layout: u8 number of the shape, then per property, in the shape's order: u8 tag and
 *   INT int32 | FLOAT float64 | TEXT u8 length, ASCII | nothing for TRUE, FALSE, NULL, UNDEFINED. Little-endian.
 * Guarantees: what encode() takes comes out of decode() equal (minus zero as 0, as with msgpackr); everything else it refuses, and msgpackr takes over.
 * Hot path: both directions. For the bench's message of five fields 131 ns in and 106 out, against 246 and 170 through
 *   msgpackr (2026-11, spike; bench/actor/actor.bench.ts has the whole path): msgpackr walks a trie of names per message,
 *   and without this a message is less than five times as cheap as postMessage.
 */
import type { Shape } from './shape-table.js';

const TAG = { INT: 1, FLOAT: 2, TEXT: 3, TRUE: 4, FALSE: 5, NULL: 6, UNDEFINED: 7 } as const;
const MAX_TEXT_CHARS = 255;
/** Of one property: tag, length and text. */
const MAX_VALUE_BYTES = 2 + MAX_TEXT_CHARS;
/** A shape that was refused so often in a row is tried only now and then: its values are not flat. */
const MAX_MISSES = 8;
const RETRY_MASK = 63;

/** encode(): this message is not for here. */
export const NOT_FLAT = -1;

/** Knows the shapes of its own thread. */
export class FlatWriter {
  readonly #shapes: Shape[];
  readonly #numbersByFirstName: Map<string, number[]>;
  readonly #misses: number[];
  #last: number;
  #attempts: number;

  constructor() {
    this.#shapes = [];
    this.#numbersByFirstName = new Map();
    this.#misses = [];
    this.#last = 0;
    this.#attempts = 0;
  }

  /** `shapes` is what has been published so far; it only grows. */
  publish(shapes: readonly Shape[]): void {
    for (let number = this.#shapes.length; number < shapes.length; number++) {
      const shape = [...shapes[number]!];
      this.#shapes.push(shape);
      this.#misses.push(0);
      // In an object literal this name sets the prototype.
      if (shape.length === 0 || shape.includes('__proto__')) continue;
      const first = shape[0]!;
      const numbers = this.#numbersByFirstName.get(first);
      if (numbers === undefined) this.#numbersByFirstName.set(first, [number]);
      else numbers.push(number);
    }
  }

  /**
   * Write `message` at `offset`, at most up to `limit`.
   * @returns its bytes, or NOT_FLAT; then what stands there is rubbish
   */
  encode(bytes: Uint8Array, view: DataView, offset: number, limit: number, message: object): number {
    if (message.constructor !== Object) return NOT_FLAT;
    for (const first in message) {
      const numbers = this.#numbersByFirstName.get(first);
      if (numbers === undefined) return NOT_FLAT;
      if (numbers.includes(this.#last)) {
        const written = this.#encodeAs(this.#last, bytes, view, offset, limit, message as Record<string, unknown>);
        if (written !== NOT_FLAT) return written;
      }
      for (let index = 0; index < numbers.length; index++) {
        const number = numbers[index]!;
        if (number === this.#last) continue;
        const written = this.#encodeAs(number, bytes, view, offset, limit, message as Record<string, unknown>);
        if (written === NOT_FLAT) continue;
        this.#last = number;
        return written;
      }
      return NOT_FLAT;
    }
    return NOT_FLAT;
  }

  #encodeAs(
    number: number,
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    limit: number,
    message: Record<string, unknown>,
  ): number {
    if (this.#misses[number]! >= MAX_MISSES && (++this.#attempts & RETRY_MASK) !== 0) return NOT_FLAT;
    const written = encodeValues(this.#shapes[number]!, bytes, view, offset + 1, limit - MAX_VALUE_BYTES, message);
    if (written === NOT_FLAT) {
      this.#misses[number]!++;
      return NOT_FLAT;
    }
    this.#misses[number] = 0;
    bytes[offset] = number;
    return written + 1;
  }
}

/** @param lastStart no value may start beyond it */
function encodeValues(
  shape: Shape,
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  lastStart: number,
  message: Record<string, unknown>,
): number {
  let at = offset;
  let index = 0;
  for (const name in message) {
    if (index === shape.length || name !== shape[index] || at > lastStart) return NOT_FLAT;
    index++;
    const value = message[name];
    if (typeof value === 'number') {
      if ((value | 0) === value) {
        bytes[at] = TAG.INT;
        view.setInt32(at + 1, value, true);
        at += 5;
      } else {
        bytes[at] = TAG.FLOAT;
        view.setFloat64(at + 1, value, true);
        at += 9;
      }
    } else if (typeof value === 'string') {
      const chars = value.length;
      if (chars > MAX_TEXT_CHARS) return NOT_FLAT;
      bytes[at] = TAG.TEXT;
      bytes[at + 1] = chars;
      at += 2;
      for (let char = 0; char < chars; char++) {
        const code = value.charCodeAt(char);
        if (code > 0x7f) return NOT_FLAT;
        bytes[at + char] = code;
      }
      at += chars;
    } else if (value === true) bytes[at++] = TAG.TRUE;
    else if (value === false) bytes[at++] = TAG.FALSE;
    else if (value === null) bytes[at++] = TAG.NULL;
    else if (value === undefined) bytes[at++] = TAG.UNDEFINED;
    else return NOT_FLAT;
  }
  return index === shape.length ? at - offset : NOT_FLAT;
}

/** Node's Buffer has it without declaring it; toString('latin1') costs 40 ns more. */
type SliceBuffer = Buffer & { latin1Slice(start: number, end: number): string };

/** Reads messages of one other thread, out of private memory. */
export class FlatReader {
  readonly #makers: (() => object)[];
  readonly #read: () => unknown;
  #bytes: SliceBuffer;
  #view: DataView;
  #at: number;

  /** @param shapes what the writing thread has published */
  constructor(shapes: readonly Shape[]) {
    this.#read = () => this.#value();
    this.#makers = shapes.map((shape) => compileMaker(shape, this.#read));
    this.#bytes = Buffer.alloc(0) as SliceBuffer;
    this.#view = new DataView(this.#bytes.buffer);
    this.#at = 0;
  }

  /** Read the message at the start of `bytes`. */
  decode(bytes: Buffer, view: DataView): object {
    this.#bytes = bytes as SliceBuffer;
    this.#view = view;
    this.#at = 1;
    return this.#makers[bytes[0]!]!();
  }

  #value(): unknown {
    const at = this.#at;
    const bytes = this.#bytes;
    switch (bytes[at]) {
      case TAG.INT:
        this.#at = at + 5;
        return this.#view.getInt32(at + 1, true);
      case TAG.FLOAT:
        this.#at = at + 9;
        return this.#view.getFloat64(at + 1, true);
      case TAG.TEXT: {
        const start = at + 2;
        const end = start + bytes[at + 1]!;
        this.#at = end;
        return bytes.latin1Slice(start, end);
      }
      case TAG.TRUE:
        this.#at = at + 1;
        return true;
      case TAG.FALSE:
        this.#at = at + 1;
        return false;
      case TAG.NULL:
        this.#at = at + 1;
        return null;
      default:
        this.#at = at + 1;
        return undefined;
    }
  }
}

/**
 * A function that makes an object of this shape with one literal, as msgpackr does too: property by property it would
 * cost a transition each. The names are quoted by JSON, so nothing in them is code.
 */
function compileMaker(shape: Shape, read: () => unknown): () => object {
  const members = shape.map((name) => `${JSON.stringify(name)}: read()`).join(', ');
  return new Function('read', `return () => ({ ${members} });`)(read) as () => object;
}
