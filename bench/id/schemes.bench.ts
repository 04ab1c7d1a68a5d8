/**
 * What does an id of each scheme cost, and which of them repeat at full speed?
 *
 * Topology: one thread, the real clock, counters in memory (the store is asked once per range, so a row times the draw and not a
 * database). Cores required: 1. Competitors in the same run: crypto.randomUUID, @sapphire/snowflake, nodejs-snowflake,
 * flake-idgen.
 * Each row draws as fast as it can and compares all that came out: `note` says how many were duplicates. A round is 100,000 ids
 * without a pause, the row its median; where ids are objects that no clock limits it is 2,000, so that a median round holds no
 * garbage collection of the ids that the comparison keeps. Clock
 * schemes with a ceiling (4,096 per ms, 256 per 10 ms) show the ceiling here; below it id.bench.ts times the snowflake, and the
 * sonyflake's row "below its ceiling" is drawn on a clock that moves 10 ms per 200 draws. Rows "and written" put each id's characters into
 * a buffer, as whoever sends it does: a string that was put together of pieces is made whole only then.
 */
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Snowflake as SapphireSnowflake } from '@sapphire/snowflake';
import {
  allocateSnowflake,
  allocateSonyflake,
  growMasters,
  OffsetSource,
  RangeGenerator,
  type RangeSource,
  RuleGenerator,
  SegmentSource,
  Snowflake,
  Sonyflake,
  setIssueLimitMs,
  sonyflakeGate,
  UuidV4,
  UuidV7,
} from '../../src/id/index.js';
import { MemorySegmentStore } from '../../src/store/memory-segment-store.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

/** flake-idgen ships no types. */
type FlakeIdConstructor = new (options: { id: number; epoch: number }) => { next(): Uint8Array };
const require = createRequire(import.meta.url);
const FlakeId = require('flake-idgen') as FlakeIdConstructor;
/** nodejs-snowflake declares the wrapper object BigInt where it returns a bigint. */
type NodejsSnowflake = {
  Snowflake: new (options: { custom_epoch: number; instance_id: number }) => { getUniqueID(): bigint };
};
const { Snowflake: WasmSnowflake } = require('nodejs-snowflake') as NodejsSnowflake;

const EPOCH_MS = 1_700_000_000_000;
const ROUND_COUNT = 100_000;
/** Of ids that are kept as objects. */
const OBJECT_ROUND_COUNT = 2_000;

interface Variant {
  readonly name: string;
  readonly idBytes: number;
  /** Draw one id and keep it at `offset`, or as number `index` of `kept`. */
  readonly draw: (index: number, offset: number) => void;
  /** Ours may not repeat; what others do is reported. */
  readonly isOurs: boolean;
  /** Ids of a round. */
  readonly perRound: number;
  /** The ids that `draw` kept, as keys to compare; without it they are in the bytes. */
  readonly keyAt?: (index: number) => string | bigint;
}

/** How many of `count` fixed-length keys in `bytes` occur again. */
function duplicatesIn(bytes: Uint8Array, idBytes: number, count: number, seen: Set<string>): number {
  let duplicateCount = 0;
  for (let index = 0; index < count; index++) {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + index * idBytes, idBytes).toString('latin1');
    if (seen.has(key)) duplicateCount++;
    else seen.add(key);
  }
  return duplicateCount;
}

/** Rounds of draws; the clock stops while a round's ids are compared with all before. */
function measure(variant: Variant, idCount: number, bytes: Uint8Array): BenchRow {
  const { name, idBytes, draw, isOurs, keyAt, perRound } = variant;
  const rounds = perRound >= OBJECT_ROUND_COUNT ? idCount / perRound : 50;
  const seen = new Set<string>();
  const seenKeys = new Set<string | bigint>();
  const nsPerOp: number[] = [];
  let duplicateCount = 0;
  for (let round = -1; round < rounds; round++) {
    const startedNs = process.hrtime.bigint();
    for (let index = 0, offset = 0; index < perRound; index++, offset += idBytes) draw(index, offset);
    const elapsedNs = Number(process.hrtime.bigint() - startedNs);
    // The first round warms the compiler up; its ids count as drawn.
    if (round >= 0) nsPerOp.push(elapsedNs / perRound);
    if (keyAt === undefined) duplicateCount += duplicatesIn(bytes, idBytes, perRound, seen);
    else {
      for (let index = 0; index < perRound; index++) {
        const key = keyAt(index);
        if (seenKeys.has(key)) duplicateCount++;
        else seenKeys.add(key);
      }
    }
  }
  if (isOurs) assertResult(duplicateCount === 0, `${name} repeats ${duplicateCount} ids`);
  nsPerOp.sort((a, b) => a - b);
  const median = nsPerOp[Math.floor(nsPerOp.length / 2)]!;
  const drawnCount = perRound * (rounds + 1);
  const note = `duplicates ${duplicateCount} of ${drawnCount}`;
  return { name, nsPerOp: median, opsPerSec: 1e9 / median, note };
}

/** A counter without a database, so that a row times the draw alone. */
function counterSource(): RangeSource {
  let nextId = 1;
  return {
    reserve: async (idCount) => {
      const firstId = nextId;
      nextId += idCount;
      return { firstId, strideIds: 1, idCount };
    },
  };
}

