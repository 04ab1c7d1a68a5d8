/**
 * What a load client says and understands once its WebSocket (or bare socket) stands. The measured payload is the same 64-byte message in
 * every dialect, so servers with different wires do the same work.
 */
export type DialectName = 'goim' | 'goim-tcp' | 'socketio';

/** The connection that a frame came on, as a dialect sees it. */
export interface DialectConnection {
  /** JSON of key, mid, room and watch set: goim's auth body. */
  readonly authBody: string;
  sendFrame(frame: Uint8Array): void;
  onReady(): void;
  /** A message whose 64 bytes start at `bodyStart`; read before the call returns. */
  onMessage(bytes: Uint8Array, bodyStart: number): void;
  onHeartbeatReply(): void;
  onRoomChanged(): void;
}

/** Stateless: one object serves every connection. All frames are whole client frames, owned by the caller. */
export interface Dialect {
  /** On bare TCP: no upgrade, and what is read are whole packets, as many as a read brought. */
  readonly isBare: boolean;
  /** First frame after the upgrade; undefined: the server speaks first. */
  hello(authBody: string): Uint8Array | undefined;
  /**
   * One whole frame; its payload lies in [start, end) of `bytes` and is valid until the call returns.
   * @throws Error for what it cannot read: a bench never counts that
   */
  read(connection: DialectConnection, opcode: number, bytes: Uint8Array, start: number, end: number): void;
  heartbeat(): Uint8Array;
  /** A message up that the server sends back as it is. */
  echo(number: number, message: Uint8Array): Uint8Array;
  /** Move to `room`; '' leaves. */
  changeRoom(room: string): Uint8Array;
}
