/**
 * metrics-route: what a Prometheus server scrapes: every metric of the table per thread, and what `/ready` says, since an alert
 * is written on numbers. A node that is not ready answers 200 here all the same: a scrape that failed would hide why.
 */
import { metricText, PROMETHEUS_TYPE, prometheusText } from '../../telemetry/index.js';
import { API_CODE, errorReply, type Reply } from './reply.js';
import type { ApiRequest, ApiServices } from './route.js';

function threadName(thread: number): string {
  return thread === 0 ? 'control' : `bucket-${thread}`;
}

export function metrics(services: Pick<ApiServices, 'metrics' | 'probes'>, _request: ApiRequest): Reply {
  if (services.metrics === undefined) return errorReply(404, API_CODE.NOT_FOUND, 'this node counts nothing');
  const reasons = services.probes.flatMap((probe) => [...probe.notReady()]);
  const ready = metricText('ready', 'gauge', 'The node wants traffic, as /ready says: 1, else 0.', [
    { labels: {}, value: reasons.length === 0 ? 1 : 0 },
  ]);
  const counts = new Map<string, number>();
  for (const { reason } of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const why = metricText(
    'not_ready',
    'gauge',
    'Reasons that the node is not ready, by name; absent where it is.',
    [...counts].map(([reason, value]) => ({ labels: { reason }, value })),
  );
  const body = `${ready}${counts.size === 0 ? '' : why}${prometheusText({ memory: services.metrics(), threadName })}`;
  return { status: 200, contentType: PROMETHEUS_TYPE, body };
}
