/**
 * TLS on sockets that were accepted elsewhere: whoever accepts has looked at them, and perhaps read a PROXY protocol header,
 * before the handshake begins.
 *
 * Threads: its bucket.
 * Node facts used here (tls-handshakes.test.ts runs them): `tls.Server` takes sockets by `emit('connection')`, as its manual
 *   says, and reads first what was unshifted to them; closing such a socket closes the one above it. The socket above has no
 *   public way back to the one below, but the addresses and ports of both ends, which name a connection as long as it lives.
 */
import type { Socket } from 'node:net';
import type { TLSSocket, TlsOptions, Server as TlsServer } from 'node:tls';
import type { DiscardCounter } from '../../errors/index.js';
import type { HeldSocket } from './tcp-acceptor.js';

export class TlsHandshakes {
  readonly #server: TlsServer;
  readonly #tls: () => TlsOptions;
  /** Handshakes under way whose client has an address of its own, by what names their connection. */
  readonly #begun = new Map<string, HeldSocket>();

  /**
   * @param tls asked now and at each reload()
   * @param onSocket the handshake is over
   */
  constructor(
    tls: () => TlsOptions,
    timeoutMs: number,
    onSocket: (socket: Socket, clientAddress: string | undefined) => void,
    discards: DiscardCounter,
  ) {
    this.#tls = tls;
    // Not imported, as in tls/.
    const { createServer } = process.getBuiltinModule('node:tls');
    this.#server = createServer({ handshakeTimeout: timeoutMs, ...tls() })
      .on('secureConnection', (socket) => onSocket(socket, this.#clientOf(socket)))
      .on('tlsClientError', (error, socket) => {
        // Scanners and clients that distrust the certificate are daily bread. One that is late Node leaves open.
        discards.ignore(error, 'TLS handshake');
        socket.destroy();
      });
  }

  begin(socket: HeldSocket): void {
    if (socket.clientAddress !== undefined) {
      const name = nameOf(socket);
      this.#begun.set(name, socket);
      socket.once('close', () => {
        if (this.#begun.get(name) === socket) this.#begun.delete(name);
      });
    }
    this.#server.emit('connection', socket);
  }

  /** @throws what node:tls says to wrong certificates */
  reload(): void {
    this.#server.setSecureContext(this.#tls());
  }

  #clientOf(socket: TLSSocket): string | undefined {
    const name = nameOf(socket);
    const clientAddress = this.#begun.get(name)?.clientAddress;
    this.#begun.delete(name);
    return clientAddress;
  }
}

function nameOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
