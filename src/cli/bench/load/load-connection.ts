/**
 * One raw socket of the load client: connect, upgrade, then hand whole frames to its dialect.
 *
 * Hot path: #onBytes(). Reads land in one buffer that all sockets of the process share (`onread`), frames are walked in
 * place, and only a frame cut by the end of a read is copied. Figures: README, benchmarks, "client CPU".
 */
import { connect, type Socket } from 'node:net';
import { FRAME_OPCODE, walkFrames } from '../wire/frame.js';
import { monotonicNs } from '../wire/message.layout.js';
import { wholePacketBytes } from '../wire/packet.js';
import type { Dialect, DialectConnection } from './dialect.port.js';

export interface LoadConnectionTarget {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Source address; undefined: the system's choice. */
  readonly localAddress: string | undefined;
  /** JSON of key, mid, room and watch set: goim's auth body. */
  readonly authBody: string;
  readonly dialect: Dialect;
}

/** What a connection tells the process it lives in. */
export interface LoadConnectionLinks {
  /** The buffer that every socket of the process reads into. */
  readonly readBuffer: Uint8Array;
  onReady(): void;
  /** Once per connection; `wasReady`: its auth had been answered. */
  onClosed(wasReady: boolean, reason: string): void;
  /** One read: `frameCount` whole frames ended in it. */
  onRead(readBytes: number, frameCount: number): void;
  onMessage(connection: LoadConnection, bytes: Uint8Array, bodyStart: number): void;
  onHeartbeatReply(): void;
  onRoomChanged(): void;
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HEAD_END = '\r\n\r\n';
const NO_BYTES = new Uint8Array(0);

export class LoadConnection implements DialectConnection {
  /** Place in the arrays of the process. */
  readonly slot: number;
  /** Time of the newest read in monotonic ns, taken on sampled connections only; 0 elsewhere. */
  readAtNs = 0;
  readonly isSampled: boolean;
  readonly #links: LoadConnectionLinks;
  readonly #target: LoadConnectionTarget;
  readonly #socket: Socket;
  #isUpgraded = false;
  #isReady = false;
  #isClosed = false;
  #carry: Uint8Array = NO_BYTES;
  #frameCount = 0;

  constructor(slot: number, isSampled: boolean, target: LoadConnectionTarget, links: LoadConnectionLinks) {
    this.slot = slot;
    this.isSampled = isSampled;
    this.#target = target;
    this.#links = links;
    this.#socket = connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }),
      onread: {
        buffer: links.readBuffer,
        callback: (readBytes, bytes) => {
          this.#onBytes(bytes, readBytes);
          return true;
        },
      },
    });
    this.#socket.once('connect', () => {
      if (target.dialect.isBare) this.#upgraded();
      else this.#askForUpgrade();
    });
    this.#socket.once('error', (error) => this.#closed(error.message));
    this.#socket.once('close', () => this.#closed('closed by the server'));
  }

  /** True once the auth reply came, until the socket is closed. */
  get isOpen(): boolean {
    return this.#isReady && !this.#isClosed;
  }

  get authBody(): string {
    return this.#target.authBody;
  }

  sendFrame(frame: Uint8Array): void {
    this.#socket.write(frame);
  }

  // What the dialect reads out of frames.

  onReady(): void {
    this.#isReady = true;
    this.#links.onReady();
  }

  onMessage(bytes: Uint8Array, bodyStart: number): void {
    this.#links.onMessage(this, bytes, bodyStart);
  }

  onHeartbeatReply(): void {
    this.#links.onHeartbeatReply();
  }

  onRoomChanged(): void {
    this.#links.onRoomChanged();
  }

  #askForUpgrade(): void {
    const target = this.#target;
    this.#socket.write(
      `GET ${target.path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\nUpgrade: websocket\r\n` +
        `Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`,
      'latin1',
    );
  }

  #upgraded(): void {
    this.#isUpgraded = true;
    const hello = this.#target.dialect.hello(this.#target.authBody);
    if (hello !== undefined) this.sendFrame(hello);
  }

  #closed(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#links.onClosed(this.#isReady, reason);
  }

  #onBytes(fresh: Uint8Array, freshBytes: number): void {
    let bytes = fresh;
    let end = freshBytes;
    if (this.#carry.length > 0) {
      bytes = new Uint8Array(this.#carry.length + freshBytes);
      bytes.set(this.#carry);
      bytes.set(fresh.subarray(0, freshBytes), this.#carry.length);
      end = bytes.length;
      this.#carry = NO_BYTES;
    }
    if (!this.#isUpgraded) {
      this.#onHead(bytes, end);
      return;
    }
    if (this.isSampled) this.readAtNs = monotonicNs();
    this.#frameCount = 0;
    try {
      const walked = this.#target.dialect.isBare
        ? this.#walkPackets(bytes, end)
        : walkFrames(bytes, end, this.#onFrame);
      if (walked < end) this.#carry = bytes.slice(walked, end);
    } catch (error) {
      this.#closed(error instanceof Error ? error.message : String(error));
    }
    this.#links.onRead(freshBytes, this.#frameCount);
  }

  /** @returns up to where whole packets went */
  #walkPackets(bytes: Uint8Array, end: number): number {
    const wholeBytes = wholePacketBytes(bytes, end);
    if (wholeBytes > 0) this.#onFrame(FRAME_OPCODE.BINARY, bytes, 0, wholeBytes);
    return wholeBytes;
  }

  #onHead(bytes: Uint8Array, end: number): void {
    const head = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1');
    const headEnd = head.indexOf(HEAD_END);
    if (headEnd < 0) {
      this.#carry = bytes.slice(0, end);
      return;
    }
    if (!head.startsWith('HTTP/1.1 101')) {
      this.#closed(`refused: ${head.slice(0, head.indexOf('\r\n'))}`);
      return;
    }
    this.#upgraded();
    const rest = headEnd + HEAD_END.length;
    if (rest < end) this.#onBytes(bytes.slice(rest, end), end - rest);
  }

  readonly #onFrame = (opcode: number, bytes: Uint8Array, start: number, end: number): void => {
    this.#frameCount += 1;
    if (opcode === FRAME_OPCODE.CLOSE) this.#closed(`close frame: ${closeReason(bytes, start, end)}`);
    else this.#target.dialect.read(this, opcode, bytes, start, end);
  };
}

function closeReason(bytes: Uint8Array, start: number, end: number): string {
  if (end - start < 2) return 'no code';
  return `${(bytes[start]! << 8) | bytes[start + 1]!} ${Buffer.from(bytes.slice(start + 2, end)).toString('utf8')}`;
}
