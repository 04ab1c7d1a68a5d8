/**
 * From the configuration to what each part of the node takes: the only place that knows both names.
 */
import { hostname } from 'node:os';
import { FORWARDED_HEADERS, type ForwardedHeader } from '../address/index.js';
import { type BucketOptions, checkOrigins, type RoomRecoveryOptions, type TlsSet } from '../comet/index.js';
import type { Config } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import {
  doorUrls,
  type GeoPoint,
  MAX_LATITUDE,
  MAX_LONGITUDE,
  type NodeDescription,
  parseDegrees,
} from '../logic/index.js';
import type { NodeRecord, RoomHistory } from '../push/index.js';
import type { MemoryHistory } from '../store/index.js';

const PROXY_PROTOCOLS = ['off', 'v2', 'v2-tcp'] as const;

/** Which header our own proxies tell the client's address in. */
export function forwardedHeaderOf({ http }: Config): ForwardedHeader {
  return FORWARDED_HEADERS.find((name) => name === http.forwarded_header) ?? 'x-forwarded-for';
}

/** What a process of this role does, by the names of `NodeRecord.roles`. */
export function rolesOf(role: string): readonly string[] {
  return role === 'all' ? ['comet', 'logic', 'job'] : [role];
}

/** Where the node listens for clients; 0: it does not. */
export interface NodePorts {
  readonly tcpPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /** TCP over TLS. */
  readonly tcpTlsPort: number;
}

/** Machine ids are leased in blocks of so many, one per thread. */
export const MACHINE_BLOCK_SIZE = 16;

/** Id of this node: configured, or the host's name. */
export function serverIdOf(config: Config): string {
  return config.server_id === '' ? hostname() : config.server_id;
}

/**
 * First machine id of the node's threads. More threads than a block holds take two blocks, of which the configured one
 * must be the first, an even one.
 */
export function machineBaseOf(machineBlock: number, threadCount: number): number {
  if (threadCount > MACHINE_BLOCK_SIZE && machineBlock % 2 !== 0) {
    throw new HalleyError(
      'MACHINE_BLOCK_ODD',
      `a node with more than ${MACHINE_BLOCK_SIZE - 1} buckets uses two blocks of machine ids: id.machine_block must be even`,
      { machine_block: machineBlock, threads: threadCount },
    );
  }
  return machineBlock * MACHINE_BLOCK_SIZE;
}

/**
 * @param ports probed, the same for every bucket
 * @throws HalleyError ORIGIN_INVALID
 */
export function bucketOptionsOf(
  config: Config,
  ports: NodePorts,
  appUrl: string,
  tls: TlsSet | undefined,
): BucketOptions {
  const { auth, http, limits, slow, fallback, fanout, heartbeat, bucket, shutdown } = config;
  return {
    host: config.host,
    port: ports.wsPort,
    tcpPort: ports.tcpPort,
    tls: tls === undefined ? undefined : { wsPort: ports.wssPort, tcpPort: ports.tcpTlsPort, set: tls },
    app: appUrl,
    auth: { mode: auth.mode === 'jwt' ? 'jwt' : 'open', jwtSecret: auth.jwt_secret },
    handshakeTimeoutMs: auth.handshake_timeout_ms,
    heartbeatIntervalS: heartbeat.interval_s,
    heartbeatMisses: heartbeat.max_misses,
    bodyBytes: limits.body_bytes,
    requestBodyBytes: limits.request_body_bytes,
    roomIdBytes: limits.room_id_bytes,
    roomsPerChannel: limits.rooms_per_channel,
    watchOps: limits.watch_ops,
    preAuthBytes: limits.pre_auth_bytes,
    preAuthPackets: limits.pre_auth_packets,
    channelsPerBucket: limits.channels_per_bucket,
    maxBackpressureBytes: slow.max_backpressure_bytes,
    slowCloseAfterMs: slow.close_after_ms,
    slowExtendedCloseAfterMs: slow.extended_close_after_ms,
    reconnectWindowMs: config.reconnect.window_ms,
    limits: {
      allowedOrigins: checkOrigins(limits.allowed_origins),
      connectionsPerIp: limits.connections_per_ip,
      connectsPerSec: limits.connects_per_s,
      connectsBurst: limits.connects_burst,
      proxyProtocol: PROXY_PROTOCOLS.find((mode) => mode === limits.proxy_protocol) ?? 'off',
      trustedProxies: http.trusted_proxies,
      forwardedHeader: forwardedHeaderOf(config),
      packetsPerSec: limits.messages_per_s,
      packetsBurst: limits.messages_burst,
      bytesPerSec: limits.bytes_per_s,
      bytesBurst: limits.bytes_burst,
      rateAction: limits.rate_action === 'drop' ? 'drop' : 'close',
    },
    fallbackReplayBytes: fallback.replay_bytes,
    fallbackPollMaxWaitMs: fallback.poll_max_wait_ms,
    batchMaxMessages: fanout.batch_max_messages,
    batchMaxBytes: fanout.batch_max_bytes,
    maxDelayMs: fanout.max_delay_ms,
    dutyThreshold: fanout.duty_threshold,
    dutyTarget: fanout.duty_target,
    heapRefuseRatio: bucket.heap_refuse_ratio,
    drainMs: shutdown.drain_ms,
    hasHistory: config.history.rooms.length > 0,
    logLevel: config.log.level,
  };
}

