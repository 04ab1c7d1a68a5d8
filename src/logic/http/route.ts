/**
 * route: the form of one row of the route table, and how a request finds its row.
 */

import type { RequestPeer } from '../../address/index.js';
import type {
  CometPort,
  DurableQueue,
  MaybePromise,
  OnlineCounts,
  PushDoor,
  ReadinessProbe,
  SessionStore,
} from '../../push/index.js';
import type { CounterMemory } from '../../telemetry/index.js';
import type { NodeLookup } from '../node-lookup.js';
import type { NodeDescription } from '../nodes-reply.js';
import type { IdRouteServices } from './ids-routes.js';
import type { Query } from './query.js';
import { API_CODE, errorReply, NOT_FOUND_REPLY, type Reply } from './reply.js';

/** What the routes need of the node: narrow ports, wired by `main.ts`. */
export interface ApiServices extends IdRouteServices {
  /** Direct pushes, and all pushes where there is no durable queue. */
  readonly pusher: PushDoor;
  /** The queue of the cluster; absent where the node is alone. */
  readonly durable?: DurableQueue | undefined;
  readonly comet: CometPort;
  /** Who is connected where, in the whole cluster. What cannot be answered rejects. */
  readonly sessions: Pick<SessionStore, 'byKeys' | 'byMids'>;
  /** Who is online, in the whole cluster. */
  readonly online: OnlineCounts;
  readonly node: NodeDescription;
  readonly probes: readonly ReadinessProbe[];
  readonly lookup: NodeLookup;
  /** Totals and per-thread values of the counters, as JSON values. */
  readonly stats: () => unknown;
  /** The same counters for `/metrics`, the control thread's first, then those of the buckets; absent: there are none. */
  readonly metrics?: (() => CounterMemory) | undefined;
  /** Most commands of one `/halley/push/batch`. */
  readonly batchMaxCount: number;
  /** Most bytes of one command's message there. */
  readonly messageMaxBytes: number;
  /** A push is refused as too large (413, or code -413 in a batch); called once for each, to be counted. Must not throw. */
  readonly onPushTooLarge?: (() => void) | undefined;
  readonly nowMs: () => number;
}

export interface ApiRequest {
  readonly query: Query;
  /** The whole body; empty for GET. Owned by the handler. */
  readonly body: Uint8Array;
  /** Lower case, without parameters: `application/json`. Empty where the client sent none. */
  readonly mediaType: string;
  /** Who sent it, for `ClientAddress`. */
  readonly peer: RequestPeer;
  /** Header `Halley-Message-Id`, as sent. */
  readonly messageId: string | undefined;
}

export type Method = 'GET' | 'POST';

/** @typeParam Services what its handler needs */
export interface Route<Services = ApiServices> {
  readonly method: Method;
  readonly path: string;
  /** `token`: needs the API token, where one is set. */
  readonly access: 'open' | 'token';
  /** Parameters or body members, for the README. */
  readonly takes: string;
  /** What it does and answers, for the README. */
  readonly doc: string;
  readonly handle: (services: Services, request: ApiRequest) => MaybePromise<Reply>;
}

/** The row for a request, or what to answer where there is none. */
export type Found<Services = ApiServices> = { readonly route: Route<Services> } | { readonly reply: Reply };

const GOIM_PREFIX = '/goim/';

export class RouteTable<Services = ApiServices> {
  readonly #routesByPath = new Map<string, Map<Method, Route<Services>>>();

  constructor(routes: readonly Route<Services>[]) {
    for (const route of routes) {
      const rows = this.#routesByPath.get(route.path) ?? new Map<Method, Route<Services>>();
      rows.set(route.method, route);
      this.#routesByPath.set(route.path, rows);
    }
  }

  /**
   * @param method as sent; HEAD finds the row of GET
   * @param rawQuery is kept in the Location of a redirect
   */
  find(method: string, path: string, rawQuery: string): Found<Services> {
    const rows = this.#routesByPath.get(path);
    if (rows === undefined) return { reply: this.#redirect(method, path, rawQuery) ?? NOT_FOUND_REPLY };
    const route = rows.get(method === 'HEAD' ? 'GET' : (method as Method));
    if (route !== undefined) return { route };
    const allowed = [...rows.keys(), ...(rows.has('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
    if (method === 'OPTIONS')
      return { reply: { status: 204, contentType: '', body: '', headers: [['Allow', allowed]] } };
    if (path.startsWith(GOIM_PREFIX)) return { reply: NOT_FOUND_REPLY };
    const message = `this path takes ${allowed}: method=${JSON.stringify(method.slice(0, 16))}`;
    return { reply: errorReply(405, API_CODE.METHOD_NOT_ALLOWED, message, [['Allow', allowed]]) };
  }

  /** gin's trailing-slash redirect: only to a path that has this method, 301 for GET and 307 for all others. */
  #redirect(method: string, path: string, rawQuery: string): Reply | undefined {
    if (path.length < 2 || !path.endsWith('/')) return undefined;
    const target = path.slice(0, -1);
    const rows = this.#routesByPath.get(target);
    if (rows === undefined || !rows.has(method === 'HEAD' ? 'GET' : (method as Method))) return undefined;
    const location = rawQuery === '' ? target : `${target}?${rawQuery}`;
    return { status: method === 'GET' ? 301 : 307, contentType: '', body: '', headers: [['Location', location]] };
  }
}

/** The README's table of routes. */
export function renderRoutes(routes: readonly Route[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = routes.map(
    ({ method, path, access, takes, doc }) =>
      `| \`${method} ${path}\` | ${cell(takes)} | ${cell(doc)} | ${access === 'token' ? 'token' : 'open'} |`,
  );
  return ['| route | takes | answer | access |', '|---|---|---|---|', ...rows].join('\n');
}
