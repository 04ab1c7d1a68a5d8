/**
 * UUID version 4 (RFC 9562): 122 random bits.
 *
 * Guarantees: no order, no time, no state to lose; unique by chance: after 2^46 of them the odds of one repeat are about 1 in 2^31.
 * Hot path: `writeTo` takes 16 bytes of a pool that the operating system's generator fills; `next` prints them.
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import type { IdGenerator, IdParts } from './id-generator.port.js';
import { requireManyCount } from './id-value.js';
import { RandomPool } from './random-pool.js';
import { UuidPrinter, uuidBytesOf, uuidVersionOf } from './uuid-text.js';

export interface UuidV4Parts extends IdParts {
  readonly version: 4;
}

const PARTS: UuidV4Parts = Object.freeze({ timestampMs: undefined, version: 4 });

export class UuidV4 implements IdGenerator<string, UuidV4Parts> {
  readonly scheme = 'uuid-v4';
  readonly idBytes = 16;
  readonly #pool = new RandomPool();
  readonly #scratch = new Uint8Array(16);
  readonly #printer = new UuidPrinter();

  next(): string {
    this.writeTo(this.#scratch, 0);
    return this.#printer.print(this.#scratch);
  }

  tryNext(): string {
    return this.next();
  }

  nextMany(count: number): string[] {
    requireManyCount(count);
    return Array.from({ length: count }, () => this.next());
  }

  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    this.writeTo(bytes, offset);
    return OUTCOME.OK;
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    const from = this.#pool.take(16);
    const random = this.#pool.bytes;
    for (let index = 0; index < 16; index++) bytes[offset + index] = random[from + index]!;
    bytes[offset + 6] = (random[from + 6]! & 0x0f) | 0x40;
    bytes[offset + 8] = (random[from + 8]! & 0x3f) | 0x80;
  }

  async ready(): Promise<void> {}

  decode(id: string | Uint8Array): UuidV4Parts {
    uuidVersionOf(uuidBytesOf(id), 4);
    return PARTS;
  }
}
