/**
 * session-routes: where users and device keys are connected, for operators and backends: node, bucket, connection.
 *
 * Guarantees: the whole cluster's sessions, as its session map has them; what has none is left out. A session that is asked for
 * by key and by mid comes once. Where the map cannot be asked the answer is 503, never an empty list.
 */
import { KEY_LIMIT_BYTES, nameProblem } from '../../protocol/index.js';
import type { MaybePromise, Session } from '../../push/index.js';
import { API_CODE, dataReply, errorReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

/** Most keys and mids of one request: one look-up may be a round trip to every shard of Redis. */
export const SESSIONS_MAX_NAMES_COUNT = 1000;
/** A mid as text: decimal, no sign, no leading zero. */
const DECIMAL = /^[1-9]\d{0,15}$/;
const SHOWN_CHARACTERS = 60;

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}...` : text);
}

function midProblem(text: string): string | undefined {
  if (DECIMAL.test(text) && Number.isSafeInteger(Number(text))) return undefined;
  return `mids must be integers of 1 to ${Number.MAX_SAFE_INTEGER}: mids=${shown(text)}`;
}

function problemOf(keys: readonly string[], mids: readonly string[]): string | undefined {
  const count = keys.length + mids.length;
  if (count === 0) return 'name the sessions by at least one of keys and mids';
  if (count > SESSIONS_MAX_NAMES_COUNT) {
    return `a request names at most ${SESSIONS_MAX_NAMES_COUNT} keys and mids: count=${count}`;
  }
  for (const key of keys) {
    const problem = nameProblem('keys', key, KEY_LIMIT_BYTES);
    if (problem !== undefined) return problem;
  }
  return mids.map(midProblem).find((problem) => problem !== undefined);
}

function rowOf(session: Session) {
  return {
    key: session.key,
    mid: session.mid,
    server_id: session.serverId,
    node_epoch: session.nodeEpoch,
    bucket: session.bucket,
    conn_id: session.connId,
    platform: session.platform,
    remote_ip: session.remoteIp,
    since: new Date(session.sinceMs).toISOString(),
  };
}

function sessionsReply(ofKeys: readonly (Session | undefined)[], ofMids: readonly Session[]): Reply {
  const byKey = new Map<string, Session>();
  // A key has one session; two look-ups may still see it on two nodes, and the later connection has it.
  for (const session of [...ofKeys, ...ofMids]) {
    const other = session === undefined ? undefined : byKey.get(session.key);
    if (session !== undefined && (other === undefined || other.sinceMs < session.sinceMs))
      byKey.set(session.key, session);
  }
  return dataReply([...byKey.values()].map(rowOf));
}

export function findSessions({ sessions }: ApiServices, { query }: ApiRequest): MaybePromise<Reply> {
  const keys = query.all('keys');
  const mids = query.all('mids');
  const problem = problemOf(keys, mids);
  if (problem !== undefined) return errorReply(400, API_CODE.BAD_REQUEST, problem);
  const ofKeys = keys.length === 0 ? [] : sessions.byKeys(keys);
  const ofMids = mids.length === 0 ? [] : sessions.byMids(mids.map(Number));
  if (!(ofKeys instanceof Promise) && !(ofMids instanceof Promise)) return sessionsReply(ofKeys, ofMids);
  return Promise.all([ofKeys, ofMids]).then(([byKeys, byMids]) => sessionsReply(byKeys, byMids));
}
