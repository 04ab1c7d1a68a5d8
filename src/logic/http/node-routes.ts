/**
 * node-routes: this node for clients that look for one (goim's nodes), for load balancers and for operators.
 */
import { rankNodes } from '../balancer.js';
import { instanceReply, nodeNames, weightedReply } from '../nodes-reply.js';
import { bareReply, dataReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

export function nodesWeighted(services: ApiServices, request: ApiRequest): Reply {
  const { node, comet } = services;
  const platform = request.query.first('platform') ?? '';
  const candidates = [
    { id: node.serverId, weight: node.weight, region: node.region, connCount: comet.connectionCount() },
  ];
  // One node ranks itself; the rule is called all the same, so that more nodes change the list only.
  const names = rankNodes(candidates, '', 1).flatMap(() => nodeNames(node, platform));
  return dataReply(weightedReply(node, names));
}

export function nodesInstances(services: ApiServices): Reply {
  const { node, comet, probes, nowMs } = services;
  const offline = probes.some((probe) => probe.notReady().length > 0);
  const counts = { connCount: comet.connectionCount(), ipCount: comet.ipCount(), offline };
  return dataReply([instanceReply(node, counts, nowMs())]);
}

/** 200 as long as the event loop turns: a process that cannot answer this should be restarted. */
export function health(): Reply {
  return bareReply(200, { healthy: true });
}

/** 503 with reasons: traffic should go elsewhere, the process should be left alone. */
export function ready(services: ApiServices): Reply {
  const reasons = services.probes.flatMap((probe) => [...probe.notReady()]);
  return reasons.length === 0 ? bareReply(200, { ready: true }) : bareReply(503, { ready: false, reasons });
}

export function stats(services: ApiServices): Reply {
  return dataReply(services.stats());
}
