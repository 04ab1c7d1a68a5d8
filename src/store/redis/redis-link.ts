/**
 * redis-link: one node's door to Redis. It opens the connections (single server, Sentinel, Cluster; TLS, ACL user), says
 * whether Redis answers, and bounds how long a command may take. Adapters get a link and never read an option.
 *
 *   redis://[user:pass@]host[:port][/db]            rediss://... the same over TLS
 *   redis+sentinel://[user:pass@]h1:p1,h2:p2/master  rediss+sentinel://...
 *   redis+cluster://[user:pass@]h1:p1,h2:p2          rediss+cluster://...
 *
 * Threads: control thread only.
 * Guarantees: a command settles within `commandTimeoutMs`; while Redis does not answer it fails at once, and is never repeated
 *   behind the caller's back (a command whose connection broke may or may not have been carried out). Reconnects go on for
 *   ever, with jitter.
 */
import { readFileSync } from 'node:fs';
import { Cluster, Redis } from 'ioredis';
import { HalleyError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/index.js';
import { RedisKeys } from './redis-keys.js';

export type RedisClient = Redis | Cluster;

export interface RedisLinkOptions {
  readonly url: string;
  readonly prefix: string;
  /** Certificate authority of `rediss`, a PEM file; '' trusts the system's. */
  readonly tlsCaFile: string;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  /** Shown by CLIENT LIST. */
  readonly clientName: string;
}

/** What an URL says, taken apart. */
export interface RedisPlace {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly isTls: boolean;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly username: string;
  readonly password: string;
  /** Sentinel's name of the master; '' otherwise. */
  readonly masterName: string;
  readonly db: number;
}

const DEFAULT_PORT = { single: 6379, sentinel: 26_379, cluster: 6379 } as const;
const MAX_RETRY_MS = 1_000;
const FIRST_RETRY_MS = 50;

/** @throws HalleyError BAD_REDIS_URL, without the password */
export function parseRedisUrl(url: string): RedisPlace {
  const match = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([^?#]*))?$/.exec(url);
  const refuse = (problem: string): never => {
    throw new HalleyError('BAD_REDIS_URL', `redis ${problem}`, { url: url.replace(/\/\/[^@]*@/, '//***@') });
  };
  if (match === null) {
    return refuse('must be redis://host:port/db, redis+sentinel://h1:p,h2:p/master or redis+cluster://h1:p,h2:p');
  }
  const [, scheme, form, login = '', hostList = '', path = ''] = match;
  const kind = (form ?? 'single') as RedisPlace['kind'];
  const hosts = hostList.split(',').map((text) => {
    const host = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text);
    const port = Number(host?.[2] ?? DEFAULT_PORT[kind]);
    if (host === null || port < 1 || port > 65_535) return refuse(`has a host that is no host:port: host=${text}`);
    return { host: (host[1] as string).replace(/^\[|\]$/g, ''), port };
  });
  if (kind === 'single' && hosts.length > 1) refuse('names several hosts: say redis+sentinel:// or redis+cluster://');
  if (kind === 'sentinel' && path === '')
    refuse('must end in the name of the master, as in redis+sentinel://h:p/mymaster');
  if (kind === 'single' && !/^\d{0,4}$/.test(path)) refuse('must end in the number of a database');
  if (kind === 'cluster' && path !== '') refuse('must not name a database: Redis Cluster has only one');
  const colon = login.indexOf(':');
  return {
    kind,
    isTls: scheme === 'rediss',
    hosts,
    username: decodeURIComponent(colon < 0 ? login : login.slice(0, colon)),
    password: colon < 0 ? '' : decodeURIComponent(login.slice(colon + 1)),
    masterName: kind === 'sentinel' ? decodeURIComponent(path) : '',
    db: kind === 'single' ? Number(path) : 0,
  };
}

interface ClientExtras {
  readonly commandTimeout?: number;
  readonly enableAutoPipelining?: boolean;
  readonly autoResubscribe?: boolean;
}

function retryMs(attempt: number): number {
  const capMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
  return capMs / 2 + (Math.random() * capMs) / 2;
}

export class RedisLink {
  readonly isCluster: boolean;
  readonly keys: RedisKeys;
  /** For everything that neither blocks nor subscribes. Commands of one turn leave in one write. */
  readonly commands: RedisClient;
  readonly #options: RedisLinkOptions;
  readonly #place: RedisPlace;
  readonly #log: Logger;
  readonly #clients = new Set<RedisClient>();
  readonly #upListeners = new Set<() => void>();
  readonly #downListeners = new Set<() => void>();
  #isUp = false;

  private constructor(options: RedisLinkOptions, log: Logger) {
    this.#options = options;
    this.#place = parseRedisUrl(options.url);
    this.#log = log;
    this.isCluster = this.#place.kind === 'cluster';
    this.keys = new RedisKeys(options.prefix);
    this.commands = this.#openClient('commands', {
      commandTimeout: options.commandTimeoutMs,
      enableAutoPipelining: true,
    });
    this.commands.on('ready', () => this.#turn(true));
    this.commands.on('close', () => this.#turn(false));
    this.commands.on('end', () => this.#turn(false));
  }

  /** Resolves when Redis has answered. @throws HalleyError that names what is wrong */
  static async open(options: RedisLinkOptions, log: Logger): Promise<RedisLink> {
    const link = new RedisLink(options, log);
    try {
      await link.#connect(link.commands);
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Called each time Redis answers again. Returns how to stop that. */
  onUp(listener: () => void): () => void {
    this.#upListeners.add(listener);
    return () => this.#upListeners.delete(listener);
  }

  onDown(listener: () => void): () => void {
    this.#downListeners.add(listener);
    return () => this.#downListeners.delete(listener);
  }

  /**
   * A connection of its own, for SUBSCRIBE (on Cluster also SSUBSCRIBE). It reconnects, and does NOT subscribe again by itself:
   * its owner does on 'ready', and knows then what it may have missed.
   */
  async openSubscriber(): Promise<RedisClient> {
    const client = this.#openClient('subscriber', { autoResubscribe: false });
    await this.#connect(client);
    return client;
  }

  /** A connection of its own for XREAD BLOCK and the like: commands without a deadline. */
  async openBlocking(): Promise<RedisClient> {
    const client = this.#openClient('blocking', {});
    await this.#connect(client);
    return client;
  }

  close(): void {
    for (const client of this.#clients) client.disconnect();
    this.#clients.clear();
    this.#upListeners.clear();
    this.#downListeners.clear();
  }

  #turn(isUp: boolean): void {
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    for (const listener of isUp ? this.#upListeners : this.#downListeners) listener();
  }

  #openClient(purpose: string, extra: ClientExtras): RedisClient {
    const { kind, isTls, hosts, username, password, masterName, db } = this.#place;
    const { connectTimeoutMs, clientName, tlsCaFile } = this.#options;
    const tls = isTls ? { tls: tlsCaFile === '' ? {} : { ca: readFileSync(tlsCaFile) } } : {};
    const common = {
      connectTimeout: connectTimeoutMs,
      connectionName: `${clientName}:${purpose}`,
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: retryMs,
      ...(username === '' ? {} : { username }),
      ...(password === '' ? {} : { password }),
      ...tls,
      ...extra,
    };
    const [first] = hosts;
    let client: RedisClient;
    if (kind === 'cluster') {
      const { enableAutoPipelining, ...redisOptions } = common;
      const options = {
        redisOptions,
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryMs,
        shardedSubscribers: purpose === 'subscriber',
        ...(enableAutoPipelining === undefined ? {} : { enableAutoPipelining }),
      };
      client = new Cluster([...hosts], options);
    } else if (kind === 'sentinel') {
      client = new Redis({
        ...common,
        sentinels: [...hosts],
        name: masterName,
        ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: common.tls } : {}),
      });
    } else {
      client = new Redis({ ...common, host: first?.host ?? '', port: first?.port ?? 0, db });
    }
    client.on('error', (error: Error) => this.#log.debug({ err: error, purpose }, 'redis'));
    this.#clients.add(client);
    return client;
  }

  async #connect(client: RedisClient): Promise<void> {
    try {
      await client.connect();
    } catch (error) {
      throw new HalleyError('REDIS_UNREACHABLE', 'Redis does not answer', { place: this.#placeText() }, error);
    }
  }

  #placeText(): string {
    return this.#place.hosts.map(({ host, port }) => `${host}:${port}`).join(',');
  }
}
