/**
 * redis-sessions: the comet's view of the cluster's session map. Forgiving: nothing rejects but a lookup, and what Redis could
 * not be told is told later.
 *
 * Threads: control thread only.
 * Guarantees: put() resolves within the command timeout; operations on one key are carried out one after the other, so a
 *   removal never overtakes the write it belongs to. What fails while Redis answers is tried again every second; when Redis
 *   comes back, and when this node has a new incarnation, every session of this node is written again, at most
 *   `rewritePerSec` a second. A write that ends late tells `onLateWrite`, for what it found there (a takeover, a newer owner).
 */
import { HalleyError } from '../../errors/index.js';
import type { ClusterSessions, PutSession, Session, SessionOwner } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { RedisLink } from './redis-link.js';
import type { RedisNodes } from './redis-nodes.js';
import type { RedisSessionMap } from './redis-session-map.js';

/** What the sessions need to know of the channels of this node. */
export interface OwnSessions {
  /** All of them; may be read slowly, while they come and go. */
  ownSessions(): Iterable<Session>;
  /** True while the key still belongs to this connection here. */
  holds(session: Session): boolean;
  /** A write ended after its put() was answered, or was a repetition. */
  onLateWrite(session: Session, result: PutSession): void;
}

export interface RedisSessionsOptions {
  readonly rewritePerSec: number;
}

type Nodes = Pick<RedisNodes, 'serverId' | 'nodeEpoch' | 'isLapsed'>;

const TICK_MS = 50;
const TICKS_PER_S = 1000 / TICK_MS;
const RETRY_MS = 1_000;
/**
 * What a node takes for Redis' clock is wrong by up to half a round trip, and a loaded host makes that long. Below the time after
 * which any client gives a connect up, so that one that hangs does not displace its successor.
 */
const CLOCK_ERROR_MS = 500;
const ALONE: PutSession = { status: 'stored', previous: undefined };

export class RedisSessions implements ClusterSessions {
  readonly #link: RedisLink;
  readonly #map: RedisSessionMap;
  readonly #nodes: Nodes;
  readonly #log: Logger;
  readonly #perTickCount: number;
  #own: OwnSessions | undefined;
  /** The newest operation of each key that is under way. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Sessions whose write failed while Redis answered others. It may have been carried out all the same. */
  readonly #unwritten = new Map<string, Session>();
  /** Removals that failed, by owner's text: without them a key would stay with a connection that is no more. */
  readonly #unremoved = new Map<string, SessionOwner>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #retryTimer: NodeJS.Timeout | undefined;
  #rewriting: Promise<void> | undefined;
  #nextRewrite: Promise<void> | undefined;
  #isClosed = false;
  #rewrittenCount = 0;
  readonly #stopListening: () => void;

