/**
 * What threads that draw at the same time, and die while they do, must hold: one suite in a short and a long form.
 */
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import type { AllocationReport } from './fixtures/allocation.worker.js';
import type { DrawerData, DrawerReport } from './fixtures/drawer.worker.js';
import type { EndlessDrawerData } from './fixtures/endless-drawer.worker.js';
import { allocateSnowflake, setIssueLimitMs } from './snowflake-memory.js';

const THREAD_COUNT = 8;
const MACHINE_BASE = 32;

function fixture(name: string): URL {
  return new URL(`../../dist/id/fixtures/${name}.worker.js`, import.meta.url);
}

function unlimitedMemory(): SharedArrayBuffer {
  const memory = allocateSnowflake({
    epochMs: 1_700_000_000_000,
    machineBase: MACHINE_BASE,
    slotCount: THREAD_COUNT,
  });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  return memory;
}

/** The one message that a fixture posts before it ends. */
function reportOf<Report>(name: string, workerData: unknown): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fixture(name), { workerData });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`${name} ended without a report`)));
  });
}

function drawOnAllSlots(
  memory: SharedArrayBuffer,
  drawCount: number,
  ids?: SharedArrayBuffer[],
): Promise<DrawerReport[]> {
  return Promise.all(
    Array.from({ length: THREAD_COUNT }, (_, slotIndex) => {
      const slotIds = ids?.[slotIndex];
      const data: DrawerData = { memory, slotIndex, drawCount, ...(slotIds === undefined ? {} : { ids: slotIds }) };
      return reportOf<DrawerReport>('drawer', data);
    }),
  );
}

/** Wait, without a timer, until the logged count has grown by `moreCount` or nobody has logged for ten seconds. */
async function loggedMore(loggedCount: Int32Array<SharedArrayBuffer>, moreCount: number): Promise<void> {
  const wanted = Atomics.load(loggedCount, 0) + moreCount;
  const deadlineMs = performance.now() + 10_000;
  // Pairs with the store in endless-drawer.worker.ts.
  while (Atomics.load(loggedCount, 0) < wanted) {
    if (performance.now() > deadlineMs) throw new Error(`no ids are logged: wanted=${wanted} is=${loggedCount[0]}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export interface ThreadSuiteOptions {
  readonly drawsPerThread: number;
  readonly killCount: number;
}

export function snowflakeThreadSuite({ drawsPerThread, killCount }: ThreadSuiteOptions): void {
  describe(`eight threads that draw ${drawsPerThread} ids each`, () => {
    test('see their own ids rise strictly and carry their own machine id', async () => {
      const reports = await drawOnAllSlots(unlimitedMemory(), drawsPerThread);
      for (const report of reports) {
        expect(report).toMatchObject({ drawnCount: drawsPerThread, notRisingCount: 0, wrongMachineCount: 0 });
      }
    });
  });

  test('eight threads draw no id twice, compared over all of them, in two incarnations of each', async () => {
    const drawCount = 50_000;
    const memory = unlimitedMemory();
    const all = new Set<bigint>();
    let lastIds: bigint[] = new Array<bigint>(THREAD_COUNT).fill(0n);
    for (let incarnation = 0; incarnation < 2; incarnation++) {
      const ids = Array.from({ length: THREAD_COUNT }, () => new SharedArrayBuffer(8 * drawCount));
      const reports = await drawOnAllSlots(memory, drawCount, ids);
      for (const [slotIndex, slotIds] of ids.entries()) {
        const view = new DataView(slotIds);
        expect(view.getBigUint64(0) > lastIds[slotIndex]!).toBe(true);
        for (let offset = 0; offset < view.byteLength; offset += 8) all.add(view.getBigUint64(offset));
      }
      lastIds = reports.map((report) => report.lastId);
    }
    expect(all.size).toBe(2 * THREAD_COUNT * drawCount);
  });

  test(`a slot whose thread is killed mid-draw ${killCount} times goes on without a repeat, also on a clock that is behind`, async () => {
    const memory = unlimitedMemory();
    const logged = new SharedArrayBuffer(4);
    const loggedCount = new Int32Array(logged);
    const capacity = killCount * 100_000;
    const ids = new SharedArrayBuffer(8 * capacity);
    for (let kill = 0; kill < killCount; kill++) {
      const data: EndlessDrawerData = { memory, slotIndex: 5, offsetMs: kill % 2 === 0 ? 0 : -5_000, logged, ids };
      const worker = new Worker(fixture('endless-drawer'), { workerData: data });
      const failed = new Promise<never>((_, reject) => worker.once('error', reject));
      await Promise.race([loggedMore(loggedCount, 1_000 + kill * 97), failed]);
      await worker.terminate();
    }
    const view = new DataView(ids);
    const count = Atomics.load(loggedCount, 0);
    expect(count).toBeLessThan(capacity);
    let repeats = 0;
    for (let index = 1; index < count; index++) {
      if (view.getBigUint64(index * 8) <= view.getBigUint64(index * 8 - 8)) repeats++;
    }
    expect(repeats).toBe(0);
  });

  test('three million ids written as bytes leave no garbage, as bigints they do', async () => {
    const report = await reportOf<AllocationReport>('allocation', undefined);
    expect(report.writeGcCount).toBeLessThanOrEqual(1);
    expect(report.bigintGcCount).toBeGreaterThan(2);
  });
}
