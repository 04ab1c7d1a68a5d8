/**
 * Sharded channels whose slot has moved to another master. The old one takes their subscribers away and says so; until the new
 * one has them, what is published goes to nobody. ioredis then asks one server for the new table, once: a server that has
 * not heard of the move yet makes it wait for the next refresh, seconds later. Here it is asked until every channel is
 * acknowledged again.
 *
 * Threads: control thread only.
 * Guarantees: one round at a time; a round ends with every channel mended, with the connection's break (whose restoration covers
 *   them), or with `onHopeless` after `GIVE_UP_DEADLINES` deadlines.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { heldShardedChannels, refreshSlots } from './redis-bus-cluster-client.js';
import type { RedisClient } from './redis-link.js';

export interface MovedChannelsLinks {
  /** What must be subscribed; undefined: the subscriptions are being restored as a whole. */
  readonly wanted: () => ReadonlySet<string> | undefined;
  /** Changes with every break of the connection. */
  readonly generation: () => number;
  /** Has it just been added, and is it asked for by whoever added it? */
  readonly isPending: (name: string) => boolean;
  /** Subscribe, at the server of the present table, to what no server has. False: not all of them were acknowledged. */
  readonly renew: (names: readonly string[]) => Promise<boolean>;
  /** The same for what a server may have: there must be no moment without it. */
  readonly repeat: (names: readonly string[]) => Promise<boolean>;
  readonly onMended: (channels: readonly string[]) => void;
  readonly onHopeless: () => void;
}

const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 200;
const GIVE_UP_DEADLINES = 3;
/** At a time: a slot has many channels, and a shard that moves has many slots. */
const SLICE_COUNT = 500;

export class MovedChannels {
  readonly #deadlineMs: number;
  readonly #links: MovedChannelsLinks;
  /** To be subscribed again whatever the client believes to have. */
  readonly #suspects = new Set<string>();
  /** Not acknowledged at some moment of this round. */
  readonly #missing = new Set<string>();
  #isMending = false;
  #isAskedAgain = false;
  #noting: NodeJS.Immediate | undefined;
  /** Of which connections `#missing` speaks. */
  #generation = -1;

  constructor(deadlineMs: number, links: MovedChannelsLinks) {
    this.#deadlineMs = deadlineMs;
    this.#links = links;
  }

  /**
   * Look for channels that servers have taken away, and subscribe to them where they are now.
   * @param suspect one that is gone although nobody said so
   * @returns false: it cannot be known which are held
   */
  mend(client: RedisClient, suspect?: string): boolean {
    if (heldShardedChannels(client) === undefined) return false;
    if (suspect !== undefined) this.#suspects.add(suspect);
    // Before the client's own SSUBSCRIBE can be answered: then they would be held again, and nobody knew that they were away.
    this.#noting ??= setImmediate(() => {
      this.#noting = undefined;
      this.#note(client);
      if (this.#isMending) this.#isAskedAgain = true;
      else void this.#mendAll(client);
    });
    return true;
  }

  #note(client: RedisClient): void {
    const { wanted, isPending, generation } = this.#links;
    // What was missing before a break came back with the restoration, which has told it.
    if (this.#generation !== generation()) this.#missing.clear();
    this.#generation = generation();
    const names = wanted();
    const held = heldShardedChannels(client);
    if (names === undefined || held === undefined) return;
    for (const name of names) if (!held.has(name) && !isPending(name)) this.#missing.add(name);
  }

  async #mendAll(client: RedisClient): Promise<void> {
    this.#isMending = true;
    const generation = this.#links.generation();
    let giveUpMs = performance.now() + GIVE_UP_DEADLINES * this.#deadlineMs;
    let pauseMs = FIRST_PAUSE_MS;
    do {
      this.#isAskedAgain = false;
      await refreshSlots(client);
      // ioredis has sent SSUBSCRIBE by itself where the table was a new one; its answer comes in a turn or two.
      await sleep(pauseMs, undefined, { ref: false });
      const wanted = this.#links.wanted();
      if (wanted === undefined || generation !== this.#links.generation()) break;
      if (await this.#mendSome(client, wanted)) {
        giveUpMs = performance.now() + GIVE_UP_DEADLINES * this.#deadlineMs;
        pauseMs = FIRST_PAUSE_MS;
      } else pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2);
    } while ((this.#missing.size > 0 || this.#suspects.size > 0 || this.#isAskedAgain) && performance.now() < giveUpMs);
    const isHopeless = this.#missing.size > 0 || this.#suspects.size > 0;
    this.#isMending = false;
    if (generation !== this.#links.generation() || this.#links.wanted() === undefined) {
      // All of it is restored; but what was asked for since may belong to the connections that are whole already.
      this.#suspects.clear();
      if (this.#isAskedAgain && this.#links.wanted() !== undefined) this.mend(client);
    } else if (isHopeless) {
      this.#missing.clear();
      this.#suspects.clear();
      this.#links.onHopeless();
    }
  }

  /** True: some are mended, or none is missing. */
  async #mendSome(client: RedisClient, wanted: ReadonlySet<string>): Promise<boolean> {
    const { renew, repeat, onMended } = this.#links;
    this.#note(client);
    const held = heldShardedChannels(client) ?? wanted;
    const absent = [...this.#missing].filter((name) => wanted.has(name) && !held.has(name)).slice(0, SLICE_COUNT);
    if (absent.length > 0) await renew(absent);
    const mended: string[] = [];
    const suspects = [...this.#suspects].filter((name) => wanted.has(name) && !this.#missing.has(name));
    this.#suspects.clear();
    if (suspects.length > 0) {
      if (await repeat(suspects)) mended.push(...suspects);
      else for (const name of suspects) this.#suspects.add(name);
    }
    const now = heldShardedChannels(client) ?? wanted;
    for (const name of this.#missing) {
      if (wanted.has(name) && !now.has(name)) continue;
      this.#missing.delete(name);
      if (wanted.has(name)) mended.push(name);
    }
    if (mended.length > 0) onMended(mended);
    return mended.length > 0 || this.#missing.size === 0;
  }
}
