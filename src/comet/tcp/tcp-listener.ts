/**
 * The TCP door: goim's packets back to back on a bare socket, with or without TLS.
 *
 * Threads: its bucket.
 * Guarantees: see Door. A client that closes its side has closed the channel, as on goim; answers that were ready by then
 *   still go out. A reset connection is the end of a channel and no error.
 * Hot path: publish(): one copy for all members, one node:net write per member and turn.
 */
import { type ListenOptions, createServer as listenPlain, type Server, type ServerOpts, type Socket } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { createServer as listenTls, type TlsOptions, type Server as TlsServer } from 'node:tls';
import { DiscardCounter, HalleyError } from '../../errors/index.js';
import type { Channel } from '../bucket/channel.js';
import type { Door, DoorHandlers } from '../bucket/door.js';
import { LoopTopics } from '../bucket/loop-topics.js';
import { PacketSplitter } from './packet-splitter.js';
import { outerBytesOfTopic } from './plain-push.js';
import { TcpSocket, type TcpSocketDoor } from './tcp-socket.js';

export interface TcpListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly maxBackpressureBytes: number;
  /** Largest body of any operation: what one unfinished packet may hold. */
  readonly maxBodyBytes: number;
  /** Every bucket listens (SO_REUSEPORT); false: this listener has the port for itself. */
  readonly sharesPort: boolean;
  /** From accept to the end of the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** Asked when the listener is made and at each reloadTls(). */
  readonly tls?: (() => TlsOptions) | undefined;
}

/** Node tells of a drain only above its own mark, so the mark must not lie above the backpressure limit. */
const MAX_HIGH_WATER_BYTES = 16_384;
/** The peer or the network has ended the connection. */
const CONNECTION_ENDS: ReadonlySet<string | undefined> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Node's socket with ours on it: shared listeners instead of closures per connection. */
interface OwnedSocket extends Socket {
  halley?: TcpSocket;
}

export class TcpListener implements Door, TcpSocketDoor {
  readonly discards = new DiscardCounter();
  readonly topics = new LoopTopics<TcpSocket>();
  readonly maxBackpressureBytes: number;
  readonly #options: TcpListenerOptions;
  readonly #handlers: DoorHandlers;
  readonly #server: Server;
  readonly #splitter: PacketSplitter<TcpSocket>;
  readonly #sockets = new Set<TcpSocket>();
  /** The sockets beneath TLS, from accept on. */
  readonly #strangers = new Set<Socket>();
  /** Have something to write at the end of this turn. */
  #writers: TcpSocket[] = [];
  #inert = false;

