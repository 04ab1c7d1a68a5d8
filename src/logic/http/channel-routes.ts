/**
 * channel-routes: what a backend may do to the channels of this node: close them, put them into rooms, take them out.
 * Every route answers `{count}`, the channels that were found; a key or mid that is not here counts nothing.
 */
import { CLOSE, mayReconnect } from '../../errors/index.js';
import { KEY_LIMIT_BYTES, ROOM_ID_LIMIT_BYTES } from '../../protocol/index.js';
import type { ChannelSelector, DisconnectAdvice, MaybePromise } from '../../push/index.js';
import { JsonMembers } from './json-members.js';
import { API_CODE, dataReply, errorReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

/** A WebSocket close frame holds so much text. */
const REASON_MAX_BYTES = 123;
const RETRY_AFTER_MAX_MS = 86_400_000;
const SELECTOR_MEMBERS = ['keys', 'mids'] as const;
const DISCONNECT_MEMBERS = [...SELECTOR_MEMBERS, 'code', 'reason', 'reconnect', 'retry_after_ms'];
const ROOMS_MEMBERS = [...SELECTOR_MEMBERS, 'rooms'];
/** Codes that an application may use: Halley's own ranges, and 4000 to 4999, which have no meaning to it. */
const MIN_CLOSE_CODE = 3000;
const MAX_CLOSE_CODE = 4999;
const FIRST_FREE_CODE = 4000;

function refuse(problem: string): Reply {
  return errorReply(400, API_CODE.BAD_REQUEST, problem);
}

function readSelector(members: JsonMembers): ChannelSelector {
  const keys = members.names('keys', KEY_LIMIT_BYTES);
  const mids = members.mids('mids');
  if (keys.length + mids.length === 0) members.fail('name the channels by at least one of "keys" and "mids"');
  return { keys, mids };
}

/**
 * The range of a close code says whether to come back, so `reconnect` may choose the code but never contradict it. Without
 * either the channel is told to stop.
 */
function readAdvice(members: JsonMembers): DisconnectAdvice {
  const reconnectGiven = members.flag('reconnect');
  const standard = reconnectGiven === true ? CLOSE.SHUTDOWN : CLOSE.KICKED;
  const codeGiven = members.integer('code', MIN_CLOSE_CODE, MAX_CLOSE_CODE);
  const code = codeGiven ?? standard.code;
  const reconnect = reconnectGiven ?? mayReconnect(code);
  if (code < FIRST_FREE_CODE && reconnect !== mayReconnect(code)) {
    members.fail(
      `codes 3000 to 3499 mean reconnect and 3500 to 3999 do not: reconnect=${String(reconnect)} code=${code}`,
    );
  }
  const reason = members.text('reason', REASON_MAX_BYTES) ?? (codeGiven === undefined ? standard.reason : '');
  const retryAfterMs = members.integer('retry_after_ms', 0, RETRY_AFTER_MAX_MS) ?? 0;
  return { code, reason, reconnect, retryAfterMs };
}

/** Answer at once where the comet did, later where it needs its buckets. */
function countReply(count: MaybePromise<number>): MaybePromise<Reply> {
  return typeof count === 'number' ? dataReply({ count }) : count.then((found) => dataReply({ count: found }));
}

export function disconnect(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const members = new JsonMembers(request.body, services.messageMaxBytes, DISCONNECT_MEMBERS);
  const selector = readSelector(members);
  const advice = readAdvice(members);
  if (members.problem !== undefined) return refuse(members.problem);
  return countReply(services.comet.disconnect(selector, advice));
}

function changeRooms(services: ApiServices, request: ApiRequest, change: 'joinRooms' | 'leaveRooms') {
  const members = new JsonMembers(request.body, services.messageMaxBytes, ROOMS_MEMBERS);
  const selector = readSelector(members);
  const rooms = members.names('rooms', ROOM_ID_LIMIT_BYTES);
  if (rooms.length === 0) members.fail('"rooms" must name at least one room');
  if (members.problem !== undefined) return refuse(members.problem);
  return countReply(services.comet[change](selector, rooms));
}

export function joinRooms(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  return changeRooms(services, request, 'joinRooms');
}

export function leaveRooms(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  return changeRooms(services, request, 'leaveRooms');
}
