/**
 * Ids by INCR and INCRBY on a plain counter that any other producer may count with too.
 *
 * In blocks (RangeGenerator's default) a generator takes as many at once as its rate asks for; singly (`isSingle`) every id is
 * one number of the counter at the moment it is drawn, so that ids of all servers have one order.
 *
 * Threads: control thread (of each process that draws).
 * Guarantees: as long as Redis keeps its counter nobody gets a number twice; a call that timed out may have counted, and its
 *   numbers are skipped. A counter below what this source was given was lost: refused for good (ID_STORE_WENT_BACK). Other servers
 *   and a restart cannot see a loss: set the counter above every id in use, or keep it with `appendfsync always`.
 */
import { HalleyError } from '../../errors/index.js';
import { COUNTED_ID_END, type IdRange, type RangeSource, requireTag } from '../../id/index.js';
import type { RedisLink } from './redis-link.js';

export interface RedisIncrSourceOptions {
  readonly link: RedisLink;
  readonly tag: string;
}

export class RedisIncrSource implements RangeSource {
  readonly #link: RedisLink;
  readonly #tag: string;
  #lastId = 0;
  #refusal: HalleyError | undefined;

  constructor({ link, tag }: RedisIncrSourceOptions) {
    requireTag(tag);
    this.#link = link;
    this.#tag = tag;
  }

  async reserve(idCount: number): Promise<IdRange> {
    const tag = this.#tag;
    if (this.#refusal !== undefined) throw this.#refusal;
    let lastId: number;
    try {
      lastId = await this.#link.commands.incrby(this.#link.keys.idCounter(tag), idCount);
    } catch (error) {
      throw new HalleyError('ID_STORE_UNAVAILABLE', 'Redis did not answer for a counter of ids', { tag }, error);
    }
    const firstId = lastId - idCount + 1;
    if (firstId <= this.#lastId) {
      // Kept: the counter will pass what was lost, and others have its numbers.
      this.#refusal = new HalleyError(
        'ID_STORE_WENT_BACK',
        'Redis has lost the counter, so ids could repeat: set it above every id in use, then start again',
        { tag, firstId, lastId: this.#lastId },
      );
      throw this.#refusal;
    }
    if (lastId >= COUNTED_ID_END)
      throw new HalleyError('ID_COUNTER_ENDED', 'the counter has reached its end', { tag, lastId });
    this.#lastId = lastId;
    return { firstId, strideIds: 1, idCount };
  }
}
