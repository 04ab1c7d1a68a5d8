/**
 * What a node has beyond a lone one when it is one of many: the link to Redis, its lease, the session map, the bus, the durable
 * queue, histories, machine ids and the counts of all nodes, made in the order in which they need each other.
 *
 * Threads: control thread only.
 * Life: `open` (link and lease, before anything of the comet), `attach` (the comet is there), `serve` (its ports are open),
 *   `quiet` (no new work), `leave` (its channels are gone).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../clock/index.js';
import { type CometClusterParts, type CometControl, type CometOnlineSource, RoomSequence } from '../comet/index.js';
import type { Config, HistoryRules } from '../config/index.js';
import type { Snowflake } from '../id/index.js';
import {
  BusDispatcher,
  BusInlet,
  ClusterAdmin,
  ClusterPusher,
  type HistoryIntake,
  InboxReader,
  type JobQueue,
  type JobRunner,
} from '../job/index.js';
import { decodeHistoryEnvelope } from '../protocol/index.js';
import type { NodeRecord, NotReadyReason, ReadinessProbe, RoomHistory, RoomLinks, Session } from '../push/index.js';
import type { MemoryHistory } from '../store/index.js';
import {
  LeasedMachineIds,
  type MachineIdOptions,
  RedisBus,
  RedisHistory,
  RedisInbox,
  RedisLink,
  RedisNodes,
  RedisOnline,
  RedisQueue,
  RedisRoomNodes,
  RedisSessionMap,
  RedisSessionSweeper,
  RedisSessions,
  RedisUserMarks,
  SWEEP_PACE,
} from '../store/redis/index.js';
import { type Logger, stormGuard } from '../telemetry/index.js';
import { ClusterMetrics } from './cluster-metrics.js';
import { DataLoss } from './data-loss.js';
import { newJobRunner } from './job-wiring.js';
import { rolesOf } from './node-options.js';
import { wirePushIntake } from './push-intake-wiring.js';
import { RoomRegistration } from './room-registration.js';
import { within } from './within.js';

/** How much of a room's messages may wait for one that is missing, and how much is asked for at a time. */
const HELD_MAX_MESSAGES = 4_096;
const HELD_MAX_BYTES = 4_194_304;
const RANGE_MAX_MESSAGES = 512;
const RANGE_MAX_BYTES = 1_048_576;
const HISTORY_RETRY_MS = 200;
const INBOX_POLL_MS = 20;

export interface ClusterNode {
  readonly serverId: string;
  /** The largest epoch this data directory knows. */
  readonly floorEpoch: number;
  readonly log: Logger;
  /** What the node says of itself with each renewal. */
  readonly report: () => NodeRecord;
  /** A session of a dead node was removed, by this node. */
  readonly onSwept: (session: Session) => void;
  /** Another process took this server id. */
  readonly onSuperseded: (byEpoch: number) => void;
}

/** What there is once the comet is made. */
export interface ClusterComet {
  readonly comet: CometControl;
  readonly job: JobQueue;
  readonly ids: Snowflake;
  readonly source: CometOnlineSource;
  readonly rooms: () => Iterable<string>;
  readonly requestTimeoutMs: number;
}

interface Serving {
  readonly pusher: ClusterPusher;
  readonly queue: RedisQueue;
  readonly inlet: BusInlet;
  readonly historyIntake: HistoryIntake | undefined;
  readonly admin: ClusterAdmin;
  readonly online: RedisOnline;
  readonly reader: InboxReader | undefined;
  readonly runner: JobRunner | undefined;
  readonly metrics: ClusterMetrics;
}

export class ClusterPart implements ReadinessProbe {
  readonly link: RedisLink;
  readonly nodes: RedisNodes;
  readonly sessions: RedisSessions;
  readonly history: RedisHistory;
  readonly bus: RedisBus;
  readonly #config: Config;
  readonly #rules: HistoryRules;
  readonly #log: Logger;
  readonly #sweeper: RedisSessionSweeper;
  readonly #roomNodes: RedisRoomNodes;
  readonly #stopListening: () => void;
  readonly #registration: RoomRegistration;
  #sequence: RoomSequence | undefined;
  #comet: ClusterComet | undefined;
  #serving: Serving | undefined;
  readonly #loss: DataLoss;

