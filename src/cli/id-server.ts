/**
 * An id server without a comet: the id service by HTTP and gRPC, and nothing else. Any number of them share a directory or a Redis.
 *
 * Threads: main thread.
 * Guarantees: start() resolves when every port is bound, or rejects with everything closed again.
 */
import type { Config } from '../config/index.js';
import { ApiServer, ID_SERVER_ROUTES, type IdServerServices } from '../logic/index.js';
import type { NotReadyReason } from '../push/index.js';
import type { RedisLink } from '../store/redis/index.js';
import { type Logger, pinoLogger } from '../telemetry/index.js';
import { openIdLink, wireIds } from './ids-wiring.js';
import { serverIdOf } from './node-options.js';

export interface IdServerAddresses {
  readonly httpUrl: string;
  readonly httpPort: number;
  /** Undefined where ids.grpc_port is 0. */
  readonly grpcPort: number | undefined;
}

export class IdServer {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #closers: (() => unknown)[] = [];

  constructor(config: Config) {
    this.#config = config;
    this.#log = pinoLogger({ level: config.log.level, fields: { thread: 0 } });
  }

  async start(): Promise<IdServerAddresses> {
    try {
      return await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Close the ports, end what is under way, give the machine ids back. */
  async stop(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  async #start(): Promise<IdServerAddresses> {
    const config = this.#config;
    const link =
      config.redis === '' ? undefined : await openIdLink(config, `halley-ids:${serverIdOf(config)}`, this.#log);
    if (link !== undefined) this.#closers.push(() => link.close());
    const ids = await wireIds(config, { link, log: this.#log, isEager: true });
    this.#closers.push(() => ids.close());
    const services: IdServerServices = { ids: ids.service, probes: [{ notReady: () => storeAway(link) }] };
    const http = new ApiServer(ID_SERVER_ROUTES, services, {
      apiToken: config.http.token === '' ? undefined : config.http.token,
      onDefect: (error, where) => this.#log.error({ err: error, where }, 'the HTTP API failed'),
    });
    this.#closers.push(() => http.close());
    const httpPort = await http.listen(config.host, config.http_port);
    const host = config.host.includes(':') ? `[${config.host}]` : config.host;
    return { httpUrl: `http://${host}:${httpPort}/`, httpPort, grpcPort: ids.grpcPort };
  }
}

/** Other servers should be asked meanwhile: this one gives out what it has buffered, and then nothing. */
function storeAway(link: RedisLink | undefined): readonly NotReadyReason[] {
  if (link === undefined || link.isUp) return [];
  return [{ reason: 'redis_away', detail: 'Redis does not answer; only buffered ids are given out' }];
}
