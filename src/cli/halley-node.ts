/**
 * One node, wired: shared memory, control thread, buckets, queue and HTTP API, in the order in which they need each other.
 *
 * Threads: main thread. Used by `main.ts` and, as a library, by `createServer` (../index.ts).
 * Guarantees: start() resolves when every port is bound, or rejects with everything closed again; stop() ends within
 *   shutdown.timeout_ms.
 */
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { resolve as resolvePath } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ThreadPool } from '../actor/index.js';
import { systemClock } from '../clock/index.js';
import {
  AddressCounts,
  allocateAddressCounts,
  allocateRoomCounts,
  type BucketData,
  CometControl,
  CometOnlineSource,
  LONE_TCP_THREAD,
  newFallbackSecret,
  RoomCounts,
  requireProxyHeaders,
  Sequencer,
  sharesTcpPort,
} from '../comet/index.js';
import { type Config, HistoryRules } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import { allocateSnowflake, HighWaterMark, IssueLimit, issueLimitMs, machineToken, Snowflake } from '../id/index.js';
import { JobQueue } from '../job/index.js';
import { DrainSwitch, HttpApi } from '../logic/index.js';
import type { CometPort, NodeRecord, NotReadyReason, Pusher, ReadinessProbe } from '../push/index.js';
import { MemoryHistory, MemorySessions } from '../store/index.js';
import {
  allocateCounters,
  clearGauges,
  type Logger,
  METRIC,
  METRICS,
  pinoLogger,
  readThread,
  readTotals,
  ThreadCounters,
} from '../telemetry/index.js';
import { allocateAcceptGate, setAcceptGates } from './accept-gate.js';
import type { ClusterPart } from './cluster-part.js';
import { readFallbackCa } from './fallback-ca.js';
import { wireIds } from './ids-wiring.js';
import { nextNodeEpoch } from './node-epoch.js';
import { loadNodeLookup } from './node-lookup.js';
import {
  bucketOptionsOf,
  listenUrlsOf,
  machineBaseOf,
  type NodePorts,
  nodeDescriptionOf,
  nodeRecordOf,
  recoveryOptionsOf,
  rolesOf,
  serverIdOf,
  tcpUrlsOf,
  urlHost,
} from './node-options.js';
import { loadPages } from './pages.js';
import { claimPort } from './port-claim.js';
import { RuntimeCounters } from './runtime-counters.js';
import { TlsPart, type TlsReload } from './tls-part.js';
import type { WiredUpstream } from './upstream-wiring.js';
import { packageVersion } from './version.js';

/** A target mask has 32 bits, one of them the control thread's. */
const MAX_BUCKETS = 31;
const HOUSEKEEPING_MS = 1_000;
/** Room epochs that one millisecond of an earlier life may have used up; epochs stay below 2^53 until the year 2109. */
const EPOCHS_PER_MS = 2_048;
const REQUEST_TIMEOUT_MS = 5_000;
/** Shares of the shutdown time that the queue may take to empty, and then the buckets to read what came out of it. */
const QUEUE_DRAIN_RATIO = 0.3;
const RING_DRAIN_RATIO = 0.1;
const RING_POLL_MS = 2;
/** Share of it that is left for what upstream still has to send, where there is an upstream. */
const UPSTREAM_DRAIN_RATIO = 0.2;

/** Where a node listens. */
export interface NodeAddresses {
  /** Of the WebSocket; the one with TLS where the plain port is closed (`tls.plain`). Empty on a node without buckets. */
  readonly wsUrl: string;
  /** Of the WebSocket with TLS; undefined where there is none. */
  readonly wssUrl: string | undefined;
  readonly httpUrl: string;
  /** 0: closed. */
  readonly wsPort: number;
  /** `tcp://host:port`; undefined where it is closed. */
  readonly tcpUrl: string | undefined;
  /** The same over TLS, `tls://host:port`. */
  readonly tcpTlsUrl: string | undefined;
  /** 0: closed. */
  readonly tcpPort: number;
  readonly tcpTlsPort: number;
  /** 0: closed. */
  readonly wssPort: number;
  readonly httpPort: number;
  readonly bucketCount: number;
  readonly serverId: string;
}

export interface NodeHooks {
  /** The application (in a bucket) asked for a shutdown. */
  readonly onShutdownRequest: () => void;
  /** A start that waits says why. */
  readonly onWaiting?: (message: string) => void;
}

