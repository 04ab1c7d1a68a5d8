/**
 * exchange: one request and its reply on node:http. Every call on request and response is here.
 *
 * Threads: the thread of the server.
 * Guarantees: exactly one of sent and aborted happens; `onEnd` is called once then, and nothing touches the response again. No
 * exception leaves a callback: it becomes status 500 and goes to `onDefect`, or status 503 where it says that Redis or
 * another node is away. A reply goes out in one write, or two where its body is bytes.
 * Layout of a body: node's parser hands out copies, one per read, which are joined at the end where there are several. Nothing
 * is reserved from Content-Length, so a client that announces much and sends little costs what it has sent.
 * Bound: of a body that nobody reads (a refused request), 1 MiB is discarded for the connection's sake; beyond that the
 * reply says `Connection: close`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Lane, Turn } from './lane.js';
import { API_CODE, awayReply, errorReply, headerLines, isBodiless, REASON_PHRASES, type Reply } from './reply.js';

/** One object for all exchanges of a server. */
export interface ExchangeHooks {
  /** The request's turn has come: answer it, now or later. May throw: status 500. */
  readonly onBegin: (exchange: Exchange) => void;
  /** A defect of ours; the client gets status 500. `where` is method and path. Must not throw. */
  readonly onDefect: (error: unknown, where: string) => void;
  /** A body was above its limit, and is refused. Must not throw. */
  readonly onTooLarge: (request: IncomingMessage) => void;
  /** The reply is written, or the client is gone. Must not throw. */
  readonly onEnd: (aborted: boolean) => void;
}

/** So much of an unwanted body is read and thrown away, so that the client is still listening when the reply comes. */
const DISCARD_BYTES = 1024 * 1024;

/** Content-Length of a chunked body. */
const UNKNOWN_BYTES = -1;
const NO_BODY = new Uint8Array(0);

const INTERNAL_REPLY = errorReply(500, API_CODE.SERVER_ERROR, 'the server failed to handle the request');

function tooLargeReply(limitBytes: number): Reply {
  return errorReply(413, API_CODE.TOO_LARGE, `the body is above the limit: limitBytes=${limitBytes}`);
}

/** What the client says it sends. The parser has refused everything but a decimal number, and both headers together. */
function announcedBytes({ headers }: IncomingMessage): number {
  if (headers['transfer-encoding'] !== undefined) return UNKNOWN_BYTES;
  const length = headers['content-length'];
  return length === undefined ? 0 : Number(length);
}

export class Exchange implements Turn {
  readonly request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #lane: Lane;
  readonly #hooks: ExchangeHooks;
  readonly #announcedBytes: number;
  readonly #expectsContinue: boolean;
  #readBytes = 0;
  #ended = false;

  /** @param expectsContinue the client waits for status 100 before it sends the body */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    lane: Lane,
    hooks: ExchangeHooks,
    expectsContinue: boolean,
  ) {
    this.request = request;
    this.#response = response;
    this.#lane = lane;
    this.#hooks = hooks;
    this.#announcedBytes = announcedBytes(request);
    this.#expectsContinue = expectsContinue;
  }

  /** Turn. */
  begin(): void {
    try {
      this.#hooks.onBegin(this);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Turn. */
  abort(): void {
    this.#end(true);
  }

  /** Turn. */
  isReceived(): boolean {
    return this.request.complete;
  }

  /** Turn. */
  afterAnswer(then: () => void): void {
    if (this.#response.writableFinished) then();
    else this.#response.once('finish', then);
  }

  /**
   * Answer what a handler threw or rejected with: 503 where Redis or another node is away; all else is a defect, which is reported
   * and answered 500 if nothing was answered yet. Where even that fails, end the connection.
   */
  fail(error: unknown): void {
    const away = awayReply(error);
    if (away !== undefined) {
      this.answer(away);
      return;
    }
    const { method, url, socket } = this.request;
    const where = `${method} ${url?.split('?', 1)[0]}`;
    this.#hooks.onDefect(error, where);
    try {
      this.send(INTERNAL_REPLY);
    } catch (sendError) {
      this.#hooks.onDefect(sendError, where);
      // Ends the exchange through the lane.
      socket.destroy();
    }
  }

  /**
   * Read the whole body, then call `done` once; a body above the limit is answered here, at once where the client announced
   * it, and an aborted one is forgotten.
   * @param done gets bytes that nobody else holds; may throw: status 500
   */
  readBody(limitBytes: number, done: (body: Uint8Array) => void): void {
    if (this.#announcedBytes > limitBytes) {
      this.#hooks.onTooLarge(this.request);
      this.send(tooLargeReply(limitBytes));
      return;
    }
    if (this.#announcedBytes === 0) {
      done(NO_BODY);
      return;
    }
    if (this.#expectsContinue) this.#response.writeContinue();
    const chunks: Buffer[] = [];
    const finish = () => {
      if (this.#ended) return;
      try {
        done(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, this.#readBytes));
      } catch (error) {
        this.fail(error);
      }
    };
    this.request.on('data', (chunk: Buffer) => {
      if (this.#ended) return;
      this.#readBytes += chunk.length;
      if (this.#readBytes > limitBytes) {
        this.#hooks.onTooLarge(this.request);
        this.answer(tooLargeReply(limitBytes));
        return;
      }
      chunks.push(chunk);
      // All that was announced is here: 'end' would come some ticks later.
      if (this.#readBytes === this.#announcedBytes) finish();
    });
    if (this.#announcedBytes === UNKNOWN_BYTES) this.request.on('end', finish);
  }

  /** The reply will come later. */
  hold(): void {
    if (!this.#ended) this.#lane.hold();
  }

  /** `send` from a callback of its own, where nobody would catch what it throws. */
  answer(reply: Reply): void {
    try {
      this.send(reply);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * Write the reply. Does nothing when the client is gone or was answered.
   * @param closeConnection the last reply of this connection
   * @throws where the reply itself is broken (a header with a line feed)
   */
  send(reply: Reply, closeConnection = false): void {
    if (this.#ended) return;
    const isTooMuch = this.#unreadBytes() > DISCARD_BYTES;
    const closes = closeConnection || isTooMuch;
    const lines = headerLines(reply);
    const response = this.#response;
    response.writeHead(
      reply.status,
      REASON_PHRASES[reply.status] ?? '',
      (closes ? [...lines, 'Connection', 'close'] : lines) as string[],
    );
    if (closes) this.#lane.stop();
    if (this.request.method === 'HEAD' || isBodiless(reply.status)) response.end();
    else if (isTooMuch) this.#sendAndLinger(reply.body);
    else response.end(reply.body);
    this.#end(false);
  }

  /** What is still to come of the body, as far as is known. */
  #unreadBytes(): number {
    if (this.#announcedBytes !== UNKNOWN_BYTES) return this.#announcedBytes - this.#readBytes;
    return this.request.complete ? 0 : Number.POSITIVE_INFINITY;
  }

  /**
   * End our side and go on reading for a while: to close with bytes unread makes the kernel reset the connection, and a client
   * that is still sending might never see why. Who sends nothing more and stays is ended by the request timeout.
   */
  #sendAndLinger(body: string | Uint8Array): void {
    const { request } = this;
    const { socket } = request;
    let discardedBytes = 0;
    this.#response.write(body, () => socket.end());
    request.on('data', (chunk: Buffer) => {
      discardedBytes += chunk.length;
      if (discardedBytes > DISCARD_BYTES) socket.destroy();
    });
    request.on('end', () => socket.destroySoon());
  }

  #end(aborted: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#hooks.onEnd(aborted);
    this.#lane.done(this, !aborted);
  }
}
