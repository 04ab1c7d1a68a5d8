/**
 * batch-route: many pushes in one request, as JSON or MessagePack, one command or an array of them (`push-command.ts` of
 * `protocol` has the form).
 *
 * Guarantees: commands are accepted in the order of the array, each by itself: a bad or refused one does not stop those
 * behind it, and its row says why. All or nothing is not promised.
 */
import { type Codec, decodeBody, PUSH_LIMITS, type PushCommand, validatePushCommand } from '../../protocol/index.js';
import type { PushTarget } from '../../push/index.js';
import { API_CODE, type ApiCode, dataReply, errorReply, pushResult, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

const CODEC_BY_MEDIA_TYPE: ReadonlyMap<string, Codec> = new Map([
  ['application/json', 'json'],
  ['application/msgpack', 'msgpack'],
  ['application/x-msgpack', 'msgpack'],
  ['application/vnd.msgpack', 'msgpack'],
]);

interface BatchRow {
  readonly code: ApiCode;
  readonly message: string;
}

/** The node's form of a target: the envelope carries the speed beside it. */
function targetOf({ target, speed }: PushCommand): PushTarget {
  return target.kind === 'all' ? { kind: 'all', speedPerSec: speed } : target;
}

export function pushBatch(services: ApiServices, request: ApiRequest): Reply {
  const codec = CODEC_BY_MEDIA_TYPE.get(request.mediaType);
  if (codec === undefined) {
    const types = [...CODEC_BY_MEDIA_TYPE.keys()].join(', ');
    const message = `Content-Type must be one of ${types}: contentType=${JSON.stringify(request.mediaType.slice(0, 64))}`;
    return errorReply(415, API_CODE.UNSUPPORTED_TYPE, message);
  }
  const body = decodeBody(codec, request.body, services.messageMaxBytes);
  if (!body.ok) return errorReply(400, API_CODE.BAD_REQUEST, body.error);

  const commands: readonly unknown[] = Array.isArray(body.value) ? body.value : [body.value];
  if (commands.length > services.batchMaxCount) {
    const message = `a batch holds at most ${services.batchMaxCount} commands: count=${commands.length}`;
    return errorReply(413, API_CODE.TOO_LARGE, message);
  }
  const limits = { ...PUSH_LIMITS, maxBodyBytes: services.messageMaxBytes };
  const isList = Array.isArray(body.value);
  const rows = commands.map((value, index): BatchRow => {
    const command = validatePushCommand(value, limits, isList ? `[${index}].` : '');
    if (!command.ok) return { code: API_CODE.BAD_REQUEST, message: command.error };
    const { op, body: message } = command.value;
    return pushResult(services.pusher.push({ target: targetOf(command.value), op, body: message }));
  });
  return dataReply(rows);
}
