/**
 * A thread's snowflakes behind the port of all schemes. Threads, guarantees and cost: snowflake.ts.
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import { decodeSnowflake, type SnowflakeParts } from './decode-snowflake.js';
import type { IdGenerator } from './id-generator.port.js';
import { requireManyCount } from './id-value.js';
import type { Snowflake } from './snowflake.js';

export class SnowflakeGenerator implements IdGenerator<bigint, SnowflakeParts> {
  readonly scheme = 'snowflake';
  readonly idBytes = 8;
  readonly #snowflake: Snowflake;
  readonly #scratch = new Uint8Array(8);
  readonly #scratchView = new DataView(this.#scratch.buffer);

  /** @param snowflake this thread's own */
  constructor(snowflake: Snowflake) {
    this.#snowflake = snowflake;
  }

  tryNext(): bigint | undefined {
    return this.#snowflake.tryWriteTo(this.#scratch, 0) === OUTCOME.OK ? this.#scratchView.getBigUint64(0) : undefined;
  }

  next(): bigint {
    return this.#snowflake.next();
  }

  nextMany(count: number): bigint[] {
    requireManyCount(count);
    const ids: bigint[] = [];
    for (let index = 0; index < count; index++) ids.push(this.#snowflake.next());
    return ids;
  }

  tryWriteTo(bytes: Uint8Array, offset: number): Outcome {
    return this.#snowflake.tryWriteTo(bytes, offset);
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    this.#snowflake.writeTo(bytes, offset);
  }

  /** The only way to learn whether a draw would be refused is to draw: an id is skipped, which snowflakes have to spare. */
  async ready(): Promise<void> {
    this.#snowflake.writeTo(this.#scratch, 0);
  }

  decode(id: bigint | string | Uint8Array): SnowflakeParts {
    return decodeSnowflake(id, this.#snowflake.epochMs);
  }
}
