/**
 * redis-session-sweeper: removes the sessions of incarnations that are gone. They count for nothing meanwhile; this gives their
 * memory back.
 *
 * Threads: control thread only; one sweeper at a time in the whole cluster.
 * Guarantees: everything that was dead when request() was called is removed by some node, once, in slices with a pause
 *   between them. An entry is removed only if it still has the dead owner.
 * Found by SCAN and not by an index per node: the index would cost every connect a write, on Cluster in one more slot.
 */
import { randomUUID } from 'node:crypto';
import type { Session } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink, RedisScript } from './redis-link.js';
import type { RedisNodes } from './redis-nodes.js';
import type { RedisSessionMap } from './redis-session-map.js';

export interface RedisSessionSweeperOptions {
  /** Keys of Redis looked at in one slice. */
  readonly sliceCount: number;
  readonly pauseMs: number;
  /** A session of a dead node was removed, by this sweeper and by nobody else. */
  readonly onRemoved?: (session: Session) => void;
}

export const SWEEP_PACE: RedisSessionSweeperOptions = { sliceCount: 500, pauseMs: 20 };

type Nodes = Pick<RedisNodes, 'fateOf' | 'refresh' | 'markGone' | 'clock' | 'onLost'>;

const LOCK_MS = 10_000;
const RETRY_MS = 1_000;
/** A connection as old as this is not just being written. */
const SETTLE_MS = 60_000;

export class RedisSessionSweeper {
  readonly #link: RedisLink;
  readonly #map: RedisSessionMap;
  readonly #nodes: Nodes;
  readonly #log: Logger;
  readonly #options: RedisSessionSweeperOptions;
  readonly #lock: RedisScript;
  readonly #token = randomUUID();
  readonly #stopListening: () => void;
  /** Redis' clock at the newest request that is not met. */
  #requestedMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isRunning = false;
  #isClosed = false;
  #removedCount = 0;

  constructor(link: RedisLink, map: RedisSessionMap, nodes: Nodes, options: RedisSessionSweeperOptions, log: Logger) {
    this.#link = link;
    this.#map = map;
    this.#nodes = nodes;
    this.#options = options;
    this.#log = log;
    this.#lock = link.script('session-sweep-lock', luaSource(import.meta.url, 'redis-session-sweep-lock.lua'), 1);
    this.#stopListening = nodes.onLost(() => this.request());
  }

  /** Entries that this node has removed. */
  get removedCount(): number {
    return this.#removedCount;
  }

  /** What is dead now is to be removed. Also called at a start, for what earlier lives left. */
  request(): void {
    this.#requestedMs = this.#nodes.clock.nowMs();
    this.#arm(0);
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
    clearTimeout(this.#timer);
  }

  #arm(delayMs: number): void {
    if (this.#isClosed || this.#isRunning) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), delayMs);
  }

  async #run(): Promise<void> {
    const requestedMs = this.#requestedMs;
    if (requestedMs === undefined || this.#isRunning) return;
    this.#isRunning = true;
    let isMet = false;
    try {
      isMet = this.#link.isUp && (await this.#isMet(requestedMs));
    } catch (error) {
      this.#log.debug({ err: error }, 'a sweep of sessions was cut short; it begins again');
    }
    this.#isRunning = false;
    if (isMet && this.#requestedMs === requestedMs) this.#requestedMs = undefined;
    if (this.#requestedMs !== undefined) this.#arm(RETRY_MS);
  }

  /** True: a sweep that began after the request is complete, this node's or another's. */
  async #isMet(requestedMs: number): Promise<boolean> {
    const { keys, commands } = this.#link;
    const swept = await this.#link.bounded(() => commands.get(keys.single('swept')));
    if (Number(swept ?? 0) > requestedMs) return true;
    if (!(await this.#keepLock(LOCK_MS))) return false;
    try {
      const startedMs = this.#nodes.clock.nowMs();
      await this.#nodes.refresh();
      if (!(await this.#sweep())) return false;
      await this.#link.bounded(() => commands.set(keys.single('swept'), String(startedMs)));
      return startedMs >= requestedMs;
    } finally {
      if (this.#link.isUp) await this.#keepLock(0);
    }
  }

  async #keepLock(holdMs: number): Promise<boolean> {
    return (await this.#lock([this.#link.keys.single('sweep')], [this.#token, holdMs])) === 1;
  }

  /** False: it was not finished (closed, or another took the lock from a sweeper that was too slow). */
  async #sweep(): Promise<boolean> {
    const isGone = ({ serverId, nodeEpoch }: Session) => this.#nodes.fateOf(serverId, nodeEpoch) === 'gone';
    for await (const { sessions, devices } of this.#map.slices(this.#options.sliceCount)) {
      if (this.#isClosed) return false;
      const unknown = [...sessions, ...devices].filter(
        ({ serverId, nodeEpoch }) => this.#nodes.fateOf(serverId, nodeEpoch) === 'unknown',
      );
      if (unknown.length > 0) {
        await this.#nodes.refresh();
        for (const { serverId, nodeEpoch } of unknown) {
          if (this.#nodes.fateOf(serverId, nodeEpoch) === 'unknown') this.#nodes.markGone(serverId, nodeEpoch);
        }
      }
      const removed = await Promise.all(sessions.filter(isGone).map((session) => this.#map.remove(session)));
      for (const session of removed) {
        if (session === undefined) continue;
        this.#removedCount += 1;
        this.#options.onRemoved?.(session);
      }
      const stray = [...devices.filter(isGone), ...(await this.#strayDevices(devices.filter((each) => !isGone(each))))];
      await Promise.all(stray.map((device) => this.#map.removeFromUser(device.mid, device)));
      await new Promise((resolve) => setTimeout(resolve, this.#options.pauseMs));
      if (!(await this.#keepLock(LOCK_MS))) return false;
    }
    return true;
  }

  /** On Cluster: devices that a user's hash kept although their connection was taken over long ago. */
  async #strayDevices(devices: readonly Session[]): Promise<readonly Session[]> {
    if (!this.#link.isCluster) return [];
    const settledMs = this.#nodes.clock.nowMs() - SETTLE_MS;
    const old = devices.filter(({ sinceMs }) => sinceMs < settledMs);
    const owners = new Set(await this.#map.stillOwners(old));
    return old.filter((device) => !owners.has(device));
  }
}
