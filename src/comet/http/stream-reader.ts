/**
 * An SSE stream: each message is an event with its number as id, so that a browser's EventSource comes back with the cursor by
 * itself.
 *
 * Threads: its bucket.
 * Guarantees: what waits for a client that does not read waits in the session, where it counts against the bound, and not in
 *   uWS: at most a cork buffer and one message are in there.
 * Hot path: serve(): two writes per message into uWS's cork buffer, one system call per turn.
 */
import { errorBody, type SessionEnd, STATUS } from './http-errors.js';
import type { HttpExchange } from './http-exchange.js';
import type { HttpSession, SessionReader } from './http-session.js';

/** A comment: clients ignore it. It keeps proxies from closing an idle stream. */
const COMMENT = ':\n\n';

export class StreamReader implements SessionReader {
  readonly #exchange: HttpExchange;
  readonly #isJson: boolean;
  /** The kernel has not taken what was written last. */
  #isBlocked = false;

  /** Begins the answer. */
  constructor(exchange: HttpExchange, isJson: boolean, session: HttpSession) {
    this.#exchange = exchange;
    this.#isJson = isJson;
    exchange.startStream(
      STATUS.OK,
      [
        ['Content-Type', 'text/event-stream; charset=utf-8'],
        // Nginx would hold events back.
        ['X-Accel-Buffering', 'no'],
      ],
      COMMENT,
      () => this.#writable(session),
    );
  }

  serve(session: HttpSession): void {
    if (!this.#isBlocked && session.hasUnsent) this.#exchange.cork(() => this.#writeAll(session));
    const { over: end } = session;
    // Who does not read what came before would not read this either.
    if (end === undefined || this.#exchange.isOver) return;
    session.detach(this);
    this.#exchange.endStream(`event: close\ndata: ${errorBody(end)}\n\n`);
  }

  supersede(end: SessionEnd): void {
    this.#exchange.endStream(`event: close\ndata: ${errorBody(end)}\n\n`);
  }

  onDeadline(session: HttpSession): void {
    if (this.#isBlocked) return;
    // uWS warns on standard output of every write outside of a cork.
    this.#exchange.cork(() => {
      this.#isBlocked = !this.#exchange.write(COMMENT);
    });
    if (!this.#isBlocked) session.written();
  }

  #writeAll(session: HttpSession): void {
    const exchange = this.#exchange;
    let message = session.takeNext();
    while (message !== undefined) {
      exchange.write(`id: ${session.sentNumber}\n`);
      if (!exchange.write(this.#isJson ? message.jsonEvent : message.event)) {
        this.#isBlocked = true;
        return;
      }
      message = session.takeNext();
    }
    session.written();
  }

  /** uWS calls this before it writes what it holds itself; a write of ours does that first and tells whether all of it went. */
  #writable(session: HttpSession): void {
    if (!this.#isBlocked || session.reader !== this) return;
    if (!this.#exchange.write(COMMENT)) return;
    this.#isBlocked = false;
    session.written();
    this.serve(session);
  }
}
