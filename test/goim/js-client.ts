/**
 * goim's browser client (examples/javascript/client.js), written again from its description in facts/goim.md section 7: the
 * same packets, the same walk over op 9, the same offsets, and nothing of ours (no import of protocol/).
 */
import WebSocket from 'ws';

const RAW_HEADER_LENGTH = 16;
const PACKET_OFFSET = 0;
const HEADER_OFFSET = 4;
const VER_OFFSET = 6;
const OP_OFFSET = 8;
const SEQ_OFFSET = 12;

export interface JsClientOptions {
  /** Called with every message, as the example's page shows them. */
  readonly notify: (text: string, op: number) => void;
  readonly onOnline: (count: number) => void;
  readonly onAuth: () => void;
  /** The example beats every 30 s. */
  readonly heartbeatMs: number;
}

export class JsClient {
  readonly #socket: WebSocket;
  readonly #options: JsClientOptions;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();
  #heartbeat: NodeJS.Timeout | undefined;
  isClosed = false;

  constructor(url: string, options: JsClientOptions) {
    this.#options = options;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => this.#auth();
    this.#socket.onmessage = (event) => this.#message(event.data as ArrayBuffer);
    this.#socket.onclose = () => {
      this.isClosed = true;
      clearInterval(this.#heartbeat);
    };
  }

  close(): void {
    this.#socket.close();
  }

  #auth(): void {
    const token = '{"mid":123, "room_id":"live://1000", "platform":"web", "accepts":[1000,1001,1002]}';
    this.#send(7, token);
  }

  #send(op: number, text: string): void {
    const header = new ArrayBuffer(RAW_HEADER_LENGTH);
    const view = new DataView(header, 0);
    const body = this.#encoder.encode(text);
    view.setInt32(PACKET_OFFSET, RAW_HEADER_LENGTH + body.byteLength);
    view.setInt16(HEADER_OFFSET, RAW_HEADER_LENGTH);
    view.setInt16(VER_OFFSET, 1);
    view.setInt32(OP_OFFSET, op);
    view.setInt32(SEQ_OFFSET, 1);
    const message = new Uint8Array(RAW_HEADER_LENGTH + body.byteLength);
    message.set(new Uint8Array(header), 0);
    message.set(body, RAW_HEADER_LENGTH);
    this.#socket.send(message);
  }

  #message(data: ArrayBuffer): void {
    const view = new DataView(data, 0);
    const packetLength = view.getInt32(PACKET_OFFSET);
    const headerLength = view.getInt16(HEADER_OFFSET);
    const op = view.getInt32(OP_OFFSET);
    switch (op) {
      case 8:
        this.#options.onAuth();
        this.#send(2, '');
        this.#heartbeat = setInterval(() => this.#send(2, ''), this.#options.heartbeatMs);
        break;
      case 3:
        this.#options.onOnline(view.getInt32(RAW_HEADER_LENGTH));
        break;
      case 9: {
        // The batch: the outer header is skipped, then packet after packet up to the end of the message.
        let offset = RAW_HEADER_LENGTH;
        while (offset < data.byteLength) {
          const innerLength = view.getInt32(offset + PACKET_OFFSET);
          const innerHeader = view.getInt16(offset + HEADER_OFFSET);
          const body = data.slice(offset + innerHeader, offset + innerLength);
          this.#options.notify(this.#decoder.decode(body), view.getInt32(offset + OP_OFFSET));
          offset += innerLength;
        }
        break;
      }
      default:
        this.#options.notify(this.#decoder.decode(data.slice(headerLength, packetLength)), op);
    }
  }
}
