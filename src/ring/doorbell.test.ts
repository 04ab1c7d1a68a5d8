import { describe, expect, it, vi } from 'vitest';
import { Doorbell } from './doorbell.js';
import { allocateDoorbells } from './doorbell.layout.js';

const DEADLINE_MS = 5_000;

/** Turns of the event loop until `condition` holds. */
async function eventually(condition: () => boolean): Promise<void> {
  const deadlineAtMs = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadlineAtMs) throw new Error('the condition did not come true in time');
    await new Promise(setImmediate);
  }
}

function makeDoorbells(threadCount = 3) {
  const memory = allocateDoorbells(threadCount);
  const bells = Array.from({ length: threadCount }, (_, index) => new Doorbell(memory, index));
  return { bells, ringer: bells[0]!, sleeper: bells[1]! };
}

describe('a doorbell', () => {
  it('runs its listener when rung, and counts only those it woke', async () => {
    const { ringer, sleeper } = makeDoorbells();
    let runCount = 0;
    sleeper.listen(
      () => false,
      () => runCount++,
    );
    expect(ringer.ring(0b010)).toBe(1);
    // Awake already: the two rings fold.
    expect(ringer.ring(0b010)).toBe(0);
    await eventually(() => runCount === 1);
    expect(ringer.ring(0b110)).toBe(1);
    await eventually(() => runCount === 2);
    sleeper.close();
  });

  it('does not wake those outside the mask, nor those that do not listen, nor bits without a thread', async () => {
    const { bells, ringer, sleeper } = makeDoorbells();
    const run = vi.fn();
    sleeper.listen(() => false, run);
    expect(ringer.ring(0b101)).toBe(0);
    expect(ringer.ring(0)).toBe(0);
    expect(ringer.ring(-1 << 3)).toBe(0);
    expect(bells[2]!.ring(-1)).toBe(1);
    await eventually(() => run.mock.calls.length === 1);
    sleeper.close();
  });

  it('has a bell for the 32nd thread', async () => {
    const { bells, ringer } = makeDoorbells(32);
    const run = vi.fn();
    bells[31]!.listen(() => false, run);
    expect(ringer.ring(1 << 31)).toBe(1);
    await eventually(() => run.mock.calls.length === 1);
    bells[31]!.close();
  });

  it('does not sleep while there is work, and lets the loop breathe between two runs', async () => {
    const { ringer, sleeper } = makeDoorbells();
    let workCount = 5;
    const turns: string[] = [];
    sleeper.listen(
      () => workCount > 0,
      () => {
        workCount--;
        turns.push('run');
        setImmediate(() => turns.push('other'));
      },
    );
    // Not asleep: there is nobody to wake.
    expect(ringer.ring(0b010)).toBe(0);
    await eventually(() => turns.filter((turn) => turn === 'other').length === 5);
    expect(turns.join(' ')).toBe('run other run other run other run other run other');
    expect(ringer.ring(0b010)).toBe(1);
    sleeper.close();
  });

  it('sees work that came before it listened without being rung', async () => {
    const { ringer, sleeper } = makeDoorbells();
    let workCount = 1;
    expect(ringer.ring(0b010)).toBe(0);
    sleeper.listen(
      () => workCount > 0,
      () => workCount--,
    );
    await eventually(() => workCount === 0);
    sleeper.close();
  });

  it('can be rung by its own thread', async () => {
    const { sleeper } = makeDoorbells();
    const run = vi.fn();
    sleeper.listen(() => false, run);
    expect(sleeper.ring(0b010)).toBe(1);
    await eventually(() => run.mock.calls.length === 1);
    sleeper.close();
  });

  it('runs nothing after close, and cannot be listened to again', async () => {
    const { bells, ringer, sleeper } = makeDoorbells();
    const run = vi.fn();
    sleeper.listen(() => false, run);
    expect(() => sleeper.listen(() => false, run)).toThrow(expect.objectContaining({ code: 'DOORBELL_LISTENING' }));
    ringer.ring(0b010);
    sleeper.close();
    sleeper.close();
    expect(ringer.ring(0b010)).toBe(0);
    // A later wake-up on the same thread has come through: the earlier one would have, too.
    const later = vi.fn();
    bells[2]!.listen(() => false, later);
    ringer.ring(0b100);
    await eventually(() => later.mock.calls.length === 1);
    expect(run).not.toHaveBeenCalled();
    expect(() => sleeper.listen(() => false, run)).toThrow(expect.objectContaining({ code: 'DOORBELL_LISTENING' }));
    bells[2]!.close();
  });

  it('may be closed by its own run', async () => {
    const { ringer, sleeper } = makeDoorbells();
    const run = vi.fn(() => sleeper.close());
    sleeper.listen(() => true, run);
    await eventually(() => run.mock.calls.length === 1);
    expect(ringer.ring(0b010)).toBe(0);
  });

  it('makes an exception of run an uncaught exception, and goes on listening', async () => {
    const { ringer, sleeper } = makeDoorbells();
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught: unknown[] = [];
    process.on('uncaughtException', (error) => uncaught.push(error));
    try {
      const failure = new Error('run failed');
      let runCount = 0;
      sleeper.listen(
        () => false,
        () => {
          runCount++;
          if (runCount === 1) throw failure;
        },
      );
      ringer.ring(0b010);
      await eventually(() => uncaught.length === 1);
      expect(uncaught).toEqual([failure]);
      expect(ringer.ring(0b010)).toBe(1);
      await eventually(() => runCount === 2);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of listeners) process.on('uncaughtException', listener);
      sleeper.close();
    }
  });

  it('is refused for threads that there are not', () => {
    const memory = allocateDoorbells(2);
    expect(() => new Doorbell(memory, 2)).toThrow(expect.objectContaining({ code: 'DOORBELL_INDEX' }));
    expect(() => new Doorbell(memory, -1)).toThrow(expect.objectContaining({ code: 'DOORBELL_INDEX' }));
    expect(() => allocateDoorbells(0)).toThrow(expect.objectContaining({ code: 'DOORBELL_THREADS' }));
    expect(() => allocateDoorbells(33)).toThrow(expect.objectContaining({ code: 'DOORBELL_THREADS' }));
  });
});
