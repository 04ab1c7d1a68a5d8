/**
 * http-api: the API itself. Finds the row of the route table, checks access, has the body read, calls the handler, hands on
 * what it answered.
 *
 * Threads: control thread. One server with one handler for everything; the table is ours, since gin's 404s, redirects and
 * methods are part of goim's interface.
 * Guarantees: requests of one connection are handled in their order. A handler that answers later gets `handlerDeadlineMs`,
 * then the client gets 504. `close()` ends every connection at once: call it after the sources of pushes have stopped.
 * Hot path: `#onBegin` for `/goim/push/*`; standalone those handlers answer in the call. 17 us of CPU per push on a kept connection, of
 * which node:http alone takes 14 (`bench/logic/http-api.bench.ts`). Where that is too much, `/halley/push/batch` shares it.
 */
import type { IncomingMessage } from 'node:http';
import type { TlsOptions } from 'node:tls';
import { DiscardCounter, HalleyError } from '../../errors/index.js';
import type { MaybePromise, OnlineCounts } from '../../push/index.js';
import { DrainSwitch } from '../drain-switch.js';
import { createNodeLookup, type NodeLookup } from '../node-lookup.js';
import { descriptionRecord } from '../nodes-reply.js';
import { LocalOnline } from '../online-local.js';
import { AccessGuard } from './access-guard.js';
import { MESSAGE_ID_HEADER } from './durable-push.js';
import type { Exchange } from './exchange.js';
import { HttpServer, type HttpTimeouts, type ServerHooks } from './http-server.js';
import { Query } from './query.js';
import { API_CODE, errorReply, type Reply } from './reply.js';
import { type ApiRequest, type ApiServices, type Route, RouteTable } from './route.js';
import { ROUTES } from './routes.js';
import { DEFAULT_CONNECT_SOURCES, type StaticPage, StaticPages } from './static-pages.js';

/** What an API needs besides what its handlers are given. */
export interface ApiServerOptions {
  /** Most bytes of the body of one request. Default 1 MiB. */
  readonly bodyMaxBytes?: number;
  /** Undefined: the API is open. */
  readonly apiToken?: string | undefined;
  /** Files to serve, by path. Default none. */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** `connect-src` of their policy. */
  readonly pageConnectSources?: string;
  /** How long a handler may take. Default 10,000. */
  readonly handlerDeadlineMs?: number;
  /** How long a client may take. Defaults stand at `HttpTimeouts`. */
  readonly timeouts?: Partial<HttpTimeouts>;
  /** Certificates, asked by listen() and by reloadTls(): https. Undefined: http. */
  readonly tls?: (() => TlsOptions) | undefined;
  /** A body above `bodyMaxBytes` was refused; `target` is path and query. Must not throw. */
  readonly onBodyTooLarge?: (target: string) => void;
  /** A defect of ours: `where` is method and path. The client got status 500. */
  readonly onDefect: (error: unknown, where: string) => void;
}

export interface HttpApiDeps
  extends ApiServerOptions,
    Omit<ApiServices, 'batchMaxCount' | 'messageMaxBytes' | 'nowMs' | 'lookup' | 'online'> {
  /** The balancer and what belongs to it. Default: this node alone, without regions. */
  readonly lookup?: NodeLookup;
  /** Default: this node's comet is all there is. */
  readonly online?: OnlineCounts | undefined;
  /** Most commands of one batch. Default 1000. */
  readonly batchMaxCount?: number;
  /** Most bytes of the body of one request, and of one message of a batch. Default 1 MiB. */
  readonly bodyMaxBytes?: number;
  /** Wall clock. Default Date.now. */
  readonly nowMs?: () => number;
}

export interface HttpGauges {
  readonly inFlightCount: number;
  readonly requestCount: number;
  /** The client went away before the answer. */
  readonly abortedCount: number;
  readonly defectCount: number;
}

