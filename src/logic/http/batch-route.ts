/**
 * batch-route: many pushes in one request, as JSON or MessagePack, one command or an array of them (`push-command.ts` of
 * `protocol` has the form).
 *
 * Guarantees: commands are accepted in the order of the array, each by itself: a bad or refused one does not stop those
 * behind it, and its row says why. All or nothing is not promised.
 *
 * Direct by default: at once, and at most once. With `?durable=true` all commands of the request go through the durable queue, as
 * `/goim/push/*` do, and the answer comes when Redis has them (standalone: through the node's queue either way). It is said
 * per request and not per command: between a kept and a direct command there is no order to promise, the whole list leaves
 * for Redis in one call, and the envelope stays that of `PUBLISH halley:push`, where durable means nothing. With
 * the header `Halley-Message-Id` command n of the list has the id `<header>#n`, so a list that is sent again must be the same.
 */
import { type Codec, decodeBody, PUSH_LIMITS, type PushCommand, validatePushCommand } from '../../protocol/index.js';
import type { MaybePromise, PushTarget } from '../../push/index.js';
import { messageIdRefusal, pushDirectly, pushDurably } from './durable-push.js';
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

export function pushBatch(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
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
  const durable = request.query.first('durable') ?? 'false';
  if (durable !== 'true' && durable !== 'false') {
    const message = `durable must be true or false: durable=${JSON.stringify(durable.slice(0, 64))}`;
    return errorReply(400, API_CODE.BAD_REQUEST, message);
  }
  const refusal = messageIdRefusal(request);
  if (refusal !== undefined) return refusal;
  const limits = { ...PUSH_LIMITS, maxBodyBytes: services.messageMaxBytes };
  const isList = Array.isArray(body.value);
  const rows = commands.map((value, index): MaybePromise<BatchRow> => {
    const command = validatePushCommand(value, limits, isList ? `[${index}].` : '');
    if (!command.ok) return { code: API_CODE.BAD_REQUEST, message: command.error };
    const { op, body: message } = command.value;
    const push = { target: targetOf(command.value), op, body: message };
    const id = request.messageId === undefined ? undefined : `${request.messageId}#${index}`;
    let reason: string | undefined;
    const onRefused = (why: string) => {
      reason = why;
    };
    const outcome =
      durable === 'true' ? pushDurably(services, push, id, onRefused) : pushDirectly(services, push, onRefused);
    return typeof outcome === 'string' ? pushResult(outcome, reason) : outcome.then((late) => pushResult(late, reason));
  });
  return rows.some((row) => row instanceof Promise) ? Promise.all(rows).then(dataReply) : dataReply(rows);
}
