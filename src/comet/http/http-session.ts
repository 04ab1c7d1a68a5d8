/**
 * A channel's socket where there is none: downstream messages, numbered and kept until the client has acknowledged them, and at
 * most one request that waits for them (a poll or an SSE stream).
 *
 *   firstNumber            writtenNumber        sentNumber          lastNumber
 *        |-- replay (SSE) -------|-- in the socket ---|-- waits ---------|
 *
 * What a poll has taken stays until the next one acknowledges it, and does not count as buffered until then. An SSE stream acknowledges only when it reconnects, so of what
 * the kernel took from it the newest `replayBytes` are kept. Everything else counts as buffered, and above
 * `maxBackpressureBytes` a message is DROPPED: the channel is slow, exactly as on the WebSocket.
 *
 * Threads: its bucket.
 * Guarantees: order; a lost response costs nothing, because the same cursor brings the same messages; a cursor from before what
 *   is still kept is a loss, which the channel is told as Gaps.
 * Hot path: deliver(): a push to an array; nothing else per member of a publish but what writes it.
 */
import { CLOSE, type CloseCodeRow, mayReconnect } from '../../errors/index.js';
import { decodeDisconnect, PACKET_HEADER_BYTES } from '../../protocol/index.js';
import type { Channel } from '../bucket/channel.js';
import { type ChannelSocket, SOCKET_ANSWER } from '../bucket/channel-socket.js';
import { codecOf } from '../bucket/subscriptions.js';
import { closeWindowMs } from '../limits/close-advice.js';
import { endOf, type SessionEnd } from './http-errors.js';
import { HttpMessage } from './http-message.js';

/** A request that waits for messages. */
export interface SessionReader {
  /** Take what there is. Called when messages came, when the session ended, and when the reader is attached. */
  serve(session: HttpSession): void;
  /** A newer request of the session took its place. */
  supersede(end: SessionEnd): void;
  /** Nothing came until the deadline it asked for. */
  onDeadline(session: HttpSession): void;
}

/** What a session needs from its door. */
export interface SessionHost {
  readonly maxBackpressureBytes: number;
  readonly replayBytes: number;
  /** Over how long clients spread who are closed together. */
  readonly reconnectWindowMs: number;
  /** Let the reader serve at the end of this turn, so that what comes in one turn leaves together. */
  serveSoon(session: HttpSession): void;
  subscribe(session: HttpSession, topic: string): boolean;
  unsubscribe(session: HttpSession, topic: string): boolean;
  /** Fewer bytes are buffered than before. */
  drained(session: HttpSession): void;
  /** Messages are gone that the client has not seen. */
  lost(session: HttpSession): void;
  /** The session has just ended; its channel is still set. */
  ended(session: HttpSession): void;
  /** The reader is gone or came. */
  readerChanged(session: HttpSession): void;
}

const NO_ADDRESS = new ArrayBuffer(0);

export class HttpSession implements ChannelSocket {
  channel: Channel | undefined = undefined;
  clientAddress: string | undefined = undefined;
  admissionTicket: number | undefined = undefined;
  readonly #host: SessionHost;
  #messages: HttpMessage[] = [];
  #firstNumber = 1;
  #sentNumber = 0;
  #writtenNumber = 0;
  #heldBytes = 0;
  #replayBytes = 0;
  #reader: SessionReader | undefined = undefined;
  /** Set once it is over. */
  over: SessionEnd | undefined = undefined;
  /** In the door's list of those to be served. */
  isDue = false;
  /** Its channel's slot, also after the channel has lost it. */
  slot = -1;
  /** What names it in tokens. */
  connId = 0;
  /** When an ended session is forgotten. */
  forgetAtMs = 0;

  constructor(host: SessionHost, clientAddress: string) {
    this.#host = host;
    this.clientAddress = clientAddress;
  }

  /** Number of the newest message, 0 before the first. */
  get lastNumber(): number {
    return this.#firstNumber + this.#messages.length - 1;
  }

  get reader(): SessionReader | undefined {
    return this.#reader;
  }

  /** Everything that is kept, the oldest first: what a poll answers. */
  get kept(): readonly HttpMessage[] {
    return this.#messages;
  }

  get hasUnsent(): boolean {
    return this.#sentNumber < this.lastNumber;
  }

  // What the door delivers and readers take.

