/**
 * A WebSocket client that does exactly what it is told, byte by byte: frames of any opcode, masked or not, split anywhere,
 * and everything received kept as it came. For tests of the wire itself; `WireClient` is the one for everything else.
 */
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.js';

/** Opcodes of RFC 6455. */
export const FRAME = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

export interface FrameOptions {
  readonly opCode?: number;
  /** The last frame of its message. Default true. */
  readonly fin?: boolean;
  /** Default: a fixed key that is not zero. `null` sends the frame unmasked. */
  readonly mask?: readonly [number, number, number, number] | null;
}

export interface ReceivedFrame {
  readonly fin: boolean;
  readonly opCode: number;
  readonly isMasked: boolean;
  readonly payload: Buffer;
  /** Frame header and payload as they came. */
  readonly raw: Buffer;
}

const DEFAULT_MASK = [0x11, 0x22, 0x33, 0x44] as const;

/** One client frame. */
export function clientFrame(payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { opCode = FRAME.BINARY, fin = true, mask = DEFAULT_MASK } = options;
  const head = [(fin ? 0x80 : 0) | opCode];
  const maskBit = mask === null ? 0 : 0x80;
  if (payload.length < 126) head.push(maskBit | payload.length);
  else if (payload.length < 65_536) head.push(maskBit | 126, payload.length >> 8, payload.length & 255);
  else throw new RangeError(`a test frame has less than 65536 bytes: bytes=${payload.length}`);
  if (mask === null) return Buffer.concat([Buffer.from(head), payload]);
  const masked = Buffer.from(payload);
  for (let index = 0; index < masked.length; index++) masked[index] = masked[index]! ^ mask[index % 4]!;
  return Buffer.concat([Buffer.from(head), Buffer.from(mask), masked]);
}

export class RawSocket {
  readonly socket: Socket;
  /** Status line and headers of the server's answer to the upgrade. */
  response = '';
  /** What came after the upgrade. */
  received: Buffer = Buffer.alloc(0);
  isEnded = false;
  #head: Buffer = Buffer.alloc(0);

  private constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.#data(chunk));
    this.socket.on('close', () => {
      this.isEnded = true;
    });
    this.socket.on('error', () => {
      this.isEnded = true;
    });
  }

  /** Connect and send `request`; resolves when the answer's headers are there or the server has closed. */
  static async request(port: number, request: string | Uint8Array): Promise<RawSocket> {
    const raw = new RawSocket(port);
    raw.socket.write(request);
    await eventually(() => raw.response !== '' || raw.isEnded, 10_000, 'the answer to the upgrade');
    return raw;
  }

  /** Connect and upgrade at `target`. */
  static upgrade(port: number, target = '/sub', headers: readonly string[] = []): Promise<RawSocket> {
    return RawSocket.request(
      port,
      [
        `GET ${target} HTTP/1.1`,
        'Host: localhost',
        'Upgrade: websocket',
        'Connection: keep-alive, Upgrade',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version: 13',
        ...headers,
        '',
        '',
      ].join('\r\n'),
    );
  }

  /** Send bytes as they are. */
  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Send one frame. */
  frame(payload: Uint8Array, options: FrameOptions = {}): void {
    this.write(clientFrame(payload, options));
  }

  /** Every complete frame received so far. */
  frames(): ReceivedFrame[] {
    const frames: ReceivedFrame[] = [];
    let offset = 0;
    for (;;) {
      const frame = readFrame(this.received.subarray(offset));
      if (frame === undefined) return frames;
      frames.push(frame);
      offset += frame.raw.length;
    }
  }

  /** Wait for the frame number `index`, from 0. */
  frameAt(index: number): Promise<ReceivedFrame> {
    return eventually(
      () => {
        const frame = this.frames()[index];
        if (frame === undefined && this.isEnded) throw new Error(`closed while waiting for frame ${index}`);
        return frame;
      },
      10_000,
      `frame ${index}`,
    );
  }

  /** Wait until the server has closed the TCP connection. */
  async ended(): Promise<void> {
    await eventually(() => this.isEnded, 10_000, 'the end of the connection');
  }

  destroy(): void {
    this.socket.destroy();
  }

  #data(chunk: Buffer): void {
    if (this.response !== '') {
      this.received = Buffer.concat([this.received, chunk]);
      return;
    }
    this.#head = Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return;
    this.response = this.#head.toString('latin1', 0, end);
    this.received = this.#head.subarray(end + 4);
  }
}

/** The first frame of `bytes`, undefined while it is not complete. */
function readFrame(bytes: Buffer): ReceivedFrame | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes[0]!;
  const second = bytes[1]!;
  let offset = 2;
  let lengthBytes = second & 0x7f;
  if (lengthBytes >= 126) {
    const width = lengthBytes === 126 ? 2 : 8;
    if (bytes.length < offset + width) return undefined;
    lengthBytes = width === 2 ? bytes.readUInt16BE(offset) : Number(bytes.readBigUInt64BE(offset));
    offset += width;
  }
  const isMasked = (second & 0x80) !== 0;
  if (isMasked) offset += 4;
  const end = offset + lengthBytes;
  if (bytes.length < end) return undefined;
  return {
    fin: (first & 0x80) !== 0,
    opCode: first & 0x0f,
    isMasked,
    payload: bytes.subarray(offset, end),
    raw: bytes.subarray(0, end),
  };
}
