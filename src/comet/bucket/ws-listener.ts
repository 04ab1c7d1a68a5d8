/**
 * One uWebSockets.js app of a bucket, plain or with TLS: goim's `/sub` with every callback wrapped, so that no exception
 * reaches C++.
 *
 * Threads: its bucket.
 * uWS facts used here (test/uws-behaviour.test.ts runs them on whatever is loaded): send and publish copy before they
 *   return; `dropped` may only mark; close handlers run inside end() and close(); a listen socket shares its port with
 *   other threads (SO_REUSEPORT), which is why the control thread probes the port first.
 * What its TLS cannot do: it has no ALPN (a client that offers http/1.1 is answered without), and no option for the lowest
 *   version. It refuses what is older than 1.2; below a lowest version of 1.3 it is left no cipher that a handshake of 1.2
 *   could take (the client sees handshake_failure instead of protocol_version). It prints two lines to standard output for each
 *   certificate with a name.
 */
import uWS, {
  type HttpRequest,
  type HttpResponse,
  type TemplatedApp,
  type us_listen_socket,
  type us_socket_context_t,
} from 'uWebSockets.js';
import { CLOSE, DiscardCounter, HalleyError } from '../../errors/index.js';
import type { Admission } from '../limits/admission.js';
import { WsAdmission } from '../limits/ws-admission.js';
import type { TlsSet } from '../tls/index.js';
import type { Channel } from './channel.js';
import type { ChannelSocket } from './channel-socket.js';
import type { Door, DoorHandlers } from './door.js';
import { tellError } from './tell-error.js';

export interface WsListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly maxBackpressureBytes: number;
  /** Largest WebSocket message; uWS closes bare (1006) above it. */
  readonly maxPayloadBytes: number;
  /** Further routes of the app, in front of the one that answers 404. */
  readonly routes?: (app: TemplatedApp) => void;
  /** Undefined: plain. */
  readonly tls?: TlsSet | undefined;
}

/** Ciphers of TLS 1.2 that need a key shared beforehand, of which there is none; those of 1.3 are not in this list. */
const NO_CIPHER_OF_TLS12 = 'PSK-AES128-CBC-SHA';

export class WsListener implements Door {
  readonly #app: TemplatedApp;
  readonly #options: WsListenerOptions;
  #listenSocket: us_listen_socket | undefined;
  #inert = false;
  readonly discards = new DiscardCounter();

