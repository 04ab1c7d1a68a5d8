import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drawIds, growMasters, OffsetSource, RangeGenerator, type SegmentStore } from '../id/index.js';
import { MemorySegmentStore } from './memory-segment-store.js';

function storesOf(count: number): MemorySegmentStore[] {
  return Array.from({ length: count }, () => new MemorySegmentStore());
}

function generatorOf(store: SegmentStore, master: number, stepCount = 5): RangeGenerator {
  return new RangeGenerator({
    scheme: 'offset',
    source: new OffsetSource({ store, tag: 'orders', master }),
    minStepCount: stepCount,
    maxStepCount: stepCount,
    retryMs: 0,
  });
}

describe('masters with an offset and an increment', () => {
  it('give i, i + n, i + 2n and so on, as auto_increment_offset and auto_increment_increment do', async () => {
    const stores = storesOf(2);
    await growMasters(stores, 'orders');
    expect(await drawIds(generatorOf(stores[0]!, 1), 4)).toEqual([1n, 3n, 5n, 7n]);
    expect(await drawIds(generatorOf(stores[1]!, 2), 4)).toEqual([2n, 4n, 6n, 8n]);
  });

  it('grow while they draw: a running master goes over to the new increment at a later range, without a restart', async () => {
    const stores = storesOf(3);
    await growMasters(stores.slice(0, 2), 'orders');
    const masters = [generatorOf(stores[0]!, 1), generatorOf(stores[1]!, 2)];
    const ids = new Set<bigint>();
    const drawAll = async (): Promise<void> => {
      for (const master of masters) {
        const drawn = await drawIds(master, 20);
        expect([...drawn].sort((a, b) => (a < b ? -1 : 1))).toEqual(drawn);
        for (const id of drawn) {
          expect(ids.has(id)).toBe(false);
          ids.add(id);
        }
      }
    };
    await drawAll();
    await growMasters(stores, 'orders', { marginIds: 500 });
    masters.push(generatorOf(stores[2]!, 3));
    await drawAll();
    await drawAll();
    const [first, second] = (await drawIds(masters[0]!, 20)).slice(-2);
    expect(second! - first!).toBe(3n);
    // Reached already: nothing to do, and nothing changes.
    const before = await stores[0]!.read('offset/orders');
    await growMasters(stores, 'orders');
    expect(await stores[0]!.read('offset/orders')).toEqual(before);
  });

  it('refuse fewer masters, stores in another order, and a master whose store is another one\u2019s', async () => {
    const stores = storesOf(3);
    await growMasters(stores, 'orders');
    await expect(growMasters(stores.slice(0, 2), 'orders')).rejects.toMatchObject({ code: 'ID_MASTERS_FEWER' });
    await expect(growMasters([...stores].reverse(), 'orders')).rejects.toMatchObject({ code: 'ID_MASTERS_MISPLACED' });
    const lost = [stores[0]!, new MemorySegmentStore(), stores[2]!];
    await expect(growMasters(lost, 'orders')).rejects.toMatchObject({ code: 'ID_MASTERS_MISPLACED' });
    await expect(generatorOf(stores[1]!, 1).ready()).rejects.toMatchObject({ code: 'ID_MASTERS_MISPLACED' });
    await expect(generatorOf(new MemorySegmentStore(), 1).ready()).rejects.toMatchObject({ code: 'ID_TAG_UNKNOWN' });
  });

  it('stop at the seal of a growth that was not finished, and refuse another size until it is', async () => {
    const stores = storesOf(3);
    await growMasters(stores.slice(0, 2), 'orders');
    let isAway = true;
    const newcomer: SegmentStore = {
      mayForget: false,
      take: (tag, count) => stores[2]!.take(tag, count),
      read: (tag) => stores[2]!.read(tag),
      replace: (tag, content, version) =>
        isAway ? Promise.reject(new Error('away')) : stores[2]!.replace(tag, content, version),
      close: async () => {},
    };
    const growing = [stores[0]!, stores[1]!, newcomer];
    await expect(growMasters(growing, 'orders', { marginIds: 0 })).rejects.toThrow('away');
    const master = generatorOf(stores[0]!, 1, 100);
    await expect(drawIds(master, 100_000)).rejects.toMatchObject({ code: 'ID_MASTER_SEALED' });
    await expect(growMasters([...growing, new MemorySegmentStore()], 'orders')).rejects.toMatchObject({
      code: 'ID_GROWTH_UNDER_WAY',
    });
    isAway = false;
    await growMasters(growing, 'orders');
    const [first, second] = await drawIds(master, 2);
    expect(second! - first!).toBe(3n);
  });

  it('never give an id twice, wherever growths stop, race each other, and interleave with draws', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            {
              weight: 4,
              arbitrary: fc.record({
                kind: fc.constant('draw' as const),
                by: fc.nat(5),
                count: fc.integer({ min: 1, max: 30 }),
              }),
            },
            {
              weight: 1,
              arbitrary: fc.record({
                kind: fc.constant('grow' as const),
                to: fc.integer({ min: 1, max: 6 }),
                calls: fc.nat(30),
              }),
            },
            {
              weight: 1,
              arbitrary: fc.record({
                kind: fc.constant('race' as const),
                to: fc.integer({ min: 1, max: 6 }),
                calls: fc.nat(40),
              }),
            },
          ),
          { minLength: 5, maxLength: 40 },
        ),
        async (steps) => {
          const stores = storesOf(6);
          const masters = stores.map((store, index) => generatorOf(store, index + 1, 3));
          const ids = new Set<number>();
          const last = masters.map(() => 0);
          const drawFrom = async (index: number, count: number): Promise<void> => {
            for (let draw = 0; draw < count; draw++) {
              let id = masters[index]!.tryNextNumber();
              if (id < 0) {
                // Not set up yet, or sealed: the documented refusals.
                const refusal = await masters[index]!.ready().catch((error: { code: string }) => error.code);
                if (refusal !== undefined) {
                  expect(['ID_TAG_UNKNOWN', 'ID_MASTER_SEALED']).toContain(refusal);
                  return;
                }
                id = masters[index]!.tryNextNumber();
              }
              expect(ids.has(id)).toBe(false);
              expect(id).toBeGreaterThan(last[index]!);
              ids.add(id);
              last[index] = id;
            }
          };
          /** A grower that dies after `calls` changes; the last of which may have been carried out. */
          const grow = async (to: number, calls: number): Promise<void> => {
            let left = calls;
            const dying = stores.slice(0, to).map(
              (store): SegmentStore => ({
                mayForget: false,
                take: (tag, count) => store.take(tag, count),
                read: (tag) => store.read(tag),
                replace: async (tag, content, version) => {
                  if (left-- <= 0) throw new Error('died');
                  return store.replace(tag, content, version);
                },
                close: async () => {},
              }),
            );
            const outcome = await growMasters(dying, 'orders', { marginIds: 7 }).catch((error: Error) => error);
            if (outcome instanceof Error && outcome.message !== 'died') {
              expect(['ID_MASTERS_FEWER', 'ID_GROWTH_UNDER_WAY', 'ID_MASTERS_MISPLACED']).toContain(
                (outcome as { code?: string }).code,
              );
            }
          };
          for (const step of steps) {
            if (step.kind === 'draw') await drawFrom(step.by, step.count);
            else if (step.kind === 'grow') await grow(step.to, step.calls);
            else await Promise.all([grow(step.to, step.calls), grow(6, 100), drawFrom(0, 40), drawFrom(1, 40)]);
          }
          const note = (await stores[0]!.read('offset/orders'))?.note;
          if (note === undefined) return;
          const plan = JSON.parse(note) as { stages: { masterCount: number }[]; intent?: { masterCount: number } };
          const size = plan.intent?.masterCount ?? plan.stages.at(-1)!.masterCount;
          await growMasters(stores.slice(0, size), 'orders', { marginIds: 7 });
          for (let index = 0; index < size; index++) await drawFrom(index, 10);
          expect(ids.size).toBeGreaterThanOrEqual(size * 10);
        },
      ),
      { numRuns: 150 },
    );
  });
});
