/**
 * InboxReader: takes the durable pushes that jobs put into this node's inbox, and hands them to the node's pusher.
 *
 * Threads: control thread only.
 * Guarantees: entries are handed over in the order of the inbox and trimmed after they were accepted. A repeat (same message id,
 *   same part) of one of the last `REMEMBERED_COUNT` is dropped. While the pusher says `full` nothing is read: the inbox
 *   grows, and its length slows the jobs down. While Redis is away it waits, and goes on where it stopped. Redis that
 *   came back without this inbox, or with an older state of it, is reported: `onQueueLost`, and for `LOST_SHOWN_MS` in `notReady`.
 * A new incarnation of the node (a lease lost and taken again) has a new inbox: the old one is emptied first.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { DiscardCounter } from '../errors/index.js';
import {
  type InboxEntry,
  type NodeDirectory,
  type NodeInbox,
  type NotReadyReason,
  PUSH_OUTCOME,
  type Pusher,
  type ReadinessProbe,
} from '../push/index.js';
import type { Logger } from '../telemetry/index.js';
import { RecentIds } from './recent-ids.js';

export interface InboxReaderDeps {
  readonly inbox: NodeInbox;
  readonly directory: Pick<NodeDirectory, 'nodeEpoch'> & {
    /** The lease has ended: the others may have cleared the inbox, and given what was in it to whom it concerns. */
    readonly isLapsed?: boolean;
  };
  readonly pusher: Pusher;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Pushes for this node are lost, nobody knows how many. */
  readonly onQueueLost: () => void;
}

export interface InboxReaderGauges {
  readonly deliveredCount: number;
  readonly repeatedCount: number;
  /** Not readable, or larger than the node takes. */
  readonly droppedCount: number;
  readonly queueLostCount: number;
}

/** Above every window of a job (`WINDOW_COUNT`), so that whatever is repeated is known here. */
export const REMEMBERED_COUNT = 65_536;
export const LOST_SHOWN_MS = 60_000;
const READ_COUNT = 256;
const READ_TARGET_BYTES = 8 * 1024 * 1024;
const FIRST_READ_COUNT = 64;
const WAIT_MS = 1000;
const FULL_RETRY_MS = 2;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
const START_ID = '0-0';

/** Stream ids by their numbers. */
function isBefore(a: string, b: string): boolean {
  const [aMs = 0, aSequence = 0] = a.split('-').map(Number);
  const [bMs = 0, bSequence = 0] = b.split('-').map(Number);
  return aMs < bMs || (aMs === bMs && aSequence < bSequence);
}

export class InboxReader implements ReadinessProbe {
  readonly discarded = new DiscardCounter();
  readonly #deps: InboxReaderDeps;
  readonly #clock: Clock;
  readonly #recent = new RecentIds(REMEMBERED_COUNT);
  #nodeEpoch = 0;
  #lastId = START_ID;
  /** False: this incarnation's inbox has not been opened yet, so a missing one is no loss. */
  #hasOpened = false;
  #meanEntryBytes = READ_TARGET_BYTES / FIRST_READ_COUNT;
  #deliveredCount = 0;
  #repeatedCount = 0;
  #droppedCount = 0;
  #queueLostCount = 0;
  #lostAtMs = Number.NEGATIVE_INFINITY;
  #isStopping = false;
  #running: Promise<void> = Promise.resolve();
  #interrupt: (() => void) | undefined;

  constructor(deps: InboxReaderDeps) {
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
  }

  /** Resolves when the inbox is open, or Redis has refused: it goes on trying then. */
  async start(): Promise<void> {
    this.#nodeEpoch = this.#deps.directory.nodeEpoch;
    await this.#open().catch((error: unknown) => this.discarded.ignore(error, 'inbox not open yet'));
    this.#running = this.#run();
  }

  /** What was read is handed over, what waits in Redis stays there. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#interrupt?.();
    // Ends a blocking read.
    this.#deps.inbox.close();
    await this.#running;
    this.#deps.inbox.close();
  }

  gauges(): InboxReaderGauges {
    return {
      deliveredCount: this.#deliveredCount,
      repeatedCount: this.#repeatedCount,
      droppedCount: this.#droppedCount,
      queueLostCount: this.#queueLostCount,
    };
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    if (this.#clock.monotonicMs() - this.#lostAtMs > LOST_SHOWN_MS) return [];
    return [{ reason: 'queue_lost', detail: 'Redis came back without durable pushes for this node' }];
  }

  /** False: a new incarnation of the node has not taken over its inbox yet, the one before may hold pushes. */
  get isCurrent(): boolean {
    return this.#isStopping || this.#nodeEpoch === this.#deps.directory.nodeEpoch;
  }

