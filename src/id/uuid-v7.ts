/**
 * UUID version 7 (RFC 9562): sorts by time, as bytes and as text.
 *
 *   0        48   52           64 66                  86                              128
 *   +---------+----+------------+--+-------------------+--------------------------------+
 *   | ms      | 7  | counter 12 |10| counter 20        | random 42                      |
 *   +---------+----+------------+--+-------------------+--------------------------------+
 *
 * Threads: one; each thread makes its own.
 * Guarantees: strictly rising per generator. The 32-bit counter (the RFC's method 1) starts each millisecond at 31 random bits, so
 *   at least 2^31 ids fit a millisecond; should it overflow, ids take the next millisecond ahead of the clock. A wall clock that is
 *   stepped back holds the last millisecond: ids count on, never repeat, never wait. Across generators and restarts: unique by
 *   chance (73 random bits per millisecond), ordered to the millisecond only.
 * Hot path: `writeTo`; `next` adds the string.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import type { IdGenerator, IdParts } from './id-generator.port.js';
import { requireManyCount } from './id-value.js';
import { RandomPool } from './random-pool.js';
import { UuidPrinter, uuidBytesOf, uuidVersionOf } from './uuid-text.js';

export interface UuidV7Parts extends IdParts {
  readonly timestampMs: number;
  readonly version: 7;
  /** Place inside its millisecond, from a random start. */
  readonly counter: number;
}

const MS_END = 2 ** 48;
const COUNTER_END = 2 ** 32;

export class UuidV7 implements IdGenerator<string, UuidV7Parts> {
  readonly scheme = 'uuid-v7';
  readonly idBytes = 16;
  readonly #clock: Clock;
  readonly #pool = new RandomPool();
  readonly #scratch = new Uint8Array(16);
  readonly #printer = new UuidPrinter();
  #lastMs = -1;
  #counter = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  next(): string {
    this.writeTo(this.#scratch, 0);
    return this.#printer.print(this.#scratch);
  }

  tryNext(): string | undefined {
    return this.tryWriteTo(this.#scratch, 0) === OUTCOME.OK ? this.#printer.print(this.#scratch) : undefined;
  }

  nextMany(count: number): string[] {
    requireManyCount(count);
    return Array.from({ length: count }, () => this.next());
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    if (this.tryWriteTo(bytes, offset) !== OUTCOME.OK) throw this.#refusal();
  }

  /** CLOSED only past the year 10889, where 48 bits of milliseconds end, or before 1970. */
  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    const nowMs = this.#clock.nowMs();
    if (nowMs > this.#lastMs) {
      if (nowMs >= MS_END) return OUTCOME.CLOSED;
      this.#lastMs = nowMs;
      this.#counter = this.#randomStart();
    } else if (this.#lastMs < 0) {
      return OUTCOME.CLOSED;
    } else if (this.#counter + 1 < COUNTER_END) {
      this.#counter++;
    } else {
      if (this.#lastMs + 1 >= MS_END) return OUTCOME.CLOSED;
      this.#lastMs++;
      this.#counter = this.#randomStart();
    }
    const ms = this.#lastMs;
    const highMs = (ms / 65_536) | 0;
    const counter = this.#counter | 0;
    const from = this.#pool.take(6);
    const random = this.#pool.bytes;
    bytes[offset] = highMs >>> 24;
    bytes[offset + 1] = highMs >>> 16;
    bytes[offset + 2] = highMs >>> 8;
    bytes[offset + 3] = highMs;
    bytes[offset + 4] = ms >>> 8;
    bytes[offset + 5] = ms;
    bytes[offset + 6] = 0x70 | (counter >>> 28);
    bytes[offset + 7] = counter >>> 20;
    bytes[offset + 8] = 0x80 | ((counter >>> 14) & 0x3f);
    bytes[offset + 9] = counter >>> 6;
    bytes[offset + 10] = ((counter & 0x3f) << 2) | (random[from]! & 3);
    bytes[offset + 11] = random[from + 1]!;
    bytes[offset + 12] = random[from + 2]!;
    bytes[offset + 13] = random[from + 3]!;
    bytes[offset + 14] = random[from + 4]!;
    bytes[offset + 15] = random[from + 5]!;
    return OUTCOME.OK;
  }

  async ready(): Promise<void> {
    if (this.#clock.nowMs() < 0 || Math.max(this.#clock.nowMs(), this.#lastMs + 1) >= MS_END) throw this.#refusal();
  }

  decode(id: string | Uint8Array): UuidV7Parts {
    const bytes = uuidBytesOf(id);
    uuidVersionOf(bytes, 7);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    const high = ((bytes[6]! & 0x0f) << 8) | bytes[7]!;
    const low = ((bytes[8]! & 0x3f) << 14) | (bytes[9]! << 6) | (bytes[10]! >>> 2);
    return { timestampMs: view.getUint32(0) * 65_536 + view.getUint16(4), version: 7, counter: high * 2 ** 20 + low };
  }

  #randomStart(): number {
    const from = this.#pool.take(4);
    const random = this.#pool.bytes;
    return ((random[from]! & 0x7f) << 24) | (random[from + 1]! << 16) | (random[from + 2]! << 8) | random[from + 3]!;
  }

  #refusal(): HalleyError {
    return new HalleyError(
      'ID_TIME_RANGE',
      'a UUID of version 7 holds times from 1970 to the year 10889: set the clock',
      {
        nowMs: this.#clock.nowMs(),
      },
    );
  }
}
