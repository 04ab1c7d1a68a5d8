/**
 * The multi-master scheme of databases (auto_increment_offset i, auto_increment_increment n), and how n grows.
 *
 * Each master has a store of its own and gives the ids  base + (i - 1) + n * 0, 1, 2, ...  A plan is a list of stages (base, n),
 * each valid from its base up to the base of the next; a master's record keeps the plan, and its counter counts within the stage.
 *
 * Growing from n to m masters, by `growMasters`, safe against masters that go on drawing, and against a grower that dies anywhere:
 *   1. intent: a base above everything the masters have given is written to the first master's record;
 *   2. seal: every old master's record gets that base as its end (it still draws, below it);
 *   3. commit: only when all are sealed, every old master gets the new stage, and the new masters their records.
 * No master can give an id of the old stage at or above the base, none gives one of the new stage before all are sealed. A master
 * that was missed finds the base passed and stops, it never repeats. The next call of `growMasters` finishes what one left.
 */
import { HalleyError } from '../errors/index.js';
import { COUNTED_ID_END } from './id-value.js';
import type { SegmentRecord, SegmentStore } from './segment-store.port.js';

export interface OffsetStage {
  readonly baseId: number;
  readonly masterCount: number;
}

/** What a master's record says besides its counter. */
export interface OffsetNote {
  /** 1 to the masterCount of the last stage. */
  readonly master: number;
  readonly stages: readonly OffsetStage[];
  /** On the first master only: the growth under way. */
  readonly intent?: OffsetStage;
  /** The base of a stage to come: this master gives nothing at or above it. */
  readonly sealedAtId?: number;
}

export interface GrowOptions {
  /** By how much the new base lies above the highest id given so far: room for what is drawn meanwhile. Default 1,000,000. */
  readonly marginIds?: number;
}

const MAX_STAGES = 32;
const MAX_MASTERS = 10_000;
/** Races lost against drawing masters before a growth gives up. */
const MAX_ATTEMPTS = 1_000;

export function offsetTag(tag: string): string {
  return `offset/${tag}`;
}

/** The id of a master's `ordinal` (0, 1, ...) in a stage. */
export function offsetIdOf(stage: OffsetStage, master: number, ordinal: number): number {
  return stage.baseId + (master - 1) + stage.masterCount * ordinal;
}

/** One past the last ordinal whose id is below `endId`. */
export function ordinalEndOf(stage: OffsetStage, master: number, endId: number): number {
  return Math.max(0, Math.ceil((endId - stage.baseId - (master - 1)) / stage.masterCount));
}

export function noteOf(record: Pick<SegmentRecord, 'note'>): OffsetNote {
  return JSON.parse(record.note) as OffsetNote;
}

/** The stage that a master counts in. Throws ID_MASTER_SEALED where there is none yet: the set-up was not finished. */
export function lastStage(note: OffsetNote): OffsetStage {
  const stage = note.stages[note.stages.length - 1];
  if (stage !== undefined) return stage;
  throw new HalleyError('ID_MASTER_SEALED', 'the masters are not set up: call growMasters to its end', {
    master: note.master,
  });
}

/**
 * Set up the masters of `tag`, or grow their number to `stores.length`. Masters may go on drawing meanwhile. Call it again where
 * it failed; with the number already reached it does nothing.
 *
 * @param stores store i - 1 is master i's; old masters keep their places
 * @returns the stages of the plan that all masters now have
 * @throws HalleyError ID_MASTERS_MISPLACED, ID_MASTERS_FEWER, ID_GROWTH_UNDER_WAY, ID_GROWTH_RACED, ID_BAD_OPTION; what a store throws
 */
export async function growMasters(
  stores: readonly SegmentStore[],
  tag: string,
  { marginIds = 1_000_000 }: GrowOptions = {},
): Promise<readonly OffsetStage[]> {
  const masterCount = stores.length;
  if (masterCount < 1 || masterCount > MAX_MASTERS || !Number.isSafeInteger(marginIds) || marginIds < 0) {
    throw new HalleyError('ID_BAD_OPTION', `1 to ${MAX_MASTERS} masters, marginIds whole and 0 or more`, {
      masterCount,
      marginIds,
    });
  }
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const records = await readMasters(stores, tag);
    if (await step(stores, tag, records, marginIds)) return noteOf(records[0] as SegmentRecord).stages;
  }
  throw new HalleyError('ID_GROWTH_RACED', 'the masters draw faster than they can be sealed: raise marginIds', {
    marginIds,
    attempts: MAX_ATTEMPTS,
  });
}

