/**
 * Takes a request to the bucket or node that has its session, and the answer back, as it comes: connections of a client land on
 * any bucket of any node (SO_REUSEPORT, a balancer), its session is in one.
 *
 * Threads: its bucket.
 * Guarantees: an abort on either side ends the other; a client that does not read stops the reading at the source; the target
 *   is never taken from the request. Who cannot be reached in time is answered with 503 and a time to come back. Over TLS the
 *   other node must show a certificate for the address that is dialled, by an authority that is trusted: the request carries
 *   its session's token, which is all it takes to read along.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { CLOSE, HalleyError } from '../../errors/index.js';
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
/** So often a refused certificate is reported: every client that polls comes upon it again. */
const REPORT_EVERY_MS = 10_000;
const AGENT_OPTIONS = { keepAlive: true, timeout: IDLE_MS, maxFreeSockets: 64 } as const;
const PASSED_HEADERS = ['content-type', 'halley-cursor', 'retry-after', 'x-accel-buffering'] as const;

export class RequestForwarder {
  readonly #agent = new Agent(AGENT_OPTIONS);
  readonly #onFault: (error: unknown) => void;
  readonly #ca: string;
  #madeSecureAgent: SecureAgent | undefined;
  #activeCount = 0;
  #reportFromMs = 0;

  /** @param ca PEM of who vouches for other nodes' certificates, '' for the system's authorities */
  constructor(onFault: (error: unknown) => void, ca: string) {
    this.#onFault = onFault;
    this.#ca = ca;
  }

  /** Requests that are not answered to the end yet. */
  get activeCount(): number {
    return this.#activeCount;
  }

  forward(exchange: HttpExchange, address: NodeAddress, request: ForwardedRequest): void {
    if (exchange.isOver) return;
    const { host, port, isTls } = address;
    const { method, path, body } = request;
    const headers: Record<string, string | number> = { ...request.headers };
    if (method === 'POST') headers['content-length'] = body?.length ?? 0;
    const target = { host, port, method, path, headers };
    const outgoing = isTls
      ? process.getBuiltinModule('node:https').request({ ...target, agent: this.#secureAgent })
      : httpRequest({ ...target, agent: this.#agent });
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
      socket.once(isTls ? 'secureConnect' : 'connect', () => clearTimeout(connectTimer));
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
      exchange.error(STATUS.UNAVAILABLE, (isTls ? this.#distrust(outgoing, address) : undefined) ?? unreachable());
    });
    exchange.onGone = () => {
      clear();
      outgoing.destroy();
    };
    outgoing.end(body);
  }

  close(): void {
    this.#agent.destroy();
    this.#madeSecureAgent?.destroy();
  }

  /** One context for all connections: authorities are parsed once, and at nodes that never need them not at all (comet/tls). */
  get #secureAgent(): SecureAgent {
    if (this.#madeSecureAgent === undefined) {
      const { Agent: SecureAgent } = process.getBuiltinModule('node:https');
      const { createSecureContext } = process.getBuiltinModule('node:tls');
      const secureContext = createSecureContext(this.#ca === '' ? {} : { ca: this.#ca });
      this.#madeSecureAgent = new SecureAgent({ ...AGENT_OPTIONS, secureContext });
    }
    return this.#madeSecureAgent;
  }

  /** What the client is told where the other node's certificate was refused. The operator is told of which node. */
  #distrust({ socket }: ClientRequest, { host, port }: NodeAddress) {
    // Node keeps a code there, whatever its types say.
    const cause: unknown = (socket as TLSSocket | null)?.authorizationError;
    if (cause === undefined || cause === null) return undefined;
    const sentence =
      cause === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? "the certificate of the session's node is not for the address it is reached at (node.addrs)"
        : "the certificate of the session's node is not trusted (fallback.ca_file)";
    if (performance.now() >= this.#reportFromMs) {
      this.#reportFromMs = performance.now() + REPORT_EVERY_MS;
      this.#onFault(new HalleyError('FALLBACK_NODE_UNTRUSTED', sentence, { host, port, cause: String(cause) }));
    }
    return endOf(CLOSE.BUCKET_FAILED, `${sentence}: cause=${cause}`, RETRY_AFTER_MS);
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
