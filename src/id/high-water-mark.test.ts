import { existsSync, renameSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HighWaterMark } from './high-water-mark.js';
import { readMark, writeMark } from './mark-file.js';
import { Snowflake } from './snowflake.js';
import { allocateSnowflake, issueLimitMs } from './snowflake-memory.js';

const NOW_MS = 1_750_000_000_000;
let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-mark-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function newMemory(): SharedArrayBuffer {
  return allocateSnowflake({ epochMs: 1_700_000_000_000, machineBase: 0, slotCount: 2 });
}

const code = (errorCode: string): unknown => expect.objectContaining({ code: errorCode });
const path = (): string => join(directory, 'id.mark');

/** Let a manual clock run, a millisecond per turn of the loop, until `promise` settles. */
async function whileTimePasses<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = promise.finally(() => {
    isSettled = true;
  });
  while (!isSettled) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1);
  }
  return settled;
}

describe('a high-water mark', () => {
  test('opens at once in a directory that never had one, makes the directory, and lets ids begin', async () => {
    const memory = newMemory();
    const clock = new ManualClock(NOW_MS);
    const fresh = join(directory, 'data/ids');
    const mark = await HighWaterMark.open({ directory: fresh, memory, clock, aheadMs: 2_000 });
    expect([mark.markMs, issueLimitMs(memory)]).toEqual([NOW_MS + 2_000, NOW_MS + 2_000]);
    expect((await readMark(fresh))?.markMs).toBe(NOW_MS + 2_000);
    expect(new Snowflake(memory, 0, clock).next()).toBeGreaterThan(0n);
    expect(await readdir(fresh)).toEqual(['id.mark']);
    await mark.close();
  });

  test('is never passed: ids stop at it and go on after a renewal', async () => {
    const memory = newMemory();
    const clock = new ManualClock(NOW_MS);
    const mark = await HighWaterMark.open({ directory, memory, clock, aheadMs: 2_000 });
    const snowflake = new Snowflake(memory, 0, clock);
    clock.advance(1_999);
    snowflake.next();
    clock.advance(1);
    expect(() => snowflake.next()).toThrow(code('ID_LIMIT_REACHED'));
    await mark.renew();
    expect((await readMark(directory))?.markMs).toBe(NOW_MS + 4_000);
    snowflake.next();
    expect(snowflake.lastTimestampMs).toBe(NOW_MS + 2_000);
    await mark.close();
  });

  test('makes the next process wait past it after a crash, and says for how long', async () => {
    const clock = new ManualClock(NOW_MS);
    const crashed = newMemory();
    await HighWaterMark.open({ directory, memory: crashed, clock, aheadMs: 2_000 });
    const lastId = new Snowflake(crashed, 0, clock).next();
    clock.stepWall(-5_000);
    const memory = newMemory();
    let opening: Promise<HighWaterMark> | undefined;
    const waitMs = await new Promise<number>((onWaiting) => {
      opening = HighWaterMark.open({ directory, memory, clock, onWaiting });
    });
    expect(waitMs).toBe(7_000);
    expect(() => new Snowflake(memory, 0, clock).next()).toThrow(code('ID_LIMIT_REACHED'));
    const mark = await whileTimePasses(clock, opening!);
    expect(clock.nowMs()).toBeGreaterThanOrEqual(NOW_MS + 2_000);
    await mark.renew();
    expect(new Snowflake(memory, 0, clock).next()).toBeGreaterThan(lastId);
    await mark.close();
  });

  test('keeps a slot above an earlier mark if the clock is set back between the wait and its first id', async () => {
    const clock = new ManualClock(NOW_MS);
    await writeMark(directory, { markMs: NOW_MS, owner: '00000000000000aa' }, () => {});
    const memory = newMemory();
    const mark = await HighWaterMark.open({ directory, memory, clock });
    clock.stepWall(-4_000);
    const snowflake = new Snowflake(memory, 1, { nowMs: () => clock.nowMs(), monotonicMs: () => performance.now() });
    snowflake.next();
    expect(snowflake.lastTimestampMs).toBe(NOW_MS);
    await mark.close();
  });

  test('is an error, not a wait, where it is further ahead than a start may wait', async () => {
    await writeMark(directory, { markMs: NOW_MS + 10_001, owner: '00000000000000aa' }, () => {});
    const opening = HighWaterMark.open({ directory, memory: newMemory(), clock: new ManualClock(NOW_MS) });
    await expect(opening).rejects.toThrow(code('ID_MARK_TOO_FAR_AHEAD'));
    await expect(opening).rejects.toThrow(/set the clock right and start again.*waitMs=10001 maxWaitMs=10000/);
  });

  test('is pulled back to the last id by close, so that the next start does not wait and repeats nothing', async () => {
    const clock = new ManualClock(NOW_MS);
    const memory = newMemory();
    const mark = await HighWaterMark.open({ directory, memory, clock, aheadMs: 2_000 });
    const snowflake = new Snowflake(memory, 0, clock);
    const lastId = snowflake.next();
    clock.stepWall(-1_000);
    await mark.close();
    await mark.close();
    expect(() => snowflake.next()).toThrow(code('ID_LIMIT_REACHED'));
    await expect(mark.renew()).rejects.toThrow(code('ID_MARK_CLOSED'));
    expect((await readMark(directory))?.markMs).toBe(NOW_MS + 2);
    clock.stepWall(1_002);
    let hasWaited = false;
    const next = newMemory();
    const onWaiting = (): void => {
      hasWaited = true;
    };
    const again = await HighWaterMark.open({ directory, memory: next, clock, onWaiting });
    expect(hasWaited).toBe(false);
    expect(new Snowflake(next, 0, clock).next()).toBeGreaterThan(lastId);
    await again.close();
  });

  test('follows ids that run ahead of a clock that was set back, and is not written while it is ahead enough', async () => {
    const clock = new ManualClock(NOW_MS);
    const memory = newMemory();
    const mark = await HighWaterMark.open({ directory, memory, clock, aheadMs: 2_000 });
    clock.advance(1_500);
    new Snowflake(memory, 0, clock).next();
    clock.stepWall(-60_000);
    const lineBefore = await readFile(path(), 'utf8');
    await mark.renew();
    expect(mark.markMs).toBe(NOW_MS + 3_500);
    const lineAfter = await readFile(path(), 'utf8');
    expect(lineAfter).not.toBe(lineBefore);
    await mark.renew();
    expect(await readFile(path(), 'utf8')).toBe(lineAfter);
    await mark.close();
  });

  test('shares one write among renewals that are called together', async () => {
    const clock = new ManualClock(NOW_MS);
    const mark = await HighWaterMark.open({ directory, memory: newMemory(), clock });
    clock.advance(1_000);
    expect(mark.renew()).toBe(mark.renew());
    await mark.close();
    expect((await readMark(directory))?.markMs).toBe(NOW_MS + 1_001);
  });

  test('renews itself on a timer until it is closed', async () => {
    const memory = newMemory();
    const mark = await HighWaterMark.open({ directory, memory, aheadMs: 100 });
    const firstMs = mark.markMs;
    const failures: unknown[] = [];
    mark.keepRenewing((error) => failures.push(error));
    const deadlineMs = performance.now() + 10_000;
    while (mark.markMs < firstMs + 200 && performance.now() < deadlineMs) await new Promise((r) => setImmediate(r));
    expect(mark.markMs).toBeGreaterThanOrEqual(firstMs + 200);
    expect(issueLimitMs(memory)).toBe(mark.markMs);
    expect(failures).toEqual([]);
    await mark.close();
  });

  test('refuses a distance that would renew without a pause or keep a restart waiting for long', async () => {
    for (const aheadMs of [99, 600_001, 1.5]) {
      await expect(HighWaterMark.open({ directory, memory: newMemory(), aheadMs })).rejects.toThrow(
        code('ID_BAD_OPTION'),
      );
    }
  });
});

