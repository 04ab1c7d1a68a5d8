/**
 * ids-routes: `GET /ids` and `GET /ids/decode`, for backends that want numbers for their own records.
 *
 * A store that is away is 503 with Retry-After; a maximum that is reached is 409; an unknown scheme or tag is 404.
 */
import { type IdFailure, idFailureOf, idFailureText } from '../ids/id-failure.js';
import type { IdService } from '../ids/id-service.js';
import { API_CODE, type ApiCode, dataReply, errorReply, type Reply } from './reply.js';
import type { ApiRequest } from './route.js';

/** What these routes need; a server that only gives out ids has nothing else. */
export interface IdRouteServices {
  /** Undefined: this node gives out no ids. */
  readonly ids?: IdService | undefined;
}

const DEFAULT_SCHEME = 'segment';
const RETRY_SOON: Reply['headers'] = [['Retry-After', '1']];

const REPLY_BY_FAILURE: Readonly<Record<IdFailure, { readonly status: number; readonly code: ApiCode }>> = {
  invalid: { status: 400, code: API_CODE.BAD_REQUEST },
  unknown: { status: 404, code: API_CODE.NOT_FOUND },
  exhausted: { status: 409, code: API_CODE.CONFLICT },
  busy: { status: 503, code: API_CODE.UNAVAILABLE },
  away: { status: 503, code: API_CODE.UNAVAILABLE },
  refused: { status: 503, code: API_CODE.UNAVAILABLE },
};

export async function nextIds({ ids }: IdRouteServices, { query }: ApiRequest): Promise<Reply> {
  if (ids === undefined) return noService();
  const countText = query.first('count') ?? '1';
  const scheme = query.first('scheme') ?? DEFAULT_SCHEME;
  const biz = query.first('biz') ?? '';
  // What is no whole number is refused by the service, which knows the bound.
  const count = /^\d{1,9}$/.test(countText) ? Number(countText) : Number.NaN;
  try {
    const batch = await ids.next({ scheme, biz, count });
    return dataReply({ ids: batch.ids, scheme: batch.scheme, biz: batch.biz });
  } catch (error) {
    return failureReply(error);
  }
}

export function decodeId({ ids }: IdRouteServices, { query }: ApiRequest): Reply {
  if (ids === undefined) return noService();
  const id = query.first('id');
  if (id === undefined) return errorReply(400, API_CODE.BAD_REQUEST, 'the query must hold id');
  try {
    const readings = ids.decode(id, query.first('scheme'), query.first('biz'));
    return dataReply({
      id,
      readings: readings.map(({ scheme, timestampMs, machineId, ...parts }) => ({
        scheme,
        timestamp_ms: timestampMs,
        time: timestampMs === undefined ? undefined : new Date(timestampMs).toISOString(),
        machine_id: machineId,
        ...parts,
      })),
    });
  } catch (error) {
    return failureReply(error);
  }
}

function noService(): Reply {
  return errorReply(503, API_CODE.UNAVAILABLE, 'this node gives out no ids');
}

function failureReply(error: unknown): Reply {
  const failure = idFailureOf(error);
  if (failure === undefined) throw error;
  const { status, code } = REPLY_BY_FAILURE[failure];
  return errorReply(status, code, idFailureText(error), failure === 'away' ? RETRY_SOON : []);
}
