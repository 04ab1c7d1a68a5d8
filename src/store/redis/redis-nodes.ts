/**
 * redis-nodes: the nodes of the cluster, by their leases in Redis. A node is alive while its lease is; everything else (whose
 * session counts, who may sweep, which node a client is sent to) follows from that.
 *
 * Threads: control thread only.
 * Guarantees: of one server id at most one incarnation is alive, the one that came last: a restart after a crash does not wait
 *   for the lease of the one that died, and a process that was overtaken learns it at its next renewal. An incarnation whose
 *   lease has ended never comes back: the node takes the next epoch first, and is not ready until its sessions are rewritten
 *   under it. While Redis is away, live() answers what was last known.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../clock/index.js';
import type { MaybePromise, NodeDirectory, NodeRecord, NotReadyReason } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink, RedisScript } from './redis-link.js';
import { RedisNodesTable } from './redis-nodes-table.js';

/** What a node says of itself with each renewal. */
export type NodeReport = Omit<NodeRecord, 'serverId' | 'nodeEpoch' | 'updatedMs' | 'isDraining' | 'isSettling'>;

export interface RedisNodesOptions {
  readonly serverId: string;
  /** Renewed every third of it. */
  readonly leaseMs: number;
  /** The first epoch lies above it: the largest that this node is known to have had, 0 where nothing is known. */
  readonly floorEpoch: number;
  readonly clock: Clock;
  readonly report: () => NodeReport;
  /** Another process took this server id. This one is no longer part of the cluster, and stays out of it. */
  readonly onSuperseded: (byEpoch: number) => void;
  /** The lease had ended and a new one is taken: rewrite all sessions. The node is ready again when this resolves. */
  readonly onNewEpoch: (nodeEpoch: number) => Promise<void>;
  /** Redis has lost its data, for the `lossCount`th time that this node saw: rewrite all sessions. A promise: until then. */
  readonly onDataLost: (lossCount: number) => MaybePromise<unknown>;
}

const MAX_BEAT_MS = 1_000;
/** After Redis was away, the others need so long at most to find it again and to renew: a retry, and a beat. */
const MAX_KEEP_MS = 3_000;
/** A server id that nobody used for so long may start again at its floor: no session of it is left by then. */
const KEEP_HASH_MS = 7 * 86_400_000;
/** On Cluster the data is spread over masters, and each may lose its own: so many keys tell, wherever they fall. */
const GENERATION_KEY_COUNT = 16;
const RENEW_STATUS = { RENEWED: 1, RESTORED: 2, SUPERSEDED: 3, EXPIRED: 4 } as const;

export class RedisNodes implements NodeDirectory {
  readonly serverId: string;
  readonly #link: RedisLink;
  readonly #options: RedisNodesOptions;
  readonly #log: Logger;
  readonly #table: RedisNodesTable;
  readonly #scripts: Readonly<Record<'acquire' | 'renew' | 'leave' | 'read' | 'touch', RedisScript>>;
  readonly #generationKeys: readonly string[];
  #generations: readonly string[] = [];
  #lossCount = 0;
  #nodeEpoch = 0;
  #isDraining = false;
  #isSuperseded = false;
  /** Rewrites under way. */
  #settlingCount = 0;
  /** What is known of the others is from before Redis went away. */
  #isStale = false;
  #isClosed = false;
  /** When the renewal was sent that the present lease counts from. */
  #leasedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  /** The newest beat; the next begins behind it. */
  #beating: Promise<void> = Promise.resolve();
  #mustRenew = false;
  #wasRestored = false;
  #refreshing: Promise<void> | undefined;
  #nextRefresh: Promise<void> | undefined;
  /** Redis' clock less the monotonic one. */
  #offsetMs = 0;
  #lastNowMs = 0;
  readonly #stopListening: readonly (() => void)[];

