/**
 * Takes a request to the bucket or node that has its session, and the answer back, as it comes: connections of a client land on
 * any bucket of any node (SO_REUSEPORT, a balancer), its session is in one.
 *
 * Threads: its bucket.
 * Guarantees: an abort on either side ends the other; a client that does not read stops the reading at the source; the target
 *   is never taken from the request. Who cannot be reached in time is answered with 503 and a time to come back.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { CLOSE } from '../../errors/index.js';
import { endOf, STATUS } from './http-errors.js';
import type { HeaderRows, HttpExchange } from './http-exchange.js';
import type { NodeAddress } from './node-lookups.js';

export interface ForwardedRequest {
  readonly method: 'GET' | 'POST';
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
  /** How long the other side may take until it begins to answer. */
  readonly answerWithinMs: number;
}

/** uWS closes an idle connection after 10 s: ours must be gone before, or a request would meet its end. */
const IDLE_MS = 4_000;
const CONNECT_TIMEOUT_MS = 2_000;
const RETRY_AFTER_MS = 1_000;
const MAX_FREE_SOCKETS = 64;
const PASSED_HEADERS = ['content-type', 'halley-cursor', 'retry-after', 'x-accel-buffering'] as const;

export class RequestForwarder {
  readonly #agent = new Agent({ keepAlive: true, timeout: IDLE_MS, maxFreeSockets: MAX_FREE_SOCKETS });
  readonly #onFault: (error: unknown) => void;
  #activeCount = 0;

  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  /** Requests that are not answered to the end yet. */
  get activeCount(): number {
    return this.#activeCount;
  }

  forward(exchange: HttpExchange, { host, port }: NodeAddress, request: ForwardedRequest): void {
    if (exchange.isOver) return;
    const { method, path, body } = request;
    const headers: Record<string, string | number> = { ...request.headers };
    if (method === 'POST') headers['content-length'] = body?.length ?? 0;
    const outgoing = httpRequest({ agent: this.#agent, host, port, method, path, headers });
    // Nagle would hold the body back behind the head.
    outgoing.setNoDelay(true);
    const fail = (reason: string) => outgoing.destroy(new Error(reason));
    const answerTimer = setTimeout(() => fail('no answer in time'), request.answerWithinMs);
    let connectTimer: NodeJS.Timeout | undefined;
    const clear = () => {
      clearTimeout(answerTimer);
      clearTimeout(connectTimer);
    };
    outgoing.on('socket', (socket) => {
      if (!socket.connecting) return;
      connectTimer = setTimeout(() => fail('no connection in time'), CONNECT_TIMEOUT_MS);
      socket.once('connect', () => clearTimeout(connectTimer));
    });
    outgoing.on('response', (incoming) => {
      clear();
      try {
        this.#answer(exchange, incoming);
      } catch (error) {
        incoming.destroy();
        this.#onFault(error);
      }
    });
    this.#activeCount += 1;
    outgoing.on('close', () => {
      this.#activeCount -= 1;
    });
    outgoing.on('error', () => {
      clear();
      exchange.error(STATUS.UNAVAILABLE, unreachable());
    });
    exchange.onGone = () => {
      clear();
      outgoing.destroy();
    };
    outgoing.end(body);
  }

  close(): void {
    this.#agent.destroy();
  }

  #answer(exchange: HttpExchange, incoming: IncomingMessage): void {
    const status = `${incoming.statusCode ?? 502} ${incoming.statusMessage ?? ''}`;
    const headers: HeaderRows = PASSED_HEADERS.flatMap((name) => {
      const value = incoming.headers[name];
      return typeof value === 'string' ? [[name, value] as const] : [];
    });
    if (incoming.headers['content-type']?.startsWith('text/event-stream') === true) {
      this.#stream(exchange, incoming, status, headers);
      return;
    }
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () =>
      exchange.answer(status, headers, incoming.statusCode === 204 ? undefined : Buffer.concat(chunks)),
    );
    incoming.on('error', () => exchange.error(STATUS.UNAVAILABLE, unreachable()));
  }

  #stream(exchange: HttpExchange, incoming: IncomingMessage, status: string, headers: HeaderRows): void {
    exchange.startStream(status, headers, '', () => incoming.resume());
    incoming.on('data', (chunk: Buffer) => {
      exchange.cork(() => {
        if (!exchange.write(chunk)) incoming.pause();
      });
    });
    incoming.on('end', () => exchange.endStream());
    // Half a stream must not look like a whole one: the client comes back with its cursor.
    incoming.on('error', () => exchange.cut());
  }
}

function unreachable() {
  return endOf(CLOSE.BUCKET_FAILED, 'where this session is cannot be reached now', RETRY_AFTER_MS);
}
