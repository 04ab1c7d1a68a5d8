/**
 * A long poll: answered with everything that is kept as soon as there is something, with 204 at its deadline, with 410 when the
 * session is over and everything before that has been taken.
 *
 * Threads: its bucket.
 */
import { errorBody, type SessionEnd, STATUS } from './http-errors.js';
import type { HttpExchange } from './http-exchange.js';
import type { HttpMessage } from './http-message.js';
import type { HttpSession, SessionReader } from './http-session.js';

export class PollReader implements SessionReader {
  readonly #exchange: HttpExchange;
  readonly #isJson: boolean;

  constructor(exchange: HttpExchange, isJson: boolean) {
    this.#exchange = exchange;
    this.#isJson = isJson;
  }

  serve(session: HttpSession): void {
    const { kept, over: end } = session;
    // Of an op 6 alone the answer 410 says all there is.
    if (end !== undefined && (kept.length === 0 || (kept.length === 1 && kept[0]?.isDisconnect))) {
      session.detach(this);
      this.#exchange.error(STATUS.GONE, end);
    } else if (kept.length > 0) {
      session.detach(this);
      this.#answer(kept, session.lastNumber);
      session.answered();
    }
  }

  supersede(end: SessionEnd): void {
    this.#exchange.json(STATUS.CONFLICT, errorBody(end));
  }

  onDeadline(session: HttpSession): void {
    session.detach(this);
    this.#exchange.answer(STATUS.NO_CONTENT, [['Halley-Cursor', String(session.lastNumber)]]);
  }

  #answer(kept: readonly HttpMessage[], lastNumber: number): void {
    const cursor = String(lastNumber);
    if (this.#isJson) {
      const packets = kept.map(({ json }) => json).join(',');
      this.#exchange.json(STATUS.OK, `{"cursor":${cursor},"packets":[${packets}]}`, [['Halley-Cursor', cursor]]);
      return;
    }
    // One message is answered as it is, whatever the number of those who poll for it.
    const bytes = kept.length === 1 && kept[0] !== undefined ? kept[0].bytes : Buffer.concat(kept.map((m) => m.bytes));
    this.#exchange.answer(
      STATUS.OK,
      [
        ['Content-Type', 'application/octet-stream'],
        ['Halley-Cursor', cursor],
      ],
      bytes,
    );
  }
}