  private constructor(link: RedisLink, options: RedisNodesOptions, log: Logger) {
    this.serverId = options.serverId;
    this.#link = link;
    this.#options = options;
    this.#log = log;
    this.#table = new RedisNodesTable(options.clock, options.leaseMs);
    const script = (name: string) =>
      link.script(`nodes-${name}`, luaSource(import.meta.url, `redis-nodes-${name}.lua`), 1);
    this.#scripts = {
      acquire: script('acquire'),
      renew: script('renew'),
      leave: script('leave'),
      read: script('read'),
      touch: script('touch'),
    };
    const { keys } = link;
    this.#generationKeys = link.isCluster
      ? Array.from({ length: GENERATION_KEY_COUNT }, (_, index) => keys.single(`gen:${index}`))
      : [keys.single('gen')];
    this.#stopListening = [
      link.onDown(() => {
        this.#isStale = true;
      }),
      link.onUp(() => {
        this.#table.startKeeping(Math.min(MAX_KEEP_MS, options.leaseMs));
        this.#beatSoon(0);
      }),
    ];
  }

  /** Resolves when this node holds its lease and knows the others. Rejects where Redis does not answer. */
  static async start(link: RedisLink, options: RedisNodesOptions, log: Logger): Promise<RedisNodes> {
    const nodes = new RedisNodes(link, options, log);
    try {
      await nodes.#acquire();
      await nodes.refresh();
    } catch (error) {
      nodes.close();
      throw error;
    }
    nodes.#beatSoon(nodes.#beatMs());
    return nodes;
  }

  get nodeEpoch(): number {
    return this.#nodeEpoch;
  }

  /**
   * Wall time of the whole cluster: that of Redis, as far as this node knows it, and never back. By it the sessions of one key
   * are ordered, whichever node wrote them. monotonicMs() is this host's.
   */
  get clock(): Clock {
    return {
      nowMs: () => {
        this.#lastNowMs = Math.max(this.#lastNowMs, Math.floor(this.#options.clock.monotonicMs() + this.#offsetMs));
        return this.#lastNowMs;
      },
      monotonicMs: () => this.#options.clock.monotonicMs(),
    };
  }

  live(): readonly NodeRecord[] {
    return this.#table.records();
  }

  isLive(serverId: string, nodeEpoch: number): boolean {
    return this.fateOf(serverId, nodeEpoch) === 'live';
  }

  /** `unknown`: younger than anything this node has heard of; after a refresh() it is known. */
  fateOf(serverId: string, nodeEpoch: number): 'live' | 'gone' | 'unknown' {
    // Its own incarnation counts whatever Redis says meanwhile: its channels are open.
    if (serverId === this.serverId && nodeEpoch === this.#nodeEpoch) return this.#isSuperseded ? 'gone' : 'live';
    return this.#table.fateOf(serverId, nodeEpoch);
  }

  /** This incarnation was looked for right after a refresh and is not there. */
  markGone(serverId: string, nodeEpoch: number): void {
    this.#table.markGone(serverId, nodeEpoch);
  }

  onLost(listener: (serverId: string, nodeEpoch: number) => void): () => void {
    return this.#table.onLost(listener);
  }

  /** Read the list anew, from a moment after this call. Rejects where Redis does not answer. */
  refresh(): Promise<void> {
    if (this.#refreshing === undefined) {
      this.#refreshing = this.#readAll().finally(() => {
        this.#refreshing = undefined;
      });
      return this.#refreshing;
    }
    // What is under way may have read already: everybody who asks meanwhile shares the one after it.
    this.#nextRefresh ??= this.#refreshing
      .catch(() => undefined)
      .then(() => {
        this.#nextRefresh = undefined;
        return this.refresh();
      });
    return this.#nextRefresh;
  }

  /** Tell the cluster now that this node takes no new clients, or takes them again. */
  async drain(isDraining: boolean): Promise<void> {
    this.#isDraining = isDraining;
    await this.#beatNow(true);
  }

  /** End the lease: from now on nobody counts this node's sessions. For a shutdown; close() follows. */
  async leave(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#beating;
    try {
      await Promise.all([
        this.#scripts.leave([this.#link.keys.node(this.serverId)], [this.#nodeEpoch]),
        this.#isSuperseded ? undefined : this.#scripts.touch([this.#link.keys.nodes()], [this.serverId, 0]),
      ]);
    } catch (error) {
      this.#log.debug({ err: error }, 'the lease of this node could not be ended; it ends by itself');
    }
  }

  /** Stop renewing, without a word to Redis. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const stop of this.#stopListening) stop();
  }

  /**
   * Server ids of nodes whose sessions and rooms may be missing in Redis: they write them again, or have not come back yet.
   * undefined: what this node knows of the others is from before an outage.
   */
  get unsettled(): readonly string[] | undefined {
    if (this.#isStale) return undefined;
    const { kept } = this.#table;
    return this.live()
      .filter(
        ({ serverId, isSettling }) =>
          isSettling === true || kept.has(serverId) || (serverId === this.serverId && this.isSettling),
      )
      .map(({ serverId }) => serverId);
  }

  /** This node itself writes its sessions and rooms again. */
  get isSettling(): boolean {
    return this.#settlingCount > 0;
  }

  /** Sessions and rooms are being written again; the others are told so, and told when it is done. */
  async settle(rewrite: () => MaybePromise<unknown>): Promise<void> {
    this.#settlingCount += 1;
    try {
      await rewrite();
    } catch (error) {
      this.#log.error({ err: error }, 'sessions could not be written again');
    } finally {
      this.#settlingCount -= 1;
      if (this.#settlingCount === 0 && !this.#isClosed) void this.#beatNow(true);
    }
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    if (this.#isSuperseded) {
      return [{ reason: 'superseded', detail: `another process took the server id ${this.serverId}` }];
    }
    if (this.isLapsed) return [{ reason: 'lease_ended', detail: 'the lease of this node in Redis has ended' }];
    if (this.#settlingCount > 0) return [{ reason: 'rewriting', detail: 'sessions are being written again' }];
    return [];
  }

  // The beat: renew when it is time, then look around.

  #beatMs(): number {
    return Math.min(MAX_BEAT_MS, this.#options.leaseMs / 3);
  }

  #beatSoon(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#beatNow(false), delayMs);
  }

  async #beatNow(mustRenew: boolean): Promise<void> {
    this.#mustRenew ||= mustRenew;
    this.#beating = this.#beating.then(() => this.#beat());
    await this.#beating;
    this.#beatSoon(this.#beatMs());
  }

  async #beat(): Promise<void> {
    if (this.#isClosed || !this.#link.isUp) return;
    this.#wasRestored = false;
    try {
      if (!this.#isSuperseded) await this.#renewIfDue();
      await this.refresh();
    } catch (error) {
      this.#log.debug({ err: error }, 'Redis did not answer a beat of this node');
    }
  }

  /** The lease has ended by this host's clock: nothing that stands in Redis under this epoch counts any more. */
  get isLapsed(): boolean {
    return this.#options.clock.monotonicMs() - this.#leasedAtMs >= this.#options.leaseMs;
  }

  async #renewIfDue(): Promise<void> {
    const { clock, leaseMs } = this.#options;
    // Its own clock first: a node that was frozen must not write a thing under an epoch that may be dead.
    if (this.isLapsed) {
      await this.#takeNewEpoch();
      return;
    }
    const startedMs = clock.monotonicMs();
    if (!this.#mustRenew && startedMs - this.#leasedAtMs < leaseMs / 3 - this.#beatMs() / 2) return;
    this.#mustRenew = false;
    const [status, heldEpoch] = (await this.#scripts.renew(
      [this.#link.keys.node(this.serverId)],
      [this.#nodeEpoch, leaseMs, this.#recordText(), KEEP_HASH_MS],
    )) as [number, number];
    if (status === RENEW_STATUS.SUPERSEDED) {
      this.#isSuperseded = true;
      this.#log.fatal(
        { serverId: this.serverId, byEpoch: heldEpoch },
        'another process took the server id of this node',
      );
      this.#options.onSuperseded(heldEpoch);
    } else if (status === RENEW_STATUS.EXPIRED) {
      await this.#takeNewEpoch();
    } else {
      this.#leasedAtMs = startedMs;
      if (status === RENEW_STATUS.RESTORED) this.#mustRenew = true;
      // Soon after a loss it is the same loss: the generation showed it first.
      if (status === RENEW_STATUS.RESTORED && !this.#table.isInGrace())
        this.#noteLoss('the record of this node is gone');
      this.#wasRestored = status === RENEW_STATUS.RESTORED;
    }
  }

  async #takeNewEpoch(): Promise<void> {
    const lostEpoch = this.#nodeEpoch;
    // An epoch above ours that we did not take is another process: it came later, so it stays.
    const held = (await this.#scripts.read([this.#link.keys.node(this.serverId)], [])) as [string, string] | null;
    if (held !== null && Number(held[0]) > lostEpoch) {
      this.#isSuperseded = true;
      this.#options.onSuperseded(Number(held[0]));
      return;
    }
    // From the first record of the new incarnation on: nobody is to find it without its sessions and rely on that.
    this.#settlingCount += 1;
    try {
      await this.#acquire();
      this.#log.warn({ lostEpoch, nodeEpoch: this.#nodeEpoch }, 'the lease had ended; all sessions are written again');
      void this.settle(() => this.#options.onNewEpoch(this.#nodeEpoch));
    } finally {
      this.#settlingCount -= 1;
    }
  }

  async #acquire(): Promise<void> {
    const startedMs = this.#options.clock.monotonicMs();
    const { leaseMs, floorEpoch } = this.#options;
    const [epoch] = (await this.#scripts.acquire(
      [this.#link.keys.node(this.serverId)],
      [Math.max(floorEpoch, this.#nodeEpoch), leaseMs, this.#recordText(), KEEP_HASH_MS],
    )) as [number];
    this.#nodeEpoch = epoch;
    this.#leasedAtMs = startedMs;
  }

  #recordText(): string {
    return JSON.stringify({ ...this.#options.report(), ...this.#state(), updatedMs: this.clock.nowMs() });
  }

  #state(): Pick<NodeRecord, 'isDraining' | 'isSettling'> {
    return { isDraining: this.#isDraining, isSettling: this.#settlingCount > 0 };
  }

  async #readAll(): Promise<void> {
    const { clock, leaseMs } = this.#options;
    const { keys, commands } = this.#link;
    const startedMs = clock.monotonicMs();
    const [listed, ...generations] = (await Promise.all([
      this.#scripts.touch([keys.nodes()], [this.serverId, this.#isSuperseded || this.#isClosed ? -1 : leaseMs]),
      ...this.#generationKeys.map((key) => this.#link.bounded(() => commands.get(key))),
    ])) as [string[], ...(string | null)[]];
    const [now = '0', ...serverIds] = listed;
    this.#offsetMs = Number(now) - (startedMs + clock.monotonicMs()) / 2;
    await this.#checkGenerations(generations);
    const found = await Promise.all(serverIds.map((serverId) => this.#scripts.read([keys.node(serverId)], [])));
    const records = found.flatMap((reply, index): NodeRecord[] => {
      if (reply === null) return [];
      const [epoch, text] = reply as [string, string];
      const report = JSON.parse(text) as Omit<NodeRecord, 'serverId' | 'nodeEpoch'>;
      return [
        {
          ...report,
          latitude: report.latitude,
          longitude: report.longitude,
          serverId: serverIds[index] as string,
          nodeEpoch: Number(epoch),
        },
      ];
    });
    this.#table.replace(records);
    if (this.#link.isUp) this.#isStale = false;
  }

  /** A generation that is missing or another one than before: what Redis held is gone. */
  async #checkGenerations(found: readonly (string | null)[]): Promise<void> {
    const known = await Promise.all(
      this.#generationKeys.map(async (key, index) => {
        const value = found[index];
        if (value !== null && value !== undefined) return value;
        const fresh = randomUUID();
        const before = await this.#link.bounded(() => this.#link.commands.set(key, fresh, 'NX', 'GET'));
        return before ?? fresh;
      }),
    );
    const isLost = this.#generations.some((generation, index) => generation !== known[index]);
    this.#generations = known;
    if (!isLost || this.#wasRestored) return;
    this.#mustRenew = true;
    this.#noteLoss('the generation has changed');
  }

  #noteLoss(sign: string): void {
    this.#lossCount += 1;
    this.#log.error({ sign, lossCount: this.#lossCount }, 'Redis has lost its data; sessions are written again');
    this.#table.startGrace();
    void this.settle(() => this.#options.onDataLost(this.#lossCount));
  }
}