const DEFAULT_BODY_MAX_BYTES = 1024 * 1024;
const DEFAULT_BATCH_MAX_COUNT = 1000;
const DEFAULT_DEADLINE_MS = 10_000;
const DEFAULT_TIMEOUTS: HttpTimeouts = { headersMs: 10_000, requestMs: 30_000, keepAliveMs: 75_000, stallMs: 60_000 };
const BEYOND_ASCII = /[\x80-\xff]/;
const NO_BODY = new Uint8Array(0);
const PUSH_PATH = /^\/(?:goim|halley)\/push\//;

function aloneLookup({ node, comet, nowMs = Date.now }: HttpApiDeps): NodeLookup {
  const drain = new DrainSwitch();
  const self = () =>
    descriptionRecord(node, {
      connCount: comet.connectionCount(),
      ipCount: comet.ipCount(),
      isDraining: drain.isDraining,
      updatedMs: nowMs(),
    });
  return createNodeLookup({ drain, directory: undefined, self });
}

function isPromise(answer: MaybePromise<Reply>): answer is Promise<Reply> {
  return answer instanceof Promise;
}

/** The text behind the bytes of a header, which node:http reads as latin1. */
function utf8Of(text: string): string {
  return BEYOND_ASCII.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text;
}

/** The target without scheme and host, which a client that takes us for a proxy sends along. */
function originForm(target: string): string {
  if (!target.startsWith('http://') && !target.startsWith('https://')) return target;
  const pathAt = target.indexOf('/', target.indexOf('//') + 2);
  return pathAt < 0 ? '/' : target.slice(pathAt);
}

