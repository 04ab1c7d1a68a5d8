/**
 * goim's clients on TCP, as raw sockets: `GoimTcpSocket` sends what it is told and keeps what came byte by byte;
 * `GoimBenchClient` does what goim's benchmarks/client does, so that the published pair runs against Halley unchanged.
 */
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.js';

const HEADER_BYTES = 16;
const DEADLINE_MS = 10_000;

/** One packet as it came; a second reader of the wire on purpose. */
export interface TcpPacket {
  readonly ver: number;
  readonly op: number;
  readonly seq: number;
  readonly body: Buffer;
  readonly raw: Buffer;
}

/** One packet of a client, its length field being what it really has. */
export function tcpPacket(op: number, seq: number, body: string | Uint8Array = '', ver = 1): Buffer {
  const bodyBytes = Buffer.from(body as string);
  const packet = Buffer.alloc(HEADER_BYTES + bodyBytes.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt16BE(HEADER_BYTES, 4);
  packet.writeInt16BE(ver, 6);
  packet.writeInt32BE(op, 8);
  packet.writeInt32BE(seq, 12);
  bodyBytes.copy(packet, HEADER_BYTES);
  return packet;
}

export class GoimTcpSocket {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  /** The server has closed its side, or the connection is gone. */
  isEnded = false;
  /** It ended with a reset, not with a FIN. */
  errorCode: string | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => void this.#chunks.push(chunk));
    socket.on('end', () => {
      this.isEnded = true;
    });
    socket.on('close', () => {
      this.isEnded = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code;
    });
  }

  /** @param socket one that connects, where it is not to be a plain one */
  static async open(port: number, socket?: Socket): Promise<GoimTcpSocket> {
    const own = new GoimTcpSocket(socket ?? connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true }));
    await new Promise<void>((resolve, reject) => {
      own.socket.once(socket === undefined ? 'connect' : 'secureConnect', resolve).once('error', reject);
    });
    return own;
  }

  /** Connect and pass auth: the reply is packet 0. */
  static async login(port: number, auth: object): Promise<GoimTcpSocket> {
    const own = await GoimTcpSocket.open(port);
    own.write(tcpPacket(7, 1, JSON.stringify(auth)));
    await own.packetAt(0);
    return own;
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Every complete packet so far. */
  packets(): TcpPacket[] {
    const bytes = this.received;
    const packets: TcpPacket[] = [];
    let offset = 0;
    while (offset + HEADER_BYTES <= bytes.length) {
      const packetBytes = bytes.readInt32BE(offset);
      if (packetBytes < HEADER_BYTES) throw new Error(`the server sent no packet: packet_bytes=${packetBytes}`);
      if (offset + packetBytes > bytes.length) break;
      packets.push({
        ver: bytes.readInt16BE(offset + 6),
        op: bytes.readInt32BE(offset + 8),
        seq: bytes.readInt32BE(offset + 12),
        body: bytes.subarray(offset + HEADER_BYTES, offset + packetBytes),
        raw: bytes.subarray(offset, offset + packetBytes),
      });
      offset += packetBytes;
    }
    return packets;
  }

  packetAt(index: number): Promise<TcpPacket> {
    return eventually(
      () => {
        const packet = this.packets()[index];
        if (packet === undefined && this.isEnded) throw new Error(`closed while waiting for packet ${index}`);
        return packet;
      },
      DEADLINE_MS,
      `packet ${index}`,
    );
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  async ended(): Promise<void> {
    await eventually(() => this.isEnded, DEADLINE_MS, 'the end of the connection');
  }

  destroy(): void {
    this.socket.destroy();
  }
}

const AUTH_OP = 7;
const AUTH_REPLY_OP = 8;
const HEARTBEAT_OP = 2;
const HEARTBEAT_REPLY_OP = 3;
const HEARTBEAT_MS = 240_000;
const READ_DEADLINE_MS = 300_000;

/**
 * One connection of goim's benchmarks/client: auth with an empty key, room test://1 and accepts 1000 to 1002, a heartbeat
 * with ver 0 behind the auth and every 240 s from then on, and a read deadline of 300 s that only a heartbeat's reply moves.
 */
export class GoimBenchClient {
  /** Packets that are neither auth nor heartbeat reply: its `down`. */
  downCount = 0;
  heartbeatReplyCount = 0;
  /** Bodies of what it counted. */
  readonly bodies: string[] = [];
  /** Undefined while it runs; why it ended afterwards. */
  ending: string | undefined;
  readonly #socket: Socket;
  readonly #heartbeatMs: number;
  #kept: Buffer = Buffer.alloc(0);
  #isAuthenticated = false;
  #heartbeats: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  /** @param heartbeatMs shorter than goim's 240 s where a test cannot wait for it; the deadline shrinks with it */
  constructor(port: number, mid: number, heartbeatMs: number = HEARTBEAT_MS) {
    this.#heartbeatMs = heartbeatMs;
    this.#socket = connect({ host: '127.0.0.1', port });
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#socket.on('close', () => this.#end('closed by the server'));
    this.#socket.on('error', (error) => this.#end(error.message));
    const token = { mid, key: '', room_id: 'test://1', platform: 'ios', accepts: [1000, 1001, 1002] };
    // Its sequence number counts from 0, and it says ver 1 in the auth packet only.
    this.#socket.write(tcpPacket(AUTH_OP, 0, JSON.stringify(token), 1));
  }

  stop(): void {
    this.#end('stopped');
  }

  #heartbeat(): void {
    this.#socket.write(tcpPacket(HEARTBEAT_OP, 1, '', 0));
  }

  #read(chunk: Buffer): void {
    this.#kept = Buffer.concat([this.#kept, chunk]);
    while (this.#kept.length >= HEADER_BYTES) {
      const packetBytes = this.#kept.readInt32BE(0);
      if (packetBytes < HEADER_BYTES || this.#kept.readInt16BE(4) !== HEADER_BYTES) {
        this.#end('no packet');
        return;
      }
      if (this.#kept.length < packetBytes) return;
      const op = this.#kept.readInt32BE(8);
      const body = this.#kept.subarray(HEADER_BYTES, packetBytes);
      this.#kept = this.#kept.subarray(packetBytes);
      this.#take(op, body);
    }
  }

  #take(op: number, body: Buffer): void {
    if (op === AUTH_REPLY_OP && !this.#isAuthenticated) {
      this.#isAuthenticated = true;
      this.#heartbeat();
      this.#heartbeats = setInterval(() => this.#heartbeat(), this.#heartbeatMs);
    } else if (op === HEARTBEAT_REPLY_OP) {
      this.heartbeatReplyCount += 1;
      clearTimeout(this.#deadline);
      const deadlineMs = (READ_DEADLINE_MS * this.#heartbeatMs) / HEARTBEAT_MS;
      this.#deadline = setTimeout(() => this.#end('read deadline'), deadlineMs);
    } else {
      this.downCount += 1;
      this.bodies.push(body.toString());
    }
  }

  #end(reason: string): void {
    this.ending ??= reason;
    clearInterval(this.#heartbeats);
    clearTimeout(this.#deadline);
    this.#socket.destroy();
  }
}
