/**
 * A push of the form as an HTTP request, and as the curl command that does the same.
 */
import { type Decoded, decoded, refused } from '../protocol/index.js';

export type PushTargetKind = 'room' | 'key' | 'mid' | 'all';

export interface PushFields {
  readonly target: PushTargetKind;
  /** Room id, device key or mid; several keys or mids with commas between them. Nothing for `all`. */
  readonly to: string;
  readonly op: string;
  readonly body: string;
  /** How many times to send it. */
  readonly times: string;
}

export interface PushRequest {
  /** Path and query. */
  readonly path: string;
  readonly body: string;
  readonly timesCount: number;
}

/** The most repetitions of one press of the button. */
export const MAX_TIMES_COUNT = 1000;
const INT32_MAX = 0x7fff_ffff;

/** What the HTTP API reads its token from, so that the token itself never stands in a command line. */
const TOKEN_VARIABLE = 'HALLEY_HTTP_TOKEN';

export function pushRequest(fields: PushFields): Decoded<PushRequest> {
  const op = Number(fields.op);
  if (!/^\d+$/.test(fields.op.trim()) || op === 0 || op > INT32_MAX) {
    return refused('The operation is a whole number from 1; yours start at 1000.');
  }
  const timesCount = Number(fields.times);
  if (!Number.isInteger(timesCount) || timesCount < 1 || timesCount > MAX_TIMES_COUNT) {
    return refused(`Send it 1 to ${MAX_TIMES_COUNT} times.`);
  }
  const target = targetQuery(fields.target, fields.to.trim());
  if (!target.ok) return target;
  const { route, query } = target.value;
  const path = `/goim/push/${route}?${[`operation=${op}`, ...query].join('&')}`;
  return decoded({ path, body: fields.body, timesCount });
}

interface TargetQuery {
  readonly route: string;
  readonly query: readonly string[];
}

function targetQuery(kind: PushTargetKind, to: string): Decoded<TargetQuery> {
  switch (kind) {
    case 'room': {
      const [, type, id] = /^(.+?):\/\/(.+)$/.exec(to) ?? [];
      if (type === undefined || id === undefined) {
        return refused('A room that can be pushed to is written type://id, for example live://1000.');
      }
      return decoded({ route: 'room', query: [pair('type', type), pair('room', id)] });
    }
    case 'key': {
      const keys = listOf(to);
      if (keys.length === 0) return refused('Name at least one device key.');
      return decoded({ route: 'keys', query: keys.map((key) => pair('keys', key)) });
    }
    case 'mid': {
      const mids = listOf(to);
      if (mids.length === 0 || !mids.every((mid) => /^\d+$/.test(mid) && Number.isSafeInteger(Number(mid)))) {
        return refused('A mid is a whole number of at most 9007199254740991.');
      }
      return decoded({ route: 'mids', query: mids.map((mid) => pair('mids', mid)) });
    }
    case 'all':
      return decoded({ route: 'all', query: [] });
  }
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

function pair(name: string, value: string): string {
  return `${name}=${encodeURIComponent(value)}`;
}

/**
 * The same push for a shell. Repetitions are curl's own: `[1-n]` in a parameter that the server does not know.
 * @param hasToken the API wants its token; the command takes it from the environment
 */
export function curlCommand(origin: string, request: PushRequest, hasToken: boolean): string {
  const repeat = request.timesCount > 1 ? `&n=[1-${request.timesCount}]` : '';
  return [
    'curl',
    ...(repeat === '' ? [] : ['-s']),
    ...(hasToken ? [`-H "Authorization: Bearer $${TOKEN_VARIABLE}"`] : []),
    // Not --data, which would read a file for a body that begins with @.
    `--data-raw ${shellQuoted(request.body)}`,
    shellQuoted(`${origin}${request.path}${repeat}`),
  ].join(' ');
}

/** In single quotes nothing has a meaning but the single quote itself. */
function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
