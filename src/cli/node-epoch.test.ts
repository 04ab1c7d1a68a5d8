import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { nextNodeEpoch } from './node-epoch.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'halley-epoch-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('is 1 in a fresh directory, which is made, and one higher with every start', async () => {
  const dataDir = join(root, 'deep', 'data');
  expect([await nextNodeEpoch(dataDir), await nextNodeEpoch(dataDir), await nextNodeEpoch(dataDir)]).toEqual([1, 2, 3]);
  expect(await readFile(join(dataDir, 'node-epoch'), 'utf8')).toBe('3\n');
  expect(await readdir(dataDir)).toEqual(['node-epoch']);
});

it('goes on from a number that an operator wrote', async () => {
  await writeFile(join(root, 'node-epoch'), ' 41 ');
  expect(await nextNodeEpoch(root)).toBe(42);
});

it('survives a start that died before its rename', async () => {
  await nextNodeEpoch(root);
  await writeFile(join(root, `node-epoch.${process.pid}.tmp`), 'half');
  expect(await nextNodeEpoch(root)).toBe(2);
});

it.each(['', '\n', 'x', '-1', '1.5', '9007199254740993', '0x10 y'])(
  'refuses to start from %j, and leaves the file for a person to look at',
  async (content) => {
    await writeFile(join(root, 'node-epoch'), content);
    await expect(nextNodeEpoch(root)).rejects.toMatchObject({ code: 'NODE_EPOCH_CORRUPT' });
    expect(await readFile(join(root, 'node-epoch'), 'utf8')).toBe(content);
  },
);

it('says which directory it cannot use', async () => {
  await writeFile(join(root, 'file'), '');
  const dataDir = join(root, 'file', 'data');
  await expect(nextNodeEpoch(dataDir)).rejects.toMatchObject({ code: 'DATA_DIR_UNUSABLE', details: { dataDir } });
});

it('says so where what stands there is no file', async () => {
  await mkdir(join(root, 'node-epoch'));
  await expect(nextNodeEpoch(root)).rejects.toMatchObject({ code: 'NODE_EPOCH_UNREADABLE' });
});
