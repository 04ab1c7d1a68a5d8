/**
 * Counters in a data directory, embedded: any number of processes and threads of one host share it, without a server and without a
 * lock that a killed process could leave behind.
 *
 * Each change is one line appended to a log (`segment-log.ts`). The kernel puts appends in an order; everybody applies the lines in
 * that order, so who wrote a line learns from its place which numbers are its own. A full log is rolled: a last line closes it,
 * what follows that line is void, and a new file begins with a snapshot, which is the same whoever writes it.
 *
 * Threads: each opens its own store on the directory; calls on one store run one after the other.
 * Guarantees: the contract's. A call resolves when its line is on disk (fdatasync), with all lines before it. A kill or power cut
 *   at any point loses calls that were not answered, or skips their numbers. After a write or sync that failed the store refuses
 *   everything (ID_STORE_BROKEN) until it is opened anew: what the disk holds is not known then. A directory that was removed under it
 *   is noticed with the next call (ID_STORE_LOST): what others begin there anew has nothing to do with these counters.
 *   Needs a local file system whose O_APPEND is atomic (ext4, xfs, btrfs, tmpfs; not NFS).
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HalleyError } from '../errors/index.js';
import {
  requireContent,
  requireTag,
  requireTake,
  type SegmentContent,
  type SegmentGrant,
  type SegmentRecord,
  type SegmentStore,
} from '../id/index.js';
import { type LineResult, rollLine, SegmentLog, setLine, takeLine } from './segment-log.js';

export interface FileSegmentStoreOptions {
  /** Made if missing. */
  readonly directory: string;
  /** A log longer than this is rolled. Default 1 MiB, about 10,000 changes. */
  readonly rollBytes?: number;
}

/** Logs that stay behind the newest: whoever still has an older one open must find how it ended. */
const KEPT_LOG_COUNT = 8;
const FILE_PATTERN = /^segments\.(\d{1,15})\.log$/;
const NEWLINE = 10;

export class FileSegmentStore implements SegmentStore {
  readonly mayForget = false;
  readonly #directory: string;
  readonly #rollBytes: number;
  readonly #owner = randomBytes(8).toString('hex');
  #requestCount = 0;
  #generation = 0;
  #handle: FileHandle;
  #log = new SegmentLog();
  /** Bytes of the log that were applied: whole lines. */
  #appliedBytes = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #failure: HalleyError | undefined;

  private constructor(options: FileSegmentStoreOptions, generation: number, handle: FileHandle) {
    this.#directory = options.directory;
    this.#rollBytes = options.rollBytes ?? 1_048_576;
    this.#generation = generation;
    this.#handle = handle;
  }

  /** @throws HalleyError ID_STORE_UNAVAILABLE, ID_STORE_CORRUPT */
  static async open(options: FileSegmentStoreOptions): Promise<FileSegmentStore> {
    try {
      await mkdir(options.directory, { recursive: true });
      let generation = await newestGeneration(options.directory);
      if (generation === undefined) {
        await beginLog(options.directory, 0, '', randomBytes(8).toString('hex'));
        // Somebody else may have begun and rolled it already.
        generation = (await newestGeneration(options.directory)) ?? 0;
      }
      const handle = await openLog(options.directory, generation);
      const store = new FileSegmentStore(options, generation, handle);
      await store.#catchUp('');
      return store;
    } catch (error) {
      throw unavailable(options.directory, error);
    }
  }

  async take(tag: string, count: number): Promise<SegmentGrant | undefined> {
    requireTake(tag, count);
    const result = await this.#inTurn(() => this.#append((nonce) => takeLine(nonce, tag, count)));
    return typeof result === 'object' ? result : undefined;
  }

