/**
 * Shapes (lists of property names) that one thread uses in its messages, in shared memory: a message then carries a
 * shape's number instead of its names. Decoding a message of five fields falls from 273 to 174 ns (spike of 2026-11,
 * bench/actor/actor.bench.ts times the whole path).
 *
 * Threads: one writer (the owner of the table), any number of readers.
 * Layout: word 0 version (shapes published), word 1 bytes of text, from byte 16 one line of JSON per shape, append-only.
 * Guarantees: a shape is published before the first record that uses it is committed, so a reader that meets a number
 *   finds it. Shapes are never changed or removed, not even when the owner's thread is replaced. A full table makes
 *   messages larger, never wrong.
 */

const VERSION_WORD = 0;
const BYTES_WORD = 1;
const TEXT_OFFSET = 16;
const TABLE_BYTES = 16 * 1024;

/** msgpackr has one-byte numbers for 32 shapes. */
export const MAX_SHAPES = 32;

/** A shape: property names in the order of insertion. */
export type Shape = readonly string[];

/** Allocate an empty table (16 KiB). */
export function allocateShapeTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(TABLE_BYTES);
}

export class ShapeTable {
  readonly #words: Int32Array;
  readonly #text: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, TEXT_OFFSET / Int32Array.BYTES_PER_ELEMENT);
    this.#text = Buffer.from(memory, TEXT_OFFSET);
  }

  /** How many shapes have been published. A reader compares it with what it has loaded. */
  version(): number {
    return Atomics.load(this.#words, VERSION_WORD);
  }

  /** Bytes of the table that are still free. */
  freeBytes(): number {
    return this.#text.length - Atomics.load(this.#words, BYTES_WORD);
  }

  /** Owner only: append those of `shapes` that are not published yet. False, and nothing changed, when they do not fit. */
  publish(shapes: readonly Shape[]): boolean {
    const usedBytes = Atomics.load(this.#words, BYTES_WORD);
    let lines = '';
    for (const shape of shapes.slice(this.version())) lines += `${JSON.stringify(shape)}\n`;
    if (Buffer.byteLength(lines) > this.#text.length - usedBytes) return false;
    const writtenBytes = this.#text.write(lines, usedBytes, 'utf8');
    Atomics.store(this.#words, BYTES_WORD, usedBytes + writtenBytes); // pairs with the load in load()
    Atomics.store(this.#words, VERSION_WORD, shapes.length); // pairs with the load in version()
    return true;
  }

  /** The shapes published so far, as fresh arrays: at least as many as `version()` said before the call. */
  load(): string[][] {
    const text = this.#text.toString('utf8', 0, Atomics.load(this.#words, BYTES_WORD));
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as string[]);
  }
}
