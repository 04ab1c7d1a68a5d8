/**
 * No lost wake-up: sides that answer each other and sleep in between, so one missed ring is a standstill, which the
 * deadline turns into a failure that says the seed.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { Doorbell } from './doorbell.js';
import { allocateDoorbells } from './doorbell.layout.js';
import type { PingPongData, PingPongReport } from './fixtures/ping-pong.worker.js';
import type { SleeperData } from './fixtures/sleeper.worker.js';
import { allocateRing } from './ring.layout.js';

const FIXTURE = new URL('../../dist/ring/fixtures/ping-pong.worker.js', import.meta.url);
const SLEEPER = new URL('../../dist/ring/fixtures/sleeper.worker.js', import.meta.url);
const seed = Number(process.env['HALLEY_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

async function playRounds(sideCount: number, roundCount: number, deadlineMs: number): Promise<PingPongReport[]> {
  const doorbells = allocateDoorbells(sideCount);
  const geometry = { capacityBytes: 64 * 1024, maxRecordBytes: 64, readerCount: sideCount };
  const rings = Array.from({ length: sideCount }, () => allocateRing(geometry));
  const workers = rings.map((_, ownIndex) => {
    const workerData: PingPongData = { doorbells, rings, ownIndex, roundCount, seed: seed + ownIndex };
    return new Worker(FIXTURE, { workerData });
  });
  const signal = AbortSignal.timeout(deadlineMs);
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message', { signal })));
    const reports = workers.map(async (worker) => (await once(worker, 'message', { signal }))[0] as PingPongReport);
    for (const worker of workers) worker.postMessage('go');
    return await Promise.all(reports);
  } catch (error) {
    throw new Error(`a side slept through its ring: seed=${seed} rounds=${roundCount}`, { cause: error });
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

it.each([
  { sideCount: 2, roundCount: 20_000 },
  { sideCount: 3, roundCount: 5_000 },
])('wakes every sleeper for every record, $sideCount threads over $roundCount rounds', async (variant) => {
  const reports = await playRounds(variant.sideCount, variant.roundCount, 25_000);
  for (const report of reports) {
    expect(report.roundCount).toBe(variant.roundCount);
    // The sides did sleep, or nothing was shown.
    expect(report.wokenCount, `seed ${seed}`).toBeGreaterThan(variant.roundCount / 100);
  }
});

async function startSleeper(doorbells: SharedArrayBuffer, ownIndex: number): Promise<Worker> {
  const workerData: SleeperData = { doorbells, ownIndex };
  const worker = new Worker(SLEEPER, { workerData });
  await once(worker, 'message');
  return worker;
}

it('keeps a thread alive that does nothing but listen, until it closes', async () => {
  const doorbells = allocateDoorbells(3);
  const first = await startSleeper(doorbells, 1);
  // By the time that another thread is up, one that nothing keeps alive has long ended.
  const second = await startSleeper(doorbells, 2);
  const ends = [first, second].map(async (worker) => {
    const [[said], [exitCode]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    return { said, exitCode };
  });
  expect(new Doorbell(doorbells, 0).ring(0b110)).toBe(2);
  expect(await Promise.all(ends)).toEqual([
    { said: 'rung', exitCode: 0 },
    { said: 'rung', exitCode: 0 },
  ]);
});

it('may ring threads that were terminated in their sleep, before, during and after', async () => {
  const doorbells = allocateDoorbells(2);
  const ringer = new Doorbell(doorbells, 0);
  for (let round = 0; round < 12; round++) {
    const sleeper = await startSleeper(doorbells, 1);
    if (round % 3 === 0) expect(ringer.ring(0b10)).toBe(1);
    const terminated = sleeper.terminate();
    if (round % 3 === 1) expect(ringer.ring(0b10)).toBe(1);
    await terminated;
    ringer.ring(0b10);
    expect(ringer.ring(0b10)).toBe(0);
  }
});