  /** @param admission what is to be checked before an upgrade; undefined: nothing, and uWS upgrades by itself */
  constructor(options: WsListenerOptions, handlers: DoorHandlers, admission?: Admission) {
    this.#options = options;
    const { tls } = options;
    this.#app = tls === undefined ? uWS.App() : secureApp(tls);
    // `dropped` is missing in the package's type declarations; the binary has it (design section 10).
    const behavior = {
      idleTimeout: 0,
      sendPingsAutomatically: false,
      compression: uWS.DISABLED,
      maxBackpressure: options.maxBackpressureBytes,
      maxPayloadLength: options.maxPayloadBytes,
      open: (ws: ChannelSocket) => {
        if (this.#inert) return;
        let channel: Channel | undefined;
        try {
          const created = handlers.create();
          if ('code' in created) {
            ws.end(created.code, created.reason);
            return;
          }
          channel = created;
          // uWS keeps one object per socket; a field on it is the shortest way to the channel and costs no second object.
          ws.channel = channel;
          channel.socket = ws;
          handlers.open(channel);
        } catch (error) {
          tellError(handlers, this, error, channel);
          // Without a channel no deadline would ever end it.
          if (channel === undefined) ws.end(CLOSE.INTERNAL.code, CLOSE.INTERNAL.reason);
        }
      },
      message: (ws: ChannelSocket, message: ArrayBuffer, isBinary: boolean) => {
        const { channel } = ws;
        if (this.#inert || channel === undefined) return;
        try {
          handlers.message(channel, new Uint8Array(message), isBinary);
        } catch (error) {
          tellError(handlers, this, error, channel);
        }
      },
      dropped: (ws: ChannelSocket) => this.#guard(ws, handlers, handlers.dropped),
      ping: (ws: ChannelSocket) => this.#guard(ws, handlers, handlers.ping),
      drain: (ws: ChannelSocket) => this.#guard(ws, handlers, handlers.drain),
      close: (ws: ChannelSocket) => this.#guard(ws, handlers, handlers.close),
    };
    const guarded = admission === undefined ? behavior : this.#admitting(behavior, admission, handlers);
    const route = (app: TemplatedApp) => {
      app.ws('/sub', guarded);
      options.routes?.(app);
      app.any('/*', (res) => {
        res.onAborted(() => {});
        res
          .writeStatus('404 Not Found')
          .writeHeader('Content-Type', 'text/plain; charset=utf-8')
          .end('404 page not found');
      });
    };
    route(this.#app);
    // A name with a certificate of its own has routes of its own; topics and the listen socket are the app's.
    for (const { serverName } of tls?.certificates ?? []) if (serverName !== '') route(this.#app.domain(serverName));
  }

  /** The same behaviour behind the rules of `admission`. */
  #admitting<Behavior extends { readonly close: (ws: ChannelSocket) => void }>(
    behavior: Behavior,
    admission: Admission,
    handlers: DoorHandlers,
  ) {
    const upgrades = new WsAdmission(admission, {
      isInert: () => this.#inert,
      onError: (error) => tellError(handlers, this, error, undefined),
    });
    return {
      ...behavior,
      upgrade: (res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => {
        upgrades.upgrade(res, req, context);
      },
      close: (ws: ChannelSocket) => {
        // Also of a socket that got no channel. The memory of a bucket that dies is cleared by the control thread.
        if (!this.#inert) upgrades.closed(ws);
        behavior.close(ws);
      },
    };
  }

  publish(topic: string, bytes: Uint8Array): void {
    this.#app.publish(topic, bytes, true);
  }

  listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#app.listen(host, port, (socket) => {
        if (socket === false) {
          reject(new HalleyError('LISTEN_FAILED', 'the WebSocket port could not be opened', { host, port }));
          return;
        }
        this.#listenSocket = socket;
        resolve();
      });
    });
  }

  get listening(): boolean {
    return this.#listenSocket !== undefined;
  }

  stopAccepting(): void {
    if (this.#listenSocket === undefined) return;
    uWS.us_listen_socket_close(this.#listenSocket);
    this.#listenSocket = undefined;
  }

  makeInert(): void {
    this.#inert = true;
  }

  closeAll(): void {
    this.#listenSocket = undefined;
    this.#app.close();
  }

  #guard(ws: ChannelSocket, handlers: DoorHandlers, handle: (channel: Channel) => void): void {
    const { channel } = ws;
    if (this.#inert || channel === undefined) return;
    try {
      handle(channel);
    } catch (error) {
      tellError(handlers, this, error, channel);
    }
  }
}

/** @throws HalleyError TLS_REFUSED */
function secureApp({ certificates, minVersion }: TlsSet): TemplatedApp {
  const ciphers = minVersion === '1.3' ? { ssl_ciphers: NO_CIPHER_OF_TLS12 } : {};
  const [first, ...named] = certificates;
  try {
    const app = uWS.SSLApp({
      cert_file_name: first.certFile,
      key_file_name: first.keyFile,
      // OpenSSL then gives the record buffers of a connection back whenever they are empty.
      ssl_prefer_low_memory_usage: true,
      ...ciphers,
    });
    for (const { serverName, certFile, keyFile } of named) {
      app.addServerName(serverName, { cert_file_name: certFile, key_file_name: keyFile, ...ciphers });
    }
    return app;
  } catch (error) {
    throw new HalleyError('TLS_REFUSED', 'uWebSockets.js takes no part of this certificate', {}, error);
  }
}
