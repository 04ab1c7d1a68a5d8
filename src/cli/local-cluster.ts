/**
 * local-cluster: N nodes as processes of their own, and the Redis they meet in.
 *
 * Threads: main thread.
 * Guarantees: nodes are started when Redis answers, and Redis is ended when the last node has ended, so that nobody says
 *   goodbye to a Redis that is gone. Nothing is restarted: the first process that ends by itself is told through `lost`.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HalleyError } from '../errors/index.js';
import { loggerOf } from '../telemetry/index.js';
import type { ClusterOptions } from './cluster-options.js';
import { type ChildEnd, LocalChild } from './local-child.js';
import { planLocalRedis, redisEndText } from './local-redis.js';

export interface LocalClusterIo {
  readonly env: NodeJS.ProcessEnv;
  /** A line of a node, with its name in front. */
  readonly onLine: (line: string, stream: 'stdout' | 'stderr') => void;
}

export interface LocalNodeAddresses {
  readonly serverId: string;
  readonly pid: number;
  readonly wsUrl: string;
  /** Without a slash at its end. */
  readonly httpUrl: string;
}

export interface LocalAddresses {
  readonly nodes: readonly LocalNodeAddresses[];
  /** The server that was started; undefined: none was. */
  readonly redis: { readonly url: string; readonly pid: number; readonly directory: string } | undefined;
}

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
/** What `start-command.ts` prints when a node is ready. */
const WS_LINE = /^ +WebSocket +(wss?:\S+)/;
const HTTP_LINE = /^ +HTTP API +(https?:\S+)/;
/** A node ends by itself within shutdown.timeout_ms; then it is hung. */
const NODE_STOP_MARGIN_MS = 5_000;
const REDIS_STOP_MS = 10_000;
const REDIS_CALL_MS = 5_000;

export class LocalCluster {
  /** Resolves with a sentence when a process has ended that was not told to. */
  readonly lost: Promise<string>;
  readonly #options: ClusterOptions;
  readonly #io: LocalClusterIo;
  readonly #nodes: LocalChild[] = [];
  #redis: LocalChild | undefined;
  #tellLost: (sentence: string) => void = () => {};
  #isStopping = false;

  constructor(options: ClusterOptions, io: LocalClusterIo) {
    this.#options = options;
    this.#io = io;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
  }

  /**
   * Resolves when every node is ready. Where a process ends before that it never settles: `lost` does.
   * @throws HalleyError REDIS_RUNS, CLUSTER_STOPPING, and errors of the file system
   */
  async start(): Promise<LocalAddresses> {
    const { redisUrl, nodeCount } = this.#options;
    const redis = redisUrl === undefined ? await this.#startRedis() : undefined;
    this.#refuseWhenStopping();
    const url = redisUrl ?? redis?.url ?? '';
    const nodes = await Promise.all(Array.from({ length: nodeCount }, (_, index) => this.#startNode(index, url)));
    return { nodes, redis };
  }

  /** Processes that have not ended. */
  get runningCount(): number {
    return [...this.#nodes, this.#redis].filter((child) => child !== undefined && !child.hasEnded).length;
  }

  /** End the nodes, then Redis. Resolves with what did not go well, one sentence each. */
  async stop(): Promise<readonly string[]> {
    this.#isStopping = true;
    const timeoutMs = this.#options.nodeStopMs + NODE_STOP_MARGIN_MS;
    const problems = await Promise.all(this.#nodes.map((node) => this.#stopChild(node, timeoutMs)));
    if (this.#redis !== undefined) problems.push(await this.#stopChild(this.#redis, REDIS_STOP_MS));
    return problems.filter((problem) => problem !== undefined);
  }

  /** End everything at once. */
  kill(): void {
    this.#isStopping = true;
    for (const node of this.#nodes) node.kill();
    this.#redis?.kill();
  }

  async #startRedis(): Promise<NonNullable<LocalAddresses['redis']>> {
    let tellReady: () => void = () => {};
    const ready = new Promise<void>((resolve) => {
      tellReady = resolve;
    });
    const plan = await planLocalRedis(this.#options.dataDir, this.#io.env, tellReady);
    const { spec, url, directory, lastLines, isFirstStart } = plan;
    this.#refuseWhenStopping();
    const redis = new LocalChild(spec);
    this.#redis = redis;
    this.#watch(redis, (end) => redisEndText(end, lastLines));
    await ready;
    if (isFirstStart) await this.#declareFirstLease(url);
    return { url, directory, pid: redis.pid };
  }

  /** Nobody can hold machine ids that this Redis does not know of: the nodes need not wait for such leases to end. */
  async #declareFirstLease(url: string): Promise<void> {
    const { declareFirstLease, RedisLink } = await import('../store/redis/index.js');
    const link = await RedisLink.open(
      {
        ...{ url, prefix: this.#options.prefix, tlsCaFile: '', clientName: 'halley:cluster' },
        ...{ connectTimeoutMs: REDIS_CALL_MS, commandTimeoutMs: REDIS_CALL_MS },
      },
      loggerOf(() => {}),
    );
    try {
      await declareFirstLease(link);
    } finally {
      link.close();
    }
  }

  #startNode(index: number, redisUrl: string): Promise<LocalNodeAddresses> {
    const { wsPort, httpPort, tlsPort, portStep, buckets, dataDir } = this.#options;
    const serverId = `local-${index + 1}`;
    const portOf = (base: number) => (base === 0 ? 0 : base + portStep * index);
    const flags = {
      'server-id': serverId,
      redis: redisUrl,
      'ws-port': portOf(wsPort),
      // In steps of 10 goim's 3101 would meet the HTTP ports; each node says which one it took.
      'tcp-port': 0,
      'http-port': portOf(httpPort),
      buckets,
      'data-dir': join(dataDir, serverId),
    };
    const { env } = this.#io;
    return new Promise((resolve) => {
      let wsUrl = '';
      const node = new LocalChild({
        name: serverId,
        command: process.execPath,
        args: [MAIN, ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])],
        env:
          tlsPort === undefined
            ? env
            : { ...env, HALLEY_TLS_WS_PORT: String(portOf(tlsPort)), HALLEY_TLS_TCP_PORT: '0' },
        onLine: (line, stream) => {
          this.#io.onLine(`${serverId} | ${line}`, stream);
          wsUrl = WS_LINE.exec(line)?.[1] ?? wsUrl;
          const httpUrl = HTTP_LINE.exec(line)?.[1]?.replace(/\/$/, '');
          if (httpUrl !== undefined) resolve({ serverId, pid: node.pid, wsUrl, httpUrl });
        },
      });
      this.#nodes.push(node);
      this.#watch(node, ({ text }) => `${serverId} ended: ${text}`);
    });
  }

  #watch(child: LocalChild, sentenceOf: (end: ChildEnd) => string): void {
    void child.ended.then((end) => {
      if (!this.#isStopping) this.#tellLost(sentenceOf(end));
    });
  }

  async #stopChild(child: LocalChild, timeoutMs: number): Promise<string | undefined> {
    if (child.hasEnded) return undefined;
    const { text, exitCode, signal } = await child.stop(timeoutMs);
    // By SIGTERM itself: it had not come as far as to handle it.
    return exitCode === 0 || signal === 'SIGTERM' ? undefined : `${child.name} did not stop in order: ${text}`;
  }

  #refuseWhenStopping(): void {
    if (this.#isStopping) throw new HalleyError('CLUSTER_STOPPING', 'the cluster is stopping');
  }
}
