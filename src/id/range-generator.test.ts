import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HalleyError, OUTCOME } from '../errors/index.js';
import { drawId, drawIds } from './draw-id.js';
import { RangeGenerator, type RangeGeneratorOptions } from './range-generator.js';
import type { IdRange, RangeSource } from './range-source.port.js';

/** A counter whose answers wait until the test lets them go. */
class HeldSource implements RangeSource {
  readonly askedCounts: number[] = [];
  readonly #held: { idCount: number; resolve: (range: IdRange) => void; reject: (error: unknown) => void }[] = [];
  #nextId = 1;

  reserve(idCount: number): Promise<IdRange> {
    this.askedCounts.push(idCount);
    return new Promise((resolve, reject) => this.#held.push({ idCount, resolve, reject }));
  }

  /** Answer the oldest call, and let the generator take note. */
  async answer(): Promise<void> {
    const { idCount, resolve } = this.#held.shift()!;
    resolve({ firstId: this.#nextId, strideIds: 1, idCount });
    this.#nextId += idCount;
    await turn();
  }

  async fail(): Promise<void> {
    this.#held.shift()!.reject(new HalleyError('ID_STORE_UNAVAILABLE', 'away'));
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function generatorOf(source: RangeSource, overrides: Partial<RangeGeneratorOptions> = {}): RangeGenerator {
  return new RangeGenerator({ scheme: 'segment', source, minStepCount: 10, maxStepCount: 10, ...overrides });
}

/** Draw what is buffered, up to `most`. */
function drain(generator: RangeGenerator, most = Number.POSITIVE_INFINITY): number[] {
  const ids: number[] = [];
  while (ids.length < most) {
    const id = generator.tryNextNumber();
    if (id < 0) break;
    ids.push(id);
  }
  return ids;
}

describe('ranges', () => {
  test('are drawn synchronously, and the next one is ordered at half of the one in use', async () => {
    const source = new HeldSource();
    const generator = generatorOf(source);
    expect(generator.tryNext()).toBeUndefined();
    await source.answer();
    expect(drain(generator, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(source.askedCounts).toHaveLength(1);
    expect(generator.next()).toBe(6n);
    expect(source.askedCounts).toHaveLength(2);
    await source.answer();
    expect(generator.bufferedCount).toBe(14);
    expect(drain(generator, 9)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15]);
    expect(source.askedCounts).toHaveLength(2);
  });

  test('are asked for one at a time, however many wait', async () => {
    const source = new HeldSource();
    const generator = generatorOf(source);
    const all = Promise.all(Array.from({ length: 25 }, () => drawId(generator)));
    for (let answers = 0; answers < 3; answers++) {
      await turn();
      expect(source.askedCounts).toHaveLength(answers + 1);
      await source.answer();
    }
    expect(await all).toEqual(Array.from({ length: 25 }, (_, index) => BigInt(index + 1)));
  });

  test('are written as bytes, and taken apart', async () => {
    const source: RangeSource = {
      reserve: async (idCount) => ({ firstId: 2 ** 53 - 1_000, strideIds: 7, idCount }),
    };
    const generator = generatorOf(source);
    const bytes = new Uint8Array(10);
    expect(generator.tryWriteTo(bytes, 1)).toBe(OUTCOME.FULL);
    expect(() => generator.writeTo(bytes, 1)).toThrow(expect.objectContaining({ code: 'ID_RANGE_EMPTY' }));
    expect(bytes).toEqual(new Uint8Array(10));
    await generator.ready();
    generator.writeTo(bytes, 1);
    expect(new DataView(bytes.buffer).getBigUint64(1)).toBe(2n ** 53n - 1_000n);
    expect(generator.next()).toBe(2n ** 53n - 993n);
    expect(generator.decode(bytes.subarray(1, 9))).toEqual({ timestampMs: undefined, value: 2n ** 53n - 1_000n });
  });

  test('give many at once, or take nothing', async () => {
    const source = new HeldSource();
    const generator = generatorOf(source);
    expect(() => generator.nextMany(3)).toThrow(expect.objectContaining({ code: 'ID_RANGE_EMPTY' }));
    await source.answer();
    expect(() => generator.nextMany(11)).toThrow(expect.objectContaining({ code: 'ID_RANGE_EMPTY' }));
    await source.answer();
    expect(generator.nextMany(13)).toEqual(Array.from({ length: 13 }, (_, index) => BigInt(index + 1)));
    expect(() => generator.nextMany(0)).toThrow(expect.objectContaining({ code: 'ID_BAD_COUNT' }));
  });
});

describe('with the database away', () => {
  test('the buffer is served to its end, then the reason is given, and ids go on when it is back', async () => {
    const source = new HeldSource();
    const clock = new ManualClock(0);
    const generator = generatorOf(source, { clock, retryMs: 100 });
    const ready = generator.ready();
    await source.answer();
    await ready;
    drain(generator, 6);
    await source.fail();
    expect(drain(generator)).toEqual([7, 8, 9, 10]);
    expect(() => generator.next()).toThrow(
      expect.objectContaining({
        code: 'ID_RANGE_EMPTY',
        cause: expect.objectContaining({ code: 'ID_STORE_UNAVAILABLE' }),
      }),
    );
    // Left alone for retryMs: nobody waits for what failed a moment ago.
    await expect(generator.ready()).rejects.toMatchObject({ code: 'ID_STORE_UNAVAILABLE' });
    expect(source.askedCounts).toHaveLength(2);
    clock.advance(100);
    const again = drawId(generator);
    await source.answer();
    expect(await again).toBe(11n);
    expect(generator.failure).toBeUndefined();
  });

  test('a failed order is tried again while the rest is used up, before it is empty', async () => {
    const source = new HeldSource();
    const generator = generatorOf(source, { minStepCount: 1_000, maxStepCount: 1_000, retryMs: 0 });
    void generator.ready();
    await source.answer();
    drain(generator, 501);
    await source.fail();
    drain(generator, 250);
    expect(source.askedCounts).toHaveLength(3);
    await source.answer();
    expect(drain(generator)).toHaveLength(249 + 1_000);
  });

  test('what a source throws that is no HalleyError is wrapped', async () => {
    const generator = generatorOf({ reserve: () => Promise.reject(new TypeError('bug')) });
    await expect(generator.ready()).rejects.toMatchObject({ code: 'ID_SOURCE_FAILED', cause: new TypeError('bug') });
  });
});

describe('the step', () => {
  test('grows with the rate, at most fourfold at once, up to its maximum, and shrinks again', async () => {
    const source = new HeldSource();
    const clock = new ManualClock(0);
    const generator = generatorOf(source, { clock, minStepCount: 100, maxStepCount: 5_000, rangeLastsMs: 1_000 });
    void generator.ready();
    await source.answer();
    /** Use up buffered ids at `perMs` until a range was ordered, then answer it. */
    const useAt = async (perMs: number): Promise<number> => {
      const calls = source.askedCounts.length;
      for (let ms = 0; source.askedCounts.length === calls; ms++) {
        expect(ms).toBeLessThan(100_000);
        clock.advance(1);
        drain(generator, perMs);
      }
      await source.answer();
      return source.askedCounts.at(-1)!;
    };
    expect(await useAt(100)).toBe(400);
    expect(await useAt(100)).toBe(1_600);
    expect(await useAt(100)).toBe(5_000);
    expect(await useAt(100)).toBe(5_000);
    for (let range = 0; range < 9; range++) await useAt(1);
    expect(await useAt(1)).toBeLessThan(1_100);
    expect(generator.stepCount).toBeGreaterThan(900);
  });

  test('is refused where it cannot be', () => {
    const source = new HeldSource();
    for (const options of [{ minStepCount: 0 }, { minStepCount: 20 }, { maxStepCount: 2 ** 41 }, { rangeLastsMs: 0 }]) {
      expect(() => generatorOf(source, options)).toThrow(expect.objectContaining({ code: 'ID_BAD_OPTION' }));
    }
  });
});

test('whatever the answers, delays and draws: ids of two generators on one counter never repeat, and rise in each', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('draw' as const), by: fc.nat(1), count: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('await' as const), by: fc.nat(1), count: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('fail' as const), by: fc.nat(1), count: fc.integer({ min: 1, max: 3 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, isSingle) => {
      let nextId = 1;
      let failCount = 0;
      const source: RangeSource = {
        reserve: async (idCount) => {
          await null;
          const firstId = nextId;
          nextId += idCount;
          // An answer that was lost: the numbers are gone.
          if (failCount-- > 0) throw new HalleyError('ID_STORE_UNAVAILABLE', 'away');
          return { firstId, strideIds: 1, idCount };
        },
      };
      const pair = [
        generatorOf(source, { retryMs: 0, isSingle }),
        generatorOf(source, { retryMs: 0, isSingle }),
      ] as const;
      const seen = new Set<bigint>();
      const last = [0n, 0n];
      const note = (by: number, ids: readonly bigint[]): void => {
        for (const id of ids) {
          expect(seen.has(id)).toBe(false);
          expect(id > last[by]!).toBe(true);
          seen.add(id);
          last[by] = id;
        }
      };
      for (const { kind, by, count } of steps) {
        const generator = pair[by as 0 | 1];
        if (kind === 'fail') failCount = count;
        else if (kind === 'draw') note(by, drain(generator, count).map(BigInt));
        else {
          const ids = await drawIds(generator, count).catch((error: HalleyError) => {
            expect(error.code).toBe('ID_STORE_UNAVAILABLE');
            return [];
          });
          note(by, ids);
        }
      }
    }),
  );
});
