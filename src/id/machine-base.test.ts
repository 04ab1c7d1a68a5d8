import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { decodeSnowflake } from './decode-snowflake.js';
import type { PatientDrawerData } from './fixtures/patient-drawer.worker.js';
import { HighWaterMark } from './high-water-mark.js';
import { IssueLimit } from './issue-limit.js';
import { machineToken } from './machine-token.js';
import { Snowflake } from './snowflake.js';
import {
  allocateSnowflake,
  changeMachineBase,
  issueLimitMs,
  machineBase,
  setIssueLimitMs,
} from './snowflake-memory.js';

const EPOCH_MS = 1_700_000_000_000;
const NOW_MS = 1_750_000_000_000;
const code = (errorCode: string): unknown => expect.objectContaining({ code: errorCode });

describe('a machine base that is exchanged', () => {
  test('makes the next id of a slot lie in a later millisecond, so that it rises under a lower machine id too', () => {
    const clock = new ManualClock(NOW_MS);
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 96, slotCount: 4 });
    setIssueLimitMs(memory, NOW_MS + 1_000);
    const snowflake = new Snowflake(memory, 2, { nowMs: () => clock.nowMs(), monotonicMs: () => performance.now() });
    const before = snowflake.next();
    setIssueLimitMs(memory, Number.NEGATIVE_INFINITY);
    changeMachineBase(memory, 16, 0);
    expect(() => snowflake.next()).toThrow(code('ID_LIMIT_REACHED'));
    setIssueLimitMs(memory, NOW_MS + 1_000);
    const after = snowflake.next();
    expect(after).toBeGreaterThan(before);
    expect([decodeSnowflake(before, EPOCH_MS).machineId, decodeSnowflake(after, EPOCH_MS).machineId]).toEqual([98, 18]);
    expect(decodeSnowflake(after, EPOCH_MS)).toMatchObject({ timestampMs: NOW_MS + 1, sequence: 0 });
    expect([machineBase(memory), snowflake.machineId]).toEqual([16, 18]);
  });

  test('keeps slots above the floor of the new block, also one whose generator is made later', () => {
    const clock = new ManualClock(NOW_MS);
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 2 });
    const moving = { nowMs: () => clock.nowMs(), monotonicMs: () => performance.now() };
    const early = new Snowflake(memory, 0, moving);
    changeMachineBase(memory, 2, NOW_MS + 50);
    setIssueLimitMs(memory, NOW_MS + 1_000);
    clock.advance(50);
    const late = new Snowflake(memory, 1, moving);
    clock.stepWall(-40);
    for (const snowflake of [early, late]) {
      snowflake.next();
      expect(snowflake.lastTimestampMs).toBe(NOW_MS + 50);
    }
  });

  test('is refused while ids may be drawn, where it is not aligned, and with a floor that is no time', () => {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 3 });
    expect(() => changeMachineBase(memory, 6, 0)).toThrow(code('ID_BAD_OPTION'));
    expect(() => changeMachineBase(memory, 8, Number.NaN)).toThrow(code('ID_BAD_OPTION'));
    setIssueLimitMs(memory, NOW_MS);
    expect(() => changeMachineBase(memory, 8, 0)).toThrow(code('ID_BAD_OPTION'));
  });

  test('never lets a thread that draws meanwhile use a limit of one block with another', async () => {
    const EXCHANGES = 1_000;
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
    const control = new SharedArrayBuffer(8);
    const words = new Int32Array(control);
    const ids = new SharedArrayBuffer(8 * 40_000_000);
    const worker = new Worker(new URL('../../dist/id/fixtures/patient-drawer.worker.js', import.meta.url), {
      workerData: { memory, control, ids } satisfies PatientDrawerData,
    });
    const failed = once(worker, 'error').then(([error]) => Promise.reject(error));
    const exited = once(worker, 'exit');
    /** Of each machine id the one promise that was made for it. */
    const promises: { readonly floorMs: number; readonly limitMs: number }[] = [];
    for (let exchange = 0; exchange < EXCHANGES; exchange++) {
      // Downwards, so that a slot that did not go on to a later millisecond would fall.
      const floorMs = Date.now();
      changeMachineBase(memory, EXCHANGES - exchange, floorMs);
      const limitMs = floorMs + 2 + (exchange % 3);
      promises[EXCHANGES - exchange] = { floorMs, limitMs };
      setIssueLimitMs(memory, limitMs);
      const countBefore = Atomics.load(words, 0);
      const deadlineMs = performance.now() + 5_000;
      while (Atomics.load(words, 0) === countBefore && performance.now() < deadlineMs) {
        if (Date.now() >= limitMs) break;
      }
      setIssueLimitMs(memory, Number.NEGATIVE_INFINITY);
      if (exchange % 50 === 0) await Promise.race([new Promise((resolve) => setImmediate(resolve)), failed]);
    }
    Atomics.store(words, 1, 1);
    await Promise.race([exited, failed]);
    const count = Atomics.load(words, 0);
    const view = new DataView(ids);
    let wrongCount = 0;
    const bases = new Set<number>();
    for (let index = 0; index < count; index++) {
      const id = view.getBigUint64(index * 8);
      const { timestampMs, machineId } = decodeSnowflake(id, EPOCH_MS);
      bases.add(machineId);
      const promise = promises[machineId];
      if (promise === undefined || timestampMs < promise.floorMs || timestampMs >= promise.limitMs) wrongCount++;
      if (index > 0 && id <= view.getBigUint64(index * 8 - 8)) wrongCount++;
    }
    expect(wrongCount).toBe(0);
    // Promises were used: the test would pass otherwise without having drawn anything.
    expect(bases.size).toBeGreaterThan(EXCHANGES / 20);
  });
});

describe('an issue limit of several promises', () => {
  test('is the earliest of them, and none before all have been made', () => {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
    const limit = new IssueLimit(memory, ['mark', 'lease']);
    const setMark = limit.setterOf('mark');
    const setLease = limit.setterOf('lease');
    const seen: number[] = [];
    for (const change of [
      () => setMark(500),
      () => setLease(400),
      () => setLease(900),
      () => setMark(700),
      () => setLease(Number.NEGATIVE_INFINITY),
    ]) {
      change();
      seen.push(issueLimitMs(memory));
    }
    expect(seen).toEqual([Number.NEGATIVE_INFINITY, 400, 500, 700, Number.NEGATIVE_INFINITY]);
  });
});

describe('the token of a data directory', () => {
  let directory = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'halley-token-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  async function openMark(): Promise<void> {
    const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 });
    const mark = await HighWaterMark.open({ directory, memory });
    await mark.close();
  }

  test('stays the same from run to run, and is another one in another directory', async () => {
    const token = await machineToken(join(directory, 'a'));
    const mark = await HighWaterMark.open({
      directory: join(directory, 'a'),
      memory: allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount: 1 }),
    });
    expect(await machineToken(join(directory, 'a'))).toBe(token);
    expect(await machineToken(join(directory, 'b'))).not.toBe(token);
    await mark.close();
  });

  test('is made anew where the high-water mark is gone: nothing bounds the ids it would vouch for', async () => {
    await machineToken(directory);
    await openMark();
    const token = await machineToken(directory);
    await rm(join(directory, 'id.mark'));
    const next = await machineToken(directory);
    expect(next).toMatch(/^[0-9a-f]{32}$/);
    expect(next).not.toBe(token);
  });
});
