/**
 * reply: what a route answers, as plain data. Writing it to the socket is `exchange.ts`'s work.
 *
 * Every answer of the API is goim's envelope `{code, message, data?}`; `data` is absent where a route has none. goim answers
 * HTTP status 200 to everything it handled, with the outcome in `code`; its parameter failures are status 400 with text/plain
 * around the same JSON (gin sets the type before goim writes). goim's clients look at `code`, so this is kept to the byte.
 */
import { HalleyError } from '../../errors/index.js';
import type { PushOutcome } from '../../push/index.js';

export interface Reply {
  readonly status: number;
  /** Empty: no Content-Type header. */
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** `headerLines` of a reply that never changes, made once. */
  readonly lines?: readonly string[];
}

/** Codes of the envelope: goim's three, and the negative HTTP status for what goim does not know. Fixed for ever. */
export const API_CODE = {
  OK: 0,
  BAD_REQUEST: -400,
  UNAUTHORIZED: -401,
  FORBIDDEN: -403,
  NOT_FOUND: -404,
  METHOD_NOT_ALLOWED: -405,
  REQUEST_TIMEOUT: -408,
  CONFLICT: -409,
  TOO_LARGE: -413,
  UNSUPPORTED_TYPE: -415,
  HEADERS_TOO_LARGE: -431,
  SERVER_ERROR: -500,
  UNAVAILABLE: -503,
  TIMEOUT: -504,
} as const;
export type ApiCode = (typeof API_CODE)[keyof typeof API_CODE];

export const JSON_TYPE = 'application/json; charset=utf-8';
export const TEXT_TYPE = 'text/plain; charset=utf-8';

/** Reason phrases of the statuses in use, as RFC 9110 has them (node:http's own are older in places). */
export const REASON_PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  301: 'Moved Permanently',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** Whether a status has no body by its nature, and so no Content-Length either. */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}

/** All headers of a reply but those of the connection, as `writeHead` takes them: name, value, name, value. */
export function headerLines(reply: Reply): readonly string[] {
  if (reply.lines !== undefined) return reply.lines;
  const lines = ['X-Content-Type-Options', 'nosniff'];
  if (reply.contentType !== '') lines.push('Content-Type', reply.contentType);
  if (!isBodiless(reply.status)) {
    const { body } = reply;
    lines.push('Content-Length', String(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength));
  }
  for (const [name, value] of reply.headers ?? []) lines.push(name, value);
  return lines;
}

/** A reply that never changes: its headers are made once. */
export function fixedReply(status: number, contentType: string, body: string): Reply {
  const reply: Reply = { status, contentType, body };
  return { ...reply, lines: headerLines(reply) };
}

/** The answer to a push that was accepted. One object: a push route allocates nothing for it. */
export const OK_REPLY: Reply = fixedReply(200, JSON_TYPE, '{"code":0,"message":""}');

/** `data` must be JSON values; undefined leaves it out. */
export function dataReply(data: unknown): Reply {
  return { status: 200, contentType: JSON_TYPE, body: JSON.stringify({ code: API_CODE.OK, message: '', data }) };
}

/** JSON without the envelope, for `/health` and `/ready`, which load balancers read. */
export function bareReply(status: number, value: unknown): Reply {
  return { status, contentType: JSON_TYPE, body: JSON.stringify(value) };
}

export function errorReply(status: number, code: ApiCode, message: string, headers: Reply['headers'] = []): Reply {
  return { status, contentType: JSON_TYPE, body: JSON.stringify({ code, message }), headers };
}

/** gin's answer to parameters that do not bind: goim's envelope under text/plain. */
export function bindingReply(message: string): Reply {
  return { status: 400, contentType: TEXT_TYPE, body: JSON.stringify({ code: API_CODE.BAD_REQUEST, message }) };
}

/** gin's answer to an unknown path or a wrong method. */
export const NOT_FOUND_REPLY: Reply = fixedReply(404, 'text/plain', '404 page not found');

/** Code and message per outcome of a push, for a reply or one row of a batch. `reason`: why it is `full`, where that is known. */
export function pushResult(
  outcome: PushOutcome,
  reason?: string,
): { readonly code: ApiCode; readonly message: string } {
  switch (outcome) {
    case 'ok':
      return { code: API_CODE.OK, message: '' };
    case 'full':
      return {
        code: API_CODE.UNAVAILABLE,
        message:
          reason === undefined
            ? 'the push queue is full and nobody got the message, try again later'
            : `the push was refused, try again later: ${reason}`,
      };
    case 'too_large':
      return { code: API_CODE.TOO_LARGE, message: 'the message is larger than this node delivers, nobody got it' };
    case 'closed':
      return { code: API_CODE.UNAVAILABLE, message: 'the node is shutting down and nobody got the message' };
  }
}

const RETRY_SOON: Reply['headers'] = [['Retry-After', '1']];
/** What a handler rejects with where somebody else does not answer for now, which is no defect of ours. */
const AWAY_CODES: ReadonlySet<string> = new Set(['REDIS_AWAY', 'NODE_NO_ANSWER']);

/** 503 for an error that says that Redis or another node is away; undefined for every other. */
export function awayReply(error: unknown): Reply | undefined {
  if (!(error instanceof HalleyError) || !AWAY_CODES.has(error.code)) return undefined;
  return errorReply(503, API_CODE.UNAVAILABLE, `${error.message} [${error.code}]`, RETRY_SOON);
}

export function pushReply(outcome: PushOutcome, reason?: string): Reply {
  if (outcome === 'ok') return OK_REPLY;
  const { code, message } = pushResult(outcome, reason);
  return outcome === 'too_large' ? errorReply(413, code, message) : errorReply(503, code, message, RETRY_SOON);
}