const ONE_RANGE = { minStepCount: 100_000_000, maxStepCount: 100_000_000 };

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const idCount = quick ? 300_000 : 1_000_000;
  const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  const snowflake = new Snowflake(memory, 0);
  const sonyflakeOf = (clock?: ConstructorParameters<typeof Sonyflake>[1]): Sonyflake => {
    const own = allocateSonyflake({ epochMs: EPOCH_MS, machineId: 1 });
    sonyflakeGate(own).setLimitMs(Number.POSITIVE_INFINITY);
    return new Sonyflake(own, clock);
  };
  const sonyflake = sonyflakeOf();
  let readings = 0;
  const pacedSonyflake = sonyflakeOf({
    nowMs: () => EPOCH_MS + Math.floor(readings++ / 200) * 10,
    monotonicMs: () => Math.floor(readings / 200) * 10,
  });
  const store = new MemorySegmentStore();
  await growMasters([store, new MemorySegmentStore()], 'orders');
  const ranges = {
    segment: new RangeGenerator({ scheme: 'segment', source: new SegmentSource({ store, tag: 'a' }), ...ONE_RANGE }),
    offset: new RangeGenerator({
      scheme: 'offset',
      source: new OffsetSource({ store, tag: 'orders', master: 1 }),
      ...ONE_RANGE,
    }),
    incr: new RangeGenerator({ scheme: 'redis-incr', source: counterSource(), ...ONE_RANGE }),
  };
  const rule = new RuleGenerator({
    template: 'ORD-{tag}-{date:yyyyMMdd}-{seq:9}{mod97}',
    tag: 'EU1',
    store,
    ...ONE_RANGE,
  });
  for (const generator of [...Object.values(ranges), rule]) await generator.ready();
  const v4 = new UuidV4();
  const v7 = new UuidV7();
  const sapphire = new SapphireSnowflake(EPOCH_MS);
  const wasm = new WasmSnowflake({ custom_epoch: EPOCH_MS, instance_id: 1 });
  const flake = new FlakeId({ id: 1, epoch: EPOCH_MS });

  // Where a round is kept: made once.
  const bytes = new Uint8Array(ROUND_COUNT * rule.idBytes);
  const kept = new Array<string | bigint>(ROUND_COUNT).fill('');
  const keyAt = (index: number): string | bigint => kept[index]!;
  const flakes = new Array<Uint8Array>(ROUND_COUNT).fill(bytes);

  const written = (
    name: string,
    idBytes: number,
    writeTo: (offset: number) => void,
    perRound = ROUND_COUNT,
  ): Variant => ({
    name,
    idBytes,
    isOurs: true,
    draw: (_, offset) => writeTo(offset),
    perRound,
  });
  const valued = (
    name: string,
    isOurs: boolean,
    next: () => string | bigint,
    perRound = OBJECT_ROUND_COUNT,
  ): Variant => ({
    name,
    idBytes: 0,
    isOurs,
    keyAt,
    draw: (index) => {
      kept[index] = next();
    },
    perRound,
  });
  const sink = Buffer.alloc(64);
  const read = (id: string): string => {
    sink.write(id, 0, 'latin1');
    return id;
  };
  const slow = quick ? 100 : 1_000;
  const variants: Variant[] = [
    written('snowflake writeTo (at its ceiling)', 8, (offset) => snowflake.writeTo(bytes, offset)),
    written('sonyflake writeTo (at its ceiling)', 8, (offset) => sonyflake.writeTo(bytes, offset), slow),
    written('sonyflake writeTo, below its ceiling', 8, (offset) => pacedSonyflake.writeTo(bytes, offset)),
    valued('sonyflake next, bigint, below its ceiling', true, () => pacedSonyflake.next()),
    written('segment writeTo', 8, (offset) => ranges.segment.writeTo(bytes, offset)),
    valued('segment next, bigint', true, () => ranges.segment.next()),
    written('offset and increment writeTo', 8, (offset) => ranges.offset.writeTo(bytes, offset)),
    written('Redis INCR in blocks writeTo', 8, (offset) => ranges.incr.writeTo(bytes, offset)),
    written('rule with mod 97 writeTo', rule.idBytes, (offset) => rule.writeTo(bytes, offset)),
    valued('rule with mod 97 next, string', true, () => rule.next()),
    written('UUID v4 writeTo', 16, (offset) => v4.writeTo(bytes, offset)),
    valued('UUID v4 next, string', true, () => v4.next()),
    valued('UUID v4 next, string, and written', true, () => read(v4.next())),
    valued('crypto.randomUUID', false, () => randomUUID()),
    valued('crypto.randomUUID, and written', false, () => read(randomUUID())),
    written('UUID v7 writeTo', 16, (offset) => v7.writeTo(bytes, offset)),
    valued('UUID v7 next, string', true, () => v7.next()),
    valued('UUID v7 next, string, and written', true, () => read(v7.next())),
    valued('@sapphire/snowflake, bigint', false, () => sapphire.generate(), ROUND_COUNT),
    valued('nodejs-snowflake (WebAssembly), bigint', false, () => wasm.getUniqueID(), ROUND_COUNT),
    {
      name: 'flake-idgen, a Buffer each (throws at its ceiling: waited)',
      idBytes: 8,
      isOurs: false,
      perRound: ROUND_COUNT,
      draw: (index) => {
        flakes[index] = nextFlake(flake);
      },
      keyAt: (index) => Buffer.from(flakes[index]!).readBigUInt64BE(0),
    },
  ];
  const rows = variants.map((variant) => measure(variant, idCount, bytes));
  return {
    title: 'id: every scheme at full speed, and its duplicates',
    topology:
      'one thread, counters in memory; rounds of 100,000 ids unpaced (objects: of 2,000), each id compared with all before; 1 core',
    rows,
  };
}

/** flake-idgen throws where a millisecond is used up and no callback was given. */
function nextFlake(flake: { next(): Uint8Array }): Uint8Array {
  for (;;) {
    try {
      return flake.next();
    } catch {
      const nowMs = Date.now();
      while (Date.now() === nowMs);
    }
  }
}
