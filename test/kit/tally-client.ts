/**
 * A client for crowds: keeps numbers of what it received instead of the packets, so that thousands of them fit a test.
 * Every push starts with its number in decimal, then a blank or the end.
 */
import WebSocket from 'ws';
import type { AuthBody } from '../../src/protocol/index.js';
import {
  decodeBatch,
  decodeBatch26,
  encodeAuthBody,
  encodePacket,
  FRAMING,
  OP,
  PARSE,
  PacketHeader,
  readPacket,
} from '../../src/protocol/index.js';

export interface ReceivedGap {
  readonly scope: 'room' | 'direct' | 'all';
  readonly room?: string;
  readonly epoch: number;
  readonly to: number;
}

export class TallyClient {
  /** Numbers of the pushes, in the order of arrival. */
  readonly numbers: number[] = [];
  /** Their offsets; only of an extended client. */
  readonly offsets: number[] = [];
  readonly gaps: ReceivedGap[] = [];
  readonly socket: WebSocket;
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly #header = new PacketHeader();
  #onReady: (() => void) | undefined;

  private constructor(url: string) {
    this.socket = new WebSocket(url, { perMessageDeflate: false });
    this.socket.on('message', (data) => this.#received(data as Buffer));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('error', () => {});
  }

  /** Connect and pass auth. Rejects where the connection ends before. */
  static async connect(url: string, auth: Partial<AuthBody>): Promise<TallyClient> {
    const client = new TallyClient(url);
    await new Promise<void>((resolve, reject) => {
      client.#onReady = resolve;
      client.socket.once('close', (code, reason) => reject(new Error(`closed with ${code} ${reason} before auth`)));
      client.socket.once('open', () => client.socket.send(encodePacket(OP.AUTH, 1, 1, encodeAuthBody(auth))));
    });
    return client;
  }

  terminate(): void {
    this.socket.terminate();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  #received(data: Buffer): void {
    const header = this.#header;
    if (readPacket(data, 0, data.length, header, data.length, FRAMING.BATCH) !== PARSE.OK) {
      throw new Error(`server sent a malformed packet: ${data.toString('hex', 0, 32)}`);
    }
    const body = data.subarray(header.bodyOffset, header.bodyOffset + header.bodyBytes);
    if (header.op === OP.AUTH_REPLY) this.#onReady?.();
    else if (header.op === OP.GAP) this.gaps.push(JSON.parse(body.toString()) as ReceivedGap);
    else if (header.op === OP.RAW) {
      const inner = decodeBatch(body);
      if (!inner.ok) throw new Error(inner.error);
      for (const packet of inner.value) this.numbers.push(leadingNumber(packet.body));
    } else if (header.op === OP.BATCH) {
      const batch = decodeBatch26(body);
      if (!batch.ok) throw new Error(batch.error);
      for (const message of batch.value.messages) {
        this.numbers.push(leadingNumber(message.body));
        this.offsets.push(message.offset);
      }
    }
  }
}

function leadingNumber(body: Uint8Array): number {
  let number = 0;
  for (const byte of body) {
    if (byte < 0x30 || byte > 0x39) break;
    number = number * 10 + byte - 0x30;
  }
  return number;
}
