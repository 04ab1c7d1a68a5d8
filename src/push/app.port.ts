/**
 * KIM's interfaces in TypeScript: what an application module (`--app ./app.js`) implements and what it is given.
 * The module exports `app(server: Server): void | Promise<void>`; it is loaded once in every bucket (worker thread) and
 * its listeners run there, next to the sockets.
 *
 * Differences from KIM, on purpose: Receive gets the packet's operation and may answer; messages of one channel are
 * handed over one at a time and in order (KIM runs them concurrently); a listener that throws costs its channel only;
 * Push never blocks, it tells what became of the bytes.
 */
import type { Outcome, SendOutcome } from '../errors/index.js';
import type { PushCommand, PushOutcome } from './push-command.js';

/** Operation codes of frames, as in RFC 6455. */
export const FRAME_OP = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
export type FrameOp = (typeof FRAME_OP)[keyof typeof FRAME_OP];

export interface Frame {
  opCode(): FrameOp;
  setOpCode(opCode: FrameOp): void;
  /** The bytes themselves, not a copy. */
  payload(): Uint8Array;
  setPayload(payload: Uint8Array): void;
}

/** Facts about a channel that the acceptor attached and every listener sees. */
export type Meta = Readonly<Record<string, string>>;

/** A connection before it is accepted. */
export interface Conn {
  remoteAddress(): string;
  /** The next frame from the client, in order. Rejects with HalleyError `CONN_CLOSED` when the client goes or the deadline passes. */
  readFrame(): Promise<Frame>;
  /** Write one frame. Frames written in one turn leave in one system call. */
  writeFrame(opCode: FrameOp, payload: Uint8Array): SendOutcome;
  /** Push out what has been written so far; without it, it leaves at the end of the turn. */
  flush(): void;
  close(code?: number, reason?: string): void;
}

/** What an acceptor decides about a connection. */
export interface Acceptance {
  /** The channel's id: the device key of its session. Unique in the cluster; a second one of the same user takes it over. */
  readonly channelId: string;
  /** The user's numeric id, 0 for none. */
  readonly mid?: number;
  readonly rooms?: readonly string[];
  /** Operations the channel accepts from pushes by key, by mid and to all. */
  readonly accepts?: readonly number[];
  readonly meta?: Meta;
}

export interface Acceptor {
  /**
   * Do the handshake. A throw or rejection refuses the connection with its message as reason.
   * @param timeoutMs what is left of the handshake deadline; the connection is closed when it passes, whatever the acceptor does.
   */
  accept(conn: Conn, timeoutMs: number): Acceptance | Promise<Acceptance>;
}

/** The header of the packet a message came in. */
export interface PacketInfo {
  readonly op: number;
  readonly seq: number;
  readonly ver: number;
}

/** Nothing, or the body of the answer. */
export type ListenerReply = undefined | string | Uint8Array;

export interface MessageListener {
  /**
   * One message of a channel: op 4, and every operation that Halley does not handle itself.
   * The client is answered with a packet of the same op and seq, whose body is what is returned (empty for undefined).
   * `payload` belongs to the listener.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a listener that returns nothing is the usual one
  receive(agent: Agent, payload: Uint8Array, packet: PacketInfo): ListenerReply | void | Promise<ListenerReply | void>;
}

export interface StateListener {
  /** Exactly once per accepted channel, after it left the channel map. */
  disconnect(channelId: string): void | Promise<void>;
}

/** The view of a channel that listeners get. */
export interface Agent {
  id(): string;
  mid(): number;
  meta(): Meta;
  /** Send a packet to this channel. `op` defaults to 5 (SendMsgReply, goim's downstream message). Not filtered by the watch set. */
  push(payload: Uint8Array | string, op?: number): SendOutcome;
}

export interface Channel extends Agent {
  remoteAddress(): string;
  /** Rooms the channel is in, the primary one first. */
  rooms(): readonly string[];
  /** Write one WebSocket frame as it is. */
  writeFrame(opCode: FrameOp, payload: Uint8Array): SendOutcome;
  /** Idle deadline of this channel from now on, in milliseconds. */
  setReadWait(readWaitMs: number): void;
  close(code?: number, reason?: string): void;
}

/** Channels of one bucket by id. An application may bring its own. */
export interface ChannelMap {
  add(channel: Channel): void;
  remove(id: string): void;
  get(id: string): Channel | undefined;
  all(): readonly Channel[];
}

/** The server as one bucket sees it. */
export interface Server {
  /** Takes the handshake over from goim's auth packet. */
  setAcceptor(acceptor: Acceptor): void;
  setMessageListener(listener: MessageListener): void;
  setStateListener(listener: StateListener): void;
  /** Idle deadline of every channel accepted from now on, in milliseconds; without it heartbeat.interval_s x heartbeat.max_misses. */
  setReadWait(readWaitMs: number): void;
  setChannelMap(channels: ChannelMap): void;
  channels(): ChannelMap;
  /** Index of this bucket, 1 to the number of buckets. */
  bucket(): number;
  /** A fresh snowflake as decimal string. */
  nextId(): string;
  /**
   * Send a packet to a channel wherever it is connected, whatever its watch set says. `OK`: written here, or handed to the node's control thread;
   * `FULL`: not taken, try again later.
   */
  push(channelId: string, payload: Uint8Array | string, op?: number): Outcome;
  /** Push by keys, mids, rooms or all, as HTTP does. Resolves when the node's queue has answered. */
  publish(command: PushCommand): Promise<PushOutcome>;
  /** Ask the node to shut down gracefully. */
  shutdown(): void;
}

/** What the module given by `--app` exports under the name `app`. */
export type Application = (server: Server) => void | Promise<void>;
