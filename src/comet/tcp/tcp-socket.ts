/**
 * A channel's socket on TCP. What is sent and published waits for the end of the turn and then leaves in one write, so the
 * replies to one read, and the messages of several groups that flush together, share a segment.
 *
 * Threads: its bucket.
 * Guarantees: order of send() and publish(); nothing is written after the end; the close handler runs inside end() and
 *   close(), as uWS's does. What waits for the kernel is bounded: above `maxBackpressureBytes` a message is refused whole.
 * Hot path: enqueue() and flush(); nothing is allocated here for one message a turn (what node:net allocates per write:
 *   README, benchmarks).
 */
import type { Socket } from 'node:net';
import type { PacketStream } from '../../protocol/index.js';
import { CHANNEL_FLAG, type Channel } from '../bucket/channel.js';
import { type ChannelSocket, SOCKET_ANSWER } from '../bucket/channel-socket.js';
import type { LoopTopics } from '../bucket/loop-topics.js';
import { outerBytesOf } from './plain-push.js';

/** What a socket asks of its door. */
export interface TcpSocketDoor {
  readonly topics: LoopTopics<TcpSocket>;
  readonly maxBackpressureBytes: number;
  /** It has something to write: flush() at the end of the turn. */
  flushSoon(socket: TcpSocket): void;
  /** Everything that was written to it has been taken. */
  drained(socket: TcpSocket): void;
  /** The channel is over: tell it, once. */
  ended(socket: TcpSocket): void;
}

/** How long a socket whose channel is over may take to read the rest and to close its side. */
const LINGER_MS = 5_000;
const IPV4_IN_IPV6 = '::ffff:';
const addressBytes = new TextEncoder();

function cut(socket: Socket): void {
  socket.destroy();
}

export class TcpSocket implements ChannelSocket {
  /** Undefined from the end of the channel on. */
  channel: Channel | undefined = undefined;
  /** The beginning of a packet; most sockets hold none. */
  stream: PacketStream | undefined = undefined;
  readonly #door: TcpSocketDoor;
  readonly #socket: Socket;
  /** What leaves with the next flush: nearly always one piece. */
  #first: Uint8Array | undefined = undefined;
  #more: Uint8Array[] | undefined = undefined;
  #waitingBytes = 0;
  #linger: NodeJS.Timeout | undefined = undefined;

  readonly #clientAddress: string | undefined;

  /** @param clientAddress undefined: the other end of the socket */
  constructor(door: TcpSocketDoor, socket: Socket, clientAddress: string | undefined) {
    this.#door = door;
    this.#socket = socket;
    this.#clientAddress = clientAddress;
  }

  get isOpen(): boolean {
    return this.channel !== undefined;
  }

  get clientAddress(): string {
    const address = this.#clientAddress ?? this.#socket.remoteAddress ?? '';
    return address.startsWith(IPV4_IN_IPV6) ? address.slice(IPV4_IN_IPV6.length) : address;
  }

  getRemoteAddressAsText(): ArrayBuffer {
    return addressBytes.encode(this.clientAddress).buffer;
  }

  /**
   * A binary message that is an op-9 batch goes without its outer header, one without a packet in it not at all, as on goim;
   * anything else as it is.
   */
  send(bytes: Uint8Array, isBinary = true): number {
    if (this.isFull()) return SOCKET_ANSWER.DROPPED;
    const outerBytes = isBinary ? outerBytesOf(bytes) : 0;
    if (bytes.length > outerBytes) this.enqueue(Buffer.from(outerBytes === 0 ? bytes : bytes.subarray(outerBytes)));
    return this.#socket.writableLength === 0 ? SOCKET_ANSWER.SENT : SOCKET_ANSWER.BUFFERED;
  }

  /** TCP has no such thing; the channel is none the worse for it. */
  ping(): number {
    return SOCKET_ANSWER.SENT;
  }

  subscribe(topic: string): boolean {
    return this.#door.topics.subscribe(this, topic);
  }

  unsubscribe(topic: string): boolean {
    return this.#door.topics.unsubscribe(this, topic);
  }

  getBufferedAmount(): number {
    return this.#waitingBytes + this.#socket.writableLength;
  }

  /** There is no close frame on TCP: a FIN behind what was sent, and whoever does not read it in time is cut. */
  end(): void {
    if (!this.isOpen) return;
    this.flush();
    this.#release();
    this.#socket.end();
    this.#linger = setTimeout(cut, LINGER_MS, this.#socket).unref();
  }

  close(): void {
    this.#release();
    this.#socket.destroy();
  }

  // For the door.

  /** The kernel has not taken so much that no more may wait. */
  isFull(): boolean {
    // What a long turn has collected must not count as the client's fault.
    if (this.#waitingBytes > this.#door.maxBackpressureBytes) this.flush();
    return this.#socket.writableLength > this.#door.maxBackpressureBytes;
  }

  /** Nobody may change the bytes any more. */
  enqueue(bytes: Uint8Array): void {
    this.#waitingBytes += bytes.length;
    if (this.#first === undefined) {
      this.#first = bytes;
      this.#door.flushSoon(this);
    } else if (this.#more === undefined) {
      this.#more = [bytes];
    } else {
      this.#more.push(bytes);
    }
  }

  flush(): void {
    const first = this.#first;
    if (first === undefined) return;
    const more = this.#more;
    this.#first = undefined;
    this.#waitingBytes = 0;
    if (more === undefined) {
      this.#write(first);
      return;
    }
    this.#more = undefined;
    this.#socket.cork();
    this.#socket.write(first);
    const last = more.length - 1;
    for (let index = 0; index < last; index++) this.#socket.write(more[index]!);
    this.#write(more[last]!);
    this.#socket.uncork();
  }

  /** The transport is gone. */
  gone(): void {
    clearTimeout(this.#linger);
    this.#release();
  }

  /**
   * A slow channel comes back when nothing waits any more, and Node's `drain` says so only where much waited: behind what is
   * written while it is slow the answer must be asked for.
   */
  #write(bytes: Uint8Array): void {
    if (this.channel?.has(CHANNEL_FLAG.SLOW)) this.#socket.write(bytes, () => this.#door.drained(this));
    else this.#socket.write(bytes);
  }

  #release(): void {
    if (!this.isOpen) return;
    this.#first = undefined;
    this.#more = undefined;
    this.#waitingBytes = 0;
    this.stream = undefined;
    this.#door.topics.leaveAll(this);
    this.#door.ended(this);
  }
}
