import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import type { SegmentStore } from '../id/index.js';
import { FileSegmentStore } from './file-segment-store.js';
import { LazySegmentStore } from './lazy-segment-store.js';
import { MemorySegmentStore } from './memory-segment-store.js';
import { segmentStoreContract } from './segment-store.contract.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-lazy-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

segmentStoreContract('a store in files that is opened late', async () => {
  const own = await mkdtemp(join(tmpdir(), 'halley-lazy-contract-'));
  return {
    open: async (): Promise<SegmentStore> =>
      new LazySegmentStore(() => FileSegmentStore.open({ directory: own, rollBytes: 4_096 }), false),
    remove: () => rm(own, { recursive: true, force: true }),
  };
});

const CONTENT = { nextId: 1, endId: 1_000, note: '' };

describe('a store that is opened late', () => {
  it('touches nothing before its first call, and is opened once for calls that come together', async () => {
    const path = join(directory, 'ids');
    let openCount = 0;
    const store = new LazySegmentStore(() => {
      openCount++;
      return FileSegmentStore.open({ directory: path });
    }, false);
    await expect(access(path)).rejects.toMatchObject({ code: 'ENOENT' });
    await Promise.all([store.read('a'), store.read('b'), store.open()]);
    expect(openCount).toBe(1);
    await store.close();
    await expect(store.read('a')).rejects.toMatchObject({ code: 'ID_STORE_CLOSED' });
    expect(openCount).toBe(1);
  });

  it('that was never opened closes without a trace', async () => {
    const store = new LazySegmentStore(() => expect.fail('it was opened'), false);
    await store.close();
  });

  it('is tried again with each call while it cannot be opened, and says so', async () => {
    const path = join(directory, 'taken');
    await writeFile(path, 'a file where the directory should be');
    const store = new LazySegmentStore(() => FileSegmentStore.open({ directory: path }), false);
    await expect(store.open()).rejects.toMatchObject({ code: 'ID_STORE_UNAVAILABLE' });
    await expect(store.take('order', 1)).rejects.toMatchObject({ code: 'ID_STORE_UNAVAILABLE' });
    await rm(path);
    expect(await store.take('order', 1)).toBeUndefined();
    await store.close();
  });

  it('is opened anew after it broke, once for all calls that broke with it, and the broken one is closed', async () => {
    const memory = new MemorySegmentStore();
    await memory.replace('order', CONTENT, 0);
    let isBroken = false;
    let openCount = 0;
    let closedCount = 0;
    const broken = () => Promise.reject(new HalleyError('ID_STORE_BROKEN', 'the disk is full'));
    const store = new LazySegmentStore(async (): Promise<SegmentStore> => {
      openCount++;
      return {
        mayForget: false,
        take: (tag, count) => (isBroken ? broken() : memory.take(tag, count)),
        read: (tag) => memory.read(tag),
        replace: (...args) => memory.replace(...args),
        close: async () => void closedCount++,
      };
    }, false);
    expect(await store.take('order', 10)).toMatchObject({ firstId: 1, endId: 11 });
    isBroken = true;
    const failed = await Promise.allSettled([store.take('order', 10), store.take('order', 10)]);
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    isBroken = false;
    expect(await store.take('order', 10)).toMatchObject({ firstId: 11, endId: 21 });
    expect([openCount, closedCount]).toEqual([2, 1]);
    // A call that was wrong in itself breaks nothing.
    await expect(store.take(' ', 1)).rejects.toMatchObject({ code: 'ID_BAD_TAG' });
    expect(openCount).toBe(2);
  });
});
