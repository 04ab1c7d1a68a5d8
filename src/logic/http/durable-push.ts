/**
 * durable-push: the way of a push that is to be kept: into the durable queue of a cluster, which answers when Redis has
 * acknowledged; standalone into the node's own queue, which answers at once.
 */
import {
  isIdempotencyId,
  type MaybePromise,
  PUSH_OUTCOME,
  type PushCommand,
  type PushOutcome,
  type RefusalListener,
} from '../../push/index.js';
import { API_CODE, errorReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

/** Header of a producer's own id of its push, by which a retry is recognised. */
export const MESSAGE_ID_HEADER = 'halley-message-id';
/** What a batch adds to the id per command; the id leaves room for it. */
const BATCH_SUFFIX_BYTES = 8;
const BAD_ID_REPLY = errorReply(
  400,
  API_CODE.BAD_REQUEST,
  'the header Halley-Message-Id must have 1 to 120 bytes of visible ASCII',
);

/** The answer to a header that is no idempotency id; undefined where there is none or it is one. */
export function messageIdRefusal({ messageId }: ApiRequest): Reply | undefined {
  return messageId === undefined || isIdempotencyId(messageId + '0'.repeat(BATCH_SUFFIX_BYTES))
    ? undefined
    : BAD_ID_REPLY;
}

/** No promise where there is no durable queue. `onRefused` is called before that is answered. */
export function pushDurably(
  { durable, pusher }: ApiServices,
  command: PushCommand,
  idempotencyId: string | undefined,
  onRefused: RefusalListener,
): MaybePromise<PushOutcome> {
  if (durable === undefined) return pusher.push(command, onRefused);
  const push = { ...command, onRefused, ...(idempotencyId === undefined ? {} : { idempotencyId }) };
  return durable.append([push]).then(([outcome]) => outcome ?? PUSH_OUTCOME.FULL);
}
