/**
 * What nodes send one another over pub/sub: one MessagePack array per message,
 *
 *   [version, kind, server id, incarnation, counter, ...fields of the kind]
 *
 * Server id and incarnation name the producer (a restarted process draws a new incarnation); `counter` numbers what it has sent
 * on this channel from 1 on, so that a receiver sees a loss as a hole. Counter 0: not counted. The room of a room message is
 * the channel's. What rooms with history publish has an encoding of its own; its first byte is below 0x80, an array's is not.
 *
 * Guarantees: decoding never throws, checks every bound before it believes it, and shares no memory with the input.
 */
import { decodeBody, packInSlab } from './codec.js';
import { type Decoded, decoded, refused, shown } from './decoded.js';
import { toSafeInteger } from './fields.js';

export const BUS_VERSION = 1;

/** Fixed for ever. */
const KIND = {
  room: 1,
  keys: 2,
  mids: 3,
  all: 4,
  close: 5,
  disconnect: 6,
  join: 7,
  leave: 8,
  answer: 9,
  probe: 10,
} as const;

export interface BusOrigin {
  readonly serverId: string;
  /** uint32. */
  readonly incarnation: number;
  /** From 1, per channel; 0: not counted. */
  readonly counter: number;
}

/** What every push carries. */
interface Payload {
  readonly op: number;
  readonly body: Uint8Array;
  /** 8 bytes, big-endian. */
  readonly messageId: Uint8Array;
}

interface Advice {
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retryAfterMs: number;
}

interface Owner {
  readonly key: string;
  readonly serverId: string;
  readonly nodeEpoch: number;
  readonly bucket: number;
  readonly connId: number;
}

export interface BusRoomMessage extends Payload {
  readonly kind: 'room';
  /** Where the message stands in a room with history. */
  readonly place?: { readonly epoch: number; readonly offset: number };
}

export interface BusAllMessage extends Payload {
  readonly kind: 'all';
  /** Channels per second on each node; 0: at once. */
  readonly speedPerSec: number;
}

/** What goes to one node. */
export type BusNodeMessage =
  | (Payload & { readonly kind: 'keys'; readonly keys: readonly string[]; readonly ignoresWatchSet: boolean })
  | (Payload & { readonly kind: 'mids'; readonly mids: readonly number[] })
  | { readonly kind: 'close'; readonly owner: Owner; readonly advice: Advice }
  | (Request & { readonly kind: 'disconnect'; readonly advice: Advice })
  | (Request & { readonly kind: 'join' | 'leave'; readonly rooms: readonly string[] })
  | { readonly kind: 'answer'; readonly requestId: number; readonly count: number };

/** An administrative call; its answer goes to the producer's node. */
interface Request {
  readonly requestId: number;
  readonly keys: readonly string[];
  readonly mids: readonly number[];
}

export type BusMessage =
  | BusRoomMessage
  | BusAllMessage
  | BusNodeMessage
  /** A node's own test that its subscription delivers. */
  | { readonly kind: 'probe'; readonly serial: number };

export interface BusEnvelope {
  readonly origin: BusOrigin;
  readonly message: BusMessage;
}

const MAX_TEXT_CHARACTERS = 4096;
const MAX_LIST_COUNT = 65_536;
const MESSAGE_ID_BYTES = 8;
const UINT32_MAX = 0xffff_ffff;
const INT32_MIN = -0x8000_0000;
const INT32_MAX = 0x7fff_ffff;
const FIRST_ARRAY_BYTE = 0x90;
const LAST_ARRAY_BYTE = 0x9f;

/** True if `bytes` begin as an envelope of this file does; false for what rooms with history publish. */
export function isBusEnvelope(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0;
  return first >= FIRST_ARRAY_BYTE && first <= LAST_ARRAY_BYTE;
}

