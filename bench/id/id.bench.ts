/**
 * What does an id cost, and is the format's ceiling (4,096 per millisecond and slot) reached?
 *
 * Topology: one thread, one slot, the real clock. No messages; cores required: 1. Competitors: @sapphire/snowflake,
 * flake-idgen, in the same run.
 * Below the ceiling: bursts of 2,000 ids, each begun at the start of a millisecond, so that no generator waits, wraps or
 * refuses; a row is the median burst. At the ceiling: a million ids as fast as they come, what came out is compared.
 */
import { createRequire } from 'node:module';
import { Snowflake as SapphireSnowflake } from '@sapphire/snowflake';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../../src/id/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

/** flake-idgen ships no types. */
type FlakeIdConstructor = new (options: { id: number; epoch: number }) => { next(): Uint8Array };
const FlakeId = createRequire(import.meta.url)('flake-idgen') as FlakeIdConstructor;

const EPOCH_MS = 1_700_000_000_000;
const BURST_COUNT = 2_000;

/** Spin to the start of a millisecond. */
function nextMs(): void {
  const nowMs = Date.now();
  while (Date.now() === nowMs);
}

/**
 * @param draw draws an id and keeps it as number `index` of the burst
 * @param idAt that id again, after the clock has stopped
 * @param leastRising how many ids of a burst must be greater than the one before: @sapphire's sequence does not begin
 *   anew with a millisecond, so it may wrap once inside a burst
 */
function measureBursts(
  name: string,
  rounds: number,
  draw: (index: number) => void,
  idAt: (index: number) => bigint,
  leastRising = BURST_COUNT - 1,
): BenchRow {
  const nsPerOp: number[] = [];
  for (let round = 0; round < rounds; round++) {
    nextMs();
    const startedNs = process.hrtime.bigint();
    for (let index = 0; index < BURST_COUNT; index++) draw(index);
    nsPerOp.push(Number(process.hrtime.bigint() - startedNs) / BURST_COUNT);
    const ids = Array.from({ length: BURST_COUNT }, (_, index) => idAt(index));
    const risingCount = ids.filter((id, index) => index > 0 && id > ids[index - 1]!).length;
    assertResult(risingCount >= leastRising, `${name}: ${risingCount} ids rise`);
    assertResult(new Set(ids).size === BURST_COUNT, `${name}: all ids are distinct`);
  }
  nsPerOp.sort((a, b) => a - b);
  const median = nsPerOp[Math.floor(rounds / 2)]!;
  return { name, nsPerOp: median, opsPerSec: 1e9 / median, p50Ns: median, p99Ns: nsPerOp[Math.floor(rounds * 0.99)]! };
}

/** The floor under every row: the same bursts of readings of the host's clock. */
function measureClock(rounds: number): BenchRow {
  const nsPerOp: number[] = [];
  let latestMs = 0;
  for (let round = 0; round < rounds; round++) {
    const startedNs = process.hrtime.bigint();
    for (let index = 0; index < BURST_COUNT; index++) latestMs = Math.max(latestMs, Date.now());
    nsPerOp.push(Number(process.hrtime.bigint() - startedNs) / BURST_COUNT);
  }
  assertResult(latestMs > EPOCH_MS, 'the clock was read');
  nsPerOp.sort((a, b) => a - b);
  const median = nsPerOp[Math.floor(rounds / 2)]!;
  return { name: 'Date.now alone', nsPerOp: median, opsPerSec: 1e9 / median };
}

/** Draw `count` ids without a pause and say how many were distinct. */
function measureCeiling(name: string, count: number, draw: () => bigint): { row: BenchRow; distinctCount: number } {
  const ids = new BigUint64Array(count);
  const startedNs = process.hrtime.bigint();
  for (let index = 0; index < count; index++) ids[index] = draw();
  const nsPerOp = Number(process.hrtime.bigint() - startedNs) / count;
  ids.sort();
  let distinctCount = 1;
  for (let index = 1; index < count; index++) if (ids[index] !== ids[index - 1]) distinctCount++;
  const note = distinctCount === count ? 'all distinct' : `${count - distinctCount} of ${count} ids are duplicates`;
  return { row: { name, nsPerOp, opsPerSec: 1e9 / nsPerOp, note }, distinctCount };
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 100 : 1_000;
  const ceilingCount = quick ? 200_000 : 1_000_000;
  const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 16 });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  const halley = new Snowflake(memory, 5);
  const sapphire = new SapphireSnowflake(EPOCH_MS);
  const flake = new FlakeId({ id: 5, epoch: EPOCH_MS });

  // Where a burst is kept: made once, so that a row times its draws and one store.
  const bytes = new Uint8Array(8 * BURST_COUNT);
  const view = new DataView(bytes.buffer);
  const bigints = new Array<bigint>(BURST_COUNT).fill(0n);
  const strings = new Array<string>(BURST_COUNT).fill('');
  const buffers = new Array<Uint8Array>(BURST_COUNT).fill(bytes);
  const bigintAt = (index: number): bigint => bigints[index]!;
  const stringAt = (index: number): bigint => BigInt(strings[index]!);
  const bytesAt = (index: number): bigint => view.getBigUint64(index * 8);
  const bufferAt = (index: number): bigint => {
    const buffer = buffers[index]!;
    return new DataView(buffer.buffer, buffer.byteOffset).getBigUint64(0);
  };

  const rows = [
    measureClock(rounds),
    measureBursts('halley tryWriteTo, 8 bytes', rounds, (index) => void halley.tryWriteTo(bytes, index * 8), bytesAt),
    measureBursts(
      'halley next, bigint',
      rounds,
      (index) => {
        bigints[index] = halley.next();
      },
      bigintAt,
    ),
    measureBursts(
      'halley nextString',
      rounds,
      (index) => {
        strings[index] = halley.nextString();
      },
      stringAt,
    ),
    measureBursts(
      '@sapphire/snowflake, bigint',
      rounds,
      (index) => {
        bigints[index] = sapphire.generate();
      },
      bigintAt,
      BURST_COUNT - 2,
    ),
    measureBursts(
      '@sapphire/snowflake, string',
      rounds,
      (index) => {
        strings[index] = sapphire.generate().toString();
      },
      stringAt,
      BURST_COUNT - 2,
    ),
    measureBursts(
      'flake-idgen, a Buffer each',
      rounds,
      (index) => {
        buffers[index] = flake.next();
      },
      bufferAt,
    ),
  ];

  const ours = measureCeiling('halley at the ceiling, bigint', ceilingCount, () => halley.next());
  assertResult(ours.distinctCount === ceilingCount, 'halley draws no id twice');
  const theirs = measureCeiling('@sapphire/snowflake unpaced', ceilingCount, () => sapphire.generate());
  const share = ((ours.row.opsPerSec / 4_096_000) * 100).toFixed(1);
  rows.push({ ...ours.row, note: `all distinct, ${share} % of 4.096 M/s` }, theirs.row);
  return {
    title: 'id: snowflakes below the ceiling and at it',
    topology:
      'one thread, one slot, real clock; bursts of 2,000 from a fresh millisecond, then a million unpaced; 1 core',
    rows,
  };
}
