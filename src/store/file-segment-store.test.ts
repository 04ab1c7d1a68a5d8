import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { COUNTED_ID_END } from '../id/index.js';
import { FileSegmentStore } from './file-segment-store.js';
import { segmentStoreContract } from './segment-store.contract.js';

const fresh = { nextId: 1, endId: COUNTED_ID_END, note: 'note' };
const directories: string[] = [];

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'halley-segments-'));
  directories.push(directory);
  return directory;
}

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
});

for (const rollBytes of [1_048_576, 1]) {
  segmentStoreContract(`a directory, its log rolled after ${rollBytes} bytes,`, async () => {
    const directory = join(await newDirectory(), 'made', 'here');
    return { open: () => FileSegmentStore.open({ directory, rollBytes }), remove: async () => {} };
  });
}

describe('the log of a directory', () => {
  it('gives the next process what the last one left, over any number of rolls, and keeps few files', async () => {
    const directory = await newDirectory();
    let nextId = 1;
    for (let run = 0; run < 4; run++) {
      const store = await FileSegmentStore.open({ directory, rollBytes: 300 });
      if (run === 0) await store.replace('orders', fresh, 0);
      for (let call = 0; call < 20; call++) {
        expect(await store.take('orders', 3)).toMatchObject({ firstId: nextId, note: 'note' });
        nextId += 3;
      }
      await store.close();
    }
    const files = await readdir(directory);
    expect(files.length).toBeLessThanOrEqual(9);
    expect(files.every((file) => file.endsWith('.log'))).toBe(true);
  });

  it('is followed by a store that slept through more rolls than files are kept', async () => {
    const directory = await newDirectory();
    const sleeper = await FileSegmentStore.open({ directory, rollBytes: 1 });
    await sleeper.replace('orders', fresh, 0);
    const busy = await FileSegmentStore.open({ directory, rollBytes: 1 });
    for (let call = 0; call < 30; call++) await busy.take('orders', 1);
    expect(await sleeper.take('orders', 1)).toMatchObject({ firstId: 31, endId: 32 });
    expect(await busy.take('orders', 1)).toMatchObject({ firstId: 32, endId: 33 });
    const generations = (await readdir(directory)).map((file) => Number(file.split('.')[1])).sort((a, b) => a - b);
    expect(generations.length).toBeLessThanOrEqual(9);
    // One unbroken row: the sleeper left no copy of the past behind.
    expect(generations.at(-1)! - generations[0]!).toBe(generations.length - 1);
    await sleeper.close();
    await busy.close();
  });

  it('goes on behind a line that a crash tore anywhere', async () => {
    const directory = await newDirectory();
    const path = join(directory, 'segments.0.log');
    const first = await FileSegmentStore.open({ directory });
    await first.replace('orders', fresh, 0);
    await first.take('orders', 10);
    await first.close();
    const whole = await readFile(path, 'latin1');
    const lastLine = whole.slice(whole.lastIndexOf('\ntake'));
    for (let cut = 0; cut < lastLine.length - 1; cut++) {
      await writeFile(path, whole + lastLine.slice(0, cut), 'latin1');
      const store = await FileSegmentStore.open({ directory });
      expect(await store.take('orders', 5)).toMatchObject({ firstId: 11, endId: 16 });
      await store.close();
    }
  });

  it('passes over zeros, which a file system may leave where a write was lost', async () => {
    const directory = await newDirectory();
    const store = await FileSegmentStore.open({ directory });
    await store.replace('orders', fresh, 0);
    await appendFile(join(directory, 'segments.0.log'), Buffer.alloc(50));
    expect(await store.take('orders', 5)).toMatchObject({ firstId: 1, endId: 6 });
    await store.close();
  });

  it('is refused where a whole line was changed', async () => {
    const directory = await newDirectory();
    const store = await FileSegmentStore.open({ directory });
    await store.replace('orders', fresh, 0);
    await store.take('orders', 1000);
    await store.close();
    const path = join(directory, 'segments.0.log');
    await writeFile(path, (await readFile(path, 'latin1')).replace(' 1000 ', ' 1 '));
    await expect(FileSegmentStore.open({ directory })).rejects.toMatchObject({ code: 'ID_STORE_CORRUPT' });
  });

  it('that was removed is refused, however much is counted where it stood', async () => {
    const directory = await newDirectory();
    const store = await FileSegmentStore.open({ directory });
    await store.replace('orders', { nextId: 1_000, endId: 10_000, note: '' }, 0);
    await rm(directory, { recursive: true });
    const other = await FileSegmentStore.open({ directory });
    await other.replace('orders', { nextId: 1, endId: 10_000, note: '' }, 0);
    await expect(store.take('orders', 10)).rejects.toMatchObject({ code: 'ID_STORE_LOST' });
    await expect(store.read('orders')).rejects.toMatchObject({ code: 'ID_STORE_LOST' });
    expect(await other.take('orders', 10)).toMatchObject({ firstId: 1 });
    await other.close();
    await store.close();
  });

  it('names a directory that cannot be used, and refuses calls after close', async () => {
    const directory = await newDirectory();
    await writeFile(join(directory, 'file'), '');
    await expect(FileSegmentStore.open({ directory: join(directory, 'file') })).rejects.toMatchObject({
      code: 'ID_STORE_UNAVAILABLE',
    });
    const store = await FileSegmentStore.open({ directory });
    await store.close();
    await expect(store.read('orders')).rejects.toMatchObject({ code: 'ID_STORE_CLOSED' });
  });
});