/** To be written and let go: see packInSlab(). */
export function encodeBusEnvelope(origin: BusOrigin, message: BusMessage): Uint8Array<ArrayBuffer> {
  const { serverId, incarnation, counter } = origin;
  return packInSlab([BUS_VERSION, KIND[message.kind], serverId, incarnation, counter, ...fieldsOf(message)]);
}

function fieldsOf(message: BusMessage): readonly unknown[] {
  switch (message.kind) {
    case 'room': {
      const { op, body, messageId, place } = message;
      return place === undefined ? [op, body, messageId] : [op, body, messageId, place.epoch, place.offset];
    }
    case 'keys':
      return [message.op, message.body, message.messageId, message.keys, message.ignoresWatchSet];
    case 'mids':
      return [message.op, message.body, message.messageId, message.mids];
    case 'all':
      return [message.op, message.body, message.messageId, message.speedPerSec];
    case 'close': {
      const { key, serverId, nodeEpoch, bucket, connId } = message.owner;
      return [key, serverId, nodeEpoch, bucket, connId, ...adviceFields(message.advice)];
    }
    case 'disconnect':
      return [message.requestId, message.keys, message.mids, ...adviceFields(message.advice)];
    case 'join':
    case 'leave':
      return [message.requestId, message.keys, message.mids, message.rooms];
    case 'answer':
      return [message.requestId, message.count];
    case 'probe':
      return [message.serial];
  }
}

function adviceFields({ code, reason, reconnect, retryAfterMs }: Advice): readonly unknown[] {
  return [code, reason, reconnect, retryAfterMs];
}

/** Decode an envelope. Never throws. @param maxBytes refuse a longer one before looking at it */
export function decodeBusEnvelope(bytes: Uint8Array, maxBytes: number): Decoded<BusEnvelope> {
  const body = decodeBody('msgpack', bytes, maxBytes);
  if (!body.ok) return body;
  const elements = body.value;
  if (!Array.isArray(elements)) return refused(`an envelope must be an array: envelope=${shown(elements)}`);
  const reader = new ElementReader(elements);
  const version = reader.integer('version', 0, UINT32_MAX);
  if (version !== BUS_VERSION) return refused(`an envelope must be of version ${BUS_VERSION}: version=${version}`);
  const kind = reader.integer('kind', 0, UINT32_MAX);
  const origin = {
    serverId: reader.text('server id'),
    incarnation: reader.integer('incarnation', 0, UINT32_MAX),
    counter: reader.integer('counter', 0),
  };
  const message = readMessage(kind, reader);
  if (message === undefined) return refused(`an envelope must be of a known kind: kind=${kind}`);
  return reader.done({ origin, message });
}

function readMessage(kind: number, reader: ElementReader): BusMessage | undefined {
  switch (kind) {
    case KIND.room: {
      const payload = readPayload(reader);
      if (reader.leftCount === 0) return { kind: 'room', ...payload };
      const place = { epoch: reader.integer('epoch', 0), offset: reader.integer('offset', 0) };
      return { kind: 'room', ...payload, place };
    }
    case KIND.keys:
      return {
        kind: 'keys',
        ...readPayload(reader),
        keys: reader.texts('keys'),
        ignoresWatchSet: reader.boolean('ignores watch set'),
      };
    case KIND.mids:
      return { kind: 'mids', ...readPayload(reader), mids: reader.mids() };
    case KIND.all:
      return { kind: 'all', ...readPayload(reader), speedPerSec: reader.integer('speed', 0, INT32_MAX) };
    case KIND.close:
      return { kind: 'close', owner: readOwner(reader), advice: readAdvice(reader) };
    case KIND.disconnect:
      return { kind: 'disconnect', ...readRequest(reader), advice: readAdvice(reader) };
    case KIND.join:
      return { kind: 'join', ...readRequest(reader), rooms: reader.texts('rooms') };
    case KIND.leave:
      return { kind: 'leave', ...readRequest(reader), rooms: reader.texts('rooms') };
    case KIND.answer:
      return { kind: 'answer', requestId: reader.integer('request id', 0), count: reader.integer('count', 0) };
    case KIND.probe:
      return { kind: 'probe', serial: reader.integer('serial', 0) };
    default:
      return undefined;
  }
}

