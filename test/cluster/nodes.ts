/** Nodes of one cluster, as processes: server ids `<prefix>-0` and on, keys of their own in the Redis they share. */
import { type HalleyOptions, type HalleyProcess, startHalley, startRedis, startRedisCluster } from '../kit/index.js';

export interface ClusterOptions extends HalleyOptions {
  /** First part of every key and channel, unique per test; also of the server ids. */
  readonly prefix: string;
}

/** A node that says when it is ready. @param serverNo end of its server id */
export function startNode(
  redisUrl: string,
  serverNo: number | string,
  options: ClusterOptions,
): Promise<HalleyProcess> {
  const { prefix, args = [], env = {}, ...rest } = options;
  return startHalley({
    ...rest,
    args: ['--redis', redisUrl, '--server-id', `${prefix}-${serverNo}`, '--buckets', '1', ...args],
    env: {
      HALLEY_CLUSTER_PREFIX: prefix,
      // A fresh Redis has no leases of an earlier life to wait for longer than this.
      HALLEY_ID_LEASE_MS: '1000',
      HALLEY_LOG_LEVEL: 'warn',
      ...env,
    },
  });
}

/** `count` nodes at once, each with one bucket. */
export function startNodes(redisUrl: string, count: number, options: ClusterOptions): Promise<HalleyProcess[]> {
  return Promise.all(Array.from({ length: count }, (_, serverNo) => startNode(redisUrl, serverNo, options)));
}

/** End them all; resolves with their exit codes. */
export function stopNodes(nodes: readonly HalleyProcess[]): Promise<(number | string)[]> {
  return Promise.all(nodes.map((node) => node.stop()));
}

/** What nodes meet in, of one server or of three masters. */
export interface ClusterRedis {
  readonly url: string;
  /** Of one server: any of them takes a PUBLISH. */
  readonly port: number;
  readonly isCluster: boolean;
  remove(): Promise<void>;
}

export async function oneRedis(): Promise<ClusterRedis> {
  const { url, port, remove } = await startRedis();
  return { url, port, remove, isCluster: false };
}

export async function redisCluster(): Promise<ClusterRedis> {
  const { url, servers, remove } = await startRedisCluster();
  return { url, port: servers[0]?.port ?? 0, remove, isCluster: true };
}