/** The comet of the whole cluster, as the HTTP API sees it: counts are this node's own, calls reach every node. */
function clusterComet(
  comet: CometControl,
  admin: Pick<CometPort, 'disconnect' | 'joinRooms' | 'leaveRooms'>,
): CometPort {
  return {
    deliver: (command) => comet.deliver(command),
    tellGap: (scope) => comet.tellGap(scope),
    disconnect: (channels, advice) => admin.disconnect(channels, advice),
    joinRooms: (channels, rooms) => admin.joinRooms(channels, rooms),
    leaveRooms: (channels, rooms) => admin.leaveRooms(channels, rooms),
    roomCount: (room) => comet.roomCount(room),
    roomCounts: () => comet.roomCounts(),
    connectionCount: () => comet.connectionCount(),
    ipCount: () => comet.ipCount(),
  };
}

export class HalleyNode implements ReadinessProbe {
  readonly #config: Config;
  readonly #hooks: NodeHooks;
  readonly #log: Logger;
  readonly #closers: (() => unknown)[] = [];
  #job: JobQueue | undefined;
  #http: HttpApi | undefined;
  #pool: ThreadPool | undefined;
  #idMemory: SharedArrayBuffer | undefined;
  #comet: CometControl | undefined;
  #cluster: ClusterPart | undefined;
  #pusher: Pusher | undefined;
  #upstream: WiredUpstream | undefined;
  #tls: TlsPart | undefined;
  #stopped: Promise<boolean> | undefined;
  #hasStuckBucket = false;

  constructor(config: Config, hooks: NodeHooks) {
    const wanted = config.buckets > 0 ? config.buckets : Math.min(MAX_BUCKETS, availableParallelism());
    // A node without the role comet is one without buckets: the rest of it stays as it is.
    this.#config = { ...config, buckets: rolesOf(config.role).includes('comet') ? wanted : 0 };
    this.#hooks = hooks;
    this.#log = pinoLogger({ level: config.log.level, fields: { thread: 0 } });
  }

  get log(): Logger {
    return this.#log;
  }

