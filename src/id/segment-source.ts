/**
 * Segments: ranges of a business tag's counter, taken from a shared store (the seeds' MAX_ID and step per tag).
 *
 * Threads: the owner's.
 * Guarantees: ranges of all servers on the store never overlap. A counter that was lost and made anew, or fell back behind
 *   what this source was given, is refused for good (ID_STORE_LOST, ID_STORE_WENT_BACK): a person sets it above every id in use
 *   with `raiseCounter`.
 */
import { HalleyError } from '../errors/index.js';
import { COUNTED_ID_END } from './id-value.js';
import type { IdRange, RangeSource } from './range-source.port.js';
import type { SegmentGrant, SegmentStore } from './segment-store.port.js';

export interface SegmentSourceOptions {
  readonly store: SegmentStore;
  /** The business tag: ids of different tags are counted apart. */
  readonly tag: string;
  /** Where a counter that does not exist begins. Default 1. */
  readonly firstId?: number;
  /** Where a counter that does not exist will end, exclusive. Default COUNTED_ID_END, 2^53 - 1. */
  readonly endId?: number;
  /** False: a counter that does not exist is an error (ID_TAG_UNKNOWN), not begun. Default true. */
  readonly mayCreate?: boolean;
}

export class SegmentSource implements RangeSource {
  readonly #store: SegmentStore;
  readonly #tag: string;
  readonly #firstId: number;
  readonly #endId: number;
  readonly #mayCreate: boolean;
  #incarnation: string | undefined;
  #lastEndId = 0;
  /** The counter cannot be trusted any more, even where it has caught up with what was lost. */
  #refusal: HalleyError | undefined;

  constructor({ store, tag, firstId = 1, endId = COUNTED_ID_END, mayCreate = true }: SegmentSourceOptions) {
    this.#store = store;
    this.#tag = tag;
    this.#firstId = firstId;
    this.#endId = endId;
    this.#mayCreate = mayCreate;
  }

  async reserve(idCount: number): Promise<IdRange> {
    if (this.#refusal !== undefined) throw this.#refusal;
    const grant = (await this.#store.take(this.#tag, idCount)) ?? (await this.#begin(idCount));
    this.#refusal = refusalOf(this.#tag, grant, this.#incarnation, this.#lastEndId);
    if (this.#refusal !== undefined) throw this.#refusal;
    this.#incarnation = grant.incarnation;
    if (grant.endId === grant.firstId) {
      throw new HalleyError('ID_COUNTER_ENDED', 'the counter has reached its end', {
        tag: this.#tag,
        endId: grant.endId,
      });
    }
    this.#lastEndId = grant.endId;
    return { firstId: grant.firstId, strideIds: 1, idCount: grant.endId - grant.firstId };
  }

  async #begin(idCount: number): Promise<SegmentGrant> {
    if (this.#incarnation !== undefined) {
      this.#refusal = lostCounter(this.#tag);
      throw this.#refusal;
    }
    if (!this.#mayCreate) throw new HalleyError('ID_TAG_UNKNOWN', 'no counter has this tag', { tag: this.#tag });
    // Of several servers that begin at once one makes it; all take from it.
    await this.#store.replace(this.#tag, { nextId: this.#firstId, endId: this.#endId, note: '' }, 0);
    const grant = await this.#store.take(this.#tag, idCount);
    if (grant === undefined) throw lostCounter(this.#tag);
    return grant;
  }
}

/** Why `grant` cannot be of the counter that gave everything below `lastEndId`: ID_STORE_LOST, ID_STORE_WENT_BACK or undefined. */
export function refusalOf(
  tag: string,
  grant: Pick<SegmentGrant, 'firstId' | 'incarnation'>,
  incarnation: string | undefined,
  lastEndId: number,
): HalleyError | undefined {
  if (incarnation !== undefined && grant.incarnation !== incarnation) return lostCounter(tag);
  if (grant.firstId >= lastEndId) return undefined;
  return new HalleyError(
    'ID_STORE_WENT_BACK',
    'the database has forgotten what it gave, so ids could repeat: raise the counter above every id in use, then start again',
    { tag, firstId: grant.firstId, lastEndId },
  );
}

/** Put the counter of `tag` at `nextId` unless it is further: after the loss of a database. Makes the counter if there is none. */
export async function raiseCounter(store: SegmentStore, tag: string, nextId: number): Promise<void> {
  for (;;) {
    const standing = await store.read(tag);
    if (standing !== undefined && standing.nextId >= nextId) return;
    const content = { nextId, endId: standing?.endId ?? COUNTED_ID_END, note: standing?.note ?? '' };
    if ((await store.replace(tag, content, standing?.version ?? 0)) !== 0) return;
  }
}

export function lostCounter(tag: string): HalleyError {
  return new HalleyError(
    'ID_STORE_LOST',
    'the database has lost this counter, so ids could repeat: raise it above every id in use, then start again',
    { tag },
  );
}