function mediaTypeOf(contentType: string): string {
  const end = contentType.indexOf(';');
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

/** An API of any table of routes. */
export class ApiServer<Services> {
  readonly #options: ApiServerOptions;
  readonly #services: Services;
  readonly #bodyMaxBytes: number;
  readonly #deadlineMs: number;
  readonly #routes: RouteTable<Services>;
  readonly #pages: StaticPages;
  readonly #timeouts: HttpTimeouts;
  readonly #hooks: ServerHooks = {
    onArrive: () => {
      this.#requestCount++;
      this.#inFlightCount++;
    },
    onBegin: (exchange) => this.#onBegin(exchange),
    onDefect: (error, where) => this.#onDefect(error, where),
    onTooLarge: ({ url }) => this.#options.onBodyTooLarge?.(originForm(url as string)),
    onEnd: (aborted) => {
      this.#inFlightCount--;
      if (aborted) this.#abortedCount++;
    },
  };
  readonly #discards = new DiscardCounter();
  #guard: AccessGuard;
  #server: HttpServer | undefined;
  #inFlightCount = 0;
  #requestCount = 0;
  #abortedCount = 0;
  #defectCount = 0;

  constructor(routes: readonly Route<Services>[], services: Services, options: ApiServerOptions) {
    this.#options = options;
    this.#services = services;
    this.#routes = new RouteTable(routes);
    this.#bodyMaxBytes = options.bodyMaxBytes ?? DEFAULT_BODY_MAX_BYTES;
    this.#deadlineMs = options.handlerDeadlineMs ?? DEFAULT_DEADLINE_MS;
    const stallMs = Math.max(DEFAULT_TIMEOUTS.stallMs, 2 * this.#deadlineMs);
    this.#timeouts = { ...DEFAULT_TIMEOUTS, stallMs, ...options.timeouts };
    this.#pages = new StaticPages(options.pages ?? new Map(), options.pageConnectSources ?? DEFAULT_CONNECT_SOURCES);
    this.#guard = new AccessGuard(options.apiToken, '');
  }

  /**
   * @param port 0: a free one
   * @returns the real port
   * @throws HalleyError of `HttpServer.listen`, or ALREADY_LISTENING
   */
  async listen(host: string, port: number): Promise<number> {
    if (this.#server !== undefined)
      throw new HalleyError('ALREADY_LISTENING', 'this API listens already', { host, port });
    this.#guard = new AccessGuard(this.#options.apiToken, host);
    const server = new HttpServer(this.#timeouts, this.#hooks, this.#options.tls);
    this.#server = server;
    try {
      return await server.listen(host, port);
    } catch (error) {
      if (this.#server === server) this.#server = undefined;
      throw error;
    }
  }

  /** Stop listening and end every connection, answered or not. May be called again. */
  close(): void {
    const server = this.#server;
    this.#server = undefined;
    server?.close();
  }

  /** New handshakes take the newest certificates. */
  reloadTls(): void {
    this.#server?.reloadTls();
  }

  gauges(): HttpGauges {
    return {
      inFlightCount: this.#inFlightCount,
      requestCount: this.#requestCount,
      abortedCount: this.#abortedCount,
      defectCount: this.#defectCount,
    };
  }

  #onBegin(exchange: Exchange): void {
    const { request } = exchange;
    const method = request.method as string;
    const target = originForm(request.url as string);
    const queryAt = target.indexOf('?');
    const path = queryAt < 0 ? target : target.slice(0, queryAt);
    const rawQuery = queryAt < 0 ? '' : target.slice(queryAt + 1);
    if (method === 'GET' || method === 'HEAD') {
      const page = this.#pages.find(path, request.headers['if-none-match'] ?? '');
      if (page !== undefined) {
        exchange.send(page);
        return;
      }
    }
    const found = this.#routes.find(method, path, rawQuery);
    if ('reply' in found) {
      exchange.send(found.reply);
      return;
    }
    const { route } = found;
    const refusal = route.access === 'open' ? undefined : this.#refusal(route, request);
    if (refusal !== undefined) {
      exchange.send(refusal);
      return;
    }
    const query = new Query(rawQuery);
    const mediaType = mediaTypeOf(request.headers['content-type'] ?? '');
    const messageId = request.headers[MESSAGE_ID_HEADER] as string | undefined;
    if (route.method === 'GET') {
      this.#handle(exchange, route, { query, mediaType, messageId, body: NO_BODY, peer: request });
      return;
    }
    exchange.readBody(this.#bodyMaxBytes, (body) =>
      this.#handle(exchange, route, { query, mediaType, messageId, body, peer: request }),
    );
  }

  #refusal(route: Pick<Route, 'method'>, { headers }: IncomingMessage): Reply | undefined {
    return this.#guard.refusal(route.method !== 'GET', {
      authorization: utf8Of(headers.authorization ?? ''),
      origin: headers.origin ?? '',
      host: headers.host ?? '',
    });
  }

  #handle(exchange: Exchange, route: Route<Services>, request: ApiRequest): void {
    const answer = route.handle(this.#services, request);
    if (!isPromise(answer)) {
      exchange.send(answer);
      return;
    }
    exchange.hold();
    const message = `the node did not finish in time: deadlineMs=${this.#deadlineMs}`;
    const deadline = setTimeout(() => exchange.answer(errorReply(504, API_CODE.TIMEOUT, message)), this.#deadlineMs);
    // A closed server must not keep the process for the deadlines of requests that nobody waits for.
    deadline.unref();
    answer
      .then(
        (reply) => exchange.answer(reply),
        (error: unknown) => exchange.fail(error),
      )
      .finally(() => clearTimeout(deadline));
  }

  #onDefect(error: unknown, where: string): void {
    this.#defectCount++;
    try {
      this.#options.onDefect(error, where);
    } catch (thrown) {
      // This runs inside callbacks of the server, where it would end the process.
      this.#discards.ignore(thrown, 'onDefect threw');
    }
  }
}

/** The API of a node. */
export class HttpApi extends ApiServer<ApiServices> {
  constructor(deps: HttpApiDeps) {
    const lookup = deps.lookup ?? aloneLookup(deps);
    const services: ApiServices = {
      ...deps,
      lookup,
      probes: [...deps.probes, lookup.drain],
      online: deps.online ?? new LocalOnline(deps.comet, deps.node.serverId),
      batchMaxCount: deps.batchMaxCount ?? DEFAULT_BATCH_MAX_COUNT,
      messageMaxBytes: deps.bodyMaxBytes ?? DEFAULT_BODY_MAX_BYTES,
      nowMs: deps.nowMs ?? Date.now,
    };
    const onBodyTooLarge = (target: string) => {
      if (PUSH_PATH.test(target)) deps.onPushTooLarge?.();
    };
    super(ROUTES, services, { ...deps, onBodyTooLarge });
  }
}
