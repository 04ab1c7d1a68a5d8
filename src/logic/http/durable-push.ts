/**
 * durable-push: the two ways of a push. Kept: into the durable queue of a cluster, which answers when Redis has acknowledged;
 * standalone into the node's own queue, which answers at once. Direct: at once, and at most once.
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

function counted({ onPushTooLarge }: ApiServices, outcome: PushOutcome): PushOutcome {
  if (outcome === PUSH_OUTCOME.TOO_LARGE) onPushTooLarge?.();
  return outcome;
}

/** `onRefused` is called before that is answered. */
export function pushDirectly(
  services: ApiServices,
  command: PushCommand,
  onRefused: RefusalListener,
): MaybePromise<PushOutcome> {
  const outcome = services.pusher.push(command, onRefused);
  return typeof outcome === 'string' ? counted(services, outcome) : outcome.then((late) => counted(services, late));
}

/** No promise where there is no durable queue. `onRefused` is called before that is answered. */
export function pushDurably(
  services: ApiServices,
  command: PushCommand,
  idempotencyId: string | undefined,
  onRefused: RefusalListener,
): MaybePromise<PushOutcome> {
  const { durable } = services;
  if (durable === undefined) return pushDirectly(services, command, onRefused);
  const push = { ...command, onRefused, ...(idempotencyId === undefined ? {} : { idempotencyId }) };
  return durable.append([push]).then(([outcome]) => counted(services, outcome ?? PUSH_OUTCOME.FULL));
}