/** Do the next thing that is to be done. True: nothing was left to do. A change that loses a race is looked at anew. */
async function step(
  stores: readonly SegmentStore[],
  tag: string,
  records: readonly (SegmentRecord | undefined)[],
  marginIds: number,
): Promise<boolean> {
  const masterCount = stores.length;
  const first = records[0];
  if (first === undefined) {
    if (records.some((record) => record !== undefined)) throw misplaced(tag, 1, 'the first master has no record');
    // The set-up is a growth from no master at all.
    await put(stores, tag, 0, undefined, { master: 1, stages: [], intent: { baseId: 1, masterCount } }, 0);
    return false;
  }
  const plan = noteOf(first);
  if (plan.intent !== undefined) return stepGrowth(stores, tag, records, plan, plan.intent, marginIds);
  const oldCount = lastStage(plan).masterCount;
  // The first master is the last to be committed: without an intent its plan is everybody's, and who is missing was lost.
  const missing = records.findIndex((record, index) => index < oldCount && record === undefined);
  if (missing >= 0) throw misplaced(tag, missing + 1, 'the master has no record');
  if (oldCount > masterCount) {
    throw new HalleyError(
      'ID_MASTERS_FEWER',
      'the number of masters grows only: a master that left keeps its share of the ids',
      {
        tag,
        masterCount,
        oldCount,
      },
    );
  }
  if (oldCount === masterCount) return true;
  if (plan.stages.length >= MAX_STAGES) {
    throw new HalleyError('ID_BAD_OPTION', `the masters of a tag grow at most ${MAX_STAGES - 1} times`, { tag });
  }
  const baseId = newBase(records.slice(0, oldCount), marginIds);
  await put(stores, tag, 0, first, { ...plan, intent: { baseId, masterCount } });
  return false;
}

async function stepGrowth(
  stores: readonly SegmentStore[],
  tag: string,
  records: readonly (SegmentRecord | undefined)[],
  plan: OffsetNote,
  intent: OffsetStage,
  marginIds: number,
): Promise<boolean> {
  if (intent.masterCount !== stores.length) {
    throw new HalleyError(
      'ID_GROWTH_UNDER_WAY',
      'finish the growth under way first: pass as many stores as it has masters',
      {
        tag,
        masterCount: intent.masterCount,
        given: stores.length,
      },
    );
  }
  const stages = [...plan.stages, intent];
  const oldCount = plan.stages.length === 0 ? 0 : lastStage(plan).masterCount;
  // Seal. An old master that has the new stage already was committed by a grower that saw all of them sealed.
  for (let index = 0; index < oldCount; index++) {
    const record = records[index];
    if (record === undefined) throw misplaced(tag, index + 1, 'an old master has no record');
    const note = noteOf(record);
    if (note.stages.length === stages.length || (note.sealedAtId !== undefined && note.sealedAtId <= intent.baseId))
      continue;
    const endOrdinal = ordinalEndOf(lastStage(note), note.master, intent.baseId);
    if (record.nextId > endOrdinal) {
      // It is past the base already: the base has to rise. Nobody can have committed, for this one was never sealed below it.
      const baseId = newBase(records.slice(0, oldCount), marginIds);
      await put(stores, tag, 0, records[0], { ...plan, intent: { ...intent, baseId } });
      return false;
    }
    await put(stores, tag, index, record, { ...note, sealedAtId: intent.baseId }, record.nextId, endOrdinal);
    return false;
  }
  // Commit: the new masters and the old ones, the first master last, for its intent is what says that a growth is under way.
  for (let index = stores.length - 1; index >= 0; index--) {
    const record = records[index];
    if (record !== undefined && noteOf(record).stages.length === stages.length) continue;
    await put(stores, tag, index, record, { master: index + 1, stages }, 0);
    return false;
  }
  return false;
}

/** Every master's record, each in its place. */
async function readMasters(stores: readonly SegmentStore[], tag: string): Promise<(SegmentRecord | undefined)[]> {
  const records = await Promise.all(stores.map((store) => store.read(offsetTag(tag))));
  for (const [index, record] of records.entries()) {
    if (record === undefined) continue;
    const { master } = noteOf(record);
    if (master !== index + 1) throw misplaced(tag, index + 1, `the store is that of master ${master}`);
  }
  return records;
}

/** Above everything that the masters have given, with room; with much room rounded up to thousands, for people who read ids. */
function newBase(records: readonly (SegmentRecord | undefined)[], marginIds: number): number {
  let highestId = 0;
  for (const record of records) {
    if (record === undefined) continue;
    const note = noteOf(record);
    highestId = Math.max(highestId, offsetIdOf(lastStage(note), note.master, record.nextId));
  }
  const grainIds = marginIds >= 1_000 ? 1_000 : 1;
  const baseId = Math.ceil((highestId + marginIds) / grainIds) * grainIds + 1;
  if (baseId >= COUNTED_ID_END) throw new HalleyError('ID_COUNTER_ENDED', 'the ids have reached their end', { baseId });
  return baseId;
}

/** Change a master's record, unless somebody has meanwhile. */
async function put(
  stores: readonly SegmentStore[],
  tag: string,
  index: number,
  standing: SegmentRecord | undefined,
  note: OffsetNote,
  nextId = standing?.nextId ?? 0,
  endId = endOf(note, standing, nextId),
): Promise<void> {
  const content = { nextId, endId, note: JSON.stringify(note) };
  await stores[index]!.replace(offsetTag(tag), content, standing?.version ?? 0);
}

/** A record of a new stage counts to the end of all ids; one whose note alone changes keeps its end. */
function endOf(note: OffsetNote, standing: SegmentRecord | undefined, nextId: number): number {
  if (standing !== undefined && nextId === standing.nextId && noteOf(standing).stages.length === note.stages.length) {
    return standing.endId;
  }
  return note.stages.length === 0 ? 0 : ordinalEndOf(lastStage(note), note.master, COUNTED_ID_END);
}

function misplaced(tag: string, master: number, problem: string): HalleyError {
  return new HalleyError('ID_MASTERS_MISPLACED', `the stores are not those of masters 1, 2, ... in order: ${problem}`, {
    tag,
    master,
  });
}
