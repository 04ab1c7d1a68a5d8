/**
 * Reads the bodies that only servers send: op 8, 6, 19, 21, 22 and 24. Lenient where nothing depends on a member, and
 * undefined where the body is of no use.
 *
 * The readers of protocol/ do the same with every check; they know both codecs, and MessagePack alone is larger than all of
 * this client.
 */
import { OP } from '../protocol/index.js';
import type { BodyCodec } from './body-codec.js';
import { eachPacket, type PlacedBatch, placedBatch } from './downstream.js';
import type { Advice } from './transport.port.js';

/** Where a room's sequence stands. */
export interface Place {
  readonly epoch: number;
  readonly offset: number;
}

/** An answer's error, from the server's registry. */
export interface AnswerError {
  readonly code: number;
  readonly message: string;
  readonly temporary: boolean;
}

/** A room in the answer to a join: where its sequence stands, or why not. */
export interface RoomResult extends Place {
  readonly room: string;
  readonly error?: AnswerError;
}

export interface Welcome {
  readonly key: string;
  /** 0: the server does not say. */
  readonly reconnectWindowMs: number;
  readonly rooms: readonly RoomResult[];
}

export interface ToldGap extends Place {
  readonly scope: 'room' | 'direct' | 'all';
  readonly room: string;
  /** What is missing has no offset. */
  readonly isUnplaced: boolean;
}

/** `temporary`: refused for now, ask again. */
export type Recovered = readonly PlacedBatch[] | 'refused' | 'temporary';

type Members = Readonly<Record<string, unknown>>;

function members(value: unknown): Members | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : undefined;
}

/** The strings of an array; none of anything else. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((element) => typeof element === 'string') : [];
}

/** A safe integer from 0, also from the bigint that MessagePack may give; 0 for everything else. */
export function count(value: unknown): number {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) > 0 ? (number as number) : 0;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function decode(codec: BodyCodec, body: Uint8Array): unknown {
  try {
    return codec.decode(body);
  } catch {
    // The caller says which operation could not be read.
    return undefined;
  }
}

/** Op 8. A server without extensions sends an empty one. */
export function readWelcome(codec: BodyCodec, body: Uint8Array): Welcome {
  const welcome = members(decode(codec, body)) ?? {};
  return {
    key: text(welcome['key']),
    reconnectWindowMs: count(welcome['reconnect_window_ms']),
    rooms: roomResults(welcome['rooms']) ?? [],
  };
}

/** Op 6, or the error body of an HTTP answer. */
export function readAdvice(codec: BodyCodec, body: Uint8Array): Advice | undefined {
  const told = members(decode(codec, body)) ?? {};
  const code = count(told['code']);
  if (code === 0) return undefined;
  const nodes = told['nodes'];
  return {
    code,
    reason: text(told['reason']),
    reconnect: told['reconnect'] === true,
    retryAfterMs: count(told['retry_after_ms']),
    nodes: texts(nodes),
  };
}

/** Op 19 and 21. */
export function readRoomResults(codec: BodyCodec, body: Uint8Array): readonly RoomResult[] | undefined {
  return roomResults(decode(codec, body));
}

function roomResults(value: unknown): RoomResult[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.map((entry) => {
    const row = members(entry) ?? {};
    const error = answerError(row['error']);
    return {
      room: text(row['room']),
      epoch: count(row['epoch']),
      offset: count(row['offset']),
      ...(error === undefined ? {} : { error }),
    };
  });
}

function answerError(value: unknown): AnswerError | undefined {
  const error = members(value);
  if (error === undefined) return undefined;
  return { code: count(error['code']), message: text(error['message']), temporary: error['temporary'] === true };
}

/** Op 22. */
export function readGap(codec: BodyCodec, body: Uint8Array): ToldGap | undefined {
  const gap = members(decode(codec, body));
  const scope = gap?.['scope'];
  if (gap === undefined || (scope !== 'room' && scope !== 'direct' && scope !== 'all')) return undefined;
  return {
    ...{ scope, room: text(gap['room']), epoch: count(gap['epoch']), offset: count(gap['to']) },
    isUnplaced: gap['unplaced'] === true,
  };
}

/** Op 24: whole op-26 packets back to back, whose first byte is the upper byte of a length; or an object that refuses. */
export function readRecovered(codec: BodyCodec, body: Uint8Array<ArrayBuffer>): Recovered | undefined {
  if (body.length > 0 && body[0] !== 0) {
    const refusal = members(decode(codec, body));
    if (refusal === undefined) return undefined;
    return answerError(refusal['error'])?.temporary === true ? 'temporary' : 'refused';
  }
  const batches: PlacedBatch[] = [];
  const isWhole = eachPacket(body, (op, _seq, bytes) => {
    const batch = op === OP.BATCH ? placedBatch(bytes) : undefined;
    if (batch !== undefined) batches.push(batch);
    return batch !== undefined;
  });
  return isWhole ? batches : undefined;
}
