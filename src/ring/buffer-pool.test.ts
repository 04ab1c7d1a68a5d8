import { describe, expect, it } from 'vitest';
import { BufferPool } from './buffer-pool.js';

describe('a buffer pool', () => {
  it('gives the next power of two, at least the smallest class', () => {
    const pool = new BufferPool({ maxRetainedBytes: 1024, minBufferBytes: 64 });
    const sizes = [0, 1, 64, 65, 128, 129, 4095, 4096, 4097].map((minBytes) => pool.acquire(minBytes).length);
    expect(sizes).toEqual([64, 64, 64, 128, 128, 256, 4096, 4096, 8192]);
    expect(new BufferPool({ maxRetainedBytes: 0 }).acquire(1).length).toBe(512);
    expect(() => pool.acquire(2 ** 30 + 1)).toThrow(expect.objectContaining({ code: 'POOL_SIZE' }));
    expect(() => pool.acquire(-1)).toThrow(expect.objectContaining({ code: 'POOL_SIZE' }));
  });

  it('lends the buffer released last to the next who needs its class', () => {
    const pool = new BufferPool({ maxRetainedBytes: 1 << 20 });
    const first = pool.acquire(1000);
    const second = pool.acquire(1000);
    pool.release(first);
    pool.release(second);
    expect(pool.acquire(600)).toBe(second);
    expect(pool.acquire(1024)).toBe(first);
    expect(pool.acquire(1024)).not.toBe(first);
    expect(pool.acquire(2000).length).toBe(2048);
  });

  it('retains no more than its bound, whatever is released', () => {
    const pool = new BufferPool({ maxRetainedBytes: 10_000 });
    const lent = Array.from({ length: 50 }, () => pool.acquire(1024));
    for (const buffer of lent) pool.release(buffer);
    expect(pool.stats()).toMatchObject({ idleCount: 9, idleBytes: 9216, droppedCount: 41, lentCount: 0, lentBytes: 0 });
    pool.release(pool.acquire(1 << 20));
    expect(pool.stats()).toMatchObject({ idleCount: 9, idleBytes: 9216 });
    const keepsNothing = new BufferPool({ maxRetainedBytes: 0 });
    keepsNothing.release(keepsNothing.acquire(1));
    expect(keepsNothing.stats()).toMatchObject({ idleCount: 0, idleBytes: 0 });
  });

  it('gives memory back after a burst: trim drops what stood idle for a whole interval (goim W16)', () => {
    // goim's pools grow by whole slabs and never shrink: a burst at noon is still in memory at midnight (issues 123, 131).
    const pool = new BufferPool({ maxRetainedBytes: 1 << 20 });
    const burst = Array.from({ length: 100 }, () => pool.acquire(4096));
    for (const buffer of burst) pool.release(buffer);
    pool.trim();
    expect(pool.stats().idleCount).toBe(100);
    // The steady need is three at a time.
    const steady = (): void => {
      const lent = [pool.acquire(4096), pool.acquire(4096), pool.acquire(4096)];
      for (const buffer of lent) pool.release(buffer);
    };
    steady();
    pool.trim();
    expect(pool.stats()).toMatchObject({ idleCount: 3, idleBytes: 3 * 4096 });
    steady();
    pool.trim();
    expect(pool.stats().allocatedCount).toBe(100);
    expect(pool.stats().idleCount).toBe(3);
    pool.trim();
    expect(pool.stats()).toMatchObject({ idleCount: 0, idleBytes: 0, droppedCount: 100 });
  });

  it('refuses a second release, a stranger and a part of a buffer: each could give bytes two owners', () => {
    const pool = new BufferPool({ maxRetainedBytes: 1 << 20 });
    const buffer = pool.acquire(100);
    const refusal = expect.objectContaining({ code: 'POOL_RELEASE' });
    expect(() => pool.release(buffer.subarray(0, 512))).toThrow(refusal);
    expect(() => pool.release(new Uint8Array(512))).toThrow(refusal);
    pool.release(buffer);
    expect(() => pool.release(buffer)).toThrow(refusal);
    expect(pool.stats()).toMatchObject({ idleCount: 1, lentCount: 0 });
  });

  it('comes back to nothing lent after random churn, and its counters agree with each other', () => {
    const pool = new BufferPool({ maxRetainedBytes: 200_000 });
    const lent: Uint8Array[] = [];
    let state = 12345;
    const random = (bound: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return (state >>> 8) % bound;
    };
    for (let step = 0; step < 20_000; step++) {
      if (random(3) !== 0 && lent.length < 100) {
        const minBytes = random(20_000);
        const buffer = pool.acquire(minBytes);
        expect(buffer.length).toBeGreaterThanOrEqual(minBytes);
        expect(lent.includes(buffer)).toBe(false);
        lent.push(buffer);
      } else if (lent.length > 0) {
        pool.release(lent.splice(random(lent.length), 1)[0]!);
      }
      if (step % 1000 === 0) pool.trim();
      expect(pool.stats().idleBytes).toBeLessThanOrEqual(200_000);
    }
    for (const buffer of lent.splice(0)) pool.release(buffer);
    const { lentCount, lentBytes, idleCount, allocatedCount, reusedCount, droppedCount } = pool.stats();
    expect([lentCount, lentBytes]).toEqual([0, 0]);
    expect(allocatedCount).toBe(droppedCount + idleCount);
    expect(reusedCount).toBeGreaterThan(allocatedCount);
    pool.trim();
    pool.trim();
    expect(pool.stats()).toMatchObject({ idleCount: 0, idleBytes: 0 });
  });

  it('refuses bounds that make no sense', () => {
    const refusal = expect.objectContaining({ code: 'POOL_OPTIONS' });
    expect(() => new BufferPool({ maxRetainedBytes: -1 })).toThrow(refusal);
    expect(() => new BufferPool({ maxRetainedBytes: 1, minBufferBytes: 100 })).toThrow(refusal);
  });
});
