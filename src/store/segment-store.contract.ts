/**
 * The contract of `SegmentStore`: one suite, run on every adapter.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COUNTED_ID_END, type SegmentStore } from '../id/index.js';

export interface SegmentStoreRig {
  /** Another store on the same data, as another process has it. */
  open(): Promise<SegmentStore>;
  remove(): Promise<void>;
}

const fresh = { nextId: 1, endId: COUNTED_ID_END, note: '' };

export function segmentStoreContract(name: string, create: () => Promise<SegmentStoreRig>): void {
  describe(`${name} keeps the contract of counters`, () => {
    let rig: SegmentStoreRig;
    let store: SegmentStore;
    const stores: SegmentStore[] = [];
    const open = async (): Promise<SegmentStore> => {
      const opened = await rig.open();
      stores.push(opened);
      return opened;
    };
    beforeEach(async () => {
      rig = await create();
      store = await open();
    });
    afterEach(async () => {
      for (const opened of stores.splice(0)) await opened.close();
      await rig.remove();
    });

    it('knows nothing of a tag that nobody began', async () => {
      expect(await store.read('orders')).toBeUndefined();
      expect(await store.take('orders', 10)).toBeUndefined();
      expect(await store.read('orders')).toBeUndefined();
    });

    it('gives ranges one behind the other', async () => {
      const version = await store.replace('orders', fresh, 0);
      expect(version).toBeGreaterThan(0);
      expect(await store.take('orders', 10)).toMatchObject({ firstId: 1, endId: 11, note: '' });
      expect(await store.take('orders', 5)).toMatchObject({ firstId: 11, endId: 16 });
      expect(await store.read('orders')).toMatchObject({ ...fresh, nextId: 16, version: version + 2 });
    });

    it('keeps tags apart, whatever characters they have', async () => {
      const tags = ['a', 'b', '{a}', 'a/b:c', '%7B', '=', 'rule/{seq:4}-{date:yyyy}/x'];
      for (const [index, tag] of tags.entries()) await store.replace(tag, { ...fresh, nextId: index * 100 }, 0);
      for (const [index, tag] of tags.entries()) {
        expect(await store.take(tag, 1)).toMatchObject({ firstId: index * 100 });
      }
    });

    it('cuts the last range at the end, then gives empty ones', async () => {
      await store.replace('orders', { nextId: 5, endId: 12, note: 'n' }, 0);
      expect(await store.take('orders', 4)).toMatchObject({ firstId: 5, endId: 9 });
      expect(await store.take('orders', 4)).toMatchObject({ firstId: 9, endId: 12 });
      expect(await store.take('orders', 4)).toMatchObject({ firstId: 12, endId: 12, note: 'n' });
    });

    it('counts exactly up to 2^53 - 1', async () => {
      await store.replace('orders', { nextId: COUNTED_ID_END - 3, endId: COUNTED_ID_END, note: '' }, 0);
      expect(await store.take('orders', 2)).toMatchObject({ firstId: COUNTED_ID_END - 3, endId: COUNTED_ID_END - 1 });
      expect(await store.take('orders', 2 ** 40)).toMatchObject({ firstId: COUNTED_ID_END - 1, endId: COUNTED_ID_END });
    });

    it('replaces a record for one of those that saw the same version', async () => {
      const other = await open();
      await store.replace('orders', fresh, 0);
      const seen = (await other.read('orders'))!;
      const results = await Promise.all([
        store.replace('orders', { nextId: 100, endId: 200, note: 'first' }, seen.version),
        other.replace('orders', { nextId: 300, endId: 400, note: 'second' }, seen.version),
      ]);
      expect(results.filter((version) => version !== 0)).toEqual([seen.version + 1]);
      const standing = await store.read('orders');
      expect(standing?.note).toBe(results[0] !== 0 ? 'first' : 'second');
      expect(await other.read('orders')).toEqual(standing);
    });

    it('refuses a replacement by who saw the record before a range was taken', async () => {
      const version = await store.replace('orders', fresh, 0);
      await store.take('orders', 10);
      expect(await store.replace('orders', fresh, version)).toBe(0);
      expect(await store.replace('orders', fresh, 0)).toBe(0);
      expect(await store.take('orders', 1)).toMatchObject({ firstId: 11 });
    });

    it('gives records that are made one after the other versions far apart', async () => {
      const versions = [];
      for (let index = 0; index < 20; index++) versions.push(await store.replace(`made/${index}`, fresh, 0));
      expect(new Set(versions.map((version) => Math.floor(version / 1_000_000))).size).toBeGreaterThan(15);
    });

    it('keeps the incarnation of a record for its life, and any note', async () => {
      const note = JSON.stringify({ text: 'a b\nc%\u00e9\u4e2d {x}' });
      await store.replace('orders', { ...fresh, note }, 0);
      const made = (await store.read('orders'))!;
      expect(made.incarnation).toMatch(/^[0-9a-f]{16}$/);
      const cleared = await store.replace('orders', { ...fresh, note: '' }, made.version);
      await store.replace('orders', { ...fresh, note }, cleared);
      expect(await (await open()).read('orders')).toEqual({ ...made, version: made.version + 2 });
    });

    it('refuses tags, counts and records that cannot be', async () => {
      await expect(store.take('', 1)).rejects.toMatchObject({ code: 'ID_BAD_TAG' });
      await expect(store.read('a b')).rejects.toMatchObject({ code: 'ID_BAD_TAG' });
      await expect(store.take('a', 0)).rejects.toMatchObject({ code: 'ID_BAD_COUNT' });
      await expect(store.take('a', 2 ** 41)).rejects.toMatchObject({ code: 'ID_BAD_COUNT' });
      await expect(store.replace('a', { ...fresh, nextId: 0.5 }, 0)).rejects.toMatchObject({ code: 'ID_BAD_RECORD' });
      await expect(store.replace('a', { ...fresh, endId: 0 }, 0)).rejects.toMatchObject({ code: 'ID_BAD_RECORD' });
      // A refusal before the database was asked does no harm.
      expect(await store.replace('a', fresh, 0)).toBeGreaterThan(0);
    });

    it('never gives a number twice to stores that take at the same time', async () => {
      await store.replace('orders', fresh, 0);
      const all = await Promise.all([open(), open(), open(), open()]);
      const grants = await Promise.all(
        all.flatMap((each, index) =>
          Array.from({ length: 25 }, (_, call) => each.take('orders', 1 + ((call + index) % 7))),
        ),
      );
      const sorted = grants.map((grant) => grant!).sort((a, b) => a.firstId - b.firstId);
      expect(sorted[0]?.firstId).toBe(1);
      for (const [index, grant] of sorted.entries()) expect(grant.firstId).toBe(sorted[index - 1]?.endId ?? 1);
    });

    it('does what a counter in a variable does, in any order of calls', async () => {
      let run = 0;
      const step = fc.oneof(
        fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: 50 }), by: fc.nat(1) }),
        fc.record({ kind: fc.constant('cap' as const), room: fc.nat(60), isStale: fc.boolean(), by: fc.nat(1) }),
      );
      const both = [store, await open()] as const;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const tag = `model/${run++}`;
          const version = await both[0].replace(tag, { nextId: 1, endId: 40, note: '' }, 0);
          let model = { nextId: 1, endId: 40, version };
          for (const each of steps) {
            const by = both[each.by as 0 | 1];
            if (each.kind === 'take') {
              const endId = Math.min(model.nextId + each.count, model.endId);
              expect(await by.take(tag, each.count)).toMatchObject({ firstId: model.nextId, endId });
              model = { ...model, nextId: endId, version: model.version + 1 };
            } else {
              const content = { nextId: model.nextId, endId: model.nextId + each.room, note: '' };
              const newVersion = await by.replace(tag, content, each.isStale ? model.version - 1 : model.version);
              expect(newVersion).toBe(each.isStale ? 0 : model.version + 1);
              if (newVersion !== 0) model = { ...model, endId: content.endId, version: model.version + 1 };
            }
          }
          expect(await both[0].read(tag)).toMatchObject(model);
        }),
        { numRuns: 15 },
      );
    });
  });
}