  /** Returns a SOCKET_ANSWER. */
  deliver(message: HttpMessage): number {
    if (this.#heldBytes - this.#replayBytes > this.#host.maxBackpressureBytes) return SOCKET_ANSWER.DROPPED;
    this.#messages.push(message);
    this.#heldBytes += message.bytes.length;
    if (!this.isDue) this.#host.serveSoon(this);
    return this.#reader === undefined ? SOCKET_ANSWER.BUFFERED : SOCKET_ANSWER.SENT;
  }

  /**
   * A request takes over as the session's reader.
   * @param cursor number of the last message the client has; undefined: it does not know. At most `lastNumber`.
   */
  attach(reader: SessionReader, cursor: number | undefined): void {
    this.#reader?.supersede(endOf(CLOSE.TAKEN_OVER, 'a newer request of this session has taken over'));
    this.#reader = reader;
    const isLoss = cursor !== undefined && cursor < this.#firstNumber - 1;
    const ackedCount = cursor === undefined ? 0 : Math.max(0, cursor - this.#firstNumber + 1);
    this.#forget(ackedCount);
    this.#replayBytes = 0;
    this.#sentNumber = this.#firstNumber - 1;
    this.#writtenNumber = this.#sentNumber;
    this.#host.readerChanged(this);
    if (ackedCount > 0) this.#host.drained(this);
    if (isLoss) this.#host.lost(this);
    // What is told on return from slowness is there now.
    if (this.#reader === reader) reader.serve(this);
  }

  detach(reader: SessionReader): void {
    if (this.#reader !== reader) return;
    this.#reader = undefined;
    this.#host.readerChanged(this);
  }

  /** For a stream: the next message, which counts as sent from here on. */
  takeNext(): HttpMessage | undefined {
    const message = this.#messages[this.#sentNumber + 1 - this.#firstNumber];
    if (message !== undefined) this.#sentNumber += 1;
    return message;
  }

  get sentNumber(): number {
    return this.#sentNumber;
  }

  /** For a stream: the kernel has taken everything that was sent. */
  written(): void {
    if (this.#writtenNumber === this.#sentNumber) return;
    for (let number = this.#writtenNumber + 1; number <= this.#sentNumber; number++) {
      this.#replayBytes += this.#messages[number - this.#firstNumber]?.bytes.length ?? 0;
    }
    this.#writtenNumber = this.#sentNumber;
    let count = 0;
    let bytes = this.#replayBytes;
    while (bytes > this.#host.replayBytes && this.#firstNumber + count <= this.#writtenNumber) {
      bytes -= this.#messages[count]?.bytes.length ?? 0;
      count += 1;
    }
    this.#replayBytes = bytes;
    this.#forget(count);
    this.#host.drained(this);
  }

  /** By a poll: everything that is kept was answered. It waits for the acknowledgement, but not for the client to read. */
  answered(): void {
    this.#replayBytes = this.#heldBytes;
    this.#host.drained(this);
  }

  #forget(count: number): void {
    if (count === 0) return;
    for (let index = 0; index < count; index++) this.#heldBytes -= this.#messages[index]?.bytes.length ?? 0;
    if (count === this.#messages.length) this.#messages = [];
    else this.#messages.splice(0, count);
    this.#firstNumber += count;
  }

  // ChannelSocket.

  send(bytes: Uint8Array): number {
    return this.over === undefined ? this.deliver(new HttpMessage(bytes)) : SOCKET_ANSWER.DROPPED;
  }

  /** There are no frames to ping with. */
  ping(): number {
    return SOCKET_ANSWER.SENT;
  }

  subscribe(topic: string): boolean {
    return this.#host.subscribe(this, topic);
  }

  unsubscribe(topic: string): boolean {
    return this.#host.unsubscribe(this, topic);
  }

  getBufferedAmount(): number {
    return this.#heldBytes - this.#replayBytes;
  }

  getRemoteAddressAsText(): ArrayBuffer {
    return NO_ADDRESS;
  }

  end(code: number, reason: string): void {
    this.#finish(this.#advice() ?? endOf({ code, reason }, '', closeWindowMs(code, this.#host.reconnectWindowMs)));
  }

  close(): void {
    this.#finish(endOf(CLOSE.SLOW as CloseCodeRow));
  }

  /** The client says that it goes: for the channel as if its socket had closed. */
  leave(): void {
    // Numbers go on: a later request with its last cursor must hear that the session is over, not that the cursor is wrong.
    this.#forget(this.#messages.length);
    this.#replayBytes = 0;
    this.#finish(endOf(CLOSE.LEFT));
  }

  /** What op 6 said, if it was the last message: more than a code and a reason. */
  #advice(): SessionEnd | undefined {
    const last = this.#messages.at(-1);
    if (last?.isDisconnect !== true || this.channel === undefined) return undefined;
    const body = decodeDisconnect(codecOf(this.channel), last.bytes.subarray(PACKET_HEADER_BYTES));
    if (!body.ok) return undefined;
    const { code, reason, reconnect, retryAfterMs } = body.value;
    return { code, reason, reconnect: reconnect ?? mayReconnect(code), retryAfterMs };
  }

  #finish(end: SessionEnd): void {
    if (this.over !== undefined) return;
    this.over = end;
    this.#host.ended(this);
    this.#reader?.serve(this);
  }
}
