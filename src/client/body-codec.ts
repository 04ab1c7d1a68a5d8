/**
 * Structured bodies in the codec that the channel asked for. JSON is here; MessagePack is an object that the caller gives, so
 * that a page which does without it does not load it:
 *
 * ```ts
 * import { Packr } from 'msgpackr/pack';
 * const packr = new Packr({ useRecords: false });
 * const codec = { name: 'msgpack', encode: (value) => packr.pack(value), decode: (bytes) => packr.unpack(bytes) };
 * ```
 */
import { decodeUtf8, encodeUtf8 } from '../protocol/index.js';

export interface BodyCodec {
  readonly name: 'json' | 'msgpack';
  encode(value: unknown): Uint8Array;
  /** Throws for bytes that are none of its own. */
  decode(bytes: Uint8Array): unknown;
}

export const jsonCodec: BodyCodec = {
  name: 'json',
  encode: (value) => encodeUtf8(JSON.stringify(value)),
  decode: (bytes) => JSON.parse(decodeUtf8(bytes) ?? '') as unknown,
};

/** What an application may give as a body: bytes and text as they are, anything else in the channel's codec. */
export type BodyInput = Uint8Array | string | object;

export function toBody(codec: BodyCodec, body: BodyInput | undefined): Uint8Array | undefined {
  if (body === undefined || body instanceof Uint8Array) return body;
  return typeof body === 'string' ? encodeUtf8(body) : codec.encode(body);
}

/** A body's bytes, with what is usually wanted of them. A view: keep a copy (`slice`) for later, not the view. */
export class MessageBody extends Uint8Array<ArrayBuffer> {
  static view(bytes: Uint8Array<ArrayBuffer>): MessageBody {
    return new MessageBody(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** As UTF-8; malformed bytes become U+FFFD. */
  text(): string {
    return new TextDecoder().decode(this);
  }

  /** @throws SyntaxError for a body that is not JSON */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}
