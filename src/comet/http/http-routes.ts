/**
 * The requests of the HTTP fallbacks: what is asked, whether it is well-formed, whose session it is, and, where that is in
 * another bucket or on another node, who takes it there.
 *
 *   POST /sub/connect                       -> {session}
 *   POST /sub/send?session=T                -> 204
 *   GET  /sub/sse?session=T                 -> text/event-stream
 *   GET  /sub/poll?session=T&cursor=N       -> packets, 204 or 410
 *   POST /sub/close?session=T               -> 204
 *
 * Threads: its bucket.
 * Guarantees: uWS's request is read inside its handler only; each handler registers the abort first (HttpExchange) and lets no
 *   exception through; a request is forwarded at most once to a node and once to a bucket.
 */

import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { CLOSE, type CloseCodeRow } from '../../errors/index.js';
import { CHANNEL_STATE } from '../bucket/channel.js';
import type { Admission } from '../limits/admission.js';
import type { FallbackNode, HttpDoorOptions } from './http-door.js';
import { endOf, type SessionEnd, STATUS, sendStatusOf } from './http-errors.js';
import { HttpExchange } from './http-exchange.js';
import type { HttpSession, SessionReader } from './http-session.js';
import { packetsOfJson } from './json-packets.js';
import type { NodeLookups } from './node-lookups.js';
import { packetsProblem } from './packets-problem.js';
import { PollReader } from './poll-reader.js';
import { readBody } from './post-body.js';
import { PRIVATE_HOST } from './private-listener.js';
import { type ForwardedRequest, RequestForwarder } from './request-forwarder.js';
import { type SessionPlace, SessionTokens } from './session-token.js';
import { StreamReader } from './stream-reader.js';

/** What the routes need of the door. */
export interface RouteSessions {
  connect(exchange: HttpExchange, body: Uint8Array, clientAddress: string): void;
  find(place: SessionPlace): HttpSession | undefined;
  message(session: HttpSession, bytes: Uint8Array, isBinary: boolean): void;
  read(session: HttpSession, reader: SessionReader, cursor: number | undefined, waitMs: number | undefined): void;
}

export interface RouteParts {
  readonly tokens: SessionTokens;
  readonly node: FallbackNode;
  readonly nodes: Pick<NodeLookups, 'find'>;
  readonly sessions: RouteSessions;
  /** Undefined: no rule is on. */
  readonly admission: Admission | undefined;
  readonly onFault: (error: unknown) => void;
  readonly isInert: () => boolean;
}

/** A request for a session, out of uWS's hands. */
interface SessionRequest {
  readonly token: string;
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  /** It comes from another bucket of this node. */
  readonly isPrivate: boolean;
  /** It comes from another node, or says so: then it is not taken to a third one. */
  readonly isHop: boolean;
}

const DEFAULT_WAIT_MS = 25_000;
const ANSWER_TIMEOUT_MS = 5_000;
const RETRY_AFTER_MS = 1_000;
const PREFLIGHT_MAX_AGE_S = '7200';
/** Lower case, as uWS gives headers. */
const SECRET_HEADER = 'halley-bucket';
const HOP_HEADER = 'halley-hop';
const PATHS: ReadonlyMap<string, string> = new Map([
  ['/sub/connect', 'POST, OPTIONS'],
  ['/sub/send', 'POST, OPTIONS'],
  ['/sub/close', 'POST, OPTIONS'],
  ['/sub/sse', 'GET, OPTIONS'],
  ['/sub/poll', 'GET, OPTIONS'],
]);
const QUERY_NAMES = ['session', 'cursor', 'wait_ms', 'format'] as const;
const NUMBER_PATTERN = /^\d{1,15}$/;

export class HttpRoutes {
  readonly #options: HttpDoorOptions;
  readonly #parts: RouteParts;
  readonly #forwarder: RequestForwarder;
  /** What buckets of this node say to one another; derived, so that the secret itself never travels. */
  readonly #bucketSecret: string;

  constructor(options: HttpDoorOptions, parts: RouteParts) {
    this.#options = options;
    this.#parts = parts;
    this.#forwarder = new RequestForwarder(parts.onFault, parts.node.ca ?? '');
    this.#bucketSecret = createHmac('sha256', parts.node.secret).update('bucket to bucket').digest('hex');
  }

