/**
 * The TCP door: goim's packets back to back on a bare socket, with or without TLS.
 *
 * Threads: its bucket.
 * Guarantees: see Door. A client that closes its side has closed the channel, as on goim; answers that were ready by then
 *   still go out. A reset connection is the end of a channel and no error.
 * Hot path: publish(): one copy for all members, one node:net write per member and turn.
 */
import type { Socket } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import { DiscardCounter } from '../../errors/index.js';
import { CHANNEL_STATE, type Channel } from '../bucket/channel.js';
import type { Door, DoorHandlers } from '../bucket/door.js';
import { LoopTopics } from '../bucket/loop-topics.js';
import { tellError } from '../bucket/tell-error.js';
import type { Admission } from '../limits/admission.js';
import { PacketSplitter } from './packet-splitter.js';
import { outerBytesOfTopic } from './plain-push.js';
import { TcpAcceptor } from './tcp-acceptor.js';
import { TcpSocket, type TcpSocketDoor } from './tcp-socket.js';

export interface TcpListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly maxBackpressureBytes: number;
  /** Largest body of any operation: what one unfinished packet may hold. */
  readonly maxBodyBytes: number;
  /** The same of a client that has not sent its auth: what anybody may make us hold. */
  readonly authBodyBytes: number;
  /** Every bucket listens (SO_REUSEPORT); false: this listener has the port for itself. */
  readonly sharesPort: boolean;
  /** For the PROXY protocol's header, and again for the TLS handshake. */
  readonly handshakeTimeoutMs: number;
  /** Asked when the listener is made and at each reloadTls(). */
  readonly tls?: (() => TlsOptions) | undefined;
}

/** Node tells of a drain only above its own mark, so the mark must not lie above the backpressure limit. */
const MAX_HIGH_WATER_BYTES = 16_384;
/** What is read waits no longer once there is so much of it. */
const MAX_UNREAD_BYTES = 262_144;

/** Node's socket with ours on it: shared listeners instead of closures per connection. */
interface OwnedSocket extends Socket {
  halley?: TcpSocket;
}

export class TcpListener implements Door, TcpSocketDoor {
  readonly discards = new DiscardCounter();
  readonly topics = new LoopTopics<TcpSocket>();
  readonly maxBackpressureBytes: number;
  readonly #handlers: DoorHandlers;
  readonly #acceptor: TcpAcceptor;
  readonly #splitter: PacketSplitter<TcpSocket>;
  readonly #sockets = new Set<TcpSocket>();
  /** Have something to write at the end of this turn. */
  #writers: TcpSocket[] = [];
  /**
   * What a poll of the loop has read, and who from. Node ends each read of a socket with its microtasks, in which a bucket wakes the
   * control thread for every connect; those read together wake it once (bench:e2e connect, 10,000: 250 to 170-210 us of CPU each).
   */
  #unread: Uint8Array[] = [];
  #readers: TcpSocket[] = [];
  #unreadBytes = 0;
  #willRead = false;
  #inert = false;

  /** @param admission undefined: no rule is on */
  constructor(options: TcpListenerOptions, handlers: DoorHandlers, admission?: Admission) {
    const { tls, maxBackpressureBytes, maxBodyBytes, authBodyBytes } = options;
    this.#handlers = handlers;
    // A TLS socket does not take a mark of ours, and Node's own is 16 KiB or, from 22 on, 64.
    this.maxBackpressureBytes =
      tls === undefined ? maxBackpressureBytes : Math.max(maxBackpressureBytes, getDefaultHighWaterMark(false));
    this.#splitter = new PacketSplitter(
      ({ channel }) => (channel?.state === CHANNEL_STATE.OPEN ? authBodyBytes : maxBodyBytes),
      (socket, packet) => {
        if (socket.channel !== undefined) handlers.message(socket.channel, packet, true);
      },
    );
    this.#acceptor = new TcpAcceptor(
      { ...options, highWaterBytes: Math.min(maxBackpressureBytes, MAX_HIGH_WATER_BYTES) },
      admission,
      {
        onSocket: (socket, clientAddress) => this.#accept(socket, clientAddress),
        onError: (error) => tellError(handlers, this, error, undefined),
        discards: this.discards,
      },
    );
  }

  get listening(): boolean {
    return this.#acceptor.listening;
  }

  /** Sockets that stand, those included whose channel is over. */
  get socketCount(): number {
    return this.#acceptor.heldCount ?? this.#sockets.size;
  }

  listen(): Promise<void> {
    return this.#acceptor.listen();
  }

  stopAccepting(): void {
    this.#acceptor.stopAccepting();
  }

  /** Take the certificates anew: connections that stand keep theirs. @throws what node:tls says to wrong ones */
  reloadTls(): void {
    this.#acceptor.reloadTls();
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
    this.#acceptor.makeInert();
  }

  closeAll(): void {
    this.stopAccepting();
    this.#acceptor.destroyAll();
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

  #accept(socket: OwnedSocket, clientAddress: string | undefined): void {
    const own = new TcpSocket(this, socket, clientAddress);
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
      // Paused behind a PROXY protocol header.
      if (socket.isPaused()) socket.resume();
      this.#handlers.open(channel);
    } catch (error) {
      tellError(this.#handlers, this, error, channel);
      if (channel === undefined) socket.destroy();
    }
  }

  // Listeners that all sockets share; Node calls them with the socket as `this`.

  readonly #onData = this.#listener((socket, chunk: Buffer) => {
    // Of a channel that is over nobody reads on.
    if (this.#inert || socket.channel === undefined) return;
    if (this.#unread.length === 0) this.#readSoon();
    // A Buffer's slice() is a view, and who keeps a packet must have a copy.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#unread.push(bytes);
    this.#readers.push(socket);
    this.#unreadBytes += bytes.length;
    if (this.#unreadBytes >= MAX_UNREAD_BYTES) this.#readAll();
  });

  readonly #onDrain = this.#listener((socket) => this.drained(socket));

  readonly #onEnd = this.#listener((socket) => {
    this.#readAll();
    socket.end();
  });

  readonly #onClose = this.#listener((socket) => {
    this.#readAll();
    this.#sockets.delete(socket);
    socket.gone();
  });

  /** Not sooner than what the loop's poll has found is there, nor later than its next one. */
  #readSoon(): void {
    if (this.#willRead) return;
    this.#willRead = true;
    setImmediate(this.#readTurn);
  }

  readonly #readTurn = (): void => {
    this.#willRead = false;
    this.#readAll();
  };

  /** In the order in which it came. */
  #readAll(): void {
    if (this.#unread.length === 0) return;
    const unread = this.#unread;
    const readers = this.#readers;
    this.#unread = [];
    this.#readers = [];
    this.#unreadBytes = 0;
    for (let index = 0; index < unread.length; index++) this.#read(readers[index]!, unread[index]!);
  }

  #read(socket: TcpSocket, bytes: Uint8Array): void {
    const { channel } = socket;
    if (this.#inert || channel === undefined) return;
    try {
      // The handler has refused it with a code; should it not have, nothing can be read from here on.
      if (!this.#splitter.split(socket, bytes) && socket.isOpen) socket.close();
    } catch (error) {
      tellError(this.#handlers, this, error, channel);
    }
  }

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
      tellError(this.#handlers, this, error, channel);
    }
  }
}
