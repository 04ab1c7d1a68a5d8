/**
 * The push envelope that any producer may write, in any language: published on Redis, posted to `/halley/push/batch`.
 *
 * ```json
 * {"room": "live://1", "op": 1000, "body": "hi"}
 * {"rooms": ["live://1", "live://2"], "op": 1000, "body_base64": "AAEC"}
 * {"keys": ["device-1"], "op": 1000, "body": "hi"}     {"mids": [7, 8], "op": 1000, "body": "hi"}
 * {"all": true, "op": 1000, "body": "hi", "speed": 5000}
 * ```
 *
 * JSON or MessagePack; the first byte tells which. Exactly one target. In MessagePack `body` may be bin. Strict: a member
 * it does not know is an error, since a misspelt `speed` would be a broadcast at full rate. null counts as absent. A mid may
 * be a decimal string, for producers whose numbers are doubles.
 */
import { type Codec, decodeBody, encodeBody } from './codec.js';
import { type Decoded, decoded, refused, shown } from './decoded.js';
import { Fields, toSafeInteger } from './fields.js';
import { encodeUtf8, isWellFormed, KEY_LIMIT_BYTES, nameProblem, ROOM_ID_LIMIT_BYTES } from './text.js';

export type PushTarget =
  | { readonly kind: 'rooms'; readonly rooms: readonly string[] }
  | { readonly kind: 'keys'; readonly keys: readonly string[] }
  | { readonly kind: 'mids'; readonly mids: readonly number[] }
  | { readonly kind: 'all' };

export interface PushCommand {
  /** Lists hold at least one element, in the order given, duplicates kept. */
  readonly target: PushTarget;
  /** Any int32 but 0. */
  readonly op: number;
  /** May be empty. The command's own; after `validatePushCommand` the array that was passed in, if it was bytes. */
  readonly body: Uint8Array;
  /** Channels per second over the whole cluster, for `all`; 0: as fast as possible. */
  readonly speed: number;
}

export interface PushLimits {
  /** Of the whole envelope, or the whole list of them. */
  readonly maxEnvelopeBytes: number;
  readonly maxBodyBytes: number;
  /** Keys, mids or rooms of one command. */
  readonly maxTargetsCount: number;
  /** Commands of one list. */
  readonly maxCommandsCount: number;
  readonly maxRoomIdBytes: number;
  readonly maxKeyBytes: number;
}

export const PUSH_LIMITS: PushLimits = {
  maxEnvelopeBytes: 2 * 1024 * 1024,
  maxBodyBytes: 1024 * 1024,
  maxTargetsCount: 1000,
  maxCommandsCount: 1000,
  maxRoomIdBytes: ROOM_ID_LIMIT_BYTES,
  maxKeyBytes: KEY_LIMIT_BYTES,
};

const TARGET_NAMES = ['room', 'rooms', 'keys', 'mids', 'all'] as const;
const MEMBER_NAMES: readonly string[] = [...TARGET_NAMES, 'op', 'body', 'body_base64', 'speed'];
const INT32_MIN = -0x8000_0000;
const INT32_MAX = 0x7fff_ffff;
/** A mid as text: decimal, no sign, no leading zero. What is beyond 2^53-1 is refused, not rounded. */
const DECIMAL = /^[1-9]\d{0,15}$/;
/** Standard alphabet with padding. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Parse one envelope. Never throws; the result shares no memory with `bytes`. */
export function parsePushCommand(bytes: Uint8Array, limits: PushLimits = PUSH_LIMITS): Decoded<PushCommand> {
  const value = decodeBody(codecOf(bytes), bytes, limits.maxEnvelopeBytes);
  return value.ok ? validatePushCommand(value.value, limits) : value;
}

/** Parse an array of envelopes, all or nothing: an error names the index, as in `[3].op must be ...`. */
export function parsePushCommands(bytes: Uint8Array, limits: PushLimits = PUSH_LIMITS): Decoded<PushCommand[]> {
  const list = decodeBody(codecOf(bytes), bytes, limits.maxEnvelopeBytes);
  if (!list.ok) return list;
  if (!Array.isArray(list.value)) return refused(`the body must be an array of pushes: body=${shown(list.value)}`);
  if (list.value.length > limits.maxCommandsCount) {
    return refused(`the body must hold at most ${limits.maxCommandsCount} pushes: count=${list.value.length}`);
  }
  const commands: PushCommand[] = [];
  for (const [index, value] of list.value.entries()) {
    const command = validatePushCommand(value, limits, `[${index}].`);
    if (!command.ok) return command;
    commands.push(command.value);
  }
  return decoded(commands);
}

/**
 * Validate an envelope that is decoded already.
 * @param prefix in front of member names in error texts
 */
export function validatePushCommand(
  value: unknown,
  limits: PushLimits = PUSH_LIMITS,
  prefix = '',
): Decoded<PushCommand> {
  const fields = new Fields(value, prefix);
  const unknownName = fields.names().find((name) => !MEMBER_NAMES.includes(name));
  if (unknownName !== undefined) {
    fields.fail(`${prefix}${shown(unknownName)} is no member of a push: members=${MEMBER_NAMES.join(',')}`);
  }
  const target = readTarget(fields, limits);
  const op = fields.integer('op', INT32_MIN, INT32_MAX);
  if (op === 0) fields.fail(`${fields.label('op')} must not be 0: ${fields.label('op')}=0`);
  const body = readBody(fields, limits.maxBodyBytes);
  const speed = fields.has('speed') ? fields.integer('speed', 0, INT32_MAX) : 0;
  if (speed > 0 && target.kind !== 'all') {
    fields.fail(`${fields.label('speed')} goes with all only: target=${target.kind}`);
  }
  return fields.done({ target, op, body, speed });
}

