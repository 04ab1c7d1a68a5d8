/**
 * Counters in Redis: one hash per tag, changed by scripts.
 *
 * Threads: control thread (of each process that draws).
 * Guarantees: the contract's, as long as Redis keeps what it answered. With `appendfsync always` and without a failover it does;
 *   otherwise a crash of Redis can lose the last second (mayForget): sources refuse a counter that fell back behind them, claims
 *   keep a lease's distance. Every call settles within the link's command timeout; one that timed out may have been carried out.
 */
import { randomBytes } from 'node:crypto';
import { HalleyError } from '../../errors/index.js';
import {
  firstVersionOf,
  requireContent,
  requireTag,
  requireTake,
  type SegmentContent,
  type SegmentGrant,
  type SegmentRecord,
  type SegmentStore,
} from '../../id/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink } from './redis-link.js';

export class RedisIdSegmentStore implements SegmentStore {
  readonly mayForget = true;
  readonly #link: RedisLink;
  // Read with the first store, not on import: what is bundled without Lua can still import this folder.
  readonly #takeScript = luaSource(import.meta.url, 'redis-id-take.lua');
  readonly #replaceScript = luaSource(import.meta.url, 'redis-id-replace.lua');

  /** @param link stays its owner's: `close` leaves it open */
  constructor(link: RedisLink) {
    this.#link = link;
  }

  async take(tag: string, count: number): Promise<SegmentGrant | undefined> {
    requireTake(tag, count);
    const reply = await answered(
      tag,
      this.#link.commands.eval(this.#takeScript, 1, this.#link.keys.idSegment(tag), count),
    );
    if (reply === null) return undefined;
    const [firstId, endId, note = '', incarnation = ''] = reply as string[];
    return { firstId: Number(firstId), endId: Number(endId), note, incarnation };
  }

  async read(tag: string): Promise<SegmentRecord | undefined> {
    requireTag(tag);
    const hash = await answered(tag, this.#link.commands.hgetall(this.#link.keys.idSegment(tag)));
    const { nextId, endId, note = '', incarnation = '', version } = hash;
    if (version === undefined) return undefined;
    return { nextId: Number(nextId), endId: Number(endId), note, incarnation, version: Number(version) };
  }

  async replace(tag: string, content: SegmentContent, version: number): Promise<number> {
    requireContent(tag, content);
    const { nextId, endId, note } = content;
    const incarnation = randomBytes(8).toString('hex');
    const key = this.#link.keys.idSegment(tag);
    const args = [version, nextId, endId, note, incarnation, firstVersionOf(incarnation)];
    return Number(await answered(tag, this.#link.commands.eval(this.#replaceScript, 1, key, ...args)));
  }

  async close(): Promise<void> {}
}

/** Name what failed where Redis did not answer. */
async function answered<Reply>(tag: string, reply: Promise<Reply>): Promise<Reply> {
  try {
    return await reply;
  } catch (error) {
    throw new HalleyError('ID_STORE_UNAVAILABLE', 'Redis did not answer for a counter of ids', { tag }, error);
  }
}
