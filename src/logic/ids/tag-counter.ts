/**
 * The counter of a business tag: its step and maximum stand in the store beside it, so that every server on the store, also one
 * that is configured with nothing, counts the tag alike.
 *
 * Guarantees: a server that has a rule for the tag puts it into the store before its first id; where two servers have different
 * rules the one that came last is obeyed by both (a maximum at the next range, a step at the next start). A maximum below what has
 * been given ends the counter, it takes nothing back.
 */
import type { IdTagRule } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import { COUNTED_ID_END, type IdRange, type RangeSource, type SegmentStore } from '../../id/index.js';

export interface TagCounter {
  /** In the store. */
  readonly counterTag: string;
  readonly stepCount: number;
  /** Exclusive. */
  readonly endId: number;
}

export const DEFAULT_STEP_COUNT = 1_000;

/** Apart from machine ids, rules and masters, which share the store. */
export function counterTagOf(biz: string): string {
  return `biz/${biz}`;
}

export function endIdOf(rule: IdTagRule | undefined): number {
  return rule === undefined || rule.maxId === 0 ? COUNTED_ID_END : rule.maxId + 1;
}

/** Make the counter of `biz`, or bring it in line with `rule`; without a rule, what stands there counts. */
export async function settleTagCounter(
  store: SegmentStore,
  biz: string,
  rule: IdTagRule | undefined,
): Promise<TagCounter> {
  const counterTag = counterTagOf(biz);
  for (;;) {
    const standing = await store.read(counterTag);
    const stepCount = rule?.stepCount ?? stepOf(standing?.note) ?? DEFAULT_STEP_COUNT;
    const wantedEndId = rule === undefined ? (standing?.endId ?? COUNTED_ID_END) : endIdOf(rule);
    const endId = Math.max(wantedEndId, standing?.nextId ?? 0);
    const note = JSON.stringify({ stepCount });
    if (standing?.endId === endId && standing.note === note) return { counterTag, stepCount, endId };
    // 0: somebody else has changed it meanwhile, for example by taking a range: look again.
    const content = { nextId: standing?.nextId ?? 1, endId, note };
    if ((await store.replace(counterTag, content, standing?.version ?? 0)) !== 0)
      return { counterTag, stepCount, endId };
  }
}

function stepOf(note: string | undefined): number | undefined {
  return note === undefined || note === '' ? undefined : (JSON.parse(note) as { stepCount: number }).stepCount;
}

/** A source whose ids end at a maximum that it does not know of itself: Redis' INCR. */
export class BoundedSource implements RangeSource {
  readonly #source: RangeSource;
  readonly #endId: number;
  #ended: HalleyError | undefined;

  /** @param endId exclusive */
  constructor(source: RangeSource, endId: number) {
    this.#source = source;
    this.#endId = endId;
  }

  async reserve(idCount: number): Promise<IdRange> {
    // The counter itself has no end: who asked on would count for nothing.
    if (this.#ended !== undefined) throw this.#ended;
    const range = await this.#source.reserve(idCount);
    const restCount = Math.ceil((this.#endId - range.firstId) / range.strideIds);
    if (restCount > 0) return restCount < range.idCount ? { ...range, idCount: restCount } : range;
    this.#ended = new HalleyError('ID_COUNTER_ENDED', 'the counter has reached its end', { endId: this.#endId });
    throw this.#ended;
  }
}
