/**
 * The body of Auth (op 7): JSON, goim's members read by the rules of Go's encoding/json, and Halley's.
 *
 * Go's rules: member names match without regard to case; unknown members are ignored; a null document, and null for any
 * member, change nothing (a null list empties it); members apply in document order, so the last one wins; malformed UTF-8
 * and lone surrogates in strings become U+FFFD; a wrong type, a number that is not written as an integer, no JSON: an
 * error, and the connection ends. Stricter than goim on purpose: `mid` beyond 2^53-1 is refused, since it cannot be kept
 * exactly, and key and room ids are names (see text.ts).
 *
 * Halley's members: `token, codec, halley, rooms, heartbeat_s`. To goim they are unknown, so on a channel that does not
 * say `halley: 1` one of a wrong type is ignored, as goim would; on one that does it is an error.
 */
import { HalleyError } from '../errors/index.js';
import { CODECS, type Codec, parseJson } from './codec.js';
import { type Decoded, decoded, refused, shown } from './decoded.js';
import { type JsonMember, jsonMembers, jsonScalars, jsonString } from './json-members.js';
import { OP_LIST_LIMIT_COUNT } from './op-list.js';
import {
  decodeUtf8Lossy,
  encodeUtf8,
  KEY_LIMIT_BYTES,
  nameProblem,
  ROOM_ID_LIMIT_BYTES,
  toWellFormed,
} from './text.js';

export interface AuthBody {
  /** User id, a safe integer. 0 (absent) and negative: no user, reachable only by key, room and broadcast. */
  mid: number;
  /** Device key; '' asks the server to draw one. */
  key: string;
  /** goim's one room, the primary one; '' for none. */
  roomId: string;
  platform: string;
  /** Initial watch set; duplicates kept. */
  accepts: number[];
  token?: string;
  codec: Codec;
  /** The client said `halley: 1`: extended ops, op 26 instead of 9. */
  extended: boolean;
  /** Further rooms to join. */
  rooms: string[];
  /** The client's heartbeat interval in seconds, at least 1. */
  heartbeatS?: number;
}

export interface AuthLimits {
  readonly maxRoomIdBytes: number;
  readonly maxKeyBytes: number;
  readonly maxAcceptsCount: number;
  readonly maxRoomsCount: number;
}

export const AUTH_LIMITS: AuthLimits = {
  maxRoomIdBytes: ROOM_ID_LIMIT_BYTES,
  maxKeyBytes: KEY_LIMIT_BYTES,
  maxAcceptsCount: OP_LIST_LIMIT_COUNT,
  maxRoomsCount: 128,
};

/** The version of the extensions: the one value of `halley`, beside 0, that this implementation knows. */
export const EXTENSION_VERSION = 1;

const INTEGER = /^-?\d+$/;
const INT32_MIN = -0x8000_0000;
const INT32_MAX = 0x7fff_ffff;

/** Parse a body of bounded length (4,096 bytes on the wire). Never throws; the result shares no memory with `bytes`. */
export function parseAuthBody(bytes: Uint8Array, limits: AuthLimits = AUTH_LIMITS): Decoded<AuthBody> {
  if (bytes.length === 0) return refused('the auth body must be a JSON object: bytes=0');
  const text = decodeUtf8Lossy(bytes);
  const document = parseJson(text);
  if (!document.ok) return document;
  const body: AuthBody = {
    mid: 0,
    key: '',
    roomId: '',
    platform: '',
    accepts: [],
    codec: 'json',
    extended: false,
    rooms: [],
  };
  if (document.value === null) return decoded(body);
  if (typeof document.value !== 'object' || Array.isArray(document.value)) {
    return refused(`the auth body must be a JSON object: body=${shown(document.value)}`);
  }
  let error: string | undefined;
  let extensionError: string | undefined;
  for (const member of jsonMembers(text)) {
    const name = foldName(member.name);
    error ??= readGoimMember(name, member, body, limits);
    extensionError ??= readExtensionMember(name, member, body, limits);
  }
  if (body.extended) error ??= extensionError;
  return error === undefined ? decoded(body) : refused(error);
}

/** As Go folds: case, and the two letters outside ASCII that fold into it, U+017F (s) and U+212A (k, by toLowerCase). */
function foldName(name: string): string {
  return name.replaceAll('\u017f', 's').toLowerCase();
}

/** Apply one of goim's members or the switch `halley`. @returns what was wrong */
function readGoimMember(name: string, member: JsonMember, body: AuthBody, limits: AuthLimits): string | undefined {
  const { raw } = member;
  switch (name) {
    case 'mid':
      return readInteger(name, raw, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, (mid) => {
        body.mid = mid;
      });
    case 'key':
      return readString(name, raw, limits.maxKeyBytes, (key) => {
        body.key = key;
      });
    case 'room_id':
      return readString(name, raw, limits.maxRoomIdBytes, (roomId) => {
        body.roomId = roomId;
      });
    case 'platform':
      return readString(name, raw, undefined, (platform) => {
        body.platform = platform;
      });
    case 'accepts':
      return readAccepts(raw, limits.maxAcceptsCount, body);
    case 'halley':
      return readInteger(name, raw, 0, EXTENSION_VERSION, (version) => {
        body.extended = version === EXTENSION_VERSION;
      });
    default:
      return undefined;
  }
}

