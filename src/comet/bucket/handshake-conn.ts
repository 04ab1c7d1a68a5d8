/**
 * The connection that an application's acceptor sees: frames in, frames out, before there is a channel.
 *
 * Threads: its bucket.
 * Guarantees: frames in order; bounded (the same bounds as packets before auth); every waiting read ends when the client
 *   goes or the handshake deadline passes.
 */
import { HalleyError, type SendOutcome } from '../../errors/index.js';
import { type Conn, FRAME_OP, type Frame, type FrameOp } from '../../push/index.js';
import type { Channel } from './channel.js';

/** A frame as plain data. */
export class BytesFrame implements Frame {
  #opCode: FrameOp;
  #payload: Uint8Array;

  constructor(opCode: FrameOp, payload: Uint8Array) {
    this.#opCode = opCode;
    this.#payload = payload;
  }

  opCode(): FrameOp {
    return this.#opCode;
  }

  setOpCode(opCode: FrameOp): void {
    this.#opCode = opCode;
  }

  payload(): Uint8Array {
    return this.#payload;
  }

  setPayload(payload: Uint8Array): void {
    this.#payload = payload;
  }
}

interface Reader {
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: HalleyError) => void;
}

export class HandshakeConn implements Conn {
  readonly #channel: Channel;
  readonly #maxBytes: number;
  readonly #frames: Frame[] = [];
  readonly #readers: Reader[] = [];
  #heldBytes = 0;
  #closed = false;

  constructor(channel: Channel, maxBytes: number) {
    this.#channel = channel;
    this.#maxBytes = maxBytes;
  }

  /** One WebSocket message from the client; the bytes belong to the frame. False: more is waiting than is kept. */
  feed(payload: Uint8Array, isBinary: boolean): boolean {
    const frame = new BytesFrame(isBinary ? FRAME_OP.BINARY : FRAME_OP.TEXT, payload);
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve(frame);
      return true;
    }
    this.#heldBytes += payload.length;
    this.#frames.push(frame);
    return this.#heldBytes <= this.#maxBytes;
  }

  /** The connection is over, or accepted: nothing more can be read here. Returns frames that nobody read. */
  end(): readonly Frame[] {
    this.#closed = true;
    for (const reader of this.#readers.splice(0)) reader.reject(connClosed());
    return this.#frames.splice(0);
  }

  remoteAddress(): string {
    return this.#channel.remoteAddress();
  }

  readFrame(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#heldBytes -= frame.payload().length;
      return Promise.resolve(frame);
    }
    if (this.#closed) return Promise.reject(connClosed());
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  writeFrame(opCode: FrameOp, payload: Uint8Array): SendOutcome {
    return this.#channel.owner.writeFrame(this.#channel, opCode, payload);
  }

  flush(): void {
    // uWS writes when writeFrame is called outside a cork, and at the end of the turn inside one: nothing is held here.
  }

  close(code?: number, reason?: string): void {
    this.#channel.close(code, reason);
  }
}

function connClosed(): HalleyError {
  return new HalleyError('CONN_CLOSED', 'the connection ended before the handshake was over');
}