  /** @param isPrivate the port of the other buckets: who does not know the secret is refused */
  attach(app: TemplatedApp, isPrivate: boolean): void {
    const handler = (handle: (exchange: HttpExchange, req: HttpRequest) => void) => {
      return (res: HttpResponse, req: HttpRequest) => this.#enter(res, req, isPrivate, handle);
    };
    app.options(
      '/sub/*',
      handler((exchange, req) => this.#preflight(exchange, req)),
    );
    app.post(
      '/sub/connect',
      handler((exchange, req) => this.#connect(exchange, req)),
    );
    app.post(
      '/sub/send',
      handler((exchange, req) => this.#send(exchange, req, isPrivate)),
    );
    app.post(
      '/sub/close',
      handler((exchange, req) => this.#close(exchange, req, isPrivate)),
    );
    app.get(
      '/sub/sse',
      handler((exchange, req) => this.#stream(exchange, req, isPrivate)),
    );
    app.get(
      '/sub/poll',
      handler((exchange, req) => this.#poll(exchange, req, isPrivate)),
    );
    app.any(
      '/sub/*',
      handler((exchange, req) => this.#unknown(exchange, req)),
    );
  }

  /** Requests under way that others answer. */
  get forwardingCount(): number {
    return this.#forwarder.activeCount;
  }

  close(): void {
    this.#forwarder.close();
  }

  #enter(
    res: HttpResponse,
    req: HttpRequest,
    isPrivate: boolean,
    handle: (exchange: HttpExchange, req: HttpRequest) => void,
  ): void {
    const exchange = new HttpExchange(res, this.#parts.onFault);
    // The bucket is dying: all its sockets are closed in a moment.
    if (this.#parts.isInert()) return;
    try {
      if (isPrivate && !this.#knowsSecret(req.getHeader(SECRET_HEADER))) {
        exchange.error(STATUS.FORBIDDEN, endOf(CLOSE.FORBIDDEN, 'this port is for the other buckets of the node'));
        return;
      }
      const { admission } = this.#parts;
      const origin = req.getHeader('origin');
      const refusal = admission?.checkOrigin(origin);
      if (refusal !== undefined) {
        exchange.error(refusal.status, endOf(refusal.row, refusal.reason));
        return;
      }
      exchange.allowOrigin = admission === undefined ? '*' : origin;
      handle(exchange, req);
    } catch (error) {
      this.#parts.onFault(error);
      exchange.error(STATUS.UNAVAILABLE, endOf(CLOSE.INTERNAL, '', RETRY_AFTER_MS));
    }
  }

  #knowsSecret(given: string): boolean {
    const [own, other] = [Buffer.from(this.#bucketSecret), Buffer.from(given)];
    return own.length === other.length && timingSafeEqual(own, other);
  }

  #preflight(exchange: HttpExchange, req: HttpRequest): void {
    const methods = PATHS.get(req.getUrl());
    if (methods === undefined) {
      this.#unknown(exchange, req);
      return;
    }
    exchange.answer(STATUS.NO_CONTENT, [
      ['Access-Control-Allow-Methods', methods],
      ['Access-Control-Allow-Headers', 'Content-Type, Last-Event-ID'],
      ['Access-Control-Max-Age', PREFLIGHT_MAX_AGE_S],
    ]);
  }

  #unknown(exchange: HttpExchange, req: HttpRequest): void {
    const allowed = PATHS.get(req.getUrl());
    const text = (reason: string) => JSON.stringify({ code: 3502, reason, reconnect: false, retry_after_ms: 0 });
    if (allowed === undefined) {
      exchange.json(STATUS.NOT_FOUND, text(`there are ${[...PATHS.keys()].join(', ')}`));
    } else {
      exchange.json(STATUS.METHOD_NOT_ALLOWED, text(`allowed are ${allowed}`), [['Allow', allowed]]);
    }
  }

  #connect(exchange: HttpExchange, req: HttpRequest): void {
    const client = exchange.clientOf(this.#parts.admission, req);
    if (typeof client !== 'string') {
      exchange.error(client.status, endOf(client.row, client.reason, client.retryAfterMs));
      return;
    }
    readBody(exchange, this.#options.requestBodyBytes, (body) => this.#parts.sessions.connect(exchange, body, client));
  }

  #send(exchange: HttpExchange, req: HttpRequest, isPrivate: boolean): void {
    const request = this.#sessionRequest(exchange, req, 'POST', isPrivate);
    if (request === undefined) return;
    const type = req.getHeader('content-type').split(';', 1)[0]?.trim().toLowerCase() ?? '';
    const isJson = type === 'application/json';
    if (!isJson && type !== 'application/octet-stream') {
      const reason = 'the content type must be application/octet-stream (packets) or application/json';
      exchange.error(STATUS.UNSUPPORTED_TYPE, endOf(CLOSE.MALFORMED, `${reason}: type=${type || 'none'}`));
      return;
    }
    request.headers['content-type'] = type;
    readBody(exchange, this.#options.postMaxBytes, (body) => {
      this.#dispatch(exchange, request, body, ANSWER_TIMEOUT_MS, (session) =>
        this.#sendTo(exchange, session, body, isJson),
      );
    });
  }

  #sendTo(exchange: HttpExchange, session: HttpSession, body: Uint8Array, isJson: boolean): void {
    if (session.over !== undefined) {
      exchange.error(STATUS.GONE, session.over);
      return;
    }
    let bytes = body;
    if (isJson) {
      const packets = packetsOfJson(body);
      if (!packets.ok) {
        exchange.error(STATUS.BAD_REQUEST, endOf(CLOSE.MALFORMED, packets.error));
        return;
      }
      bytes = packets.value;
    }
    // What an application's acceptor reads need not be packets.
    const problem =
      session.channel?.state === CHANNEL_STATE.OPEN ? undefined : packetsProblem(bytes, this.#options.requestBodyBytes);
    if (problem !== undefined) {
      const isLarge = problem.row === CLOSE.TOO_LARGE;
      exchange.error(isLarge ? STATUS.TOO_LARGE : STATUS.BAD_REQUEST, endOf(problem.row, problem.reason));
      return;
    }
    this.#parts.sessions.message(session, bytes, true);
    // TypeScript does not know that the message may have ended it.
    const { over } = session as { over: HttpSession['over'] };
    if (over === undefined) exchange.answer(STATUS.NO_CONTENT, []);
    else exchange.error(sendStatusOf(over.code), over);
  }

  #close(exchange: HttpExchange, req: HttpRequest, isPrivate: boolean): void {
    const request = this.#sessionRequest(exchange, req, 'POST', isPrivate);
    if (request === undefined) return;
    this.#dispatch(exchange, request, undefined, ANSWER_TIMEOUT_MS, (session) => {
      if (session.over === undefined) session.leave();
      exchange.answer(STATUS.NO_CONTENT, []);
    });
  }

  #stream(exchange: HttpExchange, req: HttpRequest, isPrivate: boolean): void {
    const request = this.#sessionRequest(exchange, req, 'GET', isPrivate);
    // What a browser's EventSource adds on its own is newer than what stands in its URL.
    const lastEventId = req.getHeader('last-event-id');
    const cursorText = lastEventId === '' ? (req.getQuery('cursor') ?? '') : lastEventId;
    const isJson = req.getQuery('format') === 'json';
    if (request === undefined) return;
    // Node would refuse to send other characters on; what is no number is refused where the session is.
    if (lastEventId !== '') request.headers['last-event-id'] = NUMBER_PATTERN.test(lastEventId) ? lastEventId : 'none';
    this.#dispatch(exchange, request, undefined, ANSWER_TIMEOUT_MS, (session) => {
      const cursor = this.#cursorOf(exchange, session, cursorText);
      if (cursor === false) return;
      if (session.over !== undefined && session.kept.length === 0) {
        exchange.error(STATUS.GONE, session.over);
        return;
      }
      const reader = new StreamReader(exchange, isJson, session);
      exchange.onGone = () => session.detach(reader);
      this.#parts.sessions.read(session, reader, cursor, undefined);
    });
  }

  #poll(exchange: HttpExchange, req: HttpRequest, isPrivate: boolean): void {
    const request = this.#sessionRequest(exchange, req, 'GET', isPrivate);
    const cursorText = req.getQuery('cursor') ?? '';
    const waitText = req.getQuery('wait_ms') ?? '';
    const isJson = req.getQuery('format') === 'json';
    if (request === undefined) return;
    if (waitText !== '' && !NUMBER_PATTERN.test(waitText)) {
      exchange.error(STATUS.BAD_REQUEST, endOf(CLOSE.MALFORMED, `wait_ms must be an integer: wait_ms=${waitText}`));
      return;
    }
    const waitMs = waitText === '' ? DEFAULT_WAIT_MS : Number(waitText);
    const answerMs = Math.min(waitMs, this.#options.pollMaxWaitMs) + ANSWER_TIMEOUT_MS;
    this.#dispatch(exchange, request, undefined, answerMs, (session) => {
      const cursor = this.#cursorOf(exchange, session, cursorText);
      if (cursor === false) return;
      const reader = new PollReader(exchange, isJson);
      exchange.onGone = () => session.detach(reader);
      this.#parts.sessions.read(session, reader, cursor, waitMs);
    });
  }

  /** Undefined: none was given. False: it is no cursor of this session, and the answer says so. */
  #cursorOf(exchange: HttpExchange, session: HttpSession, text: string): number | undefined | false {
    if (text === '') return undefined;
    const cursor = NUMBER_PATTERN.test(text) ? Number(text) : Number.NaN;
    if (cursor <= session.lastNumber) return cursor;
    const reason = `cursor must be the number of a message that was received, at most ${session.lastNumber}: cursor=${text}`;
    exchange.error(STATUS.BAD_REQUEST, endOf(CLOSE.MALFORMED, reason));
    return false;
  }

  #sessionRequest(
    exchange: HttpExchange,
    req: HttpRequest,
    method: 'GET' | 'POST',
    isPrivate: boolean,
  ): SessionRequest | undefined {
    const token = req.getQuery('session') ?? '';
    if (token === '') {
      exchange.error(STATUS.BAD_REQUEST, endOf(CLOSE.MALFORMED, 'the parameter session is missing'));
      return undefined;
    }
    // Written anew: whatever else stands in a client's query, Node might refuse to send it on.
    const query = new URLSearchParams();
    for (const name of QUERY_NAMES) {
      const value = req.getQuery(name) ?? '';
      if (value !== '') query.set(name, value);
    }
    const isHop = req.getHeader(HOP_HEADER) !== '';
    return { token, path: `${req.getUrl()}?${query}`, method, headers: {}, isPrivate, isHop };
  }

  /** To the session, wherever it is. */
  #dispatch(
    exchange: HttpExchange,
    request: SessionRequest,
    body: Uint8Array | undefined,
    answerWithinMs: number,
    serve: (session: HttpSession) => void,
  ): void {
    const { tokens, sessions } = this.#parts;
    const reading = tokens.read(request.token);
    if (reading.kind === 'forged') {
      exchange.error(STATUS.GONE, endOf(CLOSE.UNAUTHORIZED, 'this is no session of this server'));
      return;
    }
    if (reading.kind === 'earlier') {
      exchange.error(STATUS.GONE, this.#massEnd(CLOSE.SHUTDOWN, 'the node of this session was restarted'));
      return;
    }
    const { method, path, headers } = request;
    const forwarded: ForwardedRequest = { method, path, headers, body, answerWithinMs };
    if (reading.kind === 'foreign') {
      void this.#toNode(exchange, request, forwarded, reading.nodeTag);
      return;
    }
    const { bucket, incarnation } = this.#options;
    if (reading.bucket !== bucket) {
      this.#toBucket(exchange, request, forwarded, reading.bucket);
      return;
    }
    const session = SessionTokens.isOf(reading, bucket, incarnation) ? sessions.find(reading) : undefined;
    if (session !== undefined) serve(session);
    else exchange.error(STATUS.GONE, this.#lostEnd(reading));
  }

  #lostEnd(place: SessionPlace) {
    const { bucket, incarnation } = this.#options;
    return SessionTokens.isOf(place, bucket, incarnation)
      ? endOf(CLOSE.IDLE, 'the session has ended')
      : this.#massEnd(CLOSE.BUCKET_FAILED, 'the bucket of this session was restarted');
  }

  /** An end that many sessions share: their clients are asked to spread. */
  #massEnd(row: CloseCodeRow, reason: string): SessionEnd {
    return endOf(row, reason, this.#options.reconnectWindowMs);
  }

  #toBucket(exchange: HttpExchange, request: SessionRequest, forwarded: ForwardedRequest, bucket: number): void {
    const { ports } = this.#parts.node;
    // Pairs with the store in PrivateListener.
    const port = bucket < ports.length ? Atomics.load(ports, bucket) : 0;
    if (port === 0) {
      exchange.error(STATUS.GONE, this.#massEnd(CLOSE.BUCKET_FAILED, 'the bucket of this session was restarted'));
    } else if (request.isPrivate) {
      exchange.error(
        STATUS.UNAVAILABLE,
        endOf(CLOSE.BUCKET_FAILED, 'the port of a bucket has changed', RETRY_AFTER_MS),
      );
    } else {
      const headers = { ...forwarded.headers, [SECRET_HEADER]: this.#bucketSecret };
      this.#forwarder.forward(exchange, { host: PRIVATE_HOST, port, isTls: false }, { ...forwarded, headers });
    }
  }

  async #toNode(
    exchange: HttpExchange,
    request: SessionRequest,
    forwarded: ForwardedRequest,
    nodeTag: string,
  ): Promise<void> {
    if (request.isHop) {
      exchange.error(STATUS.UNAVAILABLE, endOf(CLOSE.BUCKET_FAILED, 'the session is on a third node', RETRY_AFTER_MS));
      return;
    }
    try {
      const found = await this.#parts.nodes.find(nodeTag);
      if (found === 'gone') {
        exchange.error(STATUS.GONE, this.#massEnd(CLOSE.SHUTDOWN, 'the node of this session is gone'));
      } else if (found === 'unknown') {
        exchange.error(
          STATUS.UNAVAILABLE,
          endOf(CLOSE.BUCKET_FAILED, 'the node was not found in time', RETRY_AFTER_MS),
        );
      } else {
        this.#forwarder.forward(exchange, found, {
          ...forwarded,
          headers: { ...forwarded.headers, [HOP_HEADER]: '1' },
        });
      }
    } catch (error) {
      // Node refuses to send what a client wrote, for example control characters in the path.
      this.#parts.onFault(error);
      exchange.error(STATUS.BAD_REQUEST, endOf(CLOSE.MALFORMED, 'the request cannot be forwarded'));
    }
  }
}
