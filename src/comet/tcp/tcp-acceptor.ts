/**
 * The way into the TCP door, up to a socket on which packets come: accept, the PROXY protocol's header, the rules of
 * `Admission`, the TLS handshake. Whoever is refused is cut without a word: before auth there is no packet that would say why.
 *
 * Threads: its bucket.
 * Guarantees: a socket is counted (`Admission.enter`) before its TLS handshake, so that a refused one costs none, and until it
 *   is gone, whatever became of it. A client has `handshakeTimeoutMs` for the header and as much again for TLS. An error of
 *   accept() or of a stranger's handshake ends no listener.
 */
import { type ListenOptions, createServer as listenPlain, type Server, type Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { type DiscardCounter, HalleyError } from '../../errors/index.js';
import { type Admission, NO_TICKET } from '../limits/admission.js';
import { readProxyHeader } from './read-proxy-header.js';
import { TlsHandshakes } from './tls-handshakes.js';

export interface TcpAcceptorOptions {
  readonly host: string;
  readonly port: number;
  /** Every bucket listens (SO_REUSEPORT); false: this listener has the port for itself. */
  readonly sharesPort: boolean;
  /** For the PROXY protocol's header, and again for the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** Node's mark of the plain sockets. */
  readonly highWaterBytes: number;
  /** Asked when the listener is made and at each reloadTls(). */
  readonly tls?: (() => TlsOptions) | undefined;
}

export interface TcpAcceptorLinks {
  /** A socket that may stay. @param clientAddress undefined: the other end of the socket */
  readonly onSocket: (socket: Socket, clientAddress: string | undefined) => void;
  /** A defect; the socket is cut. */
  readonly onError: (error: unknown) => void;
  readonly discards: DiscardCounter;
}

/** A socket that is watched from accept on, whatever lies above it. */
export interface HeldSocket extends Socket {
  /** What it is counted under; absent: not at all. */
  ticket?: number;
  /** Where `Admission` was asked. */
  clientAddress?: string;
}

/** The peer or the network has ended the connection. */
const CONNECTION_ENDS: ReadonlySet<string | undefined> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

export class TcpAcceptor {
  readonly #options: TcpAcceptorOptions;
  readonly #links: TcpAcceptorLinks;
  readonly #admission: Admission | undefined;
  readonly #handshakes: TlsHandshakes | undefined;
  readonly #server: Server;
  /** Undefined: sockets are handed on at once, and are nobody's here. */
  readonly #held: Set<HeldSocket> | undefined;
  #inert = false;

  /** @param admission undefined: no rule is on */
  constructor(options: TcpAcceptorOptions, admission: Admission | undefined, links: TcpAcceptorLinks) {
    const { tls, handshakeTimeoutMs, highWaterBytes } = options;
    this.#options = options;
    this.#links = links;
    this.#admission = admission;
    this.#held = admission === undefined && tls === undefined ? undefined : new Set();
    if (tls !== undefined) {
      const onSocket: TcpAcceptorLinks['onSocket'] = (socket, clientAddress) => {
        socket.on('error', this.#onError);
        links.onSocket(socket, clientAddress);
      };
      this.#handshakes = new TlsHandshakes(tls, handshakeTimeoutMs, onSocket, links.discards);
    }
    // Its own half is ours to close, behind what waits.
    this.#server = listenPlain({ allowHalfOpen: true, noDelay: true, highWaterMark: highWaterBytes })
      .on('connection', (socket: HeldSocket) => this.#accept(socket))
      // An error of accept(), such as EMFILE: the listener stays, and the next client tries again.
      .on('error', (error) => links.discards.ignore(error, 'TCP accept'));
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  /** Sockets from accept to their end; undefined where they are handed on at once. */
  get heldCount(): number | undefined {
    return this.#held?.size;
  }

  /** Rejects with HalleyError `LISTEN_FAILED`. */
  listen(): Promise<void> {
    const { host, port, sharesPort } = this.#options;
    const server = this.#server;
    // `reusePort` is missing in the type declarations of Node 20.
    const where: ListenOptions & { readonly reusePort?: boolean } = { host, port, exclusive: true };
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        server.off('listening', listening);
        reject(new HalleyError('LISTEN_FAILED', 'the TCP port could not be opened', { host, port }, error));
      };
      const listening = (): void => {
        server.off('error', failed);
        resolve();
      };
      server.once('error', failed).once('listening', listening);
      server.listen(sharesPort ? { ...where, reusePort: true } : where);
    });
  }

  stopAccepting(): void {
    if (this.#server.listening) this.#server.close();
  }

  /** Handshakes from now on take the newest certificates. @throws what node:tls says to wrong ones */
  reloadTls(): void {
    this.#handshakes?.reload();
  }

  /** The counts of a bucket that dies are cleared by the control thread. */
  makeInert(): void {
    this.#inert = true;
  }

  /** Cut whatever is held, those sockets included that are somebody's already. */
  destroyAll(): void {
    for (const socket of this.#held ?? []) socket.destroy();
  }

  /** Of every socket; 'close' follows in any case. */
  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (!CONNECTION_ENDS.has(error.code)) this.#links.discards.ignore(error, 'TCP socket');
  };

  #accept(socket: HeldSocket): void {
    socket.on('error', this.#onError);
    if (this.#held === undefined) {
      this.#links.onSocket(socket, undefined);
      return;
    }
    this.#held.add(socket);
    socket.on('close', this.#onClose);
    if (this.#admission?.hasProxyHeader('tcp') !== true) {
      this.#admit(socket, '');
      return;
    }
    readProxyHeader(socket, this.#options.handshakeTimeoutMs, (header) => {
      // LOCAL and UNKNOWN: the proxy speaks for itself (a health check), and its own address counts.
      this.#admit(socket, header === undefined ? '' : (header.address ?? socket.remoteAddress ?? ''));
    });
  }

  /** @param proxyAddress what the PROXY protocol's header says, '' without one */
  #admit(socket: HeldSocket, proxyAddress: string): void {
    try {
      if (this.#inert || !this.#enter(socket, proxyAddress)) {
        socket.destroy();
        return;
      }
      if (this.#handshakes === undefined) this.#links.onSocket(socket, socket.clientAddress);
      else this.#handshakes.begin(socket);
    } catch (error) {
      socket.destroy();
      this.#links.onError(error);
    }
  }

  #enter(socket: HeldSocket, proxyAddress: string): boolean {
    const admission = this.#admission;
    if (admission === undefined) return true;
    const client = admission.clientOf('tcp', socket.remoteAddress ?? '', proxyAddress, '');
    if (typeof client !== 'string') return false;
    const ticket = admission.enter(client);
    if (typeof ticket !== 'number') return false;
    socket.ticket = ticket;
    socket.clientAddress = client;
    return true;
  }

  /** Of held sockets, with the socket as `this`. */
  readonly #onClose = this.#closeListener();

  #closeListener() {
    const closed = (socket: HeldSocket): void => {
      this.#held?.delete(socket);
      const ticket = socket.ticket ?? NO_TICKET;
      socket.ticket = NO_TICKET;
      if (!this.#inert) this.#admission?.leave(ticket);
    };
    return function (this: HeldSocket): void {
      closed(this);
    };
  }
}
