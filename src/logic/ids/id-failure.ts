/**
 * What kind of failure a HalleyError of the id service is: from it follow the HTTP status and the gRPC status code.
 */
import { HalleyError } from '../../errors/index.js';

/**
 * `invalid`: the request is wrong. `unknown`: there is no such scheme or tag. `exhausted`: the tag's maximum is reached. `busy`: a limit of
 * this server. `away`: the store does not answer, the same request may succeed soon. `refused`: a person must see to the store.
 */
export type IdFailure = 'invalid' | 'unknown' | 'exhausted' | 'busy' | 'away' | 'refused';

const FAILURE_BY_CODE: ReadonlyMap<string, IdFailure> = new Map<string, IdFailure>([
  ['ID_MALFORMED', 'invalid'],
  ['ID_BAD_COUNT', 'invalid'],
  ['ID_BAD_TAG', 'invalid'],
  ['ID_SCHEME_UNKNOWN', 'unknown'],
  ['ID_TAG_UNKNOWN', 'unknown'],
  ['ID_COUNTER_ENDED', 'exhausted'],
  ['ID_TOO_MANY_TAGS', 'busy'],
  ['ID_RANGE_EMPTY', 'away'],
  ['ID_STORE_UNAVAILABLE', 'away'],
  ['ID_STORE_BROKEN', 'away'],
  ['ID_SOURCE_FAILED', 'away'],
  ['ID_LIMIT_REACHED', 'away'],
  ['ID_MACHINE_CLASH', 'away'],
  ['ID_MACHINE_NONE_FREE', 'away'],
  ['ID_SERVICE_CLOSED', 'away'],
  ['ID_STORE_LOST', 'refused'],
  ['ID_STORE_WENT_BACK', 'refused'],
  ['ID_STORE_CORRUPT', 'refused'],
  ['ID_STORE_CLOSED', 'refused'],
  ['ID_MASTER_SEALED', 'refused'],
  ['ID_MASTERS_MISPLACED', 'refused'],
  ['ID_CLOCK_BEFORE_EPOCH', 'refused'],
]);

/** Undefined: a defect of ours, not an answer. */
export function idFailureOf(error: unknown): IdFailure | undefined {
  return error instanceof HalleyError ? FAILURE_BY_CODE.get(error.code) : undefined;
}

/** What a client is told: the sentence with its facts, and the code that programs branch on. */
export function idFailureText(error: unknown): string {
  return error instanceof HalleyError ? `${error.message} [${error.code}]` : 'the server failed';
}