// Object literals are evaluated in the order written, which is the order of the elements.

function readPayload(reader: ElementReader): Payload {
  return {
    op: reader.integer('op', INT32_MIN, INT32_MAX),
    body: reader.bytes('body'),
    messageId: reader.bytes('message id', MESSAGE_ID_BYTES),
  };
}

function readRequest(reader: ElementReader): Request {
  return { requestId: reader.integer('request id', 0), keys: reader.texts('keys'), mids: reader.mids() };
}

function readOwner(reader: ElementReader): Owner {
  return {
    key: reader.text('key'),
    serverId: reader.text('owner'),
    nodeEpoch: reader.integer('node epoch', 0),
    bucket: reader.integer('bucket', 0, UINT32_MAX),
    connId: reader.integer('connection id', 0),
  };
}

function readAdvice(reader: ElementReader): Advice {
  return {
    code: reader.integer('code', 0, 4999),
    reason: reader.text('reason'),
    reconnect: reader.boolean('reconnect'),
    retryAfterMs: reader.integer('retry after ms', 0),
  };
}

/** Takes an array's elements one by one; the first thing that is wrong is kept and told at the end. */
class ElementReader {
  readonly #elements: readonly unknown[];
  #index = 0;
  #error: string | undefined;

  constructor(elements: readonly unknown[]) {
    this.#elements = elements;
  }

  get leftCount(): number {
    return this.#elements.length - this.#index;
  }

  integer(name: string, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#next();
    const number = toSafeInteger(value);
    if (number !== undefined && number >= min && number <= max) return number;
    this.#fail(name, `an integer from ${min} to ${max}`, value);
    return min;
  }

  text(name: string): string {
    const value = this.#next();
    if (isText(value)) return value;
    this.#fail(name, `a string of at most ${MAX_TEXT_CHARACTERS} characters`, value);
    return '';
  }

  boolean(name: string): boolean {
    const value = this.#next();
    if (typeof value === 'boolean') return value;
    this.#fail(name, 'true or false', value);
    return false;
  }

  /** @param lengthBytes the only length allowed; any without it */
  bytes(name: string, lengthBytes?: number): Uint8Array {
    const value = this.#next();
    if (value instanceof Uint8Array && (lengthBytes ?? value.length) === value.length) return value;
    this.#fail(name, lengthBytes === undefined ? 'bytes' : `${lengthBytes} bytes`, value);
    return new Uint8Array(0);
  }

  texts(name: string): readonly string[] {
    const value = this.#next();
    if (Array.isArray(value) && value.length <= MAX_LIST_COUNT && value.every(isText)) return value;
    this.#fail(name, `an array of at most ${MAX_LIST_COUNT} strings`, value);
    return [];
  }

  mids(): readonly number[] {
    const value = this.#next();
    if (Array.isArray(value) && value.length <= MAX_LIST_COUNT) {
      const mids = value.map(toSafeInteger);
      if (mids.every((mid) => mid !== undefined)) return mids;
    }
    this.#fail('mids', `an array of at most ${MAX_LIST_COUNT} integers`, value);
    return [];
  }

  done<T>(value: T): Decoded<T> {
    if (this.#error !== undefined) return refused(this.#error);
    if (this.leftCount > 0) return refused(`an envelope of this kind has fewer elements: left=${this.leftCount}`);
    return decoded(value);
  }

  #next(): unknown {
    const value = this.#elements[this.#index];
    this.#index += 1;
    return value;
  }

  #fail(name: string, expected: string, value: unknown): void {
    this.#error ??= `${name} must be ${expected}: ${name}=${shown(value)}`;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT_CHARACTERS;
}