describe('a high-water mark shared by two processes', () => {
  test('fails the second one as soon as the first one renews', async () => {
    const clock = new ManualClock(NOW_MS);
    const first = await HighWaterMark.open({ directory, memory: newMemory(), clock });
    const memory = newMemory();
    const opening = HighWaterMark.open({
      directory,
      memory,
      clock,
      onWaiting: () => {
        clock.advance(500);
        void first.renew();
      },
    });
    await expect(opening).rejects.toThrow(code('ID_MARK_IN_USE'));
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
    await first.close();
  });

  test('lets the second one start where the first one is closed meanwhile', async () => {
    const clock = new ManualClock(NOW_MS);
    const first = await HighWaterMark.open({ directory, memory: newMemory(), clock });
    const memory = newMemory();
    const opening = HighWaterMark.open({ directory, memory, clock, onWaiting: () => void first.close() });
    const second = await whileTimePasses(clock, opening);
    expect(issueLimitMs(memory)).toBe(second.markMs);
    await second.close();
  });

  test('fails all but one of those that start together', async () => {
    const clock = new ManualClock(NOW_MS);
    const memories = Array.from({ length: 4 }, newMemory);
    const outcomes = await Promise.allSettled(
      memories.map((memory) => HighWaterMark.open({ directory, memory, clock })),
    );
    const opened = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(opened.length).toBe(1);
    expect(memories.filter((memory) => issueLimitMs(memory) > 0).length).toBe(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toEqual(code('ID_MARK_IN_USE'));
    }
  });

  test('fails one whose first line is replaced before it has settled', async () => {
    const memory = newMemory();
    const opening = HighWaterMark.open({ directory, memory, clock: new ManualClock(NOW_MS) });
    const refused = expect(opening).rejects.toThrow(code('ID_MARK_IN_USE'));
    const other = join(directory, 'other');
    await writeMark(other, { markMs: NOW_MS + 3_000, owner: '00000000000000aa' }, () => {});
    // The turn in which the line appears is over before the opening can go on.
    while (!existsSync(path())) await new Promise((resolve) => setImmediate(resolve));
    renameSync(join(other, 'id.mark'), path());
    await refused;
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
  });

  test('stops the ids of one that was frozen until the other had taken over', async () => {
    const clock = new ManualClock(NOW_MS);
    const frozenMemory = newMemory();
    const frozen = await HighWaterMark.open({ directory, memory: frozenMemory, clock, aheadMs: 60_000 });
    await writeMark(directory, { markMs: NOW_MS + 90_000, owner: '00000000000000aa' }, () => {});
    clock.advance(1_000);
    await expect(frozen.renew()).rejects.toThrow(code('ID_MARK_IN_USE'));
    expect(() => new Snowflake(frozenMemory, 0, clock).next()).toThrow(code('ID_LIMIT_REACHED'));
    expect((await readMark(directory))?.owner).toBe('00000000000000aa');
  });
});

