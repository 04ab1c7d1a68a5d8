/**
 * A store that is opened with its first call, and anew with the next call after one that broke it: a node that nobody asks for ids
 * does not touch the disk for them, and one whose disk was full or away goes on when that is over, without a restart.
 *
 * Threads: one, as the store behind it.
 * Guarantees: the contract's, for the store behind it keeps its state where it was opened from; what a call that rejected did is
 *   unknown there as here. Calls never wait for anything but the store: each failure goes to its own caller.
 */
import { HalleyError } from '../errors/index.js';
import type { SegmentContent, SegmentGrant, SegmentRecord, SegmentStore } from '../id/index.js';

/** After these the store refuses everything, or there is none. */
const BREAKING_CODES: ReadonlySet<string> = new Set([
  'ID_STORE_UNAVAILABLE',
  'ID_STORE_BROKEN',
  'ID_STORE_CORRUPT',
  'ID_STORE_LOST',
]);

export class LazySegmentStore implements SegmentStore {
  readonly mayForget: boolean;
  readonly #openStore: () => Promise<SegmentStore>;
  #opening: Promise<SegmentStore> | undefined;
  #isClosed = false;

  /** @param mayForget of the stores that `openStore` opens */
  constructor(openStore: () => Promise<SegmentStore>, mayForget: boolean) {
    this.#openStore = openStore;
    this.mayForget = mayForget;
  }

  /** Open it now, unless it is: for who wants the failure at the start. */
  async open(): Promise<void> {
    await this.#call(async () => undefined);
  }

  take(tag: string, count: number): Promise<SegmentGrant | undefined> {
    return this.#call((store) => store.take(tag, count));
  }

  read(tag: string): Promise<SegmentRecord | undefined> {
    return this.#call((store) => store.read(tag));
  }

  replace(tag: string, content: SegmentContent, version: number): Promise<number> {
    return this.#call((store) => store.replace(tag, content, version));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const opening = this.#opening;
    this.#opening = undefined;
    // That it could not be opened went to whoever called.
    const store = await opening?.catch(() => undefined);
    await store?.close();
  }

  async #call<Result>(work: (store: SegmentStore) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw new HalleyError('ID_STORE_CLOSED', 'the counters are closed');
    this.#opening ??= this.#openStore();
    const opening = this.#opening;
    try {
      return await work(await opening);
    } catch (error) {
      if (error instanceof HalleyError && BREAKING_CODES.has(error.code)) this.#leave(opening);
      throw error;
    }
  }

  /** The next call opens another one. Several calls may have failed on this one. */
  #leave(opening: Promise<SegmentStore>): void {
    if (this.#opening !== opening) return;
    this.#opening = undefined;
    // Its failure was told already; there is nothing to close where it was never open.
    opening.then((store) => store.close()).catch(() => undefined);
  }
}
