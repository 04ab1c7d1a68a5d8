/**
 * One master's ids of the multi-master scheme (offset-plan.ts): start i, step n, from a store of its own.
 *
 * Threads: the owner's.
 * Guarantees: disjoint from every other master of the plan, strictly rising per master, also over a growth, which a running
 *   master notices at its next range: no restart. A counter that was lost or fell back is refused, as SegmentSource does.
 */
import { HalleyError } from '../errors/index.js';
import { lastStage, noteOf, offsetIdOf, offsetTag } from './offset-plan.js';
import type { IdRange, RangeSource } from './range-source.port.js';
import { lostCounter, refusalOf } from './segment-source.js';
import type { SegmentStore } from './segment-store.port.js';

export interface OffsetSourceOptions {
  /** This master's own store, prepared by `growMasters`. */
  readonly store: SegmentStore;
  readonly tag: string;
  /** 1 to n; must be what the record says. */
  readonly master: number;
}

export class OffsetSource implements RangeSource {
  readonly #store: SegmentStore;
  readonly #tag: string;
  readonly #master: number;
  #incarnation: string | undefined;
  #stageCount = 0;
  #lastEndOrdinal = 0;
  #refusal: HalleyError | undefined;

  constructor({ store, tag, master }: OffsetSourceOptions) {
    this.#store = store;
    this.#tag = tag;
    this.#master = master;
  }

  async reserve(idCount: number): Promise<IdRange> {
    const tag = this.#tag;
    if (this.#refusal !== undefined) throw this.#refusal;
    const grant = await this.#store.take(offsetTag(tag), idCount);
    if (grant === undefined) {
      if (this.#incarnation !== undefined) throw this.#refuse(lostCounter(tag));
      throw new HalleyError('ID_TAG_UNKNOWN', 'this master has no record: set the masters up with growMasters', {
        tag,
      });
    }
    const note = noteOf(grant);
    if (note.master !== this.#master) {
      throw new HalleyError('ID_MASTERS_MISPLACED', 'the store belongs to another master', {
        tag,
        master: this.#master,
        recordMaster: note.master,
      });
    }
    const stage = lastStage(note);
    // A new stage counts from 0 again; a plan with fewer stages than were seen has forgotten one.
    const lastEndOrdinal = note.stages.length > this.#stageCount ? 0 : this.#lastEndOrdinal;
    const isPlanOlder = note.stages.length < this.#stageCount;
    const refusal = refusalOf(tag, grant, this.#incarnation, isPlanOlder ? Number.POSITIVE_INFINITY : lastEndOrdinal);
    if (refusal !== undefined) throw this.#refuse(refusal);
    this.#incarnation = grant.incarnation;
    this.#stageCount = note.stages.length;
    if (grant.endId === grant.firstId) throw this.#ended(note.sealedAtId);
    this.#lastEndOrdinal = grant.endId;
    return {
      firstId: offsetIdOf(stage, this.#master, grant.firstId),
      strideIds: stage.masterCount,
      idCount: grant.endId - grant.firstId,
    };
  }

  /** Keep it: the counter cannot be trusted any more, even where it has caught up with what was lost. */
  #refuse(refusal: HalleyError): HalleyError {
    this.#refusal = refusal;
    return refusal;
  }

  #ended(sealedAtId: number | undefined): HalleyError {
    const tag = this.#tag;
    return sealedAtId === undefined
      ? new HalleyError('ID_COUNTER_ENDED', 'the counter has reached its end', { tag })
      : new HalleyError(
          'ID_MASTER_SEALED',
          'a growth of the masters was begun and not finished: call growMasters again',
          {
            tag,
            sealedAtId,
          },
        );
  }
}
