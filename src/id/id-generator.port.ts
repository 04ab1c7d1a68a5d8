/**
 * What every id scheme gives, whether its ids come from a clock, from random bits or from ranges that a database hands out.
 *
 * Drawing is synchronous for all of them. A scheme that lives on ranges serves from its buffered range and only says "none at
 * the moment" when that is used up; whoever can wait then awaits `ready` (`drawId` does both).
 *
 * Threads: a generator belongs to the thread that made it.
 */
import type { Outcome } from '../errors/index.js';

export type IdScheme = 'snowflake' | 'sonyflake' | 'uuid-v4' | 'uuid-v7' | 'segment' | 'offset' | 'redis-incr' | 'rule';

/** What an id tells of itself; each scheme adds its own parts. */
export interface IdParts {
  /** Wall clock ms since 1970 inside the id, as fine as the scheme keeps it; undefined where an id carries no time. */
  readonly timestampMs: number | undefined;
}

export interface IdGenerator<Id extends bigint | string = bigint | string, Parts extends IdParts = IdParts> {
  readonly scheme: IdScheme;
  /** What `writeTo` writes, always as many: 8 (numbers, big-endian), 16 (UUID), or the characters of a rule. */
  readonly idBytes: number;

  /** The next id, or undefined where none can be given now: `ready` says when, or why not. */
  tryNext(): Id | undefined;

  /** The next id. Throws a HalleyError that says why there is none; ID_RANGE_EMPTY means: await `ready`. */
  next(): Id;

  /**
   * The next `count` ids (1 to 100,000), in order. Throws as `next`; what was drawn before it threw is skipped. Schemes that
   * live on ranges take nothing unless they have all of them.
   */
  nextMany(count: number): Id[];

  /**
   * Write the next id at `offset`, without garbage.
   *
   * @returns OUTCOME.OK; FULL: none now, await `ready`; CLOSED: none until somebody helps, `ready` rejects with the reason.
   *   The bytes are untouched unless OK.
   */
  tryWriteTo(bytes: Uint8Array, offset: number): Outcome;

  /** As tryWriteTo; throws as `next`. */
  writeTo(bytes: Uint8Array, offset: number): void;

  /** Resolves when an id can be drawn. Another caller may take it first: draw in a loop, as `drawId` does. Rejects with the reason. */
  ready(): Promise<void>;

  /** Take an id of this generator's kind apart: as it was drawn, as decimal text, or as its bytes. Throws ID_MALFORMED. */
  decode(id: Id | string | Uint8Array): Parts;
}
