/**
 * nodes-reply: what a client is told before it connects (goim's `nodes/weighted`, our `halley/nodes` and `halley/httpdns`), and
 * what an operator is told about the nodes (goim's `nodes/instances`, an element of its discovery). goim's names are kept to
 * the letter; like goim, members that are zero or empty are left out.
 */
import { isIP } from 'node:net';
import type { NodeRecord } from '../push/index.js';
import type { PickedNode } from './balancer.js';

/** This node, as clients and operators should see it. */
export interface NodeDescription {
  readonly serverId: string;
  readonly hostname: string;
  /** What an old client falls back to, for example `conn.goim.io`. */
  readonly domain: string;
  /** Appended to `hostname` for browsers, which need a name that a certificate can hold, for example `.goim.io`. */
  readonly hostDomain: string;
  /** Public addresses for all other platforms. */
  readonly addrs: readonly string[];
  /** 0: not offered. */
  readonly tcpPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /** TCP over TLS. */
  readonly tcpTlsPort?: number;
  readonly heartbeatS: number;
  /** Missed heartbeats until a connection is idle. */
  readonly heartbeatMaxCount: number;
  readonly backoff: {
    readonly maxDelayS: number;
    readonly baseDelayS: number;
    readonly factor: number;
    /** Share of a delay that is random, 0 to 1. */
    readonly jitterRatio: number;
  };
  readonly region: string;
  readonly zone: string;
  readonly env: string;
  readonly version: string;
  readonly weight: number;
  /** Where the node listens, for operators: `ws://10.0.0.1:3102/sub`, `wss:`, `tcp://10.0.0.1:3101`, `tls:` (TCP over TLS). */
  readonly listenUrls: readonly string[];
}

/** goim sends browsers names and everybody else addresses. */
const WEB_PLATFORM = 'web';

type JsonMembers = Readonly<Record<string, unknown>>;

/** Go's `omitempty`. */
function withoutZeros(members: JsonMembers): JsonMembers {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== 0 && value !== ''));
}

/** What `nodeNames` needs of a node. */
export type NamedNode = Pick<NodeDescription, 'hostname' | 'addrs'>;

/**
 * The names or addresses of one node for a platform. Empty where it has none.
 * @param hostDomain the same for all nodes: the asked one's
 */
export function nodeNames(node: NamedNode, hostDomain: string, platform: string): readonly string[] {
  if (platform !== WEB_PLATFORM) return node.addrs;
  return node.hostname === '' ? [] : [node.hostname + hostDomain];
}

/** The ports of a node that clients may connect to; 0: not offered. */
export type NodePorts = Pick<NodeDescription, 'tcpPort' | 'wsPort' | 'wssPort' | 'tcpTlsPort'>;

/**
 * goim's `nodes/weighted` data.
 * @param node whose heartbeat and backoff all nodes share
 * @param names best first, from `nodeNames` of the nodes that the balancer chose; empty: the domain stands in
 * @param ports those of the best node: goim's reply has room for one set, so nodes should agree on them
 */
export function weightedReply(node: NodeDescription, names: readonly string[], ports: NodePorts = node): JsonMembers {
  const { backoff } = node;
  return withoutZeros({
    domain: node.domain,
    tcp_port: ports.tcpPort,
    ws_port: ports.wsPort,
    wss_port: ports.wssPort,
    tcp_tls_port: ports.tcpTlsPort ?? 0,
    heartbeat: node.heartbeatS,
    nodes: names.length > 0 ? names : [node.domain],
    backoff: withoutZeros({
      max_delay: backoff.maxDelayS,
      base_delay: backoff.baseDelayS,
      factor: backoff.factor,
      jitter: backoff.jitterRatio,
    }),
    heartbeat_max: node.heartbeatMaxCount,
  });
}

/**
 * One element of goim's `nodes/instances` data. Metadata are texts, as in goim's discovery.
 * @param nowMs becomes `latest_timestamp`, in nanoseconds as discovery has it, exact to about 0.2 us
 */
export function instanceReply(
  node: NodeDescription,
  counts: { readonly connCount: number; readonly ipCount: number; readonly offline: boolean },
  nowMs: number,
): JsonMembers {
  return {
    region: node.region,
    zone: node.zone,
    env: node.env,
    appid: 'goim.comet',
    hostname: node.hostname,
    addrs: node.listenUrls,
    version: node.version,
    latest_timestamp: nowMs * 1e6,
    metadata: {
      addrs: node.addrs.join(','),
      conn_count: String(counts.connCount),
      ip_count: String(counts.ipCount),
      offline: String(counts.offline),
      weight: String(node.weight),
      server_id: node.serverId,
    },
  };
}

