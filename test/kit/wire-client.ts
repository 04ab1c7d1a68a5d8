/**
 * A client for tests: goim's wire over one WebSocket (`ws`), every packet kept, waits instead of sleeps.
 */
import WebSocket from 'ws';
import type { AuthBody } from '../../src/protocol/index.js';
import {
  encodeAuthBody,
  encodePacket,
  FRAMING,
  OP,
  PARSE,
  PacketHeader,
  readPacket,
} from '../../src/protocol/index.js';
import { eventually } from './eventually.js';
import { unpackPush } from './unpack-push.js';

export interface ReceivedPacket {
  readonly op: number;
  readonly seq: number;
  readonly ver: number;
  readonly body: Buffer;
  /** The whole packet as it came. */
  readonly raw: Buffer;
}

/** A push as an application sees it, out of op 9, op 26 or bare. */
export interface ReceivedMessage {
  readonly op: number;
  readonly text: string;
  readonly body: Buffer;
  /** Only in op 26: room ('' for direct and all), epoch, offset, id in decimal. */
  readonly room?: string;
  readonly epoch?: number;
  readonly offset?: number;
  readonly id?: string;
}

export interface WireClientOptions {
  /** Source address, for example 127.0.0.9. */
  readonly localAddress?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** PEM of the authority behind a wss:// address. */
  readonly ca?: string;
  /** Name asked for in the TLS handshake. */
  readonly servername?: string;
}

export class WireClient {
  readonly packets: ReceivedPacket[] = [];
  /** Pushes, unpacked, in the order of arrival. */
  readonly messages: ReceivedMessage[] = [];
  /** WebSocket messages that held pushes. */
  batchCount = 0;
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly socket: WebSocket;
  #seq = 0;

  private constructor(url: string, options: WireClientOptions) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, ...options });
    this.socket.on('message', (data) => this.#received(data as Buffer));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => {});
  }

  /** Connect without auth. */
  static async open(url: string, options: WireClientOptions = {}): Promise<WireClient> {
    const client = new WireClient(url, options);
    await new Promise<void>((resolve, reject) => {
      client.socket.once('open', resolve);
      client.socket.once('error', reject);
    });
    return client;
  }

  /** Connect and pass auth (op 8 received). Rejects where the server closes instead. */
  static async connect(
    url: string,
    auth: Partial<AuthBody> = {},
    options: WireClientOptions = {},
  ): Promise<WireClient> {
    const client = await WireClient.open(url, options);
    client.send(OP.AUTH, encodeAuthBody(auth));
    await client.expect(OP.AUTH_REPLY);
    return client;
  }

  /** Send one packet; returns its seq. */
  send(op: number, body: Uint8Array | string = '', seq?: number, ver = 1): number {
    this.#seq += 1;
    const usedSeq = seq ?? this.#seq;
    this.socket.send(encodePacket(op, usedSeq, ver, typeof body === 'string' ? Buffer.from(body) : body));
    return usedSeq;
  }

  /** Send bytes as one binary WebSocket message. */
  sendRaw(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** Send a packet and wait for the reply with the same seq. `replyOp` defaults to the same operation. */
  async request(op: number, body: Uint8Array | string = '', replyOp = op): Promise<ReceivedPacket> {
    const seq = this.send(op, body);
    return this.waitFor(
      () => this.packets.find((packet) => packet.op === replyOp && packet.seq === seq),
      `reply ${replyOp}`,
    );
  }

  /** Wait for the first packet with this op from `fromIndex` on. */
  expect(op: number, fromIndex = 0): Promise<ReceivedPacket> {
    return this.waitFor(() => this.packets.slice(fromIndex).find((packet) => packet.op === op), `op ${op}`);
  }

  /** Wait until `find` gives something; an early close is an error unless it is what was found. */
  waitFor<T>(find: () => T | undefined, what: string, deadlineMs = 10_000): Promise<T> {
    return eventually(
      () => {
        const found = find();
        if (found === undefined && this.closed !== undefined) {
          throw new Error(`closed with ${this.closed.code} ${this.closed.reason} while waiting for ${what}`);
        }
        return found;
      },
      deadlineMs,
      what,
    );
  }

  /** Wait until so many pushes are there. */
  async messageCount(count: number, deadlineMs = 10_000): Promise<readonly ReceivedMessage[]> {
    await this.waitFor(
      () => (this.messages.length >= count ? true : undefined),
      `${count} messages (there are ${this.messages.length})`,
      deadlineMs,
    );
    return this.messages;
  }

  /** Wait for the close of the connection. */
  async closing(deadlineMs = 10_000): Promise<{ readonly code: number; readonly reason: string }> {
    return eventually(() => this.closed, deadlineMs, 'close');
  }

  /** Close from this side and wait for it. */
  async close(): Promise<void> {
    this.socket.close();
    await this.closing();
  }

  /** Cut the connection without a close frame. */
  terminate(): void {
    this.socket.terminate();
  }

  /** Stop or go on reading from the socket. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  #received(data: Buffer): void {
    const header = new PacketHeader();
    let offset = 0;
    while (offset < data.length) {
      const outcome = readPacket(data, offset, data.length, header, data.length, FRAMING.BATCH);
      if (outcome !== PARSE.OK)
        throw new Error(`server sent a malformed packet: ${data.toString('hex', offset, offset + 32)}`);
      const body = data.subarray(header.bodyOffset, header.bodyOffset + header.bodyBytes);
      const raw = data.subarray(offset, offset + header.packetBytes);
      this.packets.push({ op: header.op, seq: header.seq, ver: header.ver, body, raw });
      this.#unpack(header.op, body);
      offset += header.packetBytes;
    }
  }

  #unpack(op: number, body: Buffer): void {
    const messages = unpackPush(op, body);
    if (messages === undefined) return;
    this.batchCount += 1;
    this.messages.push(...messages);
  }
}