/** The envelope for `command`: what a producer sends. JSON carries the body in base64. */
export function encodePushCommand(codec: Codec, command: PushCommand): Uint8Array<ArrayBuffer> {
  const { target, op, body, speed } = command;
  const envelope: Record<string, unknown> = { op };
  if (target.kind === 'rooms') envelope['rooms'] = target.rooms;
  else if (target.kind === 'keys') envelope['keys'] = target.keys;
  else if (target.kind === 'mids') envelope['mids'] = target.mids;
  else envelope['all'] = true;
  if (codec === 'msgpack') envelope['body'] = body;
  else envelope['body_base64'] = toBase64(body);
  if (speed !== 0) envelope['speed'] = speed;
  return encodeBody(codec, envelope);
}

/** JSON begins with white space, `{` or `[`; as MessagePack these would be small integers, which are no envelope. */
function codecOf(bytes: Uint8Array): Codec {
  const first = bytes[0];
  return first !== undefined && first >= 0x80 && first !== 0xef ? 'msgpack' : 'json';
}

function readTarget(fields: Fields, limits: PushLimits): PushTarget {
  const present = TARGET_NAMES.filter((name) => fields.has(name));
  const kind = present[0];
  if (kind === undefined || present.length > 1) {
    const given = present.length === 0 ? 'none' : present.join(',');
    fields.fail(`${fields.label('target')} must be exactly one of ${TARGET_NAMES.join(', ')}: given=${given}`);
    return { kind: 'all' };
  }
  switch (kind) {
    case 'room':
      return { kind: 'rooms', rooms: [fields.name('room', limits.maxRoomIdBytes)] };
    case 'rooms':
      return { kind: 'rooms', rooms: readNames(fields, 'rooms', limits.maxRoomIdBytes, limits.maxTargetsCount) };
    case 'keys':
      return { kind: 'keys', keys: readNames(fields, 'keys', limits.maxKeyBytes, limits.maxTargetsCount) };
    case 'mids':
      return { kind: 'mids', mids: readMids(fields, limits.maxTargetsCount) };
    case 'all':
      if (!fields.boolean('all')) fields.fail(`${fields.label('all')} must be true: ${fields.label('all')}=false`);
      return { kind: 'all' };
  }
}

function readList(fields: Fields, name: string, maxCount: number): readonly unknown[] {
  const list = fields.array(name, maxCount);
  if (list.length === 0) fields.fail(`${fields.label(name)} must hold at least one element`);
  return list;
}

function readNames(fields: Fields, name: string, maxBytes: number, maxCount: number): string[] {
  const list = readList(fields, name, maxCount);
  for (const [index, element] of list.entries()) {
    const problem = nameProblem(`${fields.label(name)}[${index}]`, element, maxBytes);
    if (problem !== undefined) fields.fail(problem);
  }
  return list as string[];
}

function readMids(fields: Fields, maxCount: number): number[] {
  const mids: number[] = [];
  for (const [index, element] of readList(fields, 'mids', maxCount).entries()) {
    const mid = toSafeInteger(typeof element === 'string' && DECIMAL.test(element) ? Number(element) : element);
    if (mid === undefined || mid <= 0) {
      const label = `${fields.label('mids')}[${index}]`;
      fields.fail(`${label} must be an integer from 1 to ${Number.MAX_SAFE_INTEGER}: ${label}=${shown(element)}`);
      return [];
    }
    mids.push(mid);
  }
  return mids;
}

function readBody(fields: Fields, maxBytes: number): Uint8Array {
  if (fields.has('body') === fields.has('body_base64')) {
    fields.fail(`${fields.label('body')} or ${fields.label('body_base64')} must be given, and only one of them`);
    return new Uint8Array(0);
  }
  const body = fields.has('body') ? readPlainBody(fields) : readBase64Body(fields);
  if (body.length > maxBytes) {
    fields.fail(`${fields.label('body')} must be at most ${maxBytes} bytes: bytes=${body.length}`);
  }
  return body;
}

function readPlainBody(fields: Fields): Uint8Array {
  const body = fields.raw('body');
  if (body instanceof Uint8Array) return body;
  if (typeof body === 'string' && isWellFormed(body)) return encodeUtf8(body);
  const label = fields.label('body');
  fields.fail(`${label} must be a well-formed string, or bin in MessagePack: ${label}=${shown(body)}`);
  return new Uint8Array(0);
}

function readBase64Body(fields: Fields): Uint8Array {
  const text = fields.raw('body_base64');
  if (typeof text === 'string' && text.length % 4 === 0 && BASE64.test(text)) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }
  const label = fields.label('body_base64');
  fields.fail(`${label} must be base64, standard alphabet, padded: ${label}=${shown(text)}`);
  return new Uint8Array(0);
}

function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
