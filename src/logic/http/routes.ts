/**
 * routes: the table of the HTTP API, one row per route. The README's table is made from it.
 *
 * In a cluster `/goim/push/*` answer when the durable queue has the message (`durable-push.ts`), later than the call; so does
 * `/halley/push/batch?durable=true`. Standalone every push route answers in the call.
 */
import { pushBatch } from './batch-route.js';
import { disconnect, joinRooms, leaveRooms } from './channel-routes.js';
import { clusterRooms, clusterTop, clusterTotal, onlineRoom, onlineTop, onlineTotal } from './goim-online.js';
import { pushAll, pushKeys, pushMids, pushRoom } from './goim-push.js';
import { decodeId, type IdRouteServices, nextIds } from './ids-routes.js';
import { metrics } from './metrics-route.js';
import { drainNode, halleyNodes, health, httpdns, nodesInstances, nodesWeighted, ready, stats } from './node-routes.js';
import { type ApiServices, type Method, type Route, renderRoutes } from './route.js';
import { findSessions } from './session-routes.js';

function route(
  method: Method,
  path: string,
  takes: string,
  doc: string,
  handle: Route['handle'],
  access: Route['access'] = 'token',
): Route {
  return { method, path, takes, doc, handle, access };
}

export const ROUTES: readonly Route[] = [
  route(
    'POST',
    '/goim/push/keys',
    'query `operation`, `keys` repeated; body: the message',
    'pushes to device keys',
    pushKeys,
  ),
  route(
    'POST',
    '/goim/push/mids',
    'query `operation`, `mids` repeated; body: the message',
    'pushes to users',
    pushMids,
  ),
  route(
    'POST',
    '/goim/push/room',
    'query `operation`, `type`, `room`; body: the message',
    'pushes to a room',
    pushRoom,
  ),
  route('POST', '/goim/push/all', 'query `operation`, `speed`; body: the message', 'pushes to everyone', pushAll),
  route(
    'GET',
    '/goim/online/top',
    'query `type`, `limit`',
    'the fullest rooms of a type: `[{room_id, count}]`',
    onlineTop,
  ),
  route('GET', '/goim/online/room', 'query `type`, `rooms` repeated', 'members per room: `{room: count}`', onlineRoom),
  route('GET', '/goim/online/total', '', 'channels and distinct addresses: `{conn_count, ip_count}`', onlineTotal),
  // Clients ask this before they have anything to prove: it tells where they may connect, and nothing else.
  route(
    'GET',
    '/goim/nodes/weighted',
    'query `platform`',
    'where to connect, and how to keep alive',
    nodesWeighted,
    'open',
  ),
  route('GET', '/goim/nodes/instances', '', 'the nodes as discovery knows them', nodesInstances),
  route(
    'GET',
    '/halley/nodes',
    'query `order` (weighted, least_conn, nearest), `limit`, `platform`, `lat` and `lon`, `region`, `ip`, `format` (json, text)',
    'where to connect, best first: `{order, region, domain, nodes: [{server_id, addrs, tcp_port, ws_port, wss_port, tcp_tls_port, region, zone, distance_km}]}`, or one address a line',
    halleyNodes,
    'open',
  ),
  route(
    'GET',
    '/halley/httpdns',
    'query `limit`, `type` (a, aaaa), `ttl=1`, `order`, `lat` and `lon`, `region`, `ip`',
    'the same as HTTPDNS services answer it: `ip;ip;ip` in plain text, with `ttl=1` `ip;ip;ip,ttl`',
    httpdns,
    'open',
  ),
  route(
    'POST',
    '/halley/node/drain',
    'JSON `{drain, move_over_ms?}`',
    'true: this node gets no new clients and `/ready` says so, its channels stay, or are asked to go within `move_over_ms`; false: back again: `{draining, moving?}`',
    drainNode,
  ),
  route(
    'POST',
    '/halley/push/batch',
    'JSON or MessagePack, one push command or an array; query `durable=true` keeps them first',
    'a row `{code, message}` per command; in order, not all-or-nothing',
    pushBatch,
  ),
  route(
    'POST',
    '/halley/disconnect',
    'JSON `{keys?, mids?, code?, reason?, reconnect?, retry_after_ms?}`',
    'closes channels: `{count}`',
    disconnect,
  ),
  route('POST', '/halley/rooms/join', 'JSON `{keys?, mids?, rooms}`', 'puts channels into rooms: `{count}`', joinRooms),
  route(
    'POST',
    '/halley/rooms/leave',
    'JSON `{keys?, mids?, rooms}`',
    'takes channels out of rooms: `{count}`',
    leaveRooms,
  ),
  route(
    'GET',
    '/halley/online/top',
    'query `limit`, `type`',
    'the fullest rooms, of all types or one: `[{room, count, local_count}]`',
    clusterTop,
  ),
  route(
    'GET',
    '/halley/online/room',
    'query `rooms` repeated, whole ids',
    'members in the cluster and on this node: `[{room, count, local_count}]`',
    clusterRooms,
  ),
  route(
    'GET',
    '/halley/online/total',
    '',
    'totals, and each node: `{conn_count, ip_count, nodes: [{server_id, local, conn_count, ip_count, room_count}]}`',
    clusterTotal,
  ),
  route(
    'GET',
    '/halley/sessions',
    'query `mids` repeated, `keys` repeated; at least one',
    'who is connected where: `[{key, mid, server_id, node_epoch, bucket, conn_id, platform, remote_ip, since}]`',
    findSessions,
  ),
  route(
    'GET',
    '/ids',
    'query `scheme` (default segment), `biz`, `count` (default 1)',
    'the next ids: `{ids, scheme, biz}`; fewer than asked for only where the store went away or the maximum was reached',
    nextIds,
  ),
  route(
    'GET',
    '/ids/decode',
    'query `id`, `scheme` (default: all that fit), `biz` (of scheme rule)',
    'what an id tells of itself: `{id, readings: [{scheme, timestamp_ms?, time?, machine_id?, sequence?, counter?, value?, biz?}]}`',
    decodeId,
  ),
  route('GET', '/halley/stats', '', 'counters, totals and per thread', stats),
  route(
    'GET',
    '/metrics',
    '',
    'the same counters in the text format of Prometheus, a sample per thread, and whether the node is ready',
    metrics,
  ),
  route('GET', '/health', '', '200 as long as the event loop turns', health, 'open'),
  route('GET', '/ready', '', '200 `{ready: true}`, or 503 with reasons', ready, 'open'),
];

function rowOf(path: string): Omit<Route, 'handle'> {
  const { handle: _, ...row } = ROUTES.find((each) => each.path === path) as Route;
  return row;
}

/** What an id server without a comet has, and what it serves. */
export type IdServerServices = IdRouteServices & Pick<ApiServices, 'probes'>;
export const ID_SERVER_ROUTES: readonly Route<IdServerServices>[] = [
  { ...rowOf('/ids'), handle: nextIds },
  { ...rowOf('/ids/decode'), handle: decodeId },
  { ...rowOf('/health'), handle: health },
  { ...rowOf('/ready'), handle: ready },
];

/** The README's table of routes, in Markdown. */
export function routeTableMarkdown(): string {
  return renderRoutes(ROUTES);
}
