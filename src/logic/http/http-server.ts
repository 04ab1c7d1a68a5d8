/**
 * http-server: the listening server: who may connect for how long, and what is said to bytes that are no request. What a
 * request means is not its business.
 *
 * Threads: control thread.
 * Guarantees: the port belongs to this server alone. Nothing that a client sends, stops sending or breaks off raises an
 * exception outside. `close()` ends every connection at once.
 * Bounds: request line and headers together 64 KiB (431; a line of some 3,000 keys), any number of headers in it; the times of
 * `HttpTimeouts`. Replies that a client does not read hold back its next requests (node:http stops reading).
 * Known: node:http takes ASCII in the request line only (Go, and so goim, takes raw UTF-8): 400 with that advice. A client that
 * ends its side of the connection before its reply has come counts as gone.
 *
 * Source: node:http. uWebSockets.js, which serves the WebSockets, was here first; its Node 20 build answers 505 to a request
 * line that comes in more than one segment, nothing at all beyond 98 headers, and aborts what is pipelined behind a route
 * that answers later.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { HalleyError } from '../../errors/index.js';
import { probePort } from '../../push/index.js';
import { Exchange, type ExchangeHooks } from './exchange.js';
import { Lane } from './lane.js';
import { API_CODE, errorReply, headerLines, REASON_PHRASES, type Reply } from './reply.js';

/** How long a client may take. An expired connection is closed within a second more. */
export interface HttpTimeouts {
  /** From the first byte of a request, or from the connection, to the end of the headers. Default 10,000. */
  readonly headersMs: number;
  /** To the last byte of the body; at least `headersMs`. Default 30,000. */
  readonly requestMs: number;
  /**
   * Between two requests. Default 75,000: above the 60 s that proxies and load balancers keep an idle connection, so that it
   * is they who close and no request runs into our closing. Told to clients as `Keep-Alive: timeout=`.
   */
  readonly keepAliveMs: number;
  /** Without any progress while a reply is worked on or written. Default 60,000, or twice the handlers' deadline. */
  readonly stallMs: number;
}

export interface ServerHooks extends ExchangeHooks {
  /** The headers of a request are there; its `onEnd` will follow. Must not throw. */
  readonly onArrive: () => void;
}

const HEADERS_MAX_BYTES = 64 * 1024;
/** How often expired connections are looked for, at most and at least. */
const MIN_CHECK_MS = 10;
const MAX_CHECK_MS = 1000;
/** Named in errors about the port. */
const PORT_OPTION = 'http_port';

/** A whole reply that ends the connection, for a client that sent no request which node:http could answer. */
function refusalText(reply: Reply): string {
  const lines = [...headerLines(reply), 'Connection', 'close'];
  let text = `HTTP/1.1 ${reply.status} ${REASON_PHRASES[reply.status]}\r\n`;
  for (let index = 0; index < lines.length; index += 2) text += `${lines[index]}: ${lines[index + 1]}\r\n`;
  return `${text}\r\n${reply.body}`;
}

const BAD_REQUEST_TEXT = refusalText(errorReply(400, API_CODE.BAD_REQUEST, 'what came is no HTTP/1.1 request'));

/** By the code of the error that node:http reports. */
const REFUSAL_TEXTS: ReadonlyMap<string, string> = new Map([
  [
    'HPE_HEADER_OVERFLOW',
    refusalText(
      errorReply(
        431,
        API_CODE.HEADERS_TOO_LARGE,
        `request line and headers are above the limit: limitBytes=${HEADERS_MAX_BYTES}`,
      ),
    ),
  ],
  [
    'HPE_INVALID_URL',
    refusalText(
      errorReply(
        400,
        API_CODE.BAD_REQUEST,
        'the URL holds a character that must be percent-escaped, as all beyond ASCII',
      ),
    ),
  ],
  [
    'HPE_CHUNK_EXTENSIONS_OVERFLOW',
    refusalText(errorReply(413, API_CODE.TOO_LARGE, 'the chunk extensions are too large')),
  ],
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    refusalText(errorReply(408, API_CODE.REQUEST_TIMEOUT, 'the request did not come to its end in time')),
  ],
]);

const NO_HOST_REPLY = errorReply(400, API_CODE.BAD_REQUEST, 'an HTTP/1.1 request needs the header "Host"');