/** A node that is alone, in the form in which a cluster knows its nodes. */
export function descriptionRecord(
  node: NodeDescription,
  now: Pick<NodeRecord, 'connCount' | 'ipCount' | 'isDraining' | 'updatedMs'>,
): NodeRecord {
  const { serverId, hostname, addrs, tcpPort, wsPort, wssPort, tcpTlsPort = 0, region, zone, version, weight } = node;
  return {
    ...{ serverId, hostname, addrs, tcpPort, wsPort, wssPort, tcpTlsPort, region, zone, version, weight, ...now },
    nodeEpoch: 0,
    httpPort: 0,
    latitude: undefined,
    longitude: undefined,
    capacity: 0,
    roles: ['comet'],
  };
}

/** A node's main role is what goim's discovery calls its application. */
function appIdOf({ roles }: NodeRecord): string {
  const role = roles.includes('comet') ? 'comet' : (roles[0] ?? 'comet');
  return `goim.${role}`;
}

/** Where clients connect: per door that is open the URL of each address, plain before TLS, WebSocket before TCP. */
export function doorUrls(
  addrs: readonly string[],
  { wsPort = 0, wssPort = 0, tcpPort = 0, tcpTlsPort = 0 }: Partial<NodePorts>,
): string[] {
  const urls = (scheme: string, port: number, path = '') =>
    port === 0 ? [] : addrs.map((addr) => `${scheme}://${isIP(addr) === 6 ? `[${addr}]` : addr}:${port}${path}`);
  return [
    ...urls('ws', wsPort, '/sub'),
    ...urls('wss', wssPort, '/sub'),
    ...urls('tcp', tcpPort),
    ...urls('tls', tcpTlsPort),
  ];
}

/**
 * An element of `nodes/instances` for a node of the cluster, by what it said of itself last.
 * @param isOffline it takes no new clients
 */
export function recordReply(record: NodeRecord, env: string, isOffline: boolean): JsonMembers {
  return {
    region: record.region,
    zone: record.zone,
    env,
    appid: appIdOf(record),
    hostname: record.hostname,
    addrs: doorUrls(record.addrs, record),
    version: record.version,
    latest_timestamp: record.updatedMs * 1e6,
    metadata: {
      addrs: record.addrs.join(','),
      conn_count: String(record.connCount),
      ip_count: String(record.ipCount),
      offline: String(isOffline),
      weight: String(record.weight),
      server_id: record.serverId,
    },
  };
}

/** An element of `halley/nodes`. Loads are left out: the route is open. */
export function pickedReply({ record, distanceKm }: PickedNode, names: readonly string[]): JsonMembers {
  return {
    ...withoutZeros({
      server_id: record.serverId,
      addrs: names,
      tcp_port: record.tcpPort,
      ws_port: record.wsPort,
      wss_port: record.wssPort,
      tcp_tls_port: record.tcpTlsPort ?? 0,
      region: record.region,
      zone: record.zone,
    }),
    ...(distanceKm === undefined ? {} : { distance_km: Math.round(distanceKm) }),
  };
}

/**
 * The IPs among a node's addresses. A host name is left out, not resolved: the answer would be as old as the lookup, and a
 * client that could use a name would not ask for IPs.
 */
export function nodeIps(node: Pick<NodeDescription, 'addrs'>, family: 4 | 6): readonly string[] {
  return node.addrs.filter((addr) => isIP(addr) === family);
}

/**
 * The IPs of several nodes, best first: one of each node before the second of any, so that a client that tries them in turn
 * leaves a dead node with its second try.
 */
export function interleaved(ipsByNode: readonly (readonly string[])[], limitCount: number): string[] {
  const ips = new Set<string>();
  const depthCount = Math.max(0, ...ipsByNode.map((ofNode) => ofNode.length));
  for (let depth = 0; depth < depthCount; depth++) {
    for (const ofNode of ipsByNode) {
      const ip = ofNode[depth];
      if (ip !== undefined) ips.add(ip);
      if (ips.size === limitCount) return [...ips];
    }
  }
  return [...ips];
}