/** Apply one of Halley's members. @returns what was wrong, which counts only on an extended channel */
function readExtensionMember(name: string, member: JsonMember, body: AuthBody, limits: AuthLimits): string | undefined {
  const { raw } = member;
  switch (name) {
    case 'token':
      return readString(name, raw, undefined, (token) => {
        body.token = token;
      });
    case 'codec': {
      if (raw === 'null') return undefined;
      const given: unknown = raw.startsWith('"') ? jsonString(raw) : undefined;
      const codec = CODECS.find((known) => known === given);
      if (codec === undefined) return mismatch(name, '"json" or "msgpack"', raw);
      body.codec = codec;
      return undefined;
    }
    case 'rooms':
      return readRooms(raw, limits, body);
    case 'heartbeat_s':
      return readInteger(name, raw, 1, INT32_MAX, (heartbeatS) => {
        body.heartbeatS = heartbeatS;
      });
    default:
      return undefined;
  }
}

function readInteger(
  name: string,
  raw: string,
  min: number,
  max: number,
  assign: (value: number) => void,
): string | undefined {
  if (raw === 'null') return undefined;
  const value = integerOf(raw);
  if (value === undefined || value < min || value > max) return mismatch(name, `an integer from ${min} to ${max}`, raw);
  assign(value);
  return undefined;
}

/** The value of a number written as an integer, undefined for everything else. Unsafe ones come out beyond 2^53-1. */
function integerOf(raw: string): number | undefined {
  // Adding 0 turns -0 into 0.
  return INTEGER.test(raw) ? Number(raw) + 0 : undefined;
}

/** @param maxNameBytes the string is a name of at most so many bytes; undefined for free text */
function readString(
  name: string,
  raw: string,
  maxNameBytes: number | undefined,
  assign: (value: string) => void,
): string | undefined {
  if (raw === 'null') return undefined;
  if (!raw.startsWith('"')) return mismatch(name, 'a string', raw);
  const value = toWellFormed(jsonString(raw));
  const problem = maxNameBytes === undefined || value === '' ? undefined : nameProblem(name, value, maxNameBytes);
  if (problem === undefined) assign(value);
  return problem;
}

function readAccepts(raw: string, maxCount: number, body: AuthBody): string | undefined {
  if (raw === 'null') {
    body.accepts = [];
    return undefined;
  }
  // Anything nested or quoted is no list of integers, and jsonScalars could not split it.
  if (!raw.startsWith('[') || raw.lastIndexOf('[') > 0 || /["{]/.test(raw))
    return mismatch('accepts', 'an array of 32-bit integers', raw);
  const elements = jsonScalars(raw);
  if (elements.length > maxCount) return `accepts must hold at most ${maxCount} operations: count=${elements.length}`;
  const accepts: number[] = [];
  for (const element of elements) {
    // Go leaves an element that is null at its zero value.
    const op = element === 'null' ? 0 : integerOf(element);
    if (op === undefined || op < INT32_MIN || op > INT32_MAX) {
      return mismatch(`accepts[${accepts.length}]`, 'a 32-bit integer', element);
    }
    accepts.push(op);
  }
  body.accepts = accepts;
  return undefined;
}

function readRooms(raw: string, limits: AuthLimits, body: AuthBody): string | undefined {
  if (raw === 'null') {
    body.rooms = [];
    return undefined;
  }
  if (!raw.startsWith('[')) return mismatch('rooms', 'an array of strings', raw);
  const rooms = JSON.parse(raw) as unknown[];
  if (rooms.length > limits.maxRoomsCount) {
    return `rooms must hold at most ${limits.maxRoomsCount} room ids: count=${rooms.length}`;
  }
  for (const [index, room] of rooms.entries()) {
    const problem = nameProblem(`rooms[${index}]`, room, limits.maxRoomIdBytes);
    if (problem !== undefined) return problem;
  }
  body.rooms = rooms as string[];
  return undefined;
}

function mismatch(name: string, expected: string, raw: string): string {
  return `${name} must be ${expected}: ${name}=${raw.length > 60 ? `${raw.slice(0, 60)}...` : raw}`;
}

/**
 * The body a client sends. Members left out are left out.
 * @throws HalleyError BAD_MID for a mid that is not a safe integer: it would reach the server as another user
 */
export function encodeAuthBody(auth: Partial<AuthBody>): Uint8Array<ArrayBuffer> {
  if (auth.mid !== undefined && !Number.isSafeInteger(auth.mid)) {
    throw new HalleyError('BAD_MID', 'mid must be a safe integer', { mid: auth.mid });
  }
  // JSON.stringify leaves undefined members out.
  return encodeUtf8(
    JSON.stringify({
      mid: auth.mid,
      key: auth.key,
      room_id: auth.roomId,
      platform: auth.platform,
      accepts: auth.accepts,
      token: auth.token,
      codec: auth.codec,
      halley: auth.extended === true ? EXTENSION_VERSION : undefined,
      rooms: auth.rooms,
      heartbeat_s: auth.heartbeatS,
    }),
  );
}
