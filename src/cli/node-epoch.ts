/**
 * The node's incarnation: a counter in the data directory, one higher with every start. (In a cluster it comes from Redis.)
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HalleyError } from '../errors/index.js';

const FILE = 'node-epoch';

/** Read the counter, add one, store it durably, return it. The directory is created where it is missing. */
export async function nextNodeEpoch(dataDir: string): Promise<number> {
  const path = join(dataDir, FILE);
  try {
    await mkdir(dataDir, { recursive: true });
  } catch (error) {
    throw new HalleyError(
      'DATA_DIR_UNUSABLE',
      'the data directory must be writable (option data_dir)',
      { dataDir },
      error,
    );
  }
  const previous = await readCounter(path);
  const epoch = previous + 1;
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(`${epoch}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    throw new HalleyError(
      'DATA_DIR_UNUSABLE',
      'the data directory must be writable (option data_dir)',
      { dataDir },
      error,
    );
  }
  return epoch;
}

async function readCounter(path: string): Promise<number> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw new HalleyError('NODE_EPOCH_UNREADABLE', 'the node epoch could not be read', { path }, error);
  }
  const value = Number(text.trim());
  if (!Number.isSafeInteger(value) || value < 0 || text.trim() === '') {
    throw new HalleyError(
      'NODE_EPOCH_CORRUPT',
      'the node epoch must be a whole number; write one that is higher than any before, or remove the file on a node whose sessions nobody remembers',
      { path, content: text.slice(0, 40) },
    );
  }
  return value;
}