  async read(tag: string): Promise<SegmentRecord | undefined> {
    requireTag(tag);
    return this.#inTurn(async () => {
      await this.#catchUp('');
      while (this.#log.isRolled) await this.#goOn();
      return this.#log.records.get(tag);
    });
  }

  async replace(tag: string, content: SegmentContent, version: number): Promise<number> {
    requireContent(tag, content);
    const record = { ...content, incarnation: randomBytes(8).toString('hex') };
    const result = await this.#inTurn(() => this.#append((nonce) => setLine(nonce, tag, version, record)));
    return typeof result === 'number' ? result : 0;
  }

  async close(): Promise<void> {
    await this.#tail;
    this.#failure ??= new HalleyError('ID_STORE_CLOSED', 'the counters are closed');
    await this.#handle.close();
  }

  /** One call after the other; the first that fails is the last. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#tail.then(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      try {
        return await work();
      } catch (error) {
        this.#failure =
          error instanceof HalleyError
            ? error
            : new HalleyError(
                'ID_STORE_BROKEN',
                'the counters could not be written: see to the space and the rights of the disk; they are opened anew when it takes writes again',
                { directory: this.#directory },
                error,
              );
        throw this.#failure;
      }
    });
    // Its failure goes to the caller, and is kept for those behind it.
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** Append a line, sync it, and say what it did. A line behind a roll is void: it is written again into the next log. */
  async #append(lineOf: (nonce: string) => string): Promise<LineResult> {
    for (;;) {
      const nonce = this.#nextNonce();
      await this.#write(lineOf(nonce));
      const result = await this.#catchUp(nonce);
      if (result === undefined) {
        throw new HalleyError(
          'ID_STORE_CORRUPT',
          'a line that was written is not in the file: does anything else write to it?',
          {
            directory: this.#directory,
            generation: this.#generation,
          },
        );
      }
      if (result !== 'void') {
        if (this.#appliedBytes > this.#rollBytes) await this.#roll();
        return result;
      }
      await this.#goOn();
    }
  }

  async #write(line: string): Promise<void> {
    const bytes = Buffer.from(line, 'latin1');
    const { bytesWritten } = await this.#handle.write(bytes);
    if (bytesWritten !== bytes.length) throw new Error(`short write: ${bytesWritten} of ${bytes.length} bytes`);
    await this.#handle.datasync();
  }

  /** Apply what has been appended since. @returns what the line of `nonce` did, undefined where it is not among them */
  async #catchUp(nonce: string): Promise<LineResult | undefined> {
    const { size: sizeBytes, nlink: nameCount } = await this.#handle.stat();
    const chunk = Buffer.alloc(Math.max(0, sizeBytes - this.#appliedBytes));
    let readBytes = 0;
    while (readBytes < chunk.length) {
      const position = this.#appliedBytes + readBytes;
      const { bytesRead } = await this.#handle.read(chunk, readBytes, chunk.length - readBytes, position);
      if (bytesRead === 0) break;
      readBytes += bytesRead;
    }
    let found: LineResult | undefined;
    let lineStart = 0;
    // An unfinished last line may still grow; each whole one ends in a newline of its own.
    for (;;) {
      const lineEnd = chunk.indexOf(NEWLINE, lineStart);
      if (lineEnd < 0 || lineEnd >= readBytes) break;
      if (lineEnd > lineStart) {
        const applied = this.#log.apply(chunk.toString('latin1', lineStart, lineEnd));
        if (applied !== undefined && applied.nonce === nonce) found = applied.result;
      }
      lineStart = lineEnd + 1;
    }
    this.#appliedBytes += lineStart;
    // Old logs are removed too, but those end in a roll.
    if (nameCount === 0 && !this.#log.isRolled) {
      throw new HalleyError('ID_STORE_LOST', 'the counters were removed while they were in use, so ids could repeat', {
        directory: this.#directory,
      });
    }
    return found;
  }

  /** Close this log and begin the next one. */
  async #roll(): Promise<void> {
    await this.#write(rollLine(this.#nextNonce()));
    await this.#catchUp('');
    await this.#goOn();
  }

  /** Go over to the log after a rolled one. */
  async #goOn(): Promise<void> {
    const next = this.#generation + 1;
    const isMade = await beginLog(this.#directory, next, this.#log.snapshot(), this.#nextNonce());
    // Logs are removed oldest first. Where ours is gone, the next one may have been and gone too, and what was made here is a
    // copy of the past: start from the newest.
    const isCurrent = (await this.#handle.stat()).nlink > 0;
    if (!isCurrent && isMade) await rm(logPath(this.#directory, next), { force: true });
    const generation = isCurrent ? next : ((await newestGeneration(this.#directory)) ?? next);
    const handle = await openLog(this.#directory, generation);
    await this.#handle.close();
    this.#handle = handle;
    this.#generation = generation;
    this.#log = new SegmentLog();
    this.#appliedBytes = 0;
    if (isMade) await removeOld(this.#directory, generation - KEPT_LOG_COUNT);
    await this.#catchUp('');
  }

  #nextNonce(): string {
    return `${this.#owner}.${this.#requestCount++}`;
  }
}

function logPath(directory: string, generation: number): string {
  return join(directory, `segments.${generation}.log`);
}

function openLog(directory: string, generation: number): Promise<FileHandle> {
  // Appending, reading, and never making a file.
  return open(logPath(directory, generation), constants.O_RDWR | constants.O_APPEND);
}

async function generationsOf(directory: string): Promise<number[]> {
  const generations: number[] = [];
  for (const name of await readdir(directory)) {
    const match = FILE_PATTERN.exec(name);
    if (match !== null) generations.push(Number(match[1]));
  }
  return generations.sort((a, b) => a - b);
}

async function newestGeneration(directory: string): Promise<number | undefined> {
  return (await generationsOf(directory)).at(-1);
}

/** Put a log in place, whole and synced, unless it is there. @returns whether it was made here */
async function beginLog(directory: string, generation: number, text: string, nonce: string): Promise<boolean> {
  const temporaryPath = join(directory, `segments.${nonce}.tmp`);
  const file = await open(temporaryPath, 'wx', 0o644);
  try {
    await file.writeFile(text, 'latin1');
    await file.sync();
  } finally {
    await file.close();
  }
  let isMade = true;
  try {
    await link(temporaryPath, logPath(directory, generation));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    isMade = false;
  } finally {
    await rm(temporaryPath, { force: true });
  }
  const entry = await open(directory, 'r');
  try {
    // The name lies in the directory: without this a crash of the host may lose the file.
    await entry.sync();
  } finally {
    await entry.close();
  }
  return isMade;
}

/** Oldest first: that a log is gone proves that all before it are. */
async function removeOld(directory: string, newestToGo: number): Promise<void> {
  for (const generation of await generationsOf(directory)) {
    if (generation <= newestToGo) await rm(logPath(directory, generation), { force: true });
  }
}

function unavailable(directory: string, error: unknown): HalleyError {
  if (error instanceof HalleyError) return error;
  return new HalleyError(
    'ID_STORE_UNAVAILABLE',
    'the counters of ids could not be opened: make the data directory readable and writable for this user',
    { directory },
    error,
  );
}