/** @param memory what the sequencer keeps */
export function recoveryOptionsOf(
  { history }: Config,
  memory: MemoryHistory,
  cluster?: RoomHistory,
): RoomRecoveryOptions {
  return {
    memory,
    ...(cluster === undefined ? {} : { history: cluster }),
    maxMessages: history.recover_max_messages,
    maxBytes: history.recover_max_bytes,
    bytesPerSec: history.recover_bytes_per_s,
    timeoutMs: history.recover_timeout_ms,
  };
}

/** A host as it stands in a URL. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** Addresses of the WebSocket, plain first. */
export function listenUrlsOf(host: string, { wsPort, wssPort }: Pick<NodePorts, 'wsPort' | 'wssPort'>): string[] {
  return doorUrls([host], { wsPort, wssPort });
}

/** Addresses of TCP; undefined where it is closed. */
export function tcpUrlsOf(host: string, { tcpPort, tcpTlsPort }: Pick<NodePorts, 'tcpPort' | 'tcpTlsPort'>) {
  return {
    tcpUrl: doorUrls([host], { tcpPort })[0],
    tcpTlsUrl: doorUrls([host], { tcpTlsPort })[0],
  };
}

/** What clients and operators are told about this node. */
export function nodeDescriptionOf(
  config: Config,
  { tcpPort, wsPort, wssPort, tcpTlsPort }: NodePorts,
  version: string,
): NodeDescription {
  const { node, heartbeat } = config;
  return {
    serverId: serverIdOf(config),
    hostname: hostname(),
    domain: node.default_domain === '' ? config.host : node.default_domain,
    hostDomain: node.host_domain,
    addrs: node.addrs.length > 0 ? node.addrs : [config.host],
    tcpPort,
    wsPort,
    wssPort,
    tcpTlsPort,
    heartbeatS: heartbeat.interval_s,
    heartbeatMaxCount: heartbeat.max_misses,
    backoff: {
      maxDelayS: node.backoff_max_s,
      baseDelayS: node.backoff_base_s,
      factor: node.backoff_factor,
      jitterRatio: node.backoff_jitter,
    },
    region: node.region,
    zone: node.zone,
    env: '',
    version,
    weight: node.weight,
    listenUrls: doorUrls([config.host], { wsPort, wssPort, tcpPort, tcpTlsPort }),
  };
}

/** Addresses to listen on that nobody can connect to. */
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/**
 * Where the node is; undefined where nothing is configured.
 * @throws HalleyError NODE_PLACE_INVALID
 */
export function nodePlaceOf({ node }: Config): GeoPoint | undefined {
  const { latitude: latitudeText, longitude: longitudeText } = node;
  if (latitudeText === '' && longitudeText === '') return undefined;
  const latitude = parseDegrees(latitudeText, MAX_LATITUDE);
  const longitude = parseDegrees(longitudeText, MAX_LONGITUDE);
  if (latitude !== undefined && longitude !== undefined) return { latitude, longitude };
  throw new HalleyError(
    'NODE_PLACE_INVALID',
    `node.latitude must be a decimal number of -${MAX_LATITUDE} to ${MAX_LATITUDE} and node.longitude one of -${MAX_LONGITUDE} to ${MAX_LONGITUDE}, or both must be empty`,
    { latitude: latitudeText, longitude: longitudeText },
  );
}

/** What of a node's record is not configured. */
export type NodeCounts = Pick<
  NodeRecord,
  | 'nodeEpoch'
  | 'version'
  | 'tcpPort'
  | 'wsPort'
  | 'wssPort'
  | 'tcpTlsPort'
  | 'httpPort'
  | 'connCount'
  | 'ipCount'
  | 'updatedMs'
> & {
  /** An operator drains it, or it is not ready. */
  readonly isDraining: boolean;
};

/**
 * What this node tells the cluster about itself with each renewal. Call it once before the start is over: it throws for what
 * the table of options cannot check.
 * @throws HalleyError NODE_PLACE_INVALID
 */
export function nodeRecordOf(config: Config, counts: NodeCounts): NodeRecord {
  const { node, host, role } = config;
  const place = nodePlaceOf(config);
  const ownAddrs = WILDCARDS.has(host) ? [] : [host];
  return {
    ...counts,
    serverId: serverIdOf(config),
    hostname: hostname(),
    addrs: node.addrs.length > 0 ? node.addrs : ownAddrs,
    ...(WILDCARDS.has(host) ? {} : { forwardHost: host }),
    region: node.region,
    zone: node.zone,
    latitude: place?.latitude,
    longitude: place?.longitude,
    weight: node.weight,
    capacity: node.capacity,
    roles: rolesOf(role),
  };
}