  constructor(link: RedisLink, map: RedisSessionMap, nodes: Nodes, options: RedisSessionsOptions, log: Logger) {
    this.#link = link;
    this.#map = map;
    this.#nodes = nodes;
    this.#log = log;
    this.#perTickCount = Math.max(1, Math.floor(options.rewritePerSec / TICKS_PER_S));
    this.#stopListening = link.onUp(() => {
      // A lease that ended while Redis was away: the next incarnation writes everything.
      if (!nodes.isLapsed) void this.rewrite();
    });
  }

  /** Before this, nothing is rewritten. */
  connect(own: OwnSessions): void {
    this.#own = own;
  }

  /** Sessions whose write is outstanding, for tests and statistics. */
  get outstandingCount(): number {
    return this.#unwritten.size + this.#unremoved.size;
  }

  /** Sessions written again so far, in all passes. */
  get rewrittenCount(): number {
    return this.#rewrittenCount;
  }

  put(session: Session): Promise<PutSession> {
    // No waiting per connect while Redis is known to be away: its return writes everything.
    if (!this.#link.isUp) return Promise.resolve(ALONE);
    const written = this.#inTurn(session.key, () => this.#write(session, CLOCK_ERROR_MS));
    return new Promise((resolve) => {
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        resolve(ALONE);
      }, this.#link.commandTimeoutMs);
      void written.then((result) => {
        clearTimeout(timer);
        if (!isLate) resolve(result ?? ALONE);
        else if (result !== undefined && !this.#isClosed) this.#own?.onLateWrite(session, result);
      });
    });
  }

  async remove(owner: SessionOwner): Promise<void> {
    await this.#inTurn(owner.key, () => this.#erase(owner));
  }

  async removeAll(owners: readonly SessionOwner[]): Promise<void> {
    for (let start = 0; start < owners.length; start += this.#perTickCount) {
      const startedMs = performance.now();
      await Promise.all(owners.slice(start, start + this.#perTickCount).map((owner) => this.remove(owner)));
      if (start + this.#perTickCount < owners.length) await this.#restOfTick(startedMs);
    }
  }

  byKeys(keys: readonly string[]): Promise<readonly (Session | undefined)[]> {
    return this.#lookUp(() => this.#map.byKeys(keys));
  }

  byMids(mids: readonly number[]): Promise<readonly Session[]> {
    return this.#lookUp(() => this.#map.byMids(mids));
  }

  /** Write every session of this node, paced. Resolves after a pass that began after this call, or when Redis is away. */
  rewrite(): Promise<void> {
    if (this.#rewriting === undefined) {
      this.#rewriting = this.#rewriteAll().finally(() => {
        this.#rewriting = undefined;
      });
      return this.#rewriting;
    }
    this.#nextRewrite ??= this.#rewriting.then(() => {
      this.#nextRewrite = undefined;
      return this.rewrite();
    });
    return this.#nextRewrite;
  }

  /** Resolves when no rewrite is under way. */
  async rewritten(): Promise<void> {
    while (this.#rewriting !== undefined) await this.#rewriting;
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
    clearTimeout(this.#retryTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  // One key.

  /** Run `job` after whatever is under way for the key. Jobs do not reject. */
  #inTurn<T>(key: string, job: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key);
    const turn = before === undefined ? job() : before.then(job);
    this.#turns.set(key, turn);
    void turn.then(() => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    });
    return turn;
  }

  /** undefined: Redis could not be told, and will be. */
  async #write(session: Session, clockErrorMs = 0): Promise<PutSession | undefined> {
    try {
      const result = await this.#map.put(this.#present(session), clockErrorMs);
      this.#unwritten.delete(session.key);
      return result;
    } catch (error) {
      this.#noteFailure(error);
      this.#unwritten.set(session.key, session);
      this.#retrySoon();
      return undefined;
    }
  }

  async #erase(given: SessionOwner): Promise<void> {
    const owner = this.#present(given);
    const unwritten = this.#unwritten.get(owner.key);
    const isUncertain = unwritten?.connId === owner.connId && unwritten.bucket === owner.bucket;
    if (isUncertain) this.#unwritten.delete(owner.key);
    // Entries of a lease that has ended are nobody's: there is nothing to take away.
    if (this.#nodes.isLapsed) return;
    try {
      await this.#map.remove(owner);
    } catch (error) {
      this.#noteFailure(error);
      this.#unremoved.set(`${owner.key}/${owner.bucket}/${owner.connId}`, owner);
      this.#retrySoon();
      return;
    }
    // The write that failed may still lie in a socket that Redis has not read to its end.
    if (isUncertain) this.#after(this.#link.commandTimeoutMs * 2, () => void this.remove(owner));
  }

  /** A channel outlives the incarnation it began under; in Redis it stands under the present one. */
  #present<T extends { readonly nodeEpoch: number }>(owned: T): T {
    const { nodeEpoch } = this.#nodes;
    return owned.nodeEpoch === nodeEpoch ? owned : { ...owned, nodeEpoch };
  }

  async #lookUp<T>(lookUp: () => Promise<T>): Promise<T> {
    try {
      return await lookUp();
    } catch (error) {
      if (error instanceof HalleyError && error.code === 'REDIS_AWAY') throw error;
      throw new HalleyError('REDIS_AWAY', 'Redis could not look sessions up', {}, error);
    }
  }

  // Later.

  #noteFailure(error: unknown): void {
    if (error instanceof HalleyError && error.code === 'REDIS_AWAY') return;
    this.#log.warn({ err: error }, 'Redis refused a session; it is tried again');
  }

  #retrySoon(): void {
    if (this.#isClosed) return;
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      // Away: its return calls rewrite().
      if (this.#link.isUp) void this.#retry();
    }, RETRY_MS);
  }

  async #retry(): Promise<void> {
    const owners = [...this.#unremoved.values()];
    this.#unremoved.clear();
    const { nodeEpoch } = this.#nodes;
    await this.removeAll(owners.filter((owner) => owner.nodeEpoch === nodeEpoch));
    await this.#writeAll([...this.#unwritten.values()]);
  }

  async #rewriteAll(): Promise<void> {
    const own = this.#own;
    if (own === undefined || this.#isClosed) return;
    const startedMs = performance.now();
    // The pass covers them; what fails in it comes here again.
    this.#unwritten.clear();
    const owners = [...this.#unremoved.values()];
    this.#unremoved.clear();
    const { nodeEpoch } = this.#nodes;
    await this.removeAll(owners.filter((owner) => owner.nodeEpoch === nodeEpoch));
    const writtenCount = await this.#writeAll(own.ownSessions());
    this.#log.info({ writtenCount, tookMs: Math.round(performance.now() - startedMs) }, 'sessions are written again');
  }

  async #writeAll(sessions: Iterable<Session>): Promise<number> {
    let writtenCount = 0;
    let batch: Promise<void>[] = [];
    let startedMs = performance.now();
    for (const session of sessions) {
      if (this.#isClosed || !this.#link.isUp) break;
      batch.push(this.#inTurn(session.key, () => this.#writeAgain(session)));
      writtenCount += 1;
      if (batch.length < this.#perTickCount) continue;
      await Promise.all(batch);
      batch = [];
      await this.#restOfTick(startedMs);
      startedMs = performance.now();
    }
    await Promise.all(batch);
    return writtenCount;
  }

  async #writeAgain(session: Session): Promise<void> {
    if (this.#own?.holds(session) !== true) return;
    const result = await this.#write(session);
    if (result !== undefined) this.#rewrittenCount += 1;
    if (result !== undefined && !this.#isClosed) this.#own.onLateWrite(session, result);
  }

  #restOfTick(startedMs: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, Math.max(0, TICK_MS - (performance.now() - startedMs)));
    });
  }

  #after(delayMs: number, action: () => void): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
  }
}