  /** The door for pushes, after start(). */
  get pusher(): Pusher {
    if (this.#pusher === undefined) throw new HalleyError('NODE_NOT_STARTED', 'start the node before pushing');
    return this.#pusher;
  }

  /** Rooms, counts and disconnects of this node, after start(). */
  get comet(): CometControl {
    if (this.#comet === undefined) throw new HalleyError('NODE_NOT_STARTED', 'start the node before asking it');
    return this.#comet;
  }

  /** Read the files of `tls` again: new handshakes get what stands in them, connections stay. Never rejects; the log says more. */
  async reloadTls(): Promise<TlsReload> {
    if (this.#tls === undefined) this.#log.info({}, 'TLS is off (tls.cert_file is empty): there is nothing to reload');
    return (await this.#tls?.reload()) ?? 'off';
  }

  async start(): Promise<NodeAddresses> {
    try {
      return await this.#start();
    } catch (error) {
      await this.#closeAll();
      throw error;
    }
  }

  async #start(): Promise<NodeAddresses> {
    const config = this.#config;
    const threadCount = config.buckets + 1;
    const hasBuckets = config.buckets > 0;
    // Before anything is claimed or started: what this machine cannot keep.
    if (hasBuckets && config.limits.proxy_protocol === 'v2') await requireProxyHeaders();
    const fallbackCa = readFallbackCa(config);
    const tls = TlsPart.open(config, this.#log);
    this.#tls = tls;
    if (tls !== undefined) this.#closers.push(() => tls.close());
    const claim = async (isWanted: boolean, port: number, optionName: string): Promise<number> => {
      if (!isWanted) return 0;
      const claimed = await claimPort(config.host, port, optionName);
      this.#closers.push(claimed.release);
      return claimed.port;
    };
    const isPlain = hasBuckets && config.tls.plain === 'on';
    const isSecure = hasBuckets && tls !== undefined;
    const isTcp = config.tcp === 'on';
    const ports: NodePorts = {
      wsPort: await claim(isPlain, config.ws_port, 'ws_port'),
      tcpPort: await claim(isPlain && isTcp, config.tcp_port, 'tcp_port'),
      wssPort: await claim(isSecure, config.tls.ws_port, 'tls.ws_port'),
      tcpTlsPort: await claim(isSecure && isTcp, config.tls.tcp_port, 'tls.tcp_port'),
    };
    const httpClaim = config.redis === '' ? undefined : await claimPort(config.host, config.http_port, 'http_port');
    if (httpClaim !== undefined) this.#closers.push(httpClaim.release);
    const wantedHttpPort = httpClaim?.port ?? config.http_port;
    const floorEpoch = await nextNodeEpoch(config.data_dir);
    const serverId = serverIdOf(config);
    const version = packageVersion();
    const rules = new HistoryRules(config.history.rooms);
    const drain = new DrainSwitch(
      (isDraining) => this.#cluster?.nodes.drain(isDraining),
      (overMs) => this.#comet?.move(overMs) ?? 0,
    );
    const record = (): NodeRecord =>
      nodeRecordOf(config, {
        nodeEpoch: this.#cluster?.nodes.nodeEpoch ?? floorEpoch,
        version,
        ...ports,
        httpPort: wantedHttpPort,
        connCount: this.#comet?.connectionCount() ?? 0,
        ipCount: this.#comet?.ipCount() ?? 0,
        updatedMs: Date.now(),
        isDraining: drain.isDraining,
      });
    // Before any port is open: rules that are wrong stop the start.
    const lookup = await loadNodeLookup(config, {
      drain,
      directory: config.redis === '' ? undefined : { serverId, live: () => this.#cluster?.nodes.live() ?? [] },
      self: record,
    });
    if (config.redis !== '') {
      // Loaded only now: a lone node needs no Redis client in its memory.
      const { ClusterPart } = await import('./cluster-part.js');
      const cluster = await ClusterPart.open(config, rules, {
        serverId,
        floorEpoch,
        log: this.#log,
        report: record,
        onSwept: (session) => this.#upstream?.events.swept(session),
        onSuperseded: () => this.#hooks.onShutdownRequest(),
      });
      this.#cluster = cluster;
      this.#closers.push(() => cluster.close());
    }
    const cluster = this.#cluster;
    const nodeEpoch = cluster?.nodes.nodeEpoch ?? floorEpoch;

    const idMemory = allocateSnowflake({
      epochMs: config.id.epoch_ms,
      machineBase: cluster === undefined ? machineBaseOf(config.id.machine_block, threadCount) : 0,
      slotCount: threadCount,
    });
    const token = cluster === undefined ? '' : await machineToken(config.data_dir);
    const issueLimit = cluster === undefined ? undefined : new IssueLimit(idMemory, ['mark', 'lease']);
    const mark = await HighWaterMark.open({
      ...(issueLimit === undefined ? {} : { setLimitMs: issueLimit.setterOf('mark') }),
      directory: config.data_dir,
      memory: idMemory,
      aheadMs: config.id.mark_ahead_ms,
      onWaiting: (waitMs) =>
        this.#hooks.onWaiting?.(`waiting ${(waitMs / 1000).toFixed(1)} s for the ids of an earlier run to pass`),
    });
    this.#closers.push(() => mark.close());
    // Without renewals ids, and with them all pushes, stop after id.mark_ahead_ms; /ready says so (ids_stopped).
    mark.keepRenewing((error) => this.#log.error({ err: error }, 'the high-water mark of ids could not be renewed'));
    this.#idMemory = idMemory;
    const machineIds =
      cluster &&
      issueLimit &&
      (await cluster.leaseMachineIds({
        token,
        memory: idMemory,
        slotCount: threadCount,
        setLimitMs: issueLimit.setterOf('lease'),
        onWaiting: (waitMs, why) => this.#hooks.onWaiting?.(`waiting ${(waitMs / 1000).toFixed(1)} s: ${why}`),
      }));
    if (machineIds !== undefined) this.#closers.push(() => machineIds.release());

    const idService = await wireIds(config, { link: cluster?.link, log: this.#log, isEager: false });
    this.#closers.push(() => idService.close());
    const countersMemory = allocateCounters(METRICS, threadCount);
    const counters = new ThreadCounters(countersMemory, 0);
    const roomCountsMemory = allocateRoomCounts(config.limits.rooms, threadCount);
    const acceptGate = allocateAcceptGate(threadCount);
    const addressCountsMemory =
      config.limits.connections_per_ip === 0
        ? undefined
        : allocateAddressCounts(
            threadCount,
            config.limits.channels_per_bucket,
            config.limits.ip_prefix_bits,
            randomInt(2 ** 32),
          );
    const addressCounts = addressCountsMemory && new AddressCounts(addressCountsMemory, 0);
    const fallbackPorts = new Int32Array(new SharedArrayBuffer(threadCount * Int32Array.BYTES_PER_ELEMENT));
    const ids = new Snowflake(idMemory, 0);
    const sessions = new MemorySessions();
    const wiring = config.upstream.sink === 'none' ? undefined : await import('./upstream-wiring.js');
    const upstream = wiring?.wireUpstream(config, {
      serverId,
      nodeEpoch: () => cluster?.nodes.nodeEpoch ?? nodeEpoch,
      ids,
      sessions,
      log: this.#log,
      redis: cluster?.link,
      cluster: cluster && {
        sessions: cluster.sessions,
        directory: cluster.nodes,
        marks: cluster.userMarks,
      },
    });
    this.#upstream = upstream;
    // Above every epoch of an earlier life: the clock is past that life's mark, and rooms open slower than this leaves room for.
    const allEpoch = Date.now() * EPOCHS_PER_MS;
    const appUrl = this.#appUrl();
    const pool = new ThreadPool({
      workerCount: config.buckets,
      module: new URL('./bucket-thread.js', import.meta.url).href,
      workerData: {
        // Read at the start of every bucket: one that comes back after a crash gets the certificates of the last reload.
        get options() {
          return bucketOptionsOf(config, ports, appUrl, tls?.current);
        },
        memory: {
          counters: countersMemory,
          roomCounts: roomCountsMemory,
          ids: idMemory,
          acceptGate,
          fallbackPorts: fallbackPorts.buffer as SharedArrayBuffer,
          ...(upstream?.gate === undefined ? {} : { upstreamGate: upstream.gate }),
          ...(addressCountsMemory === undefined ? {} : { addressCounts: addressCountsMemory }),
        },
        allEpoch,
        fallback: { serverId, nodeEpoch, secret: newFallbackSecret(), ca: fallbackCa },
      } satisfies BucketData,
      ringCapacityBytes: config.ring.bucket_bytes,
      controlRingCapacityBytes: config.ring.control_bytes,
      maxRecordBytes: config.ring.max_record_bytes,
      stallMs: config.ring.stall_ms,
      maxCrashesPerMinute: config.bucket.max_crashes_per_minute,
      resourceLimits: {
        maxYoungGenerationSizeMb: config.bucket.young_heap_mb,
        ...(config.bucket.heap_mb === 0 ? {} : { maxOldGenerationSizeMb: config.bucket.heap_mb }),
      },
      system: {
        onFailure: (failure) => this.#log.error({ ...failure }, 'an actor failed'),
        onEscalated: (error) => this.#log.fatal({ err: error }, 'an actor of the control thread escalated'),
      },
      onError: (error, where) => this.#log.error({ err: error, where }, 'a record could not be handled'),
      onThreadReady: (thread) => {
        comet.bucketReady(thread);
        tls?.bucketReady(thread);
      },
      onThreadLost: (thread, incarnation, reason) => {
        comet.bucketLost(thread);
        addressCounts?.forgetThread(thread);
        Atomics.store(fallbackPorts, thread, 0);
        clearGauges(countersMemory, thread);
        counters.add(METRIC.bucket_restarts, 1);
        this.#log.error({ bucket: thread, incarnation, reason }, 'a bucket died; its channels are gone');
      },
      onThreadDown: (thread, reason) =>
        this.#log.fatal({ bucket: thread, reason }, 'a bucket crashed too often and stays down'),
    });
    const { runtime, system } = pool;

    const history = new MemoryHistory({
      rules,
      maxBytes: config.history.memory_bytes,
      firstEpoch: allEpoch,
      clock: systemClock,
    });
    const hasHistory = config.history.rooms.length > 0;
    const sequencer = new Sequencer(runtime.writer, ids, {
      roomCapacity: config.limits.rooms,
      firstEpoch: allEpoch,
      maxBodyBytes: config.limits.push_body_bytes,
      onRoom: (room, isOccupied) => {
        upstream?.events.room(room, isOccupied);
        if (isOccupied) source?.roomOpened(room, sequencer.roomNo(room));
      },
      ...(hasHistory ? { history, placesAreGiven: cluster !== undefined } : {}),
    });
    const roomCounts = new RoomCounts(roomCountsMemory, threadCount);
    const comet: CometControl = new CometControl(
      { serverId, nodeEpoch, reconnectWindowMs: config.reconnect.window_ms, requestTimeoutMs: REQUEST_TIMEOUT_MS },
      {
        runtime,
        sequencer,
        sessions,
        roomCounts,
        counters,
        clock: cluster?.clock ?? systemClock,
        log: this.#log,
        ...(cluster === undefined ? {} : { cluster: cluster.cometParts(history, () => comet) }),
        upstream: upstream?.events,
        ...(hasHistory ? { recovery: recoveryOptionsOf(config, history, cluster?.recoveryHistory) } : {}),
      },
    );
    this.#comet = comet;
    const source = cluster && new CometOnlineSource({ comet, roomCounts, roomNo: (room) => sequencer.roomNo(room) });
    this.#closers.push(() => comet.close());
    tls?.connect({
      buckets: (set) => comet.reloadTls(set),
      bucket: (set, thread) => comet.reloadTls(set, 1 << thread),
      api: () => this.#http?.reloadTls(),
    });
    const job = new JobQueue(comet, {
      maxCount: config.queue.max_messages,
      maxBytes: config.queue.max_bytes,
      messageMaxBytes: config.limits.push_body_bytes,
    });
    this.#job = job;
    this.#closers.push(() => job.close());
    // In a cluster, pushes of applications that are just being loaded reach this node's own channels.
    const door: Pusher = { push: (command, onRefused) => (this.#pusher ?? job).push(command, onRefused) };
    comet.connect({ pusher: door, onShutdown: this.#hooks.onShutdownRequest });
    this.#pool = pool;
    await pool.launch();
    if (cluster !== undefined && source !== undefined) {
      const rooms = () => Array.from(sequencer.rooms(), ({ room }) => room);
      await cluster.serve({ comet, job, ids, source, rooms, requestTimeoutMs: REQUEST_TIMEOUT_MS });
    }
    const serving = cluster?.serving;
    const pusher: Pusher = serving?.pusher ?? job;
    this.#pusher = pusher;

    // A bucket with the only TCP listener has clients that no other one could take: it is not made to wait for the others.
    const hasLoneTcp = isTcp && !sharesTcpPort(process.versions.node, process.platform);
    const channelsOf = (state: string, thread: number): number | undefined =>
      state === 'ready' && !(hasLoneTcp && thread === LONE_TCP_THREAD)
        ? readThread(countersMemory, thread).channels
        : undefined;
    const runtimeCounters = new RuntimeCounters(counters, {
      runtime,
      system,
      discards: [pool.discarded, system.discarded],
    });
    const housekeeping = setInterval(() => {
      const gauges = job.gauges();
      counters.set(METRIC.queue_messages, gauges.queuedCount);
      counters.set(METRIC.heap_used_bytes, process.memoryUsage().heapUsed);
      runtimeCounters.sample();
      upstream?.sample(counters, runtimeCounters);
      cluster?.serving.metrics.sample(counters, runtimeCounters);
      runtimeCounters.grow(METRIC.queue_rejected, gauges.rejectedCount);
      setAcceptGates(
        acceptGate,
        [undefined, ...pool.status().threads.map(({ state, thread }) => channelsOf(state, thread))],
        config.bucket.accept_above_mean_ratio,
      );
    }, HOUSEKEEPING_MS);
    this.#closers.push(() => clearInterval(housekeeping));

    const http = new HttpApi({
      lookup,
      pusher,
      durable: serving?.queue,
      ids: idService.service,
      online: serving?.online,
      comet: serving === undefined ? comet : clusterComet(comet, serving.admin),
      sessions: cluster?.sessions ?? sessions,
      node: nodeDescriptionOf(config, ports, version),
      probes: [this, cluster, machineIds, upstream?.events].filter((probe) => probe !== undefined),
      stats: () => ({
        totals: readTotals(countersMemory),
        threads: Array.from({ length: threadCount }, (_, thread) => readThread(countersMemory, thread)),
        queue: job.gauges(),
        runtime: runtime.stats(),
        actors: system.stats(),
      }),
      metrics: () => countersMemory,
      onPushTooLarge: () => counters.add(METRIC.push_too_large, 1),
      batchMaxCount: config.http.max_batch,
      bodyMaxBytes: config.http.max_body_bytes,
      apiToken: config.http.token === '' ? undefined : config.http.token,
      tls: tls !== undefined && config.tls.http === 'on' ? () => tls.options() : undefined,
      pages: await loadPages(),
      onDefect: (error, where) => this.#log.error({ err: error, where }, 'the HTTP API failed'),
    });
    this.#http = http;
    const httpPort = await http.listen(config.host, wantedHttpPort);
    return {
      wsUrl: listenUrlsOf(config.host, ports)[0] ?? '',
      wssUrl: listenUrlsOf(config.host, { ...ports, wsPort: 0 })[0],
      ...tcpUrlsOf(config.host, ports),
      httpUrl: `http${config.tls.http === 'on' ? 's' : ''}://${urlHost(config.host)}:${httpPort}/`,
      ...ports,
      httpPort,
      bucketCount: config.buckets,
      serverId,
    };
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    const reasons: NotReadyReason[] = [];
    if (this.#stopped !== undefined) reasons.push({ reason: 'stopping', detail: 'the node is shutting down' });
    for (const { thread, state, lastReason } of this.#pool?.status().threads ?? []) {
      if (state === 'ready') continue;
      const died = lastReason === '' ? '' : `; it last died of: ${lastReason.split('\n')[0]}`;
      reasons.push({ reason: `bucket_${state}`, detail: `bucket ${thread} is ${state}${died}` });
    }
    // In a cluster the lease of the machine ids answers for it.
    const isAlone = this.#cluster === undefined;
    if (isAlone && this.#idMemory !== undefined && issueLimitMs(this.#idMemory) <= Date.now()) {
      reasons.push({ reason: 'ids_stopped', detail: 'the high-water mark could not be renewed; no ids are issued' });
    }
    return reasons;
  }

  /**
   * Deliver what was accepted, refuse further pushes, stop accepting channels, tell and close them, within
   * shutdown.timeout_ms. Resolves true where nothing had to be cut off; a second call waits for the same end.
   */
  stop(): Promise<boolean> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<boolean> {
    const { timeout_ms: timeoutMs } = this.#config.shutdown;
    const endMs = performance.now() + timeoutMs;
    const left = (await this.#cluster?.quiet(timeoutMs * QUEUE_DRAIN_RATIO)) ?? true;
    const drained = left && ((await this.#job?.drain(timeoutMs * QUEUE_DRAIN_RATIO)) ?? true);
    // In the same turn: a push that comes from here on is refused, and none was accepted that the buckets do not get.
    this.#job?.close();
    await this.#ringsRead(performance.now() + timeoutMs * RING_DRAIN_RATIO);
    const upstreamMs = this.#upstream === undefined ? 0 : timeoutMs * UPSTREAM_DRAIN_RATIO;
    const stopped = await this.#stopPool(endMs - upstreamMs - performance.now());
    // Behind the buckets: the disconnects of a shutdown are events too.
    const told = (await this.#upstream?.events.close(Math.max(0, endMs - performance.now()))) ?? true;
    this.#upstream = undefined;
    await this.#cluster?.leave(Math.max(0, endMs - performance.now()));
    await this.#closeAll();
    return drained && stopped && told;
  }

  /** Wait until every bucket that is alive has read the control thread's ring, so that closes come behind pushes. */
  async #ringsRead(deadlineMs: number): Promise<void> {
    const pool = this.#pool;
    if (pool === undefined) return;
    const isBehind = () =>
      pool.status().threads.some(({ thread, state }) => state === 'ready' && pool.runtime.writer.lagBytes(thread) > 0);
    while (isBehind() && performance.now() < deadlineMs) {
      // A bucket that no record concerns sleeps with a cursor that lags.
      pool.runtime.ring(~1);
      await new Promise((resolve) => setTimeout(resolve, RING_POLL_MS));
    }
  }

  /** False: a bucket did not stop in time. */
  async #stopPool(timeoutMs: number): Promise<boolean> {
    const pool = this.#pool;
    this.#pool = undefined;
    if (pool === undefined) return true;
    const { stuck } = await pool.stop(timeoutMs);
    if (stuck.length > 0) this.#log.error({ buckets: stuck }, 'buckets did not stop in time');
    this.#hasStuckBucket = stuck.length > 0;
    return stuck.length === 0;
  }

  /** A bucket spins: process.exit() would abort while it holds sockets; only a signal ends the process then. */
  get hasStuckBucket(): boolean {
    return this.#hasStuckBucket;
  }

  async #closeAll(): Promise<void> {
    this.#http?.close();
    await this.#stopPool(this.#config.shutdown.timeout_ms);
    // After a start that failed.
    await this.#upstream?.events.close(0);
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  #appUrl(): string {
    const { app } = this.#config;
    if (app === '' || /^(file|data|node):/.test(app)) return app;
    return pathToFileURL(resolvePath(app)).href;
  }
}
