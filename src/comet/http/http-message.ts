/**
 * One downstream message as the HTTP fallbacks send it: finished wire bytes, and their forms for SSE and JSON, each made when
 * the first member asks for it and then shared by all members of the publish.
 *
 * Threads: its bucket.
 * Hot path: `event` and `jsonEvent`: one encoding per publish, whatever the number of members.
 */
import { OP, OP_OFFSET, PACKET_HEADER_BYTES, readInt32 } from '../../protocol/index.js';
import { base64Of, jsonOfPackets } from './json-packets.js';

export class HttpMessage {
  /** Its own copy. */
  readonly bytes: Uint8Array;
  #json: string | undefined = undefined;
  #event: Uint8Array | undefined = undefined;
  #jsonEvent: Uint8Array | undefined = undefined;

  /** @param bytes copied: what is published is valid until return only */
  constructor(bytes: Uint8Array) {
    this.bytes = new Uint8Array(bytes);
  }

  /** JSON objects with commas between them. */
  get json(): string {
    this.#json ??= jsonOfPackets(this.bytes);
    return this.#json;
  }

  /** An SSE event without its id line, which is the member's own. */
  get event(): Uint8Array {
    this.#event ??= Buffer.from(`data: ${base64Of(this.bytes)}\n\n`, 'latin1');
    return this.#event;
  }

  get jsonEvent(): Uint8Array {
    // JSON.stringify escapes line ends, so it is one line.
    this.#jsonEvent ??= Buffer.from(`data: [${this.json}]\n\n`);
    return this.#jsonEvent;
  }

  /** Op 6: the session ends behind it. */
  get isDisconnect(): boolean {
    return this.bytes.length >= PACKET_HEADER_BYTES && readInt32(this.bytes, OP_OFFSET) === OP.DISCONNECT;
  }
}
