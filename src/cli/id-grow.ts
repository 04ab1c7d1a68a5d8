/**
 * `halley id grow`: set up the masters of scheme offset for a business tag, or raise their number, while they go on giving out ids.
 *
 * Threads: main thread.
 * Guarantees: those of `growMasters`: no id twice, whenever this command dies and however often it is run again.
 */
import { type Config, isIdTag } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import { growMasters, type SegmentStore } from '../id/index.js';
import { FileSegmentStore } from '../store/index.js';
import { RedisIdSegmentStore } from '../store/redis/index.js';
import { pinoLogger } from '../telemetry/index.js';
import { openIdLink } from './ids-wiring.js';

export const GROW_HELP = [
  'Usage: halley id grow --biz TAG --master STORE --master STORE ... [--margin IDS]',
  '  Sets up the masters of scheme offset for the tag, or raises their number to that of the --master flags.',
  '  STORE  where a master keeps its counters, masters 1, 2, ... in order: a redis:// URL (its database /0, /1, ... counts), or',
  '         the directory of a server without Redis ("ids" in its data_dir, or ids.directory); on this host, not by NFS',
  '  IDS    by how much the new increment begins above the highest id so far: what may be drawn meanwhile. Default 1000000',
  'How to grow, with every server of the old masters running:',
  '  1. Run it with all stores: the old masters first, each in its old place, then the new ones.',
  '  2. Where it failed, a store did not answer: run the same command again until it ends with 0. Meanwhile old masters give out',
  '     what lies below the new start, then the error ID_MASTER_SEALED; no id is given out twice, whatever you do.',
  '  3. Old servers go over to the new increment by themselves. Start those of the new masters with ids.master = 3, ...',
  '  Nothing has to stop, and nothing can be taken back: a master that left keeps its share of the ids.',
].join('\n');

export interface GrowFlags {
  readonly biz?: string | undefined;
  readonly master: readonly string[];
  readonly margin?: string | undefined;
}

/** @returns lines for a person: the plan that all masters now have */
export async function growOffsetMasters(
  { biz = '', master: places, margin }: GrowFlags,
  config: Config,
): Promise<string[]> {
  const isMargin = margin === undefined || /^\d{1,15}$/.test(margin);
  if (!isIdTag(biz) || places.length === 0 || new Set(places).size !== places.length || !isMargin) {
    throw new HalleyError(
      'ID_BAD_OPTION',
      'halley id grow needs a tag as --biz, a --master with its own store for each master, and a whole --margin',
      { biz, masterCount: places.length, ...(margin === undefined ? {} : { margin }) },
    );
  }
  const closers: (() => Promise<void> | void)[] = [];
  try {
    const stores: SegmentStore[] = [];
    for (const place of places) stores.push(await openPlace(place, config, closers));
    const stages = await growMasters(stores, biz, margin === undefined ? {} : { marginIds: Number(margin) });
    return stages.map(({ baseId, masterCount }) => `biz=${biz} fromId=${baseId} masters=${masterCount}`);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function openPlace(
  place: string,
  config: Config,
  closers: (() => Promise<void> | void)[],
): Promise<SegmentStore> {
  if (!/^rediss?(\+\w+)?:\/\//.test(place)) {
    const store = await FileSegmentStore.open({ directory: place });
    closers.push(() => store.close());
    return store;
  }
  const link = await openIdLink({ ...config, redis: place }, 'halley-id-grow', pinoLogger({ level: 'silent' }));
  closers.push(() => link.close());
  return new RedisIdSegmentStore(link);
}
