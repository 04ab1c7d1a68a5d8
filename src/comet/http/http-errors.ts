/**
 * How a refusal or an end looks over HTTP: a status, and Halley's close code with its advice as JSON.
 */
import { CLOSE, type CloseCodeRow, mayReconnect } from '../../errors/index.js';

/** Why a session is over, or a request was refused. */
export interface SessionEnd {
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retryAfterMs: number;
}

export const STATUS = {
  OK: '200 OK',
  NO_CONTENT: '204 No Content',
  BAD_REQUEST: '400 Bad Request',
  UNAUTHORIZED: '401 Unauthorized',
  FORBIDDEN: '403 Forbidden',
  NOT_FOUND: '404 Not Found',
  METHOD_NOT_ALLOWED: '405 Method Not Allowed',
  CONFLICT: '409 Conflict',
  GONE: '410 Gone',
  TOO_LARGE: '413 Payload Too Large',
  UNSUPPORTED_TYPE: '415 Unsupported Media Type',
  TOO_MANY: '429 Too Many Requests',
  UNAVAILABLE: '503 Service Unavailable',
} as const;

/** Statuses of close codes that say more than "come back later" (503) and "do not" (403). */
const STATUS_BY_CODE: ReadonlyMap<number, string> = new Map([
  [CLOSE.TAKEN_OVER.code, STATUS.CONFLICT],
  [CLOSE.MALFORMED.code, STATUS.BAD_REQUEST],
  [CLOSE.AUTH_MALFORMED.code, STATUS.BAD_REQUEST],
  [CLOSE.PIPELINE_TOO_LONG.code, STATUS.BAD_REQUEST],
  [CLOSE.TOO_LARGE.code, STATUS.TOO_LARGE],
  [CLOSE.UNAUTHORIZED.code, STATUS.UNAUTHORIZED],
  [CLOSE.TOO_MANY_CONNECTIONS.code, STATUS.TOO_MANY],
  [CLOSE.TOO_FAST.code, STATUS.TOO_MANY],
]);

/** Of a connect that was refused. */
export function connectStatusOf(code: number): string {
  return STATUS_BY_CODE.get(code) ?? (mayReconnect(code) ? STATUS.UNAVAILABLE : STATUS.FORBIDDEN);
}

/** Of a send that ended its session: what was wrong with it, or that the session is gone. */
export function sendStatusOf(code: number): string {
  if (code === CLOSE.TOO_LARGE.code) return STATUS.TOO_LARGE;
  return code === CLOSE.MALFORMED.code ? STATUS.BAD_REQUEST : STATUS.GONE;
}

/** @param reason '' takes the row's own */
export function endOf(row: Pick<CloseCodeRow, 'code' | 'reason'>, reason = '', retryAfterMs = 0): SessionEnd {
  return { code: row.code, reason: reason || row.reason, reconnect: mayReconnect(row.code), retryAfterMs };
}

export function errorBody({ code, reason, reconnect, retryAfterMs }: SessionEnd): string {
  return JSON.stringify({ code, reason, reconnect, retry_after_ms: retryAfterMs });
}
