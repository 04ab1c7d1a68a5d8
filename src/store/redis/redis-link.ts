/**
 * redis-link: one node's door to Redis. It opens the connections (single server, Sentinel, Cluster; TLS, ACL user), says
 * whether Redis answers, and bounds how long a command may take. Adapters get a link and never read an option.
 *
 * Threads: control thread only.
 * Guarantees: open() ends with a Redis that can do what Halley needs, or with an error that names why not. A script settles
 *   within `commandTimeoutMs`, and fails at once while Redis is away; a command on `commands` may wait as long again behind the
 *   pipeline before it. Nothing is repeated behind the caller's back: what was under way when a connection broke may or may not
 *   have been carried out, and fails. Sent again, long after its caller was told so, it could come behind what followed it. On
 *   Cluster the client follows redirections: what was refused was not carried out. Reconnects go on for ever, with jitter.
 *   `isUp` is false from the first PING without an answer until the next with one: a server that accepts and does not answer
 *   counts as away. On Cluster every master must answer.
 */
import { readFileSync } from 'node:fs';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import { HalleyError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/index.js';
import { followRedirects } from './redis-cluster-redirects.js';
import { RedisKeys } from './redis-keys.js';
import { checkInfo, checkPermissions, connectError, evictionWarning, parseInfo } from './redis-link-checks.js';
import { RedisLinkPulse } from './redis-link-pulse.js';
import { parseRedisUrl, placeText, type RedisPlace } from './redis-link-url.js';

export type RedisClient = Redis | Cluster;

export interface RedisLinkOptions {
  readonly url: string;
  /** Password where the URL holds none; '' or absent: none. */
  readonly password?: string;
  readonly prefix: string;
  /** Certificate authority of `rediss`, a PEM file; '' trusts the system's. */
  readonly tlsCaFile: string;
  readonly connectTimeoutMs: number;
  readonly commandTimeoutMs: number;
  /** Shown by CLIENT LIST. */
  readonly clientName: string;
}

/** A Lua script as its caller sees it: keys (always `keyCount` of them), then arguments. */
export type RedisScript = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>;

interface ClientExtras {
  readonly commandTimeout?: number;
  readonly enableAutoPipelining?: boolean;
  readonly autoPipeliningIgnoredCommands?: string[];
  readonly autoResubscribe?: boolean;
}

const MAX_RETRY_MS = 1_000;
const FIRST_RETRY_MS = 50;
const MAX_PULSE_MS = 1_000;
/** A slot on its way has the keys of a script on both masters for as long as one MIGRATE takes. */
const TRY_AGAIN_MS = 20;
const MAX_RETRY_ATTEMPT = 10;

function retryMs(attempt: number): number {
  const capMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, MAX_RETRY_ATTEMPT));
  return capMs / 2 + (Math.random() * capMs) / 2;
}

export class RedisLink {
  readonly isCluster: boolean;
  readonly keys: RedisKeys;
  readonly commandTimeoutMs: number;
  /** For everything that neither blocks nor subscribes. Commands of one turn leave in one write. */
  readonly commands: RedisClient;
  readonly #options: RedisLinkOptions;
  readonly #place: RedisPlace;
  readonly #log: Logger;
  readonly #clients = new Set<RedisClient>();
  /** Those of them that have been connected once: they are kept connected. */
  readonly #opened = new Set<RedisClient>();
  readonly #upListeners = new Set<() => void>();
  readonly #downListeners = new Set<() => void>();
  readonly #pulse: RedisLinkPulse;
  #isUp = false;
  #isClosed = false;
  #upCount = 0;
  #timeoutCount = 0;

