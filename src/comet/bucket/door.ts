/**
 * A door: one way for clients to reach a bucket (WebSocket, TCP, SSE and long-poll; each with and without TLS). A door
 * accepts, frames and writes; what packets mean is the same behind all of them.
 *
 * Threads: its bucket.
 * Guarantees a door gives: no exception of a handler reaches its transport; every handler runs inside a try/catch whose
 *   errors go to `onError`; `dropped` only marks; `close` is called exactly once per channel it opened, after which the
 *   socket is not touched; publish() reaches what subscribed to the topic through this door and is over when it returns.
 */
import type { CloseCodeRow, DiscardCounter } from '../../errors/index.js';
import type { Channel } from './channel.js';

/** What happens on the sockets of any door. */
export interface DoorHandlers {
  /** A fresh channel for a new socket, or the code to refuse it with. */
  readonly create: () => Channel | CloseCodeRow;
  readonly open: (channel: Channel) => void;
  /** One or more whole packets, valid until return. A door that reads a stream splits it first. */
  readonly message: (channel: Channel, bytes: Uint8Array, isBinary: boolean) => void;
  readonly dropped: (channel: Channel) => void;
  /** The transport's own sign of life (a WebSocket ping). */
  readonly ping: (channel: Channel) => void;
  /** What was buffered has been taken, wholly or in part. */
  readonly drain: (channel: Channel) => void;
  readonly close: (channel: Channel) => void;
  readonly onError: (error: unknown, channel: Channel | undefined) => void;
}

export interface Door {
  /** Start accepting, and again after stopAccepting(). Rejects with HalleyError `LISTEN_FAILED`. */
  listen(): Promise<void>;
  /** Stop accepting; open sockets stay. */
  stopAccepting(): void;
  /** Write to every subscriber of the topic; the bytes need be valid until return only. */
  publish(topic: string, bytes: Uint8Array): void;
  /** At a stop, behind the close of all channels: wait for what is still on its way through this door. Absent: nothing is. */
  settle?(withinMs: number): Promise<void>;
  /** Only of a door with TLS: new handshakes take the newest certificates, open sockets stay. Rejects where it keeps its old ones. */
  reloadTls?(): Promise<void> | void;
  /** Handlers do nothing from now on (crash rule). */
  makeInert(): void;
  /** Close the listen socket and every socket. */
  closeAll(): void;
  /** Errors of the error handler itself. */
  readonly discards: DiscardCounter;
}
