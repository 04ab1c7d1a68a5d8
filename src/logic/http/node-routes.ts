/**
 * node-routes: the nodes for clients that look for one (goim's replies, ours, and a plain HTTPDNS form), for load balancers and
 * for operators.
 *
 * HTTPDNS as its public services answer it (Tencent's DNSPod, `GET /d?dn=...`): `ip;ip;ip` and nothing else, an empty body
 * where there is none, `ip;ip,ttl` with `ttl=1`; IPv4 unless `type=aaaa`, `ip` to ask for somebody else. There is one name to
 * resolve here, this cluster, so `dn` may be sent and is not read.
 */
import type { MaybePromise } from '../../push/index.js';
import { NODE_ORDERS, takesClients } from '../balancer.js';
import { MAX_RANKED_COUNT } from '../balancer-rule.js';
import {
  instanceReply,
  interleaved,
  nodeIps,
  nodeNames,
  pickedReply,
  recordReply,
  weightedReply,
} from '../nodes-reply.js';
import { JsonMembers } from './json-members.js';
import { NodeQuery } from './node-query.js';
import { API_CODE, bareReply, dataReply, errorReply, type Reply, TEXT_TYPE } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

/** An answer that counts a client, and that is right for a moment, must come from here every time. */
const NOT_KEPT: NonNullable<Reply['headers']> = [['Cache-Control', 'no-store']];
/** A day. */
const MAX_MOVE_OVER_MS = 86_400_000;
const RETRY_SOON: NonNullable<Reply['headers']> = [['Retry-After', '1']];

function refuse(problem: string): Reply {
  return errorReply(400, API_CODE.BAD_REQUEST, problem);
}

export function nodesWeighted(services: ApiServices, request: ApiRequest): Reply {
  const { node, lookup } = services;
  const platform = request.query.first('platform') ?? '';
  const picked = lookup.balancer.pick({
    order: 'weighted',
    region: lookup.regions.ofAddress(lookup.clients.of(request.peer)),
    place: undefined,
    limitCount: MAX_RANKED_COUNT,
    isReachable: (record) => nodeNames(record, node.hostDomain, platform).length > 0,
  });
  const names = picked.flatMap(({ record }) => nodeNames(record, node.hostDomain, platform));
  return dataReply(weightedReply(node, names, picked[0]?.record));
}

export function nodesInstances(services: ApiServices): Reply {
  const { node, comet, probes, nowMs, lookup } = services;
  if (lookup.cluster !== undefined) {
    const records = lookup.cluster.live();
    return dataReply(records.map((record) => recordReply(record, node.env, !takesClients(record))));
  }
  const offline = probes.some((probe) => probe.notReady().length > 0);
  const counts = { connCount: comet.connectionCount(), ipCount: comet.ipCount(), offline };
  return dataReply([instanceReply(node, counts, nowMs())]);
}

export function halleyNodes(services: ApiServices, request: ApiRequest): Reply {
  const { node, lookup } = services;
  const query = new NodeQuery(request, lookup);
  const order = query.choice('order', NODE_ORDERS, 'weighted');
  const format = query.choice('format', ['json', 'text'], 'json');
  const limitCount = query.limitCount(MAX_RANKED_COUNT);
  const platform = query.text('platform');
  const { region, place } = query.client();
  if (query.problem !== undefined) return refuse(query.problem);
  const isReachable = (record: { readonly hostname: string; readonly addrs: readonly string[] }) =>
    nodeNames(record, node.hostDomain, platform).length > 0;
  const picked = lookup.balancer
    .pick({ order, region, place, limitCount, isReachable })
    .map((one) => ({ one, names: nodeNames(one.record, node.hostDomain, platform) }));
  if (format === 'text') {
    const names = picked.flatMap((one) => one.names);
    const lines = names.length > 0 ? names : [node.domain];
    return { status: 200, contentType: TEXT_TYPE, body: `${lines.join('\n')}\n`, headers: NOT_KEPT };
  }
  const nodes = picked.map(({ one, names }) => pickedReply(one, names));
  return { ...dataReply({ order, region, domain: node.domain, nodes }), headers: NOT_KEPT };
}

export function httpdns(services: ApiServices, request: ApiRequest): Reply {
  const { lookup } = services;
  const query = new NodeQuery(request, lookup);
  const order = query.choice('order', NODE_ORDERS, 'weighted');
  const family = query.choice('type', ['a', 'A', 'aaaa', 'AAAA'], 'a').toLowerCase() === 'a' ? 4 : 6;
  const showsTtl = query.choice('ttl', ['0', '1'], '0') === '1';
  const limitCount = query.limitCount(lookup.httpdnsIpCount);
  const { region, place } = query.client();
  if (query.problem !== undefined) return refuse(query.problem);
  const picked = lookup.balancer.pick({
    order,
    region,
    place,
    limitCount,
    isReachable: (record) => nodeIps(record, family).length > 0,
  });
  const ips = interleaved(
    picked.map(({ record }) => nodeIps(record, family)),
    limitCount,
  );
  // That there is nobody is the one thing that must not be remembered.
  if (ips.length === 0) return { status: 200, contentType: TEXT_TYPE, body: '', headers: NOT_KEPT };
  const ttlS = lookup.httpdnsTtlS;
  return {
    status: 200,
    contentType: TEXT_TYPE,
    body: showsTtl ? `${ips.join(';')},${ttlS}` : ips.join(';'),
    // private: a cache in between would give it to clients of other regions.
    headers: ttlS === 0 ? NOT_KEPT : [['Cache-Control', `private, max-age=${ttlS}`]],
  };
}

/** The switch of this node, not of another one: an operator asks the node itself. */
export function drainNode(services: ApiServices, request: ApiRequest): MaybePromise<Reply> {
  const members = new JsonMembers(request.body, services.messageMaxBytes, ['drain', 'move_over_ms']);
  const isDraining = members.flag('drain');
  const moveOverMs = members.integer('move_over_ms', 0, MAX_MOVE_OVER_MS);
  if (isDraining === undefined || members.problem !== undefined) {
    return refuse(members.problem ?? '"drain" must be true or false');
  }
  if (moveOverMs !== undefined && !isDraining) return refuse('"move_over_ms" needs "drain" to be true');
  const { drain } = services.lookup;
  const told = drain.set(isDraining);
  // Behind the word to the cluster, so that nobody is sent back here.
  const done = () =>
    dataReply(
      moveOverMs === undefined ? { draining: isDraining } : { draining: isDraining, moving: drain.move(moveOverMs) },
    );
  if (!(told instanceof Promise)) return done();
  return told.then(done, (error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `this node has done so, but could not tell the cluster before its next renewal: ${reason}`;
    return errorReply(503, API_CODE.UNAVAILABLE, message, RETRY_SOON);
  });
}

/** 200 as long as the event loop turns: a process that cannot answer this should be restarted. */
export function health(): Reply {
  return bareReply(200, { healthy: true });
}

/** 503 with reasons: traffic should go elsewhere, the process should be left alone. */
export function ready(services: Pick<ApiServices, 'probes'>): Reply {
  const reasons = services.probes.flatMap((probe) => [...probe.notReady()]);
  return reasons.length === 0 ? bareReply(200, { ready: true }) : bareReply(503, { ready: false, reasons });
}

export function stats(services: ApiServices): Reply {
  return dataReply(services.stats());
}
