/**
 * Bodies of Halley's control operations: Disconnect (6), JoinRooms and LeaveRooms with their replies (18 to 21), Gap (22),
 * Recover with its reply (23, 24). Each has a shape, an encoder and a decoder that refuses with a reason.
 *
 * On the wire members are snake_case, in the channel's codec; here they are camelCase with their unit.
 * Epochs and offsets are integers from 0 to 2^53-1. Decoders take the whole body and share no memory with it, except
 * `decodeRecoverReply`, whose messages are views.
 */

import { PacketCursor } from './batch.js';
import { type Batch26, decodeBatch26 } from './batch26.js';
import { BATCH26_MAX_ROOM_BYTES } from './batch26.layout.js';
import { BODY_LIMIT_BYTES, type Codec, decodeBody, encodeBody, SERVER_BODY_LIMIT_BYTES } from './codec.js';
import { type Decoded, decoded, refused, shown } from './decoded.js';
import { Fields } from './fields.js';
import { OP } from './op.js';
import { PARSE, parseOutcomeName } from './packet.js';
import { ROOM_ID_LIMIT_BYTES } from './text.js';

/** Longest reason, error message or node address that is accepted, in characters. */
const MAX_TEXT_CHARACTERS = 1024;
const MAX_NODES_COUNT = 64;
/** Default bound of rooms in one request or reply. */
export const ROOM_LIST_LIMIT_COUNT = 1024;

/** An error in an answer to a client, from the registry in errors/. */
export interface ErrorAnswer {
  readonly code: number;
  readonly message: string;
  /** The same request may succeed later. */
  readonly temporary: boolean;
}

/** Op 6: the last packet before a close by the server. */
export interface DisconnectBody {
  /** Close code: see errors/. */
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  /** Wait so long before connecting again; 0: at once. */
  readonly retryAfterMs: number;
  /** Addresses to connect to instead; empty: the same. */
  readonly nodes: readonly string[];
}

/** One room of a reply to JoinRooms or LeaveRooms: where its sequence stands, or why the request failed for it. */
export interface RoomReply {
  readonly room: string;
  readonly epoch: number;
  /** Offset of the last message before the join; the next one has this plus 1. */
  readonly offset: number;
  readonly error?: ErrorAnswer;
}

/** Op 22: everything after what the client has, up to and including offset `to`, was missed. */
export interface GapBody {
  readonly scope: 'room' | 'direct' | 'all';
  /** Empty unless `scope` is `room`. */
  readonly room: string;
  readonly epoch: number;
  readonly to: number;
  /** What is missing was never kept, so that no offset shows it and no recovery brings it. Absent: false. */
  readonly unplaced?: boolean;
}

/** Op 23: send what came after `offset`. */
export interface RecoverBody {
  readonly room: string;
  readonly epoch: number;
  readonly offset: number;
}

/** Op 24. The batches are in order and contiguous; none, or one without messages: nothing was missed. */
export type RecoverReply =
  | { readonly recovered: true; readonly batches: readonly Batch26[] }
  | { readonly recovered: false; readonly error?: ErrorAnswer };

export function encodeDisconnect(codec: Codec, body: DisconnectBody): Uint8Array<ArrayBuffer> {
  const { code, reason, reconnect, retryAfterMs, nodes } = body;
  return encodeBody(codec, { code, reason, reconnect, retry_after_ms: retryAfterMs, nodes });
}

export function decodeDisconnect(codec: Codec, bytes: Uint8Array): Decoded<DisconnectBody> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  const nodes = fields.has('nodes') ? fields.array('nodes', MAX_NODES_COUNT) : [];
  const badNode = nodes.find((node) => typeof node !== 'string' || node.length > MAX_TEXT_CHARACTERS);
  if (badNode !== undefined) fields.fail(`nodes must be an array of strings: nodes=${shown(badNode)}`);
  return fields.done({
    code: fields.integer('code', 0, 4999),
    reason: fields.string('reason', MAX_TEXT_CHARACTERS),
    reconnect: fields.boolean('reconnect'),
    retryAfterMs: fields.has('retry_after_ms') ? fields.integer('retry_after_ms', 0) : 0,
    nodes: nodes as string[],
  });
}

/** Body of JoinRooms and of LeaveRooms. */
export function encodeRoomList(codec: Codec, rooms: readonly string[]): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, rooms);
}

/**
 * Body of JoinRooms and of LeaveRooms: strings, at most `maxCount`. Whether each is a room id is not checked here, so that
 * one bad id is answered in its own line of the reply (`roomIdProblem`, BAD_ROOM) and the others are served.
 */
export function decodeRoomList(
  codec: Codec,
  bytes: Uint8Array,
  maxCount: number = ROOM_LIST_LIMIT_COUNT,
): Decoded<string[]> {
  const body = decodeBody(codec, bytes);
  if (!body.ok) return body;
  const rooms = body.value;
  if (!Array.isArray(rooms)) return refused(`the body must be an array of room ids: body=${shown(rooms)}`);
  if (rooms.length > maxCount) return refused(`the body must hold at most ${maxCount} room ids: count=${rooms.length}`);
  const badIndex = rooms.findIndex((room) => typeof room !== 'string');
  if (badIndex >= 0) return refused(`a room id must be a string: body[${badIndex}]=${shown(rooms[badIndex])}`);
  return decoded(rooms as string[]);
}

