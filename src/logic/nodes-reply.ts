/**
 * nodes-reply: what a client is told before it connects (goim's `nodes/weighted`), and what an operator is told about the
 * nodes (goim's `nodes/instances`, an element of its discovery). Ports and names are goim's to the letter; like goim, members
 * that are zero or empty are left out.
 */

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
  /** Where the node listens, for operators: `ws://10.0.0.1:3102/sub`. */
  readonly listenUrls: readonly string[];
}

/** goim sends browsers names and everybody else addresses. */
const WEB_PLATFORM = 'web';

type JsonMembers = Readonly<Record<string, unknown>>;

/** Go's `omitempty`. */
function withoutZeros(members: JsonMembers): JsonMembers {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== 0 && value !== ''));
}

/** The names or addresses of one node for a platform. Empty where it has none. */
export function nodeNames(node: NodeDescription, platform: string): readonly string[] {
  if (platform !== WEB_PLATFORM) return node.addrs;
  return node.hostname === '' ? [] : [node.hostname + node.hostDomain];
}

/**
 * goim's `nodes/weighted` data.
 * @param node whose ports, heartbeat and backoff all nodes share
 * @param names best first, from `nodeNames` of the nodes that `rankNodes` chose; empty: the domain stands in
 */
export function weightedReply(node: NodeDescription, names: readonly string[]): JsonMembers {
  const { backoff } = node;
  return withoutZeros({
    domain: node.domain,
    tcp_port: node.tcpPort,
    ws_port: node.wsPort,
    wss_port: node.wssPort,
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
