import { describe, expect, it } from 'vitest';
import { DrainSwitch } from './drain-switch.js';

describe('the drain switch', () => {
  it('says so to /ready while it is on, and tells the cluster each time', async () => {
    const told: boolean[] = [];
    const drain = new DrainSwitch((isDraining) => void told.push(isDraining));
    expect([drain.isDraining, drain.notReady()]).toEqual([false, []]);
    await drain.set(true);
    await drain.set(true);
    expect([drain.isDraining, drain.notReady().map(({ reason }) => reason)]).toEqual([true, ['draining']]);
    await drain.set(false);
    expect([drain.isDraining, drain.notReady(), told]).toEqual([false, [], [true, true, false]]);
  });

  it('moves channels by the callback, and says how many', () => {
    const moved: number[] = [];
    const drain = new DrainSwitch(undefined, (overMs) => {
      moved.push(overMs);
      return 7;
    });
    expect([drain.move(500), moved, new DrainSwitch().move(500)]).toEqual([7, [500], 0]);
  });

  it('is on although the cluster could not be told', async () => {
    const drain = new DrainSwitch(() => Promise.reject(new Error('Redis is away')));
    await expect(drain.set(true)).rejects.toThrow('Redis is away');
    expect(drain.isDraining).toBe(true);
  });
});