/** Body of the replies to JoinRooms and LeaveRooms. */
export function encodeRoomReplies(codec: Codec, replies: readonly RoomReply[]): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, replies.map(roomReplyOnWire));
}

function roomReplyOnWire({ room, epoch, offset, error }: RoomReply): object {
  return error === undefined ? { room, epoch, offset } : { room, epoch, offset, error: errorOnWire(error) };
}

export function decodeRoomReplies(codec: Codec, bytes: Uint8Array): Decoded<RoomReply[]> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  if (!Array.isArray(body.value)) return refused(`the body must be an array of replies: body=${shown(body.value)}`);
  const replies: RoomReply[] = [];
  for (const [index, entry] of body.value.entries()) {
    const fields = new Fields(entry, `[${index}].`);
    const error = readError(fields);
    const reply = fields.done({
      // Echoed as it was sent: with an error it may be no room id at all.
      room: fields.string('room', BODY_LIMIT_BYTES),
      epoch: fields.has('epoch') ? fields.integer('epoch', 0) : 0,
      offset: fields.has('offset') ? fields.integer('offset', 0) : 0,
      ...(error === undefined ? {} : { error }),
    });
    if (!reply.ok) return reply;
    replies.push(reply.value);
  }
  return decoded(replies);
}

export function encodeGap(codec: Codec, { scope, room, epoch, to, unplaced }: GapBody): Uint8Array<ArrayBuffer> {
  const gap = scope === 'room' ? { scope, room, epoch, to } : { scope, epoch, to };
  return encodeBody(codec, unplaced === true ? { ...gap, unplaced } : gap);
}

export function decodeGap(codec: Codec, bytes: Uint8Array): Decoded<GapBody> {
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  const scope = fields.oneOf('scope', ['room', 'direct', 'all']);
  return fields.done({
    scope,
    room: scope === 'room' ? fields.name('room', BATCH26_MAX_ROOM_BYTES) : '',
    epoch: fields.integer('epoch', 0),
    to: fields.integer('to', 0),
    ...(fields.has('unplaced') && fields.boolean('unplaced') ? { unplaced: true } : {}),
  });
}

export function encodeRecover(codec: Codec, { room, epoch, offset }: RecoverBody): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, { room, epoch, offset });
}

export function decodeRecover(
  codec: Codec,
  bytes: Uint8Array,
  maxRoomIdBytes: number = ROOM_ID_LIMIT_BYTES,
): Decoded<RecoverBody> {
  const body = decodeBody(codec, bytes);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  return fields.done({
    room: fields.name('room', maxRoomIdBytes),
    epoch: fields.integer('epoch', 0),
    offset: fields.integer('offset', 0),
  });
}

/** The reply that recovers nothing. The one that does is not built here: its body is whole op-26 packets back to back. */
export function encodeRecoverRefused(codec: Codec, error?: ErrorAnswer): Uint8Array<ArrayBuffer> {
  return encodeBody(codec, { recovered: false, ...(error === undefined ? {} : { error: errorOnWire(error) }) });
}

/**
 * Body of op 24. Its first byte tells the two forms apart: a packet begins with the upper byte of its length, 0 below
 * 16 MiB, which neither a JSON object nor a MessagePack map begins with. An empty body: nothing was missed.
 */
export function decodeRecoverReply(codec: Codec, bytes: Uint8Array): Decoded<RecoverReply> {
  if (bytes.length === 0 || bytes[0] === 0) return decodeRecoveredBatches(bytes);
  const body = decodeBody(codec, bytes, SERVER_BODY_LIMIT_BYTES);
  if (!body.ok) return body;
  const fields = new Fields(body.value);
  if (fields.boolean('recovered')) fields.fail('recovered must be false, or the body whole packets: recovered=true');
  const error = readError(fields);
  return fields.done({ recovered: false, ...(error === undefined ? {} : { error }) });
}

function decodeRecoveredBatches(bytes: Uint8Array): Decoded<RecoverReply> {
  const batches: Batch26[] = [];
  const cursor = new PacketCursor();
  cursor.reset(bytes, 0, bytes.length);
  while (cursor.next()) {
    const { op, bodyOffset, bodyBytes } = cursor.header;
    if (op !== OP.BATCH) return refused(`a recovered packet must be a batch: op=${op}`);
    const batch = decodeBatch26(bytes.subarray(bodyOffset, bodyOffset + bodyBytes));
    if (!batch.ok) return batch;
    batches.push(batch.value);
  }
  if (cursor.outcome !== PARSE.OK) {
    return refused(
      `recovered packets must stand whole and back to back: packet=${batches.length} outcome=${parseOutcomeName(cursor.outcome)}`,
    );
  }
  return decoded({ recovered: true, batches });
}

/** The three members of an error and no more: a row of the registry carries what it likes. */
export function errorOnWire({ code, message, temporary }: ErrorAnswer): ErrorAnswer {
  return { code, message, temporary };
}

/** The optional member `error`; its faults become faults of `fields`. */
export function readError(fields: Fields): ErrorAnswer | undefined {
  if (!fields.has('error')) return undefined;
  const inner = new Fields(fields.raw('error'), `${fields.label('error')}.`);
  const error = inner.done({
    code: inner.integer('code', 0),
    message: inner.string('message', MAX_TEXT_CHARACTERS),
    temporary: inner.has('temporary') ? inner.boolean('temporary') : false,
  });
  if (error.ok) return error.value;
  fields.fail(error.error);
  return undefined;
}
