/**
 * The file of the high-water mark: one line of text, replaced whole.
 *
 *   halley-id-mark 1 <mark, ms since 1970> <owner, hex> <CityHash32 of all before it, decimal>
 *
 * Threads: the control thread.
 * Guarantees: `writeMark` resolves when the line and its directory entry are on disk; a crash leaves the old line or
 *   the new one. The check number finds an edited or damaged line; it is no protection against anybody.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HalleyError } from '../errors/index.js';
import { cityHash32 } from './city-hash.js';

export interface Mark {
  /** Wall clock ms: ids of earlier milliseconds may exist, of this one and later ones none. */
  readonly markMs: number;
  /** Random per open of a mark: tells one process's line from another's. */
  readonly owner: string;
}

const FILE_NAME = 'id.mark';
const LINE_PATTERN = /^(halley-id-mark 1 (\d{1,16}) ([0-9a-f]{16})) (\d{1,10})\n$/;

/** Where the mark of `directory` lies. */
export function markPath(directory: string): string {
  return join(directory, FILE_NAME);
}

/** The mark on disk, or undefined where none was ever written. Throws ID_MARK_CORRUPT or ID_MARK_UNREADABLE. */
export async function readMark(directory: string): Promise<Mark | undefined> {
  const path = markPath(directory);
  let line: string;
  try {
    line = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new HalleyError(
      'ID_MARK_UNREADABLE',
      'the high-water mark of ids could not be read: make the data directory readable for this user',
      { path },
      error,
    );
  }
  const [, text = '', markMs = '', owner = '', check] = LINE_PATTERN.exec(line) ?? [];
  if (check === undefined || Number(check) !== checkOf(text) || !Number.isSafeInteger(Number(markMs))) {
    throw new HalleyError(
      'ID_MARK_CORRUPT',
      'the high-water mark of ids is damaged, so ids could repeat: check that the clock is right, wait a minute, then delete the file',
      { path, line: line.slice(0, 100) },
    );
  }
  return { markMs: Number(markMs), owner };
}

/**
 * Put `mark` on disk, making the directory if there is none. Throws ID_MARK_UNWRITABLE; the old mark then stands.
 *
 * @param judge called with the mark that stands on disk, at the last moment before it is replaced; what it throws comes
 *   out and leaves that mark alone
 */
export async function writeMark(
  directory: string,
  mark: Mark,
  judge: (standing: Mark | undefined) => void,
): Promise<void> {
  const path = markPath(directory);
  const temporaryPath = `${path}.${mark.owner}.tmp`;
  const text = `halley-id-mark 1 ${mark.markMs} ${mark.owner}`;
  try {
    await mkdir(directory, { recursive: true });
    const file = await open(temporaryPath, 'w', 0o644);
    try {
      await file.writeFile(`${text} ${checkOf(text)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    judge(await readMark(directory));
    await rename(temporaryPath, path);
    // The rename itself lies in the directory; without this a crash of the host may bring the old mark back.
    const entry = await open(directory, 'r');
    try {
      await entry.sync();
    } finally {
      await entry.close();
    }
  } catch (error) {
    // Best effort: where the write failed this may fail likewise, and a left-over is never read.
    await rm(temporaryPath, { force: true }).catch(() => undefined);
    if (error instanceof HalleyError) throw error;
    throw new HalleyError(
      'ID_MARK_UNWRITABLE',
      'the high-water mark of ids could not be written: check the rights and the free space of the data directory',
      { path },
      error,
    );
  }
}

function checkOf(text: string): number {
  return cityHash32(new TextEncoder().encode(text));
}
