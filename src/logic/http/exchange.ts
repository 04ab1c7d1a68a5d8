/**
 * exchange: one request and its reply on a uWebSockets.js response. Every call into uWS for a request is here.
 *
 * Threads: the thread of the app.
 * Guarantees: `onAborted` is the first thing done with the response, and after it nothing touches the response again. No
 * exception leaves a callback into C++: it becomes status 500 and goes to `onDefect`. Exactly one of sent and aborted happens;
 * `onEnd` is called once then.
 * Layout of a body: chunks are copied as they come (uWS detaches its buffer on return) and joined at the end. Nothing is
 * reserved from Content-Length, so a client that announces much and sends little costs what it has sent.
 *
 * uWS's own limits, not ours (measured on its Node 20 binary):
 * - A request line that arrives in more than one read is answered 505. One longer than a TCP segment (about 1,400 bytes, some
 *   60 keys) may fail on a real network: `/halley/push/batch` carries long lists in its body.
 * - A header block that arrives in several reads may have 4 KiB, else 431. HTTP/1.0: 505. A Content-Length that is no number:
 *   400. All with `Connection: close`. More than 98 headers, or none called Host: no answer at all.
 * - An idle or trickling request is aborted after about 10 s. `Expect: 100-continue` is answered.
 * - A request pipelined in the same segment behind one whose handler answers later aborts the connection. In a later segment
 *   it waits, since the socket is paused; the price is that the end of such a client is noticed only when its reply is due.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { API_CODE, errorReply, type Reply, STATUS_LINES } from './reply.js';

/** One object for all exchanges of a server. Neither may throw. */
export interface ExchangeHooks {
  /** A defect of ours; the client gets status 500. `where` is method and path. */
  readonly onDefect: (error: unknown, where: string) => void;
  /** The reply is written, or the client is gone. */
  readonly onEnd: (aborted: boolean) => void;
}

/** So much beyond the limit is read and thrown away, so that the client is still listening when the 413 is written. */
const DISCARD_BYTES = 1024 * 1024;

const INTERNAL_REPLY = errorReply(500, API_CODE.SERVER_ERROR, 'the server failed to handle the request');

function tooLargeReply(limitBytes: number): Reply {
  return errorReply(413, API_CODE.TOO_LARGE, `the body is above the limit: limitBytes=${limitBytes}`);
}

export class Exchange {
  readonly #res: HttpResponse;
  readonly #hooks: ExchangeHooks;
  #where = '';
  #withoutBody = false;
  #ended = false;
  #held = false;

  constructor(res: HttpResponse, hooks: ExchangeHooks) {
    // First, before anything that could throw: a response without it terminates the process.
    res.onAborted(() => this.#end(true));
    this.#res = res;
    this.#hooks = hooks;
  }

  /** Say what was asked. HEAD gets the headers and the length of the reply, not its bytes. */
  identify(method: string, path: string): void {
    this.#where = `${method} ${path}`;
    this.#withoutBody = method === 'HEAD';
  }

  /** Run `work`; a throw becomes status 500. */
  guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Report a defect and answer 500 if nothing was answered yet; where even that fails, close the connection. */
  fail(error: unknown): void {
    this.#hooks.onDefect(error, this.#where);
    try {
      this.send(INTERNAL_REPLY);
    } catch (sendError) {
      this.#hooks.onDefect(sendError, this.#where);
      // Ends the exchange through onAborted.
      if (!this.#ended) this.#res.close();
    }
  }

  /**
   * Read the whole body, then call `done` once; a body above the limit is answered here, an aborted one is forgotten.
   * @param announcedBytes of Content-Length, 0 where the client sent none
   * @param done gets bytes that nobody else holds
   */
  readBody(announcedBytes: number, limitBytes: number, done: (body: Uint8Array) => void): void {
    if (announcedBytes > limitBytes + DISCARD_BYTES) {
      this.send(tooLargeReply(limitBytes), true);
      return;
    }
    let chunks: Uint8Array[] = [];
    let sizeBytes = 0;
    this.#res.onData((chunk, isLast) =>
      this.guard(() => {
        if (this.#ended) return;
        sizeBytes += chunk.byteLength;
        if (sizeBytes > limitBytes) {
          chunks = [];
          if (isLast) this.send(tooLargeReply(limitBytes));
          else if (sizeBytes > limitBytes + DISCARD_BYTES) this.send(tooLargeReply(limitBytes), true);
          return;
        }
        if (chunk.byteLength > 0) chunks.push(new Uint8Array(chunk.slice(0)));
        if (isLast) done(chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks, sizeBytes));
      }),
    );
  }

  /** The reply will come later: read no further request from this socket until then. */
  hold(): void {
    if (this.#ended || this.#held) return;
    this.#held = true;
    this.#res.pause();
  }

  /**
   * Write the reply in one go. Does nothing when the client is gone or was answered.
   * @param closeConnection for replies with a body, to anything but HEAD
   */
  send(reply: Reply, closeConnection = false): void {
    if (this.#ended) return;
    const res = this.#res;
    res.cork(() => {
      if (this.#held) res.resume();
      res.writeStatus(STATUS_LINES[reply.status] ?? String(reply.status));
      if (reply.contentType !== '') res.writeHeader('Content-Type', reply.contentType);
      res.writeHeader('X-Content-Type-Options', 'nosniff');
      for (const [name, value] of reply.headers ?? []) res.writeHeader(name, value);
      if (reply.status === 204 || reply.status === 304) res.endWithoutBody();
      else if (this.#withoutBody) {
        // endWithoutBody(length) would wait for the bytes and close the connection, and any first argument, undefined too,
        // makes uWS write a length. Without arguments it writes none, and ours stands alone.
        const bytes = typeof reply.body === 'string' ? Buffer.byteLength(reply.body) : reply.body.byteLength;
        res.writeHeader('Content-Length', String(bytes));
        res.endWithoutBody();
      } else res.end(reply.body, closeConnection);
    });
    this.#end(false);
  }

  #end(aborted: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#hooks.onEnd(aborted);
  }
}