  private constructor(options: RedisLinkOptions, log: Logger) {
    this.#options = options;
    this.#place = parseRedisUrl(options.url);
    this.#log = log;
    this.isCluster = this.#place.kind === 'cluster';
    this.keys = new RedisKeys(options.prefix);
    this.commandTimeoutMs = options.commandTimeoutMs;
    this.commands = this.#openClient('commands', {
      commandTimeout: options.commandTimeoutMs,
      enableAutoPipelining: true,
      // It must not wait behind a pipeline whose answers are missing: that is what it is to find out.
      autoPipeliningIgnoredCommands: ['ping'],
    });
    this.#pulse = new RedisLinkPulse(this.commands, {
      intervalMs: Math.min(MAX_PULSE_MS, options.commandTimeoutMs),
      giveUpMs: options.connectTimeoutMs,
      onBeat: (answered) => this.#turn(answered),
    });
    this.commands.on('ready', () => this.#turn(true));
    this.commands.on('close', () => this.#turn(false));
    this.commands.on('end', () => this.#turn(false));
  }

  /** Resolves when Redis has answered and can do what is needed. @throws HalleyError that names what is wrong */
  static async open(options: RedisLinkOptions, log: Logger): Promise<RedisLink> {
    const link = new RedisLink(options, log);
    try {
      await link.#connect(link.commands);
      await link.#check();
      link.#pulse.start();
      return link;
    } catch (error) {
      link.close();
      throw connectError(error, placeText(link.#place));
    }
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** `upCount`: times that Redis answered (again); `timeoutCount`: commands without an answer in time. */
  gauges(): { readonly upCount: number; readonly timeoutCount: number } {
    return { upCount: this.#upCount, timeoutCount: this.#timeoutCount };
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
   * Make a script callable. `name` is unique per link. Calls of one turn leave in one write; a server that does not know the
   * script yet gets its text. The call rejects with HalleyError REDIS_AWAY or what Redis answered.
   */
  script(name: string, lua: string, keyCount: number): RedisScript {
    this.commands.defineCommand(name, { lua, numberOfKeys: keyCount });
    const command = (this.commands as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[name];
    return (keys, args) => this.#run(name, () => command?.apply(this.commands, [...keys, ...args]));
  }

  /** Run a command that settles within `commandTimeoutMs` whatever it waits for. Rejects with HalleyError REDIS_AWAY or what Redis answered. */
  bounded<T>(command: () => Promise<T>): Promise<T> {
    return this.#run('command', command) as Promise<T>;
  }

  /**
   * A connection of its own, for SUBSCRIBE (on Cluster also SSUBSCRIBE). It reconnects, and does NOT subscribe again by itself:
   * its owner does on 'ready', and knows then what it may have missed.
   */
  async openSubscriber(): Promise<RedisClient> {
    return this.#openExtra('subscriber', { autoResubscribe: false });
  }

  /** A connection of its own for XREAD BLOCK and the like: commands without a deadline. */
  async openBlocking(): Promise<RedisClient> {
    return this.#openExtra('blocking', {});
  }

  /** The servers that hold data: each master of a Cluster, else the one. */
  masters(): readonly Redis[] {
    return this.commands instanceof Cluster ? this.commands.nodes('master') : [this.commands];
  }

  close(): void {
    this.#pulse.stop();
    this.#isClosed = true;
    this.#opened.clear();
    for (const client of this.#clients) client.disconnect();
    this.#clients.clear();
    this.#isUp = false;
    this.#upListeners.clear();
    this.#downListeners.clear();
  }

  #turn(isUp: boolean): void {
    if (isUp === this.#isUp || this.#isClosed) return;
    this.#isUp = isUp;
    if (isUp) this.#upCount += 1;
    if (isUp) this.#log.info({ place: placeText(this.#place) }, 'Redis answers');
    else this.#log.warn({ place: placeText(this.#place) }, 'Redis does not answer');
    for (const listener of isUp ? this.#upListeners : this.#downListeners) listener();
  }

  #run(name: string, command: () => Promise<unknown> | undefined): Promise<unknown> {
    if (!this.#isUp)
      return Promise.reject(new HalleyError('REDIS_AWAY', 'Redis does not answer now', { command: name }));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#timeoutCount += 1;
        this.#pulse.beatSoon();
        reject(
          new HalleyError('REDIS_AWAY', 'Redis must answer within cluster.command_timeout_ms', {
            command: name,
            timeoutMs: this.#options.commandTimeoutMs,
          }),
        );
      }, this.#options.commandTimeoutMs);
      const fail = (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      };
      try {
        // On Cluster the client throws where a slot has no owner at the moment.
        command()?.then((reply) => {
          clearTimeout(timer);
          resolve(reply);
        }, fail);
      } catch (error) {
        fail(error);
      }
    });
  }

  async #openExtra(purpose: string, extra: ClientExtras): Promise<RedisClient> {
    const client = this.#openClient(purpose, extra);
    try {
      await this.#connect(client);
      return client;
    } catch (error) {
      client.disconnect();
      this.#clients.delete(client);
      throw error;
    }
  }

  #openClient(purpose: string, extra: ClientExtras): RedisClient {
    const { kind, isTls, hosts, username, masterName, db } = this.#place;
    const { connectTimeoutMs, clientName } = this.#options;
    const password = this.#place.password === '' ? (this.#options.password ?? '') : this.#place.password;
    const tls = isTls ? { tls: this.#tlsOptions() } : {};
    const { enableAutoPipelining, autoPipeliningIgnoredCommands, ...perServer } = extra;
    const pipelining = {
      ...(enableAutoPipelining === undefined ? {} : { enableAutoPipelining }),
      ...(autoPipeliningIgnoredCommands === undefined ? {} : { autoPipeliningIgnoredCommands }),
    };
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
      ...perServer,
    } satisfies RedisOptions;
    const [first] = hosts;
    let client: RedisClient;
    if (kind === 'cluster') {
      const cluster = new Cluster([...hosts], {
        redisOptions: common,
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryMs,
        slotsRefreshTimeout: connectTimeoutMs,
        shardedSubscribers: purpose === 'subscriber',
        retryDelayOnTryAgain: TRY_AGAIN_MS,
        // Never: see the guarantees.
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 0,
        ...pipelining,
      } satisfies ClusterOptions);
      followRedirects(cluster);
      client = cluster;
    } else if (kind === 'sentinel') {
      client = new Redis({
        ...common,
        ...pipelining,
        sentinels: [...hosts],
        name: masterName,
        sentinelRetryStrategy: retryMs,
        sentinelCommandTimeout: connectTimeoutMs,
        failoverDetector: true,
        // A master that was demoted while we were connected: ask the sentinels again.
        reconnectOnError: (error) => error.message.startsWith('READONLY'),
        ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: common.tls } : {}),
      });
    } else {
      client = new Redis({ ...common, ...pipelining, host: first?.host ?? '', port: first?.port ?? 0, db });
    }
    // The text only: an error of the client carries its command, and that of a login is the password.
    client.on('error', ({ message }: Error) => this.#log.debug({ reason: message, purpose }, 'redis'));
    client.on('end', () => this.#reviveSoon(client));
    this.#clients.add(client);
    return client;
  }

  /**
   * The client has given up although it was told never to: ioredis does where a Sentinel announces a new master while it is
   * just looking for one.
   */
  #reviveSoon(client: RedisClient): void {
    if (!this.#opened.has(client)) return;
    setTimeout(() => {
      if (!this.#opened.has(client) || client.status !== 'end') return;
      // What went wrong comes as an 'error' event, and an 'end' that leads here again.
      client.connect().catch(() => this.#reviveSoon(client));
    }, retryMs(MAX_RETRY_ATTEMPT));
  }

  #tlsOptions(): { ca?: Buffer } {
    const { tlsCaFile } = this.#options;
    if (tlsCaFile === '') return {};
    try {
      return { ca: readFileSync(tlsCaFile) };
    } catch (error) {
      throw new HalleyError(
        'REDIS_CA_UNREADABLE',
        'the file of the authority behind rediss:// must be readable (option cluster.redis_tls_ca)',
        { file: tlsCaFile },
        error,
      );
    }
  }

  /** Sentinel and Cluster clients try for ever: the first time they get as long as every host may take. */
  async #connect(client: RedisClient): Promise<void> {
    const { connectTimeoutMs, commandTimeoutMs } = this.#options;
    let reason: unknown;
    const note = (error: unknown) => {
      // Of a Cluster where no host would do: what the last of them said.
      reason = (error as { lastNodeError?: unknown }).lastNodeError ?? error;
    };
    client.on('error', note);
    client.on('node error', note);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error('no connection in time')),
        connectTimeoutMs * this.#place.hosts.length + commandTimeoutMs,
      );
    });
    try {
      await Promise.race([client.connect(), late]);
      this.#opened.add(client);
    } catch (error) {
      throw connectError(reason ?? error, placeText(this.#place));
    } finally {
      clearTimeout(timer);
      client.off('error', note);
      client.off('node error', note);
    }
  }

  async #check(): Promise<void> {
    for (const master of this.masters()) {
      const place = `${master.options.host ?? ''}:${master.options.port ?? ''}`;
      let info: ReadonlyMap<string, string>;
      try {
        info = parseInfo(await master.info());
      } catch (error) {
        throw connectError(error, place);
      }
      checkInfo(info, this.#place.kind, this.#place.kind === 'sentinel' ? placeText(this.#place) : place);
      await checkPermissions(master, this.keys, this.isCluster);
      const warning = evictionWarning(info);
      if (warning !== undefined) this.#log.warn({ place }, warning);
    }
  }
}
