/** A WebSocket client that sends whatever bytes it is told, well-formed or not, and reads what the server makes of them. */
import { connect, type Socket } from 'node:net';

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9 } as const;

/** Always the same, so that a seed gives the same bytes. */
const MASK = [0x12, 0x34, 0x56, 0x78];
const HEADER_END = '\r\n\r\n';
const NO_CLOSE_FRAME = 1006;

export interface RawEnd {
  /** 1006: the socket closed without a close frame. */
  readonly code: number;
  readonly reason: string;
}

/** A masked frame of one message. */
export function frame(payload: Uint8Array, opcode: number = OPCODE.BINARY): Buffer {
  const extendedBytes = payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8;
  const bytes = Buffer.alloc(2 + extendedBytes + 4 + payload.length);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | (extendedBytes === 0 ? payload.length : extendedBytes === 2 ? 126 : 127);
  if (extendedBytes === 2) bytes.writeUInt16BE(payload.length, 2);
  if (extendedBytes === 8) bytes.writeBigUInt64BE(BigInt(payload.length), 2);
  const maskOffset = 2 + extendedBytes;
  bytes.set(MASK, maskOffset);
  for (let index = 0; index < payload.length; index++) {
    bytes[maskOffset + 4 + index] = (payload[index] as number) ^ (bytes[maskOffset + (index & 3)] as number);
  }
  return bytes;
}

export function upgradeRequest(path = '/sub'): string {
  const key = 'dGhlIHNhbXBsZSBub25jZQ==';
  return `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}${HEADER_END}`;
}

export class RawWebSocket {
  readonly socket: Socket;
  /** What came besides frames: the HTTP answer. */
  head = '';
  end: RawEnd | undefined;
  /** Called for every message and once at the end. */
  onEvent: (message: Buffer | undefined) => void = () => {};
  #rest: Buffer = Buffer.alloc(0);
  #closeFrame: RawEnd | undefined;
  #upgraded = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#received(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.end = this.#closeFrame ?? { code: NO_CLOSE_FRAME, reason: '' };
      this.onEvent(undefined);
    });
  }

  /** Connect and send `request`; resolves when the socket is open, whatever the server answers. */
  static async open(port: number, request: string | Uint8Array): Promise<RawWebSocket> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const raw = new RawWebSocket(socket);
    socket.write(request);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return raw;
  }

  /** Connect and finish the upgrade. */
  static async upgrade(port: number): Promise<RawWebSocket> {
    const raw = await RawWebSocket.open(port, upgradeRequest());
    await new Promise<void>((resolve, reject) => {
      raw.onEvent = (message) => {
        if (message === undefined) reject(new Error(`no upgrade: ${raw.head}`));
        else resolve();
      };
    });
    return raw;
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #received(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#upgraded) {
      const end = this.#rest.indexOf(HEADER_END);
      if (end < 0) return;
      this.head = this.#rest.toString('latin1', 0, end);
      this.#rest = this.#rest.subarray(end + HEADER_END.length);
      this.#upgraded = this.head.startsWith('HTTP/1.1 101');
      if (!this.#upgraded) return;
      this.onEvent(Buffer.alloc(0));
    }
    for (;;) {
      const message = this.#nextFrame();
      if (message === undefined) return;
      this.onEvent(message);
    }
  }

  /** Frames of a server are whole and unmasked. */
  #nextFrame(): Buffer | undefined {
    const bytes = this.#rest;
    if (bytes.length < 2) return undefined;
    const opcode = (bytes[0] as number) & 15;
    let length = (bytes[1] as number) & 127;
    let offset = 2;
    if (length === 126) {
      if (bytes.length < 4) return undefined;
      length = bytes.readUInt16BE(2);
      offset = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return undefined;
      length = Number(bytes.readBigUInt64BE(2));
      offset = 10;
    }
    if (bytes.length < offset + length) return undefined;
    const payload = bytes.subarray(offset, offset + length);
    this.#rest = bytes.subarray(offset + length);
    if (opcode !== OPCODE.CLOSE) return payload;
    const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
    this.#closeFrame = { code, reason: payload.toString('utf8', 2) };
    // The answer that RFC 6455 wants; the server then closes.
    this.socket.end(frame(payload.subarray(0, 2), OPCODE.CLOSE));
    return payload;
  }
}
