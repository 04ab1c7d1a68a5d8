/**
 * The promise on disk that keeps ids unique over restarts of a process that owns its machine ids alone (standalone).
 * The mark runs a few seconds ahead of the clock and the ids; no id reaches it, and the next process issues none before
 * it. So a clock that was set back, a kill or a power cut in between cannot repeat an id.
 *
 * Threads: the control thread. Draws on other threads obey through the limit in the shared memory.
 * Guarantees: the limit is raised only after the mark is on disk (file and directory synced). An owner that cannot renew
 *   stops issuing at its last mark. Two processes on one data directory: the second waits past the first one's mark,
 *   sees it renewed and fails; of two that start together the one whose line was replaced fails; one that was frozen
 *   meanwhile sees the other's line at its next renewal and stops its ids. This is a net against mistakes, not a lock: a
 *   process that stalls between reading the line and replacing it, about 0.1 ms, gets past it until that renewal.
 *   One write and two syncs per half `aheadMs`.
 * Source: the timestamp oracle of Percolator (Peng and Dabek, 2010): write a bound ahead, serve below it from memory.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../clock/index.js';
import { HalleyError } from '../errors/index.js';
import { type Mark, markPath, readMark, writeMark } from './mark-file.js';
import { Renewal } from './renewal.js';
import { highestIssuedMs, raiseIssueFloorMs, setIssueLimitMs } from './snowflake-memory.js';

export interface HighWaterMarkOptions {
  /** Data directory of the node; made if missing. */
  readonly directory: string;
  /** Made by allocateSnowflake; its issue limit belongs to the mark until `close`, unless `setLimitMs` says otherwise. */
  readonly memory: SharedArrayBuffer;
  readonly clock?: Clock;
  /** How far ahead of the clock a renewal sets the mark, in ms; also what a restart after a crash may wait. Default 3,000. */
  readonly aheadMs?: number;
  /** The longest wait at the start, in ms; a mark further ahead is an error, for a person to judge. Default 10,000. */
  readonly maxWaitMs?: number;
  /** Where the mark's promise goes; default: it is the issue limit of `memory`. In a cluster an IssueLimit takes it. */
  readonly setLimitMs?: (limitMs: number) => void;
  /** Called once before a wait, with its length in ms: a start that is silent for seconds looks hung. */
  readonly onWaiting?: (waitMs: number) => void;
}

/** How often a wait looks at the clock, which may be set right meanwhile. */
const WAIT_STEP_MS = 50;
/** How long the first line must stand before ids are issued: of two processes that start together, one sees the other's. */
const SETTLE_MS = 20;

