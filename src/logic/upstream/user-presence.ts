/**
 * When a user comes online and goes offline: the first device, and the last one gone for `debounceMs`.
 *
 * Threads: control thread only.
 * Guarantees: "offline" is told only after the whole cluster was asked for the user's devices at that very moment, and (through
 *   UserMarks) by one node; "online" likewise. A node whose lease ended or changed since the last device left decides nothing by
 *   what it remembers: it waits until it is live and begins the debounce anew. While Redis is away both wait; at most
 *   `maxWaitingCount` users do, what is beyond is counted as lost. Standalone the local directory is the whole truth.
 *   Where the answer to a claim is lost and the user arrives on another node before it is asked for again, that node tells
 *   "online" and the "offline" before it is left out: what is told last is the truth.
 * Timer: one. All departures wait equally long, so they fall due in the order in which they came.
 *   One that is asked again stands behind the others, and so may wait for one debounce more.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../clock/index.js';
import { HalleyError } from '../../errors/index.js';
import type { ClusterSessions, NodeDirectory, Session, UserMarks } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';

/** What a node of a cluster asks. */
export interface ClusterPresence {
  readonly sessions: Pick<ClusterSessions, 'byMids'>;
  readonly directory: Pick<NodeDirectory, 'serverId' | 'nodeEpoch' | 'isLive'>;
  readonly marks: UserMarks;
}

export interface UserPresenceParts {
  /** This node's channels. */
  readonly local: { byMids(mids: readonly number[]): readonly Session[] };
  readonly cluster?: ClusterPresence | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tell: (type: 'online' | 'offline', session: Session) => void;
}

export interface UserPresenceOptions {
  readonly debounceMs: number;
  readonly maxWaitingCount: number;
}

/** A user that came or went, until the cluster knows. */
interface Change {
  /** Of the device that came first or left last. */
  readonly session: Session;
  /** This node's incarnation then; 0 standalone. */
  readonly nodeEpoch: number;
  readonly dueMs: number;
  /** Names this change to UserMarks, however often it asks. */
  readonly token: string;
}

/** "Offline" of a user, claimed with the mark that was seen. */
interface Claim {
  readonly session: Session;
  readonly mid: number;
  readonly token: string;
  readonly seenMark: string;
}

/** Users in one question to Redis. */
const BATCH_COUNT = 256;
/** Wait after a question that Redis did not answer, or one that this node may not ask. */
const RETRY_MS = 1_000;

export class UserPresence {
  readonly #options: UserPresenceOptions;
  readonly #parts: UserPresenceParts;
  /** Due in this order. */
  readonly #departures = new Map<number, Change>();
  readonly #arrivals = new Map<number, Change>();
  /**
   * Claims and arrivals whose answer was lost. They may have succeeded: until that is known nothing else is asked, or a user who
   * is back would be told online twice and offline never, and one who has gone and come again would never be told online.
   */
  #claims: readonly Claim[] = [];
  #unsettledArrivals: readonly Change[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = 0;
  #isRunning = false;
  #isClosed = false;
  #lostCount = 0;
  readonly #runId = randomUUID();
  #changeCount = 0;