export class HttpServer {
  readonly #server: Server | TlsServer;
  readonly #tls: (() => TlsOptions) | undefined;
  /** Connections that may not have come as far as a request: node:https closes the others only. Empty without TLS. */
  readonly #rawSockets = new Set<Socket>();
  readonly #hooks: ServerHooks;
  readonly #laneBySocket = new WeakMap<Socket, Lane>();
  #isClosed = false;

  /** @param tls certificates, asked now and by `reloadTls()`; undefined: plain http */
  constructor(timeouts: HttpTimeouts, hooks: ServerHooks, tls?: () => TlsOptions) {
    this.#tls = tls;
    this.#hooks = {
      ...hooks,
      onBegin: (exchange) => {
        if (isHostMissing(exchange.request)) exchange.send(NO_HOST_REPLY, true);
        else hooks.onBegin(exchange);
      },
    };
    const { headersMs, requestMs, keepAliveMs } = timeouts;
    const options = {
      maxHeaderSize: HEADERS_MAX_BYTES,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: Math.max(MIN_CHECK_MS, Math.min(MAX_CHECK_MS, Math.floor(headersMs / 4))),
      noDelay: true,
      // Ours is answered in its order, and in JSON.
      requireHostHeader: false,
    };
    const server =
      tls === undefined
        ? createServer(options)
        : createTlsServer({ ...options, ...tls(), handshakeTimeout: headersMs });
    server.timeout = timeouts.stallMs;
    // No limit: node would leave out what is above one, and Origin could be among it. The bytes are bounded.
    server.maxHeadersCount = 0;
    const ready = tls === undefined ? 'connection' : 'secureConnection';
    server.on(ready, (socket: Socket) => this.#laneBySocket.set(socket, new Lane(socket)));
    if (tls !== undefined) {
      server.on('connection', (socket: Socket) => {
        this.#rawSockets.add(socket);
        socket.once('close', () => this.#rawSockets.delete(socket));
      });
    }
    server.on('request', (request, response) => this.#onRequest(request, response, false));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket as Socket));
    this.#server = server;
  }

  /**
   * @param port 0: a free one
   * @returns the real port
   * @throws HalleyError of `probePort`, LISTEN_FAILED, or CLOSED where close() came in between
   */
  async listen(host: string, port: number): Promise<number> {
    const server = this.#server;
    const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once('error', resolve);
      // close() before the address was looked up: neither of the others comes.
      server.once('close', () => resolve(undefined));
      server.listen({ host, port, exclusive: true }, () => {
        server.off('error', resolve);
        // From now on of accept(), when no descriptor is left. Without a listener it would end the process.
        server.on('error', (error) => this.#hooks.onDefect(error, 'accept'));
        resolve(undefined);
      });
    });
    if (failure !== undefined) {
      // The probe meets the same hindrance and has its name.
      await probePort(host, port, PORT_OPTION);
      throw new HalleyError('LISTEN_FAILED', 'cannot listen here', { option: PORT_OPTION, host, port }, failure);
    }
    const address = server.address();
    if (this.#isClosed || address === null || typeof address === 'string') {
      this.close();
      throw new HalleyError('CLOSED', 'the API was closed while it began to listen', { host, port });
    }
    return address.port;
  }

  /** Stop listening and end every connection, answered or not. May be called again. */
  close(): void {
    this.#isClosed = true;
    this.#server.close();
    this.#server.closeAllConnections();
    for (const socket of this.#rawSockets) socket.destroy();
  }

  /** New handshakes take the newest certificates; connections stay as they are. */
  reloadTls(): void {
    if (this.#tls !== undefined) (this.#server as TlsServer).setSecureContext(this.#tls());
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const lane = this.#laneBySocket.get(request.socket) as Lane;
    this.#hooks.onArrive();
    lane.add(new Exchange(request, response, lane, this.#hooks, expectsContinue));
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const isSilent = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0;
    const lane = this.#laneBySocket.get(socket);
    // A connection opened ahead of need that was not needed has asked nothing; one whose TLS handshake failed has no lane.
    if (isSilent || lane === undefined) socket.destroy();
    else lane.refuse(REFUSAL_TEXTS.get(error.code ?? '') ?? BAD_REQUEST_TEXT);
  }
}

/** HTTP/1.0 knows no Host. */
function isHostMissing({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return headers.host === undefined && httpVersionMinor === 1;
}