  constructor(options: TcpListenerOptions, handlers: DoorHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    // A TLS socket does not take a mark of ours, and Node's own is 16 KiB or, from 22 on, 64.
    this.maxBackpressureBytes =
      options.tls === undefined
        ? options.maxBackpressureBytes
        : Math.max(options.maxBackpressureBytes, getDefaultHighWaterMark(false));
    this.#splitter = new PacketSplitter(options.maxBodyBytes, (socket, packet) => {
      if (socket.channel !== undefined) handlers.message(socket.channel, packet, true);
    });
    this.#server = this.#makeServer();
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  /** Sockets that stand, those included whose channel is over. */
  get socketCount(): number {
    return this.#options.tls === undefined ? this.#sockets.size : this.#strangers.size;
  }

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

  /** Take the certificates anew: connections that stand keep theirs. @throws what node:tls says to wrong ones */
  reloadTls(): void {
    const { tls } = this.#options;
    if (tls !== undefined) (this.#server as TlsServer).setSecureContext(tls());
  }

  publish(topic: string, bytes: Uint8Array): void {
    const members = this.topics.membersOf(topic);
    if (members === undefined) return;
    // The bytes are a pooled batch or a ring's own memory, and a write may outlast both.
    const message = Buffer.from(bytes.subarray(outerBytesOfTopic(topic)));
    if (message.length === 0) return;
    for (const member of members) {
      if (!member.isFull()) member.enqueue(message);
      else if (member.channel !== undefined) this.#call(member.channel, this.#handlers.dropped);
    }
  }

  makeInert(): void {
    this.#inert = true;
  }

  closeAll(): void {
    this.stopAccepting();
    for (const stranger of this.#strangers) stranger.destroy();
    for (const socket of this.#sockets) socket.close();
  }

  // TcpSocketDoor.

  flushSoon(socket: TcpSocket): void {
    // Runs when the callback that brought this is over, before the loop goes on: no timer, and no closure per write.
    if (this.#writers.length === 0) process.nextTick(this.#flush);
    this.#writers.push(socket);
  }

  drained(socket: TcpSocket): void {
    if (socket.channel !== undefined) this.#call(socket.channel, this.#handlers.drain);
  }

  ended(socket: TcpSocket): void {
    const { channel } = socket;
    socket.channel = undefined;
    if (channel !== undefined) this.#call(channel, this.#handlers.close);
  }

  readonly #flush = (): void => {
    const writers = this.#writers;
    this.#writers = [];
    for (let index = 0; index < writers.length; index++) writers[index]!.flush();
  };

  #makeServer(): Server {
    const { tls, handshakeTimeoutMs, maxBackpressureBytes } = this.#options;
    const plain: ServerOpts = {
      // Its own half is ours to close, behind what waits.
      allowHalfOpen: true,
      noDelay: true,
      highWaterMark: Math.min(maxBackpressureBytes, MAX_HIGH_WATER_BYTES),
    };
    let server: Server;
    if (tls === undefined) {
      server = listenPlain(plain).on('connection', (socket: OwnedSocket) => this.#accept(socket));
    } else {
      server = listenTls({ handshakeTimeout: handshakeTimeoutMs, ...tls(), ...plain })
        .on('connection', (stranger: Socket) => this.#meet(stranger))
        .on('secureConnection', (socket: OwnedSocket) => this.#accept(socket))
        // Node destroys it; scanners and clients that distrust the certificate are daily bread.
        .on('tlsClientError', (error) => this.discards.ignore(error, 'TLS handshake'));
    }
    // An error of accept(), such as EMFILE: the listener stays, and the next client tries again.
    return server.on('error', (error) => this.discards.ignore(error, 'TCP accept'));
  }

  #meet(stranger: Socket): void {
    this.#strangers.add(stranger);
    stranger.once('close', () => this.#strangers.delete(stranger));
  }

  #accept(socket: OwnedSocket): void {
    socket.on('error', this.#onError);
    const own = new TcpSocket(this, socket);
    let channel: Channel | undefined;
    try {
      const created = this.#inert ? undefined : this.#handlers.create();
      if (created === undefined || 'code' in created) {
        socket.destroy();
        return;
      }
      channel = created;
      own.channel = channel;
      channel.socket = own;
      socket.halley = own;
      this.#sockets.add(own);
      socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain).on('close', this.#onClose);
      this.#handlers.open(channel);
    } catch (error) {
      this.#failed(error, channel);
      if (channel === undefined) socket.destroy();
    }
  }

  // Listeners that all sockets share; Node calls them with the socket as `this`.

  readonly #onData = this.#listener((socket, chunk: Buffer) => {
    const { channel } = socket;
    // Of a channel that is over nobody reads on.
    if (this.#inert || channel === undefined) return;
    try {
      // A Buffer's slice() is a view, and who keeps a packet must have a copy.
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
      // The handler has refused it with a code; should it not have, nothing can be read from here on.
      if (!this.#splitter.split(socket, bytes) && socket.isOpen) socket.close();
    } catch (error) {
      this.#failed(error, channel);
    }
  });

  readonly #onDrain = this.#listener((socket) => this.drained(socket));

  readonly #onEnd = this.#listener((socket) => socket.end());

  readonly #onClose = this.#listener((socket) => {
    this.#sockets.delete(socket);
    socket.gone();
  });

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    // 'close' follows in any case.
    if (!CONNECTION_ENDS.has(error.code)) this.discards.ignore(error, 'TCP socket');
  };

  #listener<Argument>(handle: (socket: TcpSocket, argument: Argument) => void) {
    return function (this: OwnedSocket, argument: Argument): void {
      if (this.halley !== undefined) handle(this.halley, argument);
    };
  }

  #call(channel: Channel, handle: (channel: Channel) => void): void {
    if (this.#inert) return;
    try {
      handle(channel);
    } catch (error) {
      this.#failed(error, channel);
    }
  }

  /** The error handler is our own code and must not throw; if it does, the bucket must still live. */
  #failed(error: unknown, channel: Channel | undefined): void {
    try {
      this.#handlers.onError(error, channel);
    } catch (second) {
      this.discards.ignore(second, 'error handler');
    }
  }
}