  async #run(): Promise<void> {
    let backoffMs = 0;
    let mustOpen = !this.#hasOpened;
    while (!this.#isStopping) {
      try {
        if (mustOpen) await this.#open();
        const hasTaken = await this.#turn();
        // An idle inbox is looked after once per wait: it must not expire, and might have been deleted.
        mustOpen = !hasTaken;
        backoffMs = 0;
      } catch (error) {
        if (this.#isStopping) return;
        mustOpen = true;
        this.#deps.log.debug({ err: error }, 'the inbox cannot be read');
        backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(FIRST_BACKOFF_MS, 2 * backoffMs));
        await this.#sleep(backoffMs);
      }
    }
  }

  /** Read once. False: nothing came. */
  async #turn(): Promise<boolean> {
    const { nodeEpoch } = this.#deps.directory;
    const isStale = nodeEpoch !== this.#nodeEpoch;
    const entries = await this.#deps.inbox.read(
      this.#nodeEpoch,
      this.#lastId,
      this.#readCount(),
      isStale ? 0 : WAIT_MS,
    );
    if (entries.length > 0) {
      await this.#take(entries);
      return true;
    }
    if (!isStale) return false;
    // The old inbox is empty, and jobs that know the new incarnation fill no more into it.
    this.#nodeEpoch = nodeEpoch;
    this.#lastId = START_ID;
    this.#hasOpened = false;
    await this.#open();
    return true;
  }

  #readCount(): number {
    return Math.min(READ_COUNT, Math.max(1, Math.floor(READ_TARGET_BYTES / this.#meanEntryBytes)));
  }

  async #open(): Promise<void> {
    const { isNew, lastEntryId } = await this.#deps.inbox.open(this.#nodeEpoch);
    const isAnother = this.#hasOpened && (isNew || isBefore(lastEntryId, this.#lastId));
    this.#hasOpened = true;
    if (!isAnother) return;
    // New data counts its ids from its own clock.
    this.#lastId = START_ID;
    const { nodeEpoch, isLapsed } = this.#deps.directory;
    if (isLapsed === true || nodeEpoch !== this.#nodeEpoch) return;
    this.#queueLostCount++;
    this.#lostAtMs = this.#clock.monotonicMs();
    this.#deps.log.error({}, 'Redis came back without the inbox of this node: durable pushes are lost');
    this.#deps.onQueueLost();
  }

  async #take(entries: readonly InboxEntry[]): Promise<void> {
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.bytes;
      if (!(await this.#takeOne(entry))) return;
      this.#lastId = entry.entryId;
    }
    this.#meanEntryBytes = (this.#meanEntryBytes + bytes / entries.length) / 2;
    // A trim that fails is made up for by the next one.
    this.#deps.inbox
      .trim(this.#nodeEpoch, this.#lastId)
      .catch((error: unknown) => this.discarded.ignore(error, 'inbox not trimmed'));
  }

  /** False: stopping, and not taken. */
  async #takeOne({ command, partHash, entryId }: InboxEntry): Promise<boolean> {
    if (command?.messageId === undefined) {
      this.#droppedCount++;
      this.#deps.log.error({ entryId }, 'an entry of the inbox is not readable');
      return true;
    }
    if (!this.#recent.add(command.messageId, partHash)) {
      this.#repeatedCount++;
      return true;
    }
    let outcome = this.#deps.pusher.push(command);
    while (outcome === PUSH_OUTCOME.FULL && !this.#isStopping) {
      await this.#sleep(FULL_RETRY_MS);
      outcome = this.#deps.pusher.push(command);
    }
    if (outcome === PUSH_OUTCOME.OK) this.#deliveredCount++;
    else if (outcome === PUSH_OUTCOME.TOO_LARGE) {
      this.#droppedCount++;
      this.#deps.log.error(
        { entryId, bytes: command.body.byteLength },
        'a durable push is larger than this node delivers',
      );
    } else {
      this.#isStopping = true;
      return false;
    }
    return true;
  }

  #sleep(durationMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#interrupt = undefined;
        resolve();
      };
      const timer = setTimeout(end, durationMs);
      this.#interrupt = end;
    });
  }
}
