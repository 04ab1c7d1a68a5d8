/**
 * The id service, wired from the configuration: the store its counters live in, its generators, and its gRPC port.
 *
 * Threads: control thread only.
 */
import { join } from 'node:path';
import { type Config, parseIdMachine, parseIdSchemes, parseIdTags, parseIdTemplates } from '../config/index.js';
import { IdGrpcServer, IdService, type IdServiceOptions } from '../logic/index.js';
import { FileSegmentStore, LazySegmentStore } from '../store/index.js';
import type { RedisLink } from '../store/redis/index.js';
import type { Logger } from '../telemetry/index.js';

export interface IdNode {
  /** The node's own; undefined: the counters are in files. It stays its owner's. */
  readonly link: RedisLink | undefined;
  readonly log: Logger;
  /** True: the counters are opened and machine ids claimed at the start. */
  readonly isEager: boolean;
}

export interface WiredIds {
  readonly service: IdService;
  /** Where gRPC listens; undefined where ids.grpc_port is 0. */
  readonly grpcPort: number | undefined;
  /** End gRPC gracefully, give nothing out any more, free the machine ids, close the store. */
  close(): Promise<void>;
}

/** Share of the shutdown time that gRPC calls may take to end. */
const GRPC_DRAIN_RATIO = 0.2;

/** What the options say about the service. */
export function idOptionsOf({ ids }: Config, isEager: boolean): IdServiceOptions {
  return {
    schemes: parseIdSchemes(ids.schemes),
    machine: parseIdMachine(ids.machine),
    epochMs: ids.epoch_ms,
    leaseMs: ids.lease_ms,
    tags: parseIdTags(ids.tags),
    templates: parseIdTemplates(ids.rules),
    utcOffsetMinutes: ids.utc_offset_minutes,
    master: ids.master,
    maxCount: ids.max_count,
    maxTagCount: ids.max_tags,
    isEager,
  };
}

/** Where the counters are without Redis. */
export function idDirectoryOf({ ids, data_dir: dataDir }: Config): string {
  return ids.directory === '' ? join(dataDir, 'ids') : ids.directory;
}

/** A link of its own, for a process that has no other use for Redis. */
export async function openIdLink({ redis, cluster }: Config, clientName: string, log: Logger): Promise<RedisLink> {
  const { RedisLink } = await import('../store/redis/index.js');
  return RedisLink.open(
    {
      url: redis,
      ...(cluster.redis_password === '' ? {} : { password: cluster.redis_password }),
      prefix: cluster.prefix,
      tlsCaFile: cluster.redis_tls_ca,
      connectTimeoutMs: cluster.connect_timeout_ms,
      commandTimeoutMs: cluster.command_timeout_ms,
      clientName,
    },
    log,
  );
}

/** @throws HalleyError of the store, of `IdService.open` and of `IdGrpcServer.listen`; everything is closed again then */
export async function wireIds(config: Config, { link, log, isEager }: IdNode): Promise<WiredIds> {
  const { ids, host, http, shutdown } = config;
  // A lone node loads no Redis client.
  const redis = link === undefined ? undefined : { link, ...(await import('../store/redis/index.js')) };
  const files = new LazySegmentStore(() => FileSegmentStore.open({ directory: idDirectoryOf(config) }), false);
  const store = redis === undefined ? files : new redis.RedisIdSegmentStore(redis.link);
  const closers: (() => Promise<unknown>)[] = [() => store.close()];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    // A node opens its counters with the first id that somebody wants, unless it was set up to give ids out.
    const isWanted = isEager || ids.schemes.length > 0 || ids.directory !== '' || ids.grpc_port !== 0;
    if (redis === undefined && isWanted) await files.open();
    const incrSource = redis && ((tag: string) => new redis.RedisIncrSource({ link: redis.link, tag }));
    const service = await IdService.open(idOptionsOf(config, isEager), { store, incrSource, log });
    closers.push(() => service.close());
    if (ids.grpc_port === 0) return { service, grpcPort: undefined, close };
    const { server, port } = await IdGrpcServer.listen(service, host, ids.grpc_port, {
      token: http.token === '' ? undefined : http.token,
      onDefect: (error, where) => log.error({ err: error, where }, 'the gRPC service failed'),
    });
    closers.push(() => server.close(shutdown.timeout_ms * GRPC_DRAIN_RATIO));
    log.info({ host, port }, 'the id service listens for gRPC');
    return { service, grpcPort: port, close };
  } catch (error) {
    await close();
    throw error;
  }
}
