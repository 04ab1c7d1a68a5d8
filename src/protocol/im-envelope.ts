/**
 * Envelopes of the IM operations 30 to 33. What `params`, `result` and `data` hold is the business of im/; here they are
 * any plain data of the channel's codec, bounded in bytes and depth. A response belongs to the request with the same `seq`.
 */
import { type ErrorAnswer, errorOnWire, readError } from './bodies.js';
import { type Codec, decodeBody, encodeBody, SERVER_BODY_LIMIT_BYTES } from './codec.js';
import type { Decoded } from './decoded.js';
import { Fields } from './fields.js';

const MAX_METHOD_CHARACTERS = 64;
const MAX_TIMELINE_CHARACTERS = 512;

/** What op 32 can report. */
export const IM_EVENTS = ['message', 'receipt', 'recall', 'presence', 'conversation'] as const;
export type ImEventName = (typeof IM_EVENTS)[number];

/** Op 30. */
export interface ImRequest {
  readonly method: string;
  /** Undefined where the method needs none. */
  readonly params?: unknown;
}

/** Op 31: a result (undefined where the method has none) or an error. */
export type ImResponse =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: ErrorAnswer };

/** Op 32. */
export interface ImEvent {
  readonly event: ImEventName;
  readonly data: unknown;
}

/** Op 33: this timeline has messages up to `to`; pull them. */
export interface ImNotify {
  readonly timeline: string;
  readonly to: number;
}

export function encodeImRequest(codec: Codec, { method, params }: ImRequest): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, params === undefined ? { method } : { method, params });
}

export function decodeImRequest(codec: Codec, bytes: Uint8Array, maxBytes?: number): Decoded<ImRequest> {
  const body = decodeBody(codec, bytes, maxBytes);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  const method = fields.string('method', MAX_METHOD_CHARACTERS);
  if (method === '') fields.fail('method must be a non-empty string: method=""');
  const params = fields.raw('params');
  return fields.done(params === undefined ? { method } : { method, params });
}

export function encodeImResponse(codec: Codec, response: ImResponse): Uint8Array<ArrayBuffer> {
  // A result of undefined is written as null: without either member the other side could not tell a success.
  return encodeBody(codec, response.ok ? { result: response.result ?? null } : { error: errorOnWire(response.error) });
}

export function decodeImResponse(codec: Codec, bytes: Uint8Array): Decoded<ImResponse> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  if (fields.has('error') && fields.has('result')) fields.fail('a response must have result or error, not both');
  const error = readError(fields);
  return fields.done(error === undefined ? { ok: true, result: fields.raw('result') } : { ok: false, error });
}

export function encodeImEvent(codec: Codec, { event, data }: ImEvent): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, { event, data: data ?? null });
}

export function decodeImEvent(codec: Codec, bytes: Uint8Array): Decoded<ImEvent> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  return fields.done({ event: fields.oneOf('event', IM_EVENTS), data: fields.raw('data') });
}

export function encodeImNotify(codec: Codec, { timeline, to }: ImNotify): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, { timeline, to });
}

export function decodeImNotify(codec: Codec, bytes: Uint8Array): Decoded<ImNotify> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  return fields.done({ timeline: fields.name('timeline', MAX_TIMELINE_CHARACTERS), to: fields.integer('to', 0) });
}
