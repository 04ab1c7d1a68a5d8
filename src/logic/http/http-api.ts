/**
 * http-api: the API's server. Finds the row of the route table, checks access, reads the body, calls the handler, writes
 * what it answered.
 *
 * Threads: control thread. One uWS app with one handler for everything; the table is ours, since gin's 404s, redirects and
 * methods are part of goim's interface.
 * Guarantees: requests of one connection are handled in their order. A handler that answers later gets `handlerDeadlineMs`,
 * then the client gets 504. `close()` ends every connection at once: call it after the sources of pushes have stopped.
 * Hot path: `#onRequest` for `/goim/push/*`; those handlers answer in the call.
 */
import uWS, { type HttpRequest, type HttpResponse, type TemplatedApp, type us_listen_socket } from 'uWebSockets.js';
import { DiscardCounter, HalleyError } from '../../errors/index.js';
import { type MaybePromise, probePort } from '../../push/index.js';
import { AccessGuard } from './access-guard.js';
import { Exchange, type ExchangeHooks } from './exchange.js';
import { Query } from './query.js';
import { API_CODE, errorReply, type Reply } from './reply.js';
import { type ApiRequest, type ApiServices, type Route, RouteTable } from './route.js';
import { ROUTES } from './routes.js';
import { DEFAULT_CONNECT_SOURCES, type StaticPage, StaticPages } from './static-pages.js';

export interface HttpApiDeps extends Omit<ApiServices, 'batchMaxCount' | 'messageMaxBytes' | 'nowMs'> {
  /** Most commands of one batch. Default 1000. */
  readonly batchMaxCount?: number;
  /** Most bytes of the body of one request, and of one message of a batch. Default 1 MiB. */
  readonly bodyMaxBytes?: number;
  /** Wall clock. Default Date.now. */
  readonly nowMs?: () => number;
  /** Undefined: the API is open. */
  readonly apiToken?: string | undefined;
  /** Files to serve, by path. Default none. */
  readonly pages?: ReadonlyMap<string, StaticPage>;
  /** `connect-src` of their policy. */
  readonly pageConnectSources?: string;
  /** How long a handler may take. Default 10,000. */
  readonly handlerDeadlineMs?: number;
  /** A defect of ours: `where` is method and path. The client got status 500. */
  readonly onDefect: (error: unknown, where: string) => void;
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
/** Named in errors about the port. */
const PORT_OPTION = 'http-port';

/** uSockets' LIBUS_LISTEN_EXCLUSIVE_PORT: no SO_REUSEPORT. */
const EXCLUSIVE_PORT = 1;

/** uWS takes host, port and options together; its typings know only two of the three. */
interface ExclusiveListener {
  listen(host: string, port: number, options: number, done: (socket: us_listen_socket | false) => void): void;
}

function isPromise(answer: MaybePromise<Reply>): answer is Promise<Reply> {
  return answer instanceof Promise;
}

/** Decimal Content-Length; 0 where there is none. uWS has refused anything that is no number. */
function announcedBytes(header: string): number {
  return header === '' ? 0 : Number(header);
}

function mediaTypeOf(contentType: string): string {
  const end = contentType.indexOf(';');
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

export class HttpApi {
  readonly #deps: HttpApiDeps;
  readonly #services: ApiServices;
  readonly #bodyMaxBytes: number;
  readonly #deadlineMs: number;
  readonly #routes = new RouteTable(ROUTES);
  readonly #pages: StaticPages;
  readonly #hooks: ExchangeHooks = {
    onDefect: (error, where) => this.#onDefect(error, where),
    onEnd: (aborted) => {
      this.#inFlightCount--;
      if (aborted) this.#abortedCount++;
    },
  };
  readonly #discards = new DiscardCounter();
  #guard: AccessGuard;
  #app: TemplatedApp | undefined;
  #inFlightCount = 0;
  #requestCount = 0;
  #abortedCount = 0;
  #defectCount = 0;

  constructor(deps: HttpApiDeps) {
    const bodyMaxBytes = deps.bodyMaxBytes ?? DEFAULT_BODY_MAX_BYTES;
    this.#deps = deps;
    this.#services = {
      ...deps,
      batchMaxCount: deps.batchMaxCount ?? DEFAULT_BATCH_MAX_COUNT,
      messageMaxBytes: bodyMaxBytes,
      nowMs: deps.nowMs ?? Date.now,
    };
    this.#bodyMaxBytes = bodyMaxBytes;
    this.#deadlineMs = deps.handlerDeadlineMs ?? DEFAULT_DEADLINE_MS;
    this.#pages = new StaticPages(deps.pages ?? new Map(), deps.pageConnectSources ?? DEFAULT_CONNECT_SOURCES);
    this.#guard = new AccessGuard(deps.apiToken, '');
  }