export class HighWaterMark {
  readonly #directory: string;
  readonly #memory: SharedArrayBuffer;
  readonly #clock: Clock;
  readonly #aheadMs: number;
  readonly #setLimitMs: (limitMs: number) => void;
  readonly #owner = randomBytes(8).toString('hex');
  /** On disk, synced; the issue limit is the same while the mark is open. */
  #markMs = Number.NEGATIVE_INFINITY;
  /** Owner of the line that may be replaced: an earlier process's that was waited past, then this one. */
  #replacedOwner: string | undefined;
  readonly #renewal = new Renewal(
    () => this.#renew(),
    () => new HalleyError('ID_MARK_CLOSED', 'the high-water mark is closed'),
  );

  private constructor(options: HighWaterMarkOptions) {
    this.#directory = options.directory;
    this.#memory = options.memory;
    this.#clock = options.clock ?? systemClock;
    this.#aheadMs = options.aheadMs ?? 3_000;
    this.#setLimitMs = options.setLimitMs ?? ((limitMs) => setIssueLimitMs(options.memory, limitMs));
    if (!Number.isInteger(this.#aheadMs) || this.#aheadMs < 100 || this.#aheadMs > 600_000) {
      throw new HalleyError('ID_BAD_OPTION', 'a high-water mark is kept from 100 to 600000 ms ahead', {
        aheadMs: this.#aheadMs,
      });
    }
  }

  /**
   * Read the mark, wait past it, write the first one of this process and set the issue limit.
   *
   * Throws ID_MARK_TOO_FAR_AHEAD, ID_MARK_IN_USE, ID_MARK_CORRUPT, ID_MARK_UNREADABLE, ID_MARK_UNWRITABLE; the memory
   * then issues nothing.
   */
  static async open(options: HighWaterMarkOptions): Promise<HighWaterMark> {
    const mark = new HighWaterMark(options);
    await mark.#waitPastOldMark(options.maxWaitMs ?? 10_000, options.onWaiting);
    const markMs = await mark.#writeAhead();
    await sleep(SETTLE_MS);
    mark.#judge(await readMark(options.directory));
    mark.#setLimitMs(markMs);
    return mark;
  }

  /** The mark on disk, wall clock ms, exclusive: no id of this process reaches it. */
  get markMs(): number {
    return this.#markMs;
  }

  /**
   * Put the mark `aheadMs` ahead of the clock and of the latest id, whichever is later, then raise the issue limit to it.
   * Does nothing if the mark is there already (the clock was set back). Calls while one is under way share it.
   *
   * Throws ID_MARK_UNWRITABLE (ids go on up to the old mark; try again) or ID_MARK_IN_USE (ids stop at once).
   */
  renew(): Promise<void> {
    return this.#renewal.now();
  }

  /** Renew every half `aheadMs` until `close`. The timer holds no process open. @param onFailed gets each failed renewal */
  keepRenewing(onFailed: (error: unknown) => void): void {
    this.#renewal.keep(this.#aheadMs / 2, onFailed);
  }

  /**
   * Stop issuing, then pull the mark back to just behind the last id, so that a restart need not wait. Call it when the
   * threads that draw are gone or going. Calling it again does nothing.
   */
  async close(): Promise<void> {
    if (this.#renewal.isStopped) return;
    await this.#renewal.stop();
    this.#stopIssuing();
    // A draw that passed the old limit a moment ago may still store an id of this millisecond, or of the one after the
    // highest where its slot runs ahead of the clock.
    const endMs = Math.max(this.#clock.nowMs() + 1, highestIssuedMs(this.#memory) + 2);
    if (endMs < this.#markMs) await this.#write(endMs);
  }

  async #renew(): Promise<void> {
    try {
      const markMs = await this.#writeAhead();
      if (!this.#renewal.isStopped) this.#setLimitMs(markMs);
    } catch (error) {
      // Somebody else has promised these ids to itself: not one more, not even below our own mark.
      if (error instanceof HalleyError && error.code === 'ID_MARK_IN_USE') this.#stopIssuing();
      throw error;
    }
  }

  /** Put the mark ahead, unless it is there already, and return where it stands. The issue limit is the caller's. */
  async #writeAhead(): Promise<number> {
    const targetMs = Math.max(this.#clock.nowMs(), highestIssuedMs(this.#memory)) + this.#aheadMs;
    if (targetMs > this.#markMs) await this.#write(targetMs);
    return this.#markMs;
  }

  async #write(markMs: number): Promise<void> {
    await writeMark(this.#directory, { markMs, owner: this.#owner }, (standing) => this.#judge(standing));
    this.#markMs = markMs;
    this.#replacedOwner = this.#owner;
  }

  /** Throw unless the line on disk is ours to replace. A file that somebody deleted is written anew. */
  #judge(standing: Mark | undefined): void {
    if (standing !== undefined && standing.owner !== this.#replacedOwner) throw this.#inUse(standing);
  }

  #stopIssuing(): void {
    this.#setLimitMs(Number.NEGATIVE_INFINITY);
  }

  /** Resolves when the clock has passed the mark that an earlier process left; no slot goes below it from then on. */
  async #waitPastOldMark(maxWaitMs: number, onWaiting: ((waitMs: number) => void) | undefined): Promise<void> {
    let found = await readMark(this.#directory);
    let isAnnounced = false;
    while (found !== undefined && this.#clock.nowMs() < found.markMs) {
      const waitMs = found.markMs - this.#clock.nowMs();
      if (waitMs > maxWaitMs) throw this.#tooFarAhead(found, waitMs, maxWaitMs);
      if (!isAnnounced) onWaiting?.(waitMs);
      isAnnounced = true;
      await sleep(Math.min(waitMs, WAIT_STEP_MS));
      const again = await readMark(this.#directory);
      // A mark that went back was closed in order; one that grew has a living owner.
      if (again !== undefined && again.markMs > found.markMs) throw this.#inUse(again);
      found = again;
    }
    if (found === undefined) return;
    this.#replacedOwner = found.owner;
    // The clock may be set back once more before a slot's first draw.
    raiseIssueFloorMs(this.#memory, found.markMs);
  }

  #tooFarAhead(mark: Mark, waitMs: number, maxWaitMs: number): HalleyError {
    return new HalleyError(
      'ID_MARK_TOO_FAR_AHEAD',
      'the clock is far behind the last run of this node, so ids could repeat: set the clock right and start again; ' +
        'if it was the last run whose clock was wrong, delete the file and give the node another block of machine ids',
      { path: markPath(this.#directory), markMs: mark.markMs, waitMs, maxWaitMs },
    );
  }

  #inUse(mark: Mark): HalleyError {
    return new HalleyError(
      'ID_MARK_IN_USE',
      'another process issues ids from this data directory: stop it, or give each its own data directory and machine ids',
      { path: markPath(this.#directory), markMs: mark.markMs, owner: mark.owner },
    );
  }
}