  constructor(options: UserPresenceOptions, parts: UserPresenceParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Users whose coming or going is not decided. */
  get waitingCount(): number {
    return this.#departures.size + this.#arrivals.size + this.#unsettledCount();
  }

  get lostCount(): number {
    return this.#lostCount;
  }

  /** @param isFirst the user had no device on this node just before */
  connected(session: Session, isFirst: boolean): void {
    const { mid } = session;
    if (mid <= 0 || this.#isClosed) return;
    const isBack = this.#departures.delete(mid);
    if (!isFirst) return;
    if (this.#parts.cluster === undefined) {
      if (!isBack) this.#parts.tell('online', session);
      return;
    }
    // Also for who is back: another node may have told "offline" meanwhile.
    this.#wait(this.#arrivals, session, 0);
  }

  /** The session is out of the local directory already. Also for a session of a dead node that was swept. */
  disconnected(session: Session): void {
    const { mid } = session;
    if (mid <= 0 || this.#isClosed || this.#parts.local.byMids([mid]).length > 0) return;
    this.#wait(this.#departures, session, this.#options.debounceMs);
  }

  /** Decide what is undecided, without the rest of the debounce: the node stops. */
  async flush(timeoutMs: number): Promise<void> {
    const { clock } = this.#parts;
    const endMs = clock.monotonicMs() + timeoutMs;
    for (const [mid, change] of this.#departures) this.#departures.set(mid, { ...change, dueMs: 0 });
    while (this.waitingCount > 0 && clock.monotonicMs() < endMs) {
      const countBefore = this.waitingCount;
      await this.#run();
      if (this.waitingCount === countBefore) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.#lostCount += this.waitingCount;
    if (this.waitingCount > 0)
      this.#parts.log.error({ users: this.waitingCount }, 'users whose presence stays undecided');
    this.close();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#departures.clear();
    this.#arrivals.clear();
    this.#claims = [];
    this.#unsettledArrivals = [];
  }

  #wait(changes: Map<number, Change>, session: Session, delayMs: number, token = this.#nextToken()): void {
    const { mid } = session;
    if (this.waitingCount >= this.#options.maxWaitingCount && !changes.has(mid)) {
      this.#lostCount += 1;
      return;
    }
    const nodeEpoch = this.#parts.cluster?.directory.nodeEpoch ?? 0;
    // Behind the others: an earlier departure of this user counts no more.
    changes.delete(mid);
    changes.set(mid, { session, nodeEpoch, dueMs: this.#parts.clock.monotonicMs() + delayMs, token });
    this.#arm();
  }

  #unsettledCount(): number {
    return this.#claims.length + this.#unsettledArrivals.length;
  }

  #nextToken(): string {
    this.#changeCount += 1;
    return `${this.#runId}:${this.#changeCount}`;
  }

  #arm(): void {
    if (this.#isClosed || this.#isRunning) return;
    const dueMs =
      this.#unsettledCount() > 0
        ? this.#parts.clock.monotonicMs() + RETRY_MS
        : Math.min(firstDueMs(this.#arrivals), firstDueMs(this.#departures));
    if (dueMs === Number.POSITIVE_INFINITY || (this.#timer !== undefined && this.#timerDueMs <= dueMs)) return;
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.#run();
      },
      Math.max(0, Math.ceil(dueMs - this.#parts.clock.monotonicMs())),
    );
  }

  /** Decide what is due. One at a time, so that a user's coming and going are asked for in order. */
  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      if (this.#claims.length > 0 && !(await this.#claim(this.#claims))) return;
      if (this.#unsettledArrivals.length > 0 && !(await this.#arrive(this.#unsettledArrivals))) return;
      const arrived = this.#takeDue(this.#arrivals);
      if (arrived.length > 0 && !(await this.#arrive(arrived))) return;
      // A user whose arrival is not known to the cluster yet cannot leave it.
      const departed = this.#takeDue(this.#departures).filter((change) => !this.#isArriving(change));
      if (departed.length > 0) await this.#depart(departed);
    } finally {
      this.#isRunning = false;
      this.#arm();
    }
  }

  #isArriving(change: Change): boolean {
    const isArriving = this.#arrivals.has(change.session.mid);
    if (isArriving) this.#again(this.#departures, [change], RETRY_MS);
    return isArriving;
  }

  #takeDue(changes: Map<number, Change>): Change[] {
    const nowMs = this.#parts.clock.monotonicMs();
    const due: Change[] = [];
    for (const [mid, change] of changes) {
      if (change.dueMs > nowMs || due.length >= BATCH_COUNT) break;
      due.push(change);
      changes.delete(mid);
    }
    return due;
  }

  /** Wait longer, unless the user has changed again meanwhile. */
  #again(changes: Map<number, Change>, due: readonly Change[], delayMs: number): void {
    for (const { session, token } of due) {
      if (!changes.has(session.mid)) this.#wait(changes, session, delayMs, token);
    }
  }

  /** False: Redis did not answer, and the arrivals are kept. */
  async #arrive(changes: readonly Change[]): Promise<boolean> {
    const { cluster, log, tell } = this.#parts;
    try {
      const isNew = await (cluster as ClusterPresence).marks.arrived(
        changes.map(({ session, token }) => ({ mid: session.mid, token })),
      );
      this.#unsettledArrivals = [];
      for (const [index, { session }] of changes.entries()) if (isNew[index]) tell('online', session);
      return true;
    } catch (error) {
      log.debug({ err: error, users: changes.length }, 'arrivals of users got no answer');
      this.#unsettledArrivals = this.#isClosed ? [] : changes;
      return false;
    }
  }

  async #depart(due: readonly Change[]): Promise<void> {
    const { cluster, local, tell } = this.#parts;
    if (cluster === undefined) {
      for (const { session } of due) if (local.byMids([session.mid]).length === 0) tell('offline', session);
      return;
    }
    const { directory } = cluster;
    const { nodeEpoch } = directory;
    const isLive = directory.isLive(directory.serverId, nodeEpoch);
    const mine = isLive ? due.filter((change) => change.nodeEpoch === nodeEpoch) : [];
    // Of an incarnation that is over: its users may have moved, and deserve the whole debounce again.
    const foreign = isLive ? due.filter((change) => change.nodeEpoch !== nodeEpoch) : [];
    this.#again(this.#departures, foreign, this.#options.debounceMs);
    if (!isLive) this.#again(this.#departures, due, RETRY_MS);
    if (mine.length === 0) return;
    try {
      await this.#askAndClaim(mine, cluster);
    } catch (error) {
      this.#parts.log.debug({ err: error, users: mine.length }, 'the devices of users could not be asked for');
      this.#again(this.#departures, mine, RETRY_MS);
    }
  }

  /** @throws what Redis could not answer */
  async #askAndClaim(due: readonly Change[], { sessions, directory, marks }: ClusterPresence): Promise<void> {
    const { nodeEpoch } = directory;
    // The marks first: who arrives between here and the claim changes one, and the claim fails.
    const mids = due.map(({ session }) => session.mid);
    const seenMarks = await marks.read(mids);
    const online = new Set((await sessions.byMids(mids)).map(({ mid }) => mid));
    if (directory.nodeEpoch !== nodeEpoch || !directory.isLive(directory.serverId, nodeEpoch)) {
      throw new HalleyError('LEASE_LOST', 'the lease of this node ended while it asked', { nodeEpoch });
    }
    const gone = due
      .map(({ session, token }, index) => ({ session, mid: session.mid, token, seenMark: seenMarks[index] ?? '' }))
      .filter(({ mid }) => !online.has(mid) && !this.#arrivals.has(mid));
    if (gone.length > 0) await this.#claim(gone);
  }

  /** False: Redis did not answer, and the claims are kept. */
  async #claim(claims: readonly Claim[]): Promise<boolean> {
    const { cluster, log, tell } = this.#parts;
    try {
      const claimed = await (cluster as ClusterPresence).marks.departed(
        claims.map(({ mid, token, seenMark }) => ({ mid, token, seenMark })),
      );
      this.#claims = [];
      for (const [index, { session }] of claims.entries()) if (claimed[index]) tell('offline', session);
      return true;
    } catch (error) {
      log.debug({ err: error, users: claims.length }, 'claims of "offline" got no answer');
      this.#claims = this.#isClosed ? [] : claims;
      return false;
    }
  }
}

function firstDueMs(changes: ReadonlyMap<number, Change>): number {
  for (const { dueMs } of changes.values()) return dueMs;
  return Number.POSITIVE_INFINITY;
}
