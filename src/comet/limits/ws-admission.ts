/**
 * Asks `Admission` before a WebSocket upgrade: a refused one gets an HTTP status with a body that says why.
 *
 * Threads: its bucket.
 * uWS facts used here (ws-admission.test.ts runs them): upgrade() calls the open handler before it returns and copies what it
 *   is given onto the socket object; a PROXY protocol header of version 2 is read by uWS itself, from everybody, and changes
 *   nothing but getProxiedRemoteAddressAsText().
 */
import type { HttpRequest, HttpResponse, us_socket_context_t } from 'uWebSockets.js';
import type { ChannelSocket } from '../bucket/channel-socket.js';
import { type Admission, NO_TICKET } from './admission.js';
import { type Refusal, refusalBody, retryAfterS } from './refusal.js';
import { requestClient } from './request-client.js';

export interface WsAdmissionLinks {
  readonly isInert: () => boolean;
  readonly onError: (error: unknown) => void;
}

export class WsAdmission {
  readonly #admission: Admission;
  readonly #links: WsAdmissionLinks;

  constructor(admission: Admission, links: WsAdmissionLinks) {
    this.#admission = admission;
    this.#links = links;
  }

  /** uWS's `upgrade` handler. */
  upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
    if (this.#links.isInert()) {
      res.close();
      return;
    }
    let ticket: number = NO_TICKET;
    try {
      const clientAddress = this.#check(res, req);
      const entered = typeof clientAddress === 'string' ? this.#admission.enter(clientAddress) : clientAddress;
      if (typeof clientAddress !== 'string' || typeof entered !== 'number') {
        refuse(res, entered as Refusal);
        return;
      }
      ticket = entered;
      const data: Pick<ChannelSocket, 'clientAddress' | 'admissionTicket'> = { clientAddress, admissionTicket: ticket };
      res.upgrade(
        data,
        req.getHeader('sec-websocket-key'),
        req.getHeader('sec-websocket-protocol'),
        req.getHeader('sec-websocket-extensions'),
        context,
      );
    } catch (error) {
      this.#admission.leave(ticket);
      this.#links.onError(error);
      this.#cut(res);
    }
  }

  /** No exception may reach C++, also where there is nothing left to close. */
  #cut(res: HttpResponse): void {
    try {
      res.close();
    } catch (error) {
      this.#links.onError(error);
    }
  }

  /** From uWS's `close` handler, for every socket that came through upgrade(). */
  closed(socket: ChannelSocket): void {
    const ticket = socket.admissionTicket ?? NO_TICKET;
    socket.admissionTicket = NO_TICKET;
    this.#admission.leave(ticket);
  }

  /** The client's address, or why it is refused. */
  #check(res: HttpResponse, req: HttpRequest): string | Refusal {
    const admission = this.#admission;
    const refusal = admission.checkOrigin(req.getHeader('origin'));
    if (refusal !== undefined) return refusal;
    return requestClient(admission, res, req);
  }
}

function refuse(res: HttpResponse, refusal: Refusal): void {
  res.writeStatus(refusal.status).writeHeader('Content-Type', 'application/json');
  const retryAfter = retryAfterS(refusal);
  if (retryAfter !== undefined) res.writeHeader('Retry-After', retryAfter);
  // The socket is of no more use, and keeping it would spare a flood the next handshake.
  res.end(refusalBody(refusal), true);
}
