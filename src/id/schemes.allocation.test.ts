import { expect, test } from 'vitest';
import { allocatedBytesPer } from '../../test/kit/allocated-bytes.js';
import type { Clock } from '../clock/index.js';
import type { IdGenerator } from './id-generator.port.js';
import { RangeGenerator } from './range-generator.js';
import { RuleGenerator } from './rule-generator.js';
import type { SegmentStore } from './segment-store.port.js';
import { Sonyflake } from './sonyflake.js';
import { allocateSonyflake, sonyflakeGate } from './sonyflake-memory.js';
import { UuidV4 } from './uuid-v4.js';
import { UuidV7 } from './uuid-v7.js';

const EPOCH_MS = 1_700_000_000_000;
const DRAW_COUNT = 10_000;
/** One reading of the clock that V8 boxes, 16 bytes, and what else the heap does meanwhile. A bigint has 24, a UUID's text 48. */
const BUDGET_BYTES = 18;

/** 10 ms pass every 200 readings, so that no draw waits. */
class CountingClock implements Clock {
  #readings = 0;
  nowMs(): number {
    this.#readings++;
    return EPOCH_MS + Math.floor(this.#readings / 200) * 10;
  }
  monotonicMs(): number {
    return Math.floor(this.#readings / 200) * 10;
  }
}

/** One endless counter for every tag. */
const endlessStore: SegmentStore = {
  mayForget: false,
  take: async (_, count) => ({ firstId: 1, endId: 1 + count, note: '', incarnation: '' }),
  read: async () => undefined,
  replace: async () => 0,
  close: async () => {},
};

const STEPS = { minStepCount: 100_000_000, maxStepCount: 100_000_000 };

const schemes: [string, () => IdGenerator][] = [
  [
    'sonyflake',
    () => {
      const memory = allocateSonyflake({ epochMs: EPOCH_MS, machineId: 1 });
      sonyflakeGate(memory).setLimitMs(Number.POSITIVE_INFINITY);
      return new Sonyflake(memory, new CountingClock());
    },
  ],
  [
    'a range',
    () => {
      const source = { reserve: async (idCount: number) => ({ firstId: 1, strideIds: 3, idCount }) };
      return new RangeGenerator({ scheme: 'segment', source, ...STEPS });
    },
  ],
  [
    'a rule',
    () => {
      const template = 'A{date:yyyyMMdd}{seq:9}{mod97}';
      return new RuleGenerator({ template, store: endlessStore, clock: new CountingClock(), ...STEPS });
    },
  ],
  ['UUID v4', () => new UuidV4()],
  ['UUID v7', () => new UuidV7(new CountingClock())],
];

test.each(schemes)('ids of %s written as bytes leave nothing on the heap but boxed clock readings', async (_, make) => {
  const generator = make();
  await generator.ready();
  const bytes = new Uint8Array(64);
  const written = allocatedBytesPer(DRAW_COUNT, () => {
    for (let draw = 0; draw < DRAW_COUNT; draw++) generator.tryWriteTo(bytes, 0);
  });
  expect(written).toBeLessThan(BUDGET_BYTES);
  // The same measure tells where an id is made.
  const kept = new Array<bigint | string>(DRAW_COUNT).fill('');
  const drawn = allocatedBytesPer(DRAW_COUNT, () => {
    for (let draw = 0; draw < DRAW_COUNT; draw++) kept[draw] = generator.next();
  });
  expect(drawn).toBeGreaterThan(BUDGET_BYTES);
});
