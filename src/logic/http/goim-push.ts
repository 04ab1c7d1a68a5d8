/**
 * goim-push: goim's four push routes. The request's body is the message, byte for byte; everything else is in the query.
 *
 * Guarantees: code 0 means that the queue has accepted the message, in the order of the requests of a connection: standalone the
 * node's own queue, in a cluster the durable one, and then Redis has it. With the header `Halley-Message-Id` a retry inside
 * `stream.once_window_s` is answered 0 and not delivered twice (standalone it is not looked at). A full queue is status 503, never goim's silent loss (W5). A push to nobody (an offline key, no mid at all) is code 0, as in goim.
 */
import type { MaybePromise, PushTarget } from '../../push/index.js';
import { Binder } from './binder.js';
import { messageIdRefusal, pushDurably } from './durable-push.js';
import { API_CODE, fixedReply, JSON_TYPE, OK_REPLY, pushReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

/** goim's room id: what its HTTP API can address. */
export function roomId(type: string, room: string): string {
  return `${type}://${room}`;
}

/** goim's answer to push/keys without keys: status 200 and no text. */
const NO_KEYS_REPLY = fixedReply(200, JSON_TYPE, JSON.stringify({ code: API_CODE.BAD_REQUEST, message: '' }));

function push(services: ApiServices, request: ApiRequest, target: PushTarget, op: number): MaybePromise<Reply> {
  const refusal = messageIdRefusal(request);
  if (refusal !== undefined) return refusal;
  let reason: string | undefined;
  const outcome = pushDurably(services, { target, op, body: request.body }, request.messageId, (why) => {
    reason = why;
  });
  return typeof outcome === 'string' ? pushReply(outcome, reason) : outcome.then((late) => pushReply(late, reason));
}

export function pushKeys(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const op = bind.int32('Op', 'operation', 'optional');
  const keys = bind.texts('Keys', 'keys', 'optional');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  return keys.length === 0 ? NO_KEYS_REPLY : push(services, request, { kind: 'keys', keys }, op);
}

export function pushMids(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const op = bind.int32('Op', 'operation', 'optional');
  const given = bind.integers('mids');
  const failure = bind.failure();
  if (failure !== undefined) return failure;
  // A mid of 0 or less is nobody: such channels are reachable by key and room only.
  const mids = given.filter((mid) => mid > 0);
  return mids.length === 0 ? OK_REPLY : push(services, request, { kind: 'mids', mids }, op);
}

export function pushRoom(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const op = bind.int32('Op', 'operation', 'required');
  const type = bind.text('Type', 'type', 'required');
  const room = bind.text('Room', 'room', 'required');
  return bind.failure() ?? push(services, request, { kind: 'rooms', rooms: [roomId(type, room)] }, op);
}

export function pushAll(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const bind = new Binder(request.query);
  const op = bind.int32('Op', 'operation', 'required');
  const speed = bind.int32('Speed', 'speed', 'optional');
  return bind.failure() ?? push(services, request, { kind: 'all', speedPerSec: Math.max(0, speed) }, op);
}