describe('the file of a high-water mark', () => {
  test('that is damaged in any way is an error that says what to do', async () => {
    await writeMark(directory, { markMs: NOW_MS, owner: '00000000000000aa' }, () => {});
    const line = await readFile(path(), 'utf8');
    const damaged = ['', 'x', line.slice(0, -1), line.slice(0, 20), line.replace('175', '176'), `${line}${line}`];
    for (const text of damaged) {
      await writeFile(path(), text);
      const opening = HighWaterMark.open({ directory, memory: newMemory(), clock: new ManualClock(NOW_MS) });
      await expect(opening).rejects.toThrow(code('ID_MARK_CORRUPT'));
      await expect(opening).rejects.toThrow(/then delete the file: path=".*id\.mark"/);
      expect(await readFile(path(), 'utf8')).toBe(text);
    }
  });

  test('that cannot be read is an error with its path and cause', async () => {
    await mkdir(path());
    const opening = HighWaterMark.open({ directory, memory: newMemory() });
    await expect(opening).rejects.toMatchObject({ code: 'ID_MARK_UNREADABLE', cause: { code: 'EISDIR' } });
  });

  test('that cannot be written is an error with its path and cause, and no ids', async () => {
    await writeFile(join(directory, 'file'), '');
    const memory = newMemory();
    const opening = HighWaterMark.open({ directory: join(directory, 'file'), memory });
    await expect(opening).rejects.toMatchObject({ code: expect.stringMatching(/^ID_MARK_UN(READ|WRIT)ABLE$/) });
    const long = join(directory, 'n'.repeat(300));
    await expect(HighWaterMark.open({ directory: long, memory })).rejects.toMatchObject({
      code: expect.stringMatching(/^ID_MARK_UN(READ|WRIT)ABLE$/),
      cause: { code: 'ENAMETOOLONG' },
    });
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
  });

  test('that can no longer be written lets ids go on to the old mark and not beyond, then recovers', async () => {
    const clock = new ManualClock(NOW_MS);
    const memory = newMemory();
    const mark = await HighWaterMark.open({ directory, memory, clock, aheadMs: 2_000 });
    const snowflake = new Snowflake(memory, 0, clock);
    await rm(directory, { recursive: true });
    await writeFile(directory, 'in the way');
    clock.advance(1_500);
    await expect(mark.renew()).rejects.toMatchObject({ code: 'ID_MARK_UNWRITABLE', cause: { code: 'EEXIST' } });
    snowflake.next();
    clock.advance(500);
    expect(() => snowflake.next()).toThrow(code('ID_LIMIT_REACHED'));
    await rm(directory);
    await mark.renew();
    snowflake.next();
    await mark.close();
  });
});
