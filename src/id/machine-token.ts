/**
 * The token of a data directory: a random text, made once, by which the next process of this directory proves to the lease of
 * the machine ids that it follows the one that held it. What that one issued, the high-water mark beside the token bounds.
 *
 * Threads: the control thread.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HalleyError } from '../errors/index.js';
import { readMark } from './mark-file.js';

const FILE_NAME = 'id.token';
const TOKEN_BYTES = 16;
const TOKEN_PATTERN = /^[0-9a-f]{32}$/;

/**
 * The token of `directory`, made if there is none. A directory whose high-water mark is missing gets a new token: its old one
 * would vouch for ids that nothing bounds any more.
 *
 * @throws HalleyError ID_TOKEN_UNUSABLE, or what reading the mark throws
 */
export async function machineToken(directory: string): Promise<string> {
  const path = join(directory, FILE_NAME);
  try {
    const standing = (await hasMark(directory)) ? await readToken(path) : undefined;
    return standing ?? (await writeToken(directory, path));
  } catch (error) {
    if (error instanceof HalleyError) throw error;
    throw new HalleyError(
      'ID_TOKEN_UNUSABLE',
      'the token of the data directory could not be read or written: check its rights and its free space',
      { path },
      error,
    );
  }
}

/** Whether a high-water mark stands in `directory`. */
async function hasMark(directory: string): Promise<boolean> {
  return (await readMark(directory)) !== undefined;
}

/** Undefined where there is none, or no whole one. */
async function readToken(path: string): Promise<string | undefined> {
  try {
    const token = (await readFile(path, 'utf8')).trim();
    return TOKEN_PATTERN.test(token) ? token : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeToken(directory: string, path: string): Promise<string> {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  await mkdir(directory, { recursive: true });
  const file = await open(`${path}.tmp`, 'w', 0o600);
  try {
    await file.writeFile(`${token}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
  return token;
}