  /**
   * @param port 0: a free one
   * @returns the real port
   * @throws HalleyError of `probePort`, or ALREADY_LISTENING
   */
  async listen(host: string, port: number): Promise<number> {
    if (this.#app !== undefined) throw new HalleyError('ALREADY_LISTENING', 'this API listens already', { host, port });
    const app = uWS.App();
    this.#app = app;
    this.#guard = new AccessGuard(this.#deps.apiToken, host);
    app.any('/*', (res, req) => this.#onRequest(res, req));
    try {
      const realPort = await probePort(host, port, PORT_OPTION);
      if (this.#app !== app)
        throw new HalleyError('CLOSED', 'the API was closed while it began to listen', { host, port });
      // Exclusive: between the probe and here nobody can have slipped in to share the port.
      let listens = false;
      (app as unknown as ExclusiveListener).listen(host, realPort, EXCLUSIVE_PORT, (socket) => {
        listens = socket !== false;
      });
      if (listens) return realPort;
      throw new HalleyError('PORT_TAKEN', 'another process listens here, choose another port', {
        option: PORT_OPTION,
        host,
        port: realPort,
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Stop listening and end every connection, answered or not. May be called again. */
  close(): void {
    const app = this.#app;
    this.#app = undefined;
    app?.close();
  }

  gauges(): HttpGauges {
    return {
      inFlightCount: this.#inFlightCount,
      requestCount: this.#requestCount,
      abortedCount: this.#abortedCount,
      defectCount: this.#defectCount,
    };
  }

  #onRequest(res: HttpResponse, req: HttpRequest): void {
    const exchange = new Exchange(res, this.#hooks);
    this.#requestCount++;
    this.#inFlightCount++;
    exchange.guard(() => {
      const method = req.getCaseSensitiveMethod();
      const path = req.getUrl();
      exchange.identify(method, path);
      this.#route(exchange, req, method, path);
    });
  }

  /** `req` is valid inside this call only: everything a later step needs is read here. */
  #route(exchange: Exchange, req: HttpRequest, method: string, path: string): void {
    if (method === 'GET' || method === 'HEAD') {
      const page = this.#pages.find(path, req.getHeader('if-none-match'));
      if (page !== undefined) {
        exchange.send(page);
        return;
      }
    }
    // Undefined where the URL has no `?`, whatever the typings say.
    const rawQuery = (req.getQuery() as string | undefined) ?? '';
    const found = this.#routes.find(method, path, rawQuery);
    if ('reply' in found) {
      exchange.send(found.reply);
      return;
    }
    const { route } = found;
    const refusal = route.access === 'open' ? undefined : this.#refusal(route, req);
    if (refusal !== undefined) {
      exchange.send(refusal);
      return;
    }
    const query = new Query(rawQuery);
    const mediaType = mediaTypeOf(req.getHeader('content-type'));
    if (route.method === 'GET') {
      this.#handle(exchange, route, { query, mediaType, body: new Uint8Array(0) });
      return;
    }
    exchange.readBody(announcedBytes(req.getHeader('content-length')), this.#bodyMaxBytes, (body) =>
      this.#handle(exchange, route, { query, mediaType, body }),
    );
  }

  #refusal(route: Route, req: HttpRequest): Reply | undefined {
    return this.#guard.refusal(route.method !== 'GET', {
      authorization: req.getHeader('authorization'),
      origin: req.getHeader('origin'),
      host: req.getHeader('host'),
    });
  }

  #handle(exchange: Exchange, route: Route, request: ApiRequest): void {
    const answer = route.handle(this.#services, request);
    if (!isPromise(answer)) {
      exchange.send(answer);
      return;
    }
    exchange.hold();
    const message = `the node did not finish in time: deadlineMs=${this.#deadlineMs}`;
    const deadline = setTimeout(
      () => exchange.guard(() => exchange.send(errorReply(504, API_CODE.TIMEOUT, message))),
      this.#deadlineMs,
    );
    // A closed server must not keep the process for the deadlines of requests that nobody waits for.
    deadline.unref();
    answer
      .then(
        (reply) => exchange.guard(() => exchange.send(reply)),
        (error: unknown) => exchange.fail(error),
      )
      .finally(() => clearTimeout(deadline));
  }

  #onDefect(error: unknown, where: string): void {
    this.#defectCount++;
    try {
      this.#deps.onDefect(error, where);
    } catch (thrown) {
      // This runs inside uWS callbacks, which nothing may leave.
      this.#discards.ignore(thrown, 'onDefect threw');
    }
  }
}
