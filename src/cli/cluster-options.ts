/**
 * The command line of `halley cluster local`, checked whole before anything is started.
 */
import { resolve } from 'node:path';
import { loadConfig } from '../config/index.js';
import { misuse, OperatorFlags } from './operator-flags.js';

export const CLUSTER_HELP = `Usage: halley cluster local [options]
Runs several nodes and their Redis on this machine, each as a process of its own, until Ctrl-C.
  --nodes N                default 3
  --buckets N              worker threads of each node, default 1
  --redis URL              a running Redis; without it a redis-server is started, on a free port
  --ws-port N              WebSocket of the first node, 10 more for each further one; default 3102, 0 takes free ports;
                           with TLS configured tls.ws_port goes in the same steps
  --http-port N            HTTP API likewise; default 3111 (TCP takes free ports, which the nodes print)
  --data-dir DIR           files of the nodes and of Redis, default data/cluster
Other options of the nodes come from HALLEY_* in the environment. Nothing is restarted: where a process ends, all do.
Exit code 0: stopped in order; 1: a process ended by itself, or could not be started or stopped; 2: wrong usage.
`;

export interface ClusterOptions {
  readonly nodeCount: number;
  /** Of each node. */
  readonly buckets: number;
  /** undefined: start one. */
  readonly redisUrl: string | undefined;
  /** Of the first node; 0: free ones for all. */
  readonly wsPort: number;
  readonly httpPort: number;
  /** Likewise of the WebSocket with TLS; undefined: TLS is off. */
  readonly tlsPort: number | undefined;
  /** From node to node. */
  readonly portStep: number;
  /** Absolute. */
  readonly dataDir: string;
  /** shutdown.timeout_ms of the nodes. */
  readonly nodeStopMs: number;
  /** cluster.prefix of the nodes. */
  readonly prefix: string;
}

/** Machine ids are leased in 64 blocks, but nobody has the memory for so many nodes by accident. */
const NODES_RANGE = [1, 32] as const;
const BUCKETS_RANGE = [1, 31] as const;
const MAX_PORT = 65_535;
const PORT_RANGE = [0, MAX_PORT] as const;
const PORT_STEP = 10;
const DEFAULTS = { nodeCount: 3, buckets: 1, wsPort: 3102, httpPort: 3111, dataDir: 'data/cluster' } as const;

function portsOf(base: number, nodeCount: number): number[] {
  return base === 0 ? [] : Array.from({ length: nodeCount }, (_, index) => base + PORT_STEP * index);
}

type PortBases = Readonly<Record<string, number>>;

/** @param bases the first port of each kind by the name of its option */
function checkPorts(nodeCount: number, bases: PortBases): void {
  const owners = new Map<number, string>();
  for (const [option, base] of Object.entries(bases)) {
    for (const port of portsOf(base, nodeCount)) {
      if (port > MAX_PORT)
        throw misuse(`the last port must be at most ${MAX_PORT}`, { last: base + PORT_STEP * (nodeCount - 1) });
      const owner = owners.get(port);
      if (owner !== undefined) throw misuse(`${owner} and ${option} must not meet in steps of ${PORT_STEP}`, { port });
      owners.set(port, option);
    }
  }
}

/**
 * @param argv what follows `halley cluster`
 * @returns undefined where help was asked for
 * @throws HalleyError CLI_USAGE, CONFIG_INVALID
 */
export function parseClusterOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string,
): ClusterOptions | undefined {
  const text = { type: 'string' } as const;
  const flags = new OperatorFlags(
    argv,
    {
      ...{ nodes: text, buckets: text, redis: text, 'ws-port': text, 'http-port': text, 'data-dir': text },
      help: { type: 'boolean', short: 'h' },
    },
    false,
  );
  if (flags.has('help')) return undefined;
  const [word, extra] = flags.words;
  if (word !== 'local') throw misuse('there is one kind: halley cluster local', { given: word ?? 'none' });
  if (extra !== undefined) throw misuse('one argument too many', { argument: extra });
  const nodeCount = flags.integer('nodes', NODES_RANGE) ?? DEFAULTS.nodeCount;
  const buckets = flags.integer('buckets', BUCKETS_RANGE) ?? DEFAULTS.buckets;
  const wsPort = flags.integer('ws-port', PORT_RANGE) ?? DEFAULTS.wsPort;
  const httpPort = flags.integer('http-port', PORT_RANGE) ?? DEFAULTS.httpPort;
  const redisUrl = flags.text('redis');
  if (redisUrl === '') throw misuse('--redis must be a URL such as redis://127.0.0.1:6379');
  // What a node would refuse is told once, and before Redis is started.
  const { config } = loadConfig({
    argvFlags: {
      'ws-port': String(wsPort),
      'tcp-port': '0',
      'http-port': String(httpPort),
      redis: redisUrl ?? 'redis://127.0.0.1',
    },
    env,
    readFile,
  });
  // Free ports are meant for all of them: two clusters must not meet in the one that nobody thought of.
  const tlsPort = config.tls.cert_file === '' ? undefined : wsPort === 0 ? 0 : config.tls.ws_port;
  checkPorts(nodeCount, {
    '--ws-port': wsPort,
    '--http-port': httpPort,
    ...(tlsPort === undefined ? {} : { 'tls.ws_port': tlsPort }),
  });
  return {
    nodeCount,
    buckets,
    redisUrl,
    wsPort,
    httpPort,
    tlsPort,
    portStep: PORT_STEP,
    dataDir: resolve(flags.text('data-dir') ?? DEFAULTS.dataDir),
    nodeStopMs: config.shutdown.timeout_ms,
    prefix: config.cluster.prefix,
  };
}