  /** Resolves when this node holds its lease. @throws HalleyError that names what is wrong with Redis or its URL */
  static async open(config: Config, rules: HistoryRules, node: ClusterNode): Promise<ClusterPart> {
    const { cluster } = config;
    const link = await RedisLink.open(
      {
        url: config.redis,
        ...(cluster.redis_password === '' ? {} : { password: cluster.redis_password }),
        prefix: cluster.prefix,
        tlsCaFile: cluster.redis_tls_ca,
        connectTimeoutMs: cluster.connect_timeout_ms,
        commandTimeoutMs: cluster.command_timeout_ms,
        clientName: `halley:${node.serverId}`,
      },
      node.log,
    );
    try {
      let part: ClusterPart | undefined;
      const nodes = await RedisNodes.start(
        link,
        {
          serverId: node.serverId,
          leaseMs: cluster.lease_ms,
          floorEpoch: node.floorEpoch,
          clock: systemClock,
          report: node.report,
          onSuperseded: node.onSuperseded,
          onNewEpoch: async () => part?.onNewEpoch(),
          onDataLost: () => {
            if (part !== undefined) part.#loss.note('sessions, rooms and queued pushes');
            return part?.rewrite();
          },
        },
        node.log,
      );
      part = new ClusterPart(config, rules, node, link, nodes);
      return part;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  private constructor(config: Config, rules: HistoryRules, node: ClusterNode, link: RedisLink, nodes: RedisNodes) {
    const { cluster, limits } = config;
    this.#config = config;
    this.#rules = rules;
    this.#log = node.log;
    this.#loss = new DataLoss(node.log, systemClock);
    this.link = link;
    this.nodes = nodes;
    const map = new RedisSessionMap(link, nodes);
    this.sessions = new RedisSessions(link, map, nodes, { rewritePerSec: cluster.rewrite_per_s }, node.log);
    this.#sweeper = new RedisSessionSweeper(link, map, nodes, { ...SWEEP_PACE, onRemoved: node.onSwept }, node.log);
    this.history = new RedisHistory(link, rules);
    this.#roomNodes = new RedisRoomNodes(link, nodes);
    this.#registration = new RoomRegistration(link, this.#roomNodes, () => this.#comet?.rooms() ?? [], node.log);
    this.#stopListening = link.onUp(() => {
      // Behind a lease that ended a new incarnation does it.
      if (!nodes.isLapsed)
        void nodes.settle(() => Promise.all([this.sessions.rewritten(), this.#registration.addAll()]));
    });
    const ignored = (error: unknown) => this.#log.debug({ err: error }, 'a room was not registered; it is again later');
    this.bus = new RedisBus(
      link,
      {
        serverId: node.serverId,
        roomLingerMs: cluster.room_linger_ms,
        probeMs: cluster.probe_ms,
        commandTimeoutMs: cluster.command_timeout_ms,
        messageMaxBytes: limits.push_body_bytes,
        hasHistory: (room) => this.history.hasHistory(room),
        registry: {
          add: (room) => this.#registration.add(room),
          remove: (room) => void this.#roomNodes.remove(room).catch(ignored),
        },
      },
      node.log,
    );
  }

  /** Wall time of the cluster, by which sessions are ordered. */
  get clock() {
    return this.nodes.clock;
  }

  /** For CometControl. `comet` is asked for what the rooms need only once they are used. */
  cometParts(memory: MemoryHistory, comet: () => CometControl): CometClusterParts {
    const guard = stormGuard({ target: this.#log, nowMs: () => systemClock.monotonicMs() });
    const sequence = new RoomSequence(
      {
        heldMaxMessages: HELD_MAX_MESSAGES,
        heldMaxBytes: HELD_MAX_BYTES,
        rangeMaxMessages: RANGE_MAX_MESSAGES,
        rangeMaxBytes: RANGE_MAX_BYTES,
        retryMs: HISTORY_RETRY_MS,
        lingerMs: this.#config.cluster.room_linger_ms,
      },
      {
        rooms: this.bus,
        history: this.history,
        memory,
        comet: {
          deliver: (command) => comet().deliver(command),
          placeRoom: (room, place, tellsGap) => comet().placeRoom(room, place, tellsGap),
        },
        onError: (error) => guard.logger.warn({ err: error }, 'the history of a room could not be read; tried again'),
      },
    );
    this.#sequence = sequence;
    const rooms: RoomLinks = sequence;
    return { sessions: this.sessions, nodes: this.nodes, mail: this.bus, rooms };
  }

  /** Which users are known to be online, for upstream events. */
  get userMarks(): RedisUserMarks {
    return new RedisUserMarks(this.link);
  }

  /** This node's own block of machine ids, renewed until it is released. */
  async leaseMachineIds(
    node: Pick<MachineIdOptions, 'token' | 'memory' | 'slotCount' | 'setLimitMs'> &
      Required<Pick<MachineIdOptions, 'onWaiting'>>,
  ): Promise<LeasedMachineIds> {
    const { id } = this.#config;
    const ids = await LeasedMachineIds.take({
      ...node,
      link: this.link,
      serverId: this.nodes.serverId,
      nodeEpoch: () => this.nodes.nodeEpoch,
      leaseMs: id.lease_ms,
      maxSkewMs: id.max_skew_ms,
      log: this.#log,
    });
    ids.keepRenewing();
    return ids;
  }

  /** For the recovery of rooms: the cluster's history. */
  get recoveryHistory(): RoomHistory {
    return this.history;
  }

  /** The buckets are open: subscribe, take what waits in the inbox, drain the queue, as the role says. */
  async serve(node: ClusterComet): Promise<void> {
    this.#comet = node;
    const { link, nodes, sessions, bus, history } = this;
    const { queue, limits, stream, cluster } = this.#config;
    const { comet, job, ids } = node;
    const log = this.#log;
    const roles = rolesOf(this.#config.role);
    const liveNodeCount = () => nodes.live().filter((record) => record.roles.includes('comet')).length;
    const bounds = { maxCount: queue.max_messages, maxBytes: queue.max_bytes };
    const inlet = new BusInlet(bounds, { queue: job, comet, log });
    const admin = new ClusterAdmin({ bus, sessions, comet, deadlineMs: node.requestTimeoutMs });
    const pusher = new ClusterPusher(
      { ...bounds, messageMaxBytes: limits.push_body_bytes },
      {
        bus,
        sessions,
        ids,
        liveNodeCount,
        history: {
          hasHistory: (room) => history.hasHistory(room),
          appender: {
            append: async (room, op, body, messageId) => void (await history.append(room, op, body, messageId)),
          },
        },
        log,
      },
    );
    const durable = await RedisQueue.open(
      link,
      ids,
      nodes.serverId,
      {
        shardCount: stream.shards,
        maxMessagesCount: stream.max_messages,
        maxInFlightCount: stream.max_in_flight,
        onceWindowMs: stream.once_window_s * 1000,
        replicaCount: stream.replicas,
        commandTimeoutMs: cluster.command_timeout_ms,
        bodyMaxBytes: limits.push_body_bytes,
      },
      log,
    );
    const reader = roles.includes('comet')
      ? new InboxReader({
          inbox: new RedisInbox(link, nodes.serverId, cluster.command_timeout_ms),
          directory: nodes,
          pusher: job,
          log,
          onQueueLost: () => this.#loss.note('durable pushes for this node'),
        })
      : undefined;
    const onShardLost = (shard: number) => this.#loss.note(`durable pushes of shard ${shard}`);
    const runner = roles.includes('job')
      ? newJobRunner({
          config: this.#config,
          link,
          nodes,
          sessions,
          history,
          roomNodes: this.#roomNodes,
          log,
          onShardLost,
        })
      : undefined;
    const online = new RedisOnline({
      link,
      directory: nodes,
      source: node.source,
      log,
      roomsPerSec: cluster.rewrite_per_s,
    });
    const messageMaxBytes = limits.push_body_bytes;
    const rules = this.#rules;
    const { intake, history: historyIntake } = wirePushIntake({
      messageMaxBytes,
      bounds,
      rules,
      link,
      nodes,
      inlet,
      ids,
      liveNodeCount,
      log,
    });
    const counted = { pusher, queue: durable, inlet, historyIntake, reader, runner };
    const metrics = new ClusterMetrics({ link, nodes, sessions, bus, loss: this.#loss, ...counted });
    this.#serving = { ...counted, admin, online, metrics };
    await bus.start(
      new BusDispatcher({
        bus,
        inlet,
        intake,
        admin,
        comet,
        closeConnection: (owner, advice) => comet.closeConnection(owner, advice),
        onHistory: (room, bytes) => this.#onHistory(room, bytes),
        onRoomsMissed: (rooms, mayLackPlace) => void this.#sequence?.repair(rooms, mayLackPlace),
        log,
      }),
    );
    sessions.connect(comet);
    this.#sweeper.request();
    await online.start();
    await reader?.start();
    runner?.start();
  }

  /** After serve(). */
  get serving(): Serving {
    if (this.#serving === undefined) throw new Error('the cluster part does not serve yet');
    return this.#serving;
  }

  /** ReadinessProbe, for everything in here. */
  notReady(): readonly NotReadyReason[] {
    const reasons: NotReadyReason[] = [...this.nodes.notReady(), ...(this.#serving?.reader?.notReady() ?? [])];
    if (!this.link.isUp) reasons.push({ reason: 'redis_away', detail: 'Redis does not answer' });
    else if (this.#serving !== undefined && !this.bus.isSubscribed) {
      reasons.push({ reason: 'not_subscribed', detail: 'the subscriptions in Redis are being restored' });
    }
    reasons.push(...this.#loss.notReady());
    return reasons;
  }

  /** Redis knows nothing of this node any more, or counts it under another incarnation: tell it everything again. */
  async rewrite(): Promise<void> {
    await Promise.all([this.sessions.rewrite(), this.#registration.addAll()]);
  }

  /**
   * This node was out of the cluster for a while: what jobs had for its rooms then went past it. Resolves when everything of it
   * stands in Redis again, and its earlier inbox is empty.
   */
  async onNewEpoch(): Promise<void> {
    await this.rewrite();
    const { reader, inlet } = this.#serving ?? {};
    const rooms = [...(this.#comet?.rooms() ?? [])];
    inlet?.missed({ kind: 'direct' });
    inlet?.missed({ kind: 'all' });
    for (const room of rooms) if (!this.history.hasHistory(room)) inlet?.missed({ kind: 'room', room });
    void this.#sequence?.repair(rooms);
    while (reader?.isCurrent === false && this.link.isUp) await sleep(INBOX_POLL_MS);
  }

  /** Accepted pushes leave; nothing new is taken. False: some were cut off. Ends within `timeoutMs`, whatever Redis does. */
  async quiet(timeoutMs: number): Promise<boolean> {
    if (this.#serving === undefined) return true;
    const serving = this.#serving;
    const endMs = performance.now() + timeoutMs;
    const leftMs = () => Math.max(0, endMs - performance.now());
    const handedOn = Promise.allSettled([this.nodes.drain(true), serving.runner?.stop()]);
    const isDrained = await serving.pusher.drain(timeoutMs);
    serving.pusher.close();
    // Redis has taken them; this node's own share of them is on its way back.
    if (isDrained && this.bus.isSubscribed) await this.bus.echo(leftMs());
    await within(Promise.resolve(serving.historyIntake?.close()), leftMs());
    // What this cuts off ends by itself: leases, and pushes that nobody has acknowledged.
    await within(handedOn, leftMs());
    await within(Promise.resolve(serving.reader?.stop()), leftMs());
    this.bus.close();
    serving.inlet.close();
    return isDrained;
  }

  /** The channels are gone: take what is left of this node out of Redis. */
  async leave(timeoutMs: number): Promise<void> {
    if (!this.link.isUp) return;
    const left = Promise.resolve(this.#comet?.comet.leaveCluster()).then(() => this.nodes.leave());
    await within(left, timeoutMs);
  }

  async close(): Promise<void> {
    this.#registration.close();
    this.#stopListening();
    await this.#serving?.online.close();
    await this.#serving?.queue.close();
    this.#sequence?.close();
    await this.bus.close();
    this.#sweeper.close();
    this.sessions.close();
    this.nodes.close();
    this.link.close();
  }

  #onHistory(room: string, bytes: Uint8Array): void {
    const message = decodeHistoryEnvelope(bytes);
    if (message === undefined) return;
    const { epoch, offset, op, messageId, body } = message;
    this.#sequence?.receive(room, { place: { epoch, offset }, op, messageId, body });
  }
}
