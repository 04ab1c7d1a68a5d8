/**
 * The one table of a node's metrics: name, kind, how the rows of several threads become one number, and meaning.
 *
 * The order fixes each metric's cell in shared memory, so all threads of a process must run the same build (they do).
 */

export interface MetricRow<Name extends string = string> {
  readonly name: Name;
  /** A counter only grows while the process lives; a gauge is a level and goes back to 0 with its thread. */
  readonly kind: 'counter' | 'gauge';
  /** How the values of all threads make the node's: added, or the largest (for shares and windows, which do not add up). */
  readonly total: 'sum' | 'max';
  readonly doc: string;
}

function counter<const Name extends string>(name: Name, doc: string) {
  return { name, kind: 'counter', total: 'sum', doc } as const;
}

function gauge<const Name extends string>(name: Name, doc: string) {
  return { name, kind: 'gauge', total: 'sum', doc } as const;
}

function peakGauge<const Name extends string>(name: Name, doc: string) {
  return { name, kind: 'gauge', total: 'max', doc } as const;
}

export const METRICS = [
  gauge('channels', 'Channels that are open and authenticated.'),
  counter('channels_accepted', 'Channels that passed authentication.'),
  counter('channels_closed', 'Authenticated channels that were closed, by either side.'),
  counter('auth_failed', 'Connections refused at authentication.'),
  counter('packets_in', 'Packets from clients.'),
  counter('bytes_in', 'Bytes of packets from clients, headers included.'),
  counter('pushes', 'Push records written to a ring.'),
  counter('messages_delivered', 'Messages handed to sockets: each message times its recipients.'),
  counter('frames_out', 'Socket messages written; a batch of many messages is one per recipient.'),
  counter('batches', 'Batches flushed to a room, to keys or to all.'),
  counter('batch_messages', 'Messages in those batches; divided by batches it is the mean batch.'),
  counter('slow_marked', 'Channels marked slow because the socket took no more.'),
  counter('slow_recovered', 'Slow channels that drained and were subscribed again.'),
  counter('slow_closed', 'Slow channels closed after slow.close_after_ms.'),
  counter('gaps_sent', 'Gaps (op 22) told to channels.'),
  counter('malformed', 'Packets from clients that were no goim packets.'),
  counter('oversized', 'Packets from clients above the limit of their operation.'),
  counter('doorbells', 'Wake-ups sent to other threads.'),
  counter('ring_full', 'Records refused because the ring was full.'),
  counter('ring_detached', 'Readers detached because they held a full ring back.'),
  counter('dead_letters', 'Actor messages nobody could take.'),
  counter('actor_restarts', 'Actors restarted after a failure.'),
  counter('listener_errors', "Throws and rejections of the application's listeners."),
  counter('discarded', 'Errors dropped on purpose (see errors/ignore.ts).'),
  counter('queue_rejected', 'Pushes refused because the queue was full.'),
  gauge('queue_messages', 'Pushes waiting in the queue.'),
  gauge('sessions', 'Sessions held by this node.'),
  gauge('rooms', 'Rooms with members, counted in every bucket that has some.'),
  gauge('heap_used_bytes', 'JavaScript heap in use.'),
  peakGauge(
    'fanout_duty_ppm',
    'Share of its time a thread spends on fan-out, in millionths; of a node the busiest thread.',
  ),
  peakGauge('merge_window_us', 'Window that pacing has set; of a node the longest.'),
  gauge('upstream_waiting', 'Upstream events that wait for a sink, those under way included.'),
  counter('upstream_sent', 'Upstream events that a sink took; with two sinks each counts.'),
  counter('upstream_failed', 'Attempts to hand a batch of upstream events over that failed.'),
  counter('upstream_dead', 'Upstream events given up and kept as dead letters.'),
  counter('upstream_lost', 'Upstream events lost: no room left, or the dead letters could not be kept.'),
  counter('upstream_refused', 'Client messages refused because upstream had no room.'),
  counter('recovered', 'Recoveries (op 23) that brought back everything that was missed.'),
  counter('recover_refused', 'Recoveries that were refused: too old, too much, another epoch, or no time for it.'),
  counter('recover_bytes', 'Bytes of recovered messages sent to buckets.'),
  counter(
    'recover_remote',
    'Questions of recoveries to the history in Redis: the node itself did not reach back far enough.',
  ),
  counter('bucket_restarts', 'Buckets started again after a crash.'),
  counter('refused_origin', 'Connections refused because of their origin (limits.allowed_origins).'),
  counter('refused_per_ip', 'Connections refused because their address has too many (limits.connections_per_ip).'),
  counter('refused_rate', 'Connections refused because too many came at once (limits.connects_per_s).'),
  counter(
    'refused_proxy',
    "Connections refused because their PROXY protocol header was missing, malformed or a stranger's.",
  ),
  counter('overloaded', 'Connections refused because the node was full: slots, heap, rooms or sessions.'),
  counter('rate_closed', 'Channels closed because they sent too fast.'),
  counter('rate_dropped', 'Packets of clients dropped because they came too fast.'),
  counter('backlog_closed', 'Channels closed because too much waited for an answer (limits.pre_auth_*).'),
  counter('rooms_refused', 'Rooms that channels could not join: too many, too long a name, or not allowed.'),
  gauge('redis_up', 'Redis answers this node: 1, else 0.'),
  counter('redis_reconnects', 'Times that Redis answered again after it had not.'),
  counter('redis_timeouts', 'Commands that Redis did not answer in time (cluster.command_timeout_ms).'),
  counter('bus_out', 'Messages to other nodes that Redis took.'),
  counter('bus_in', 'Messages that came from nodes and from foreign producers.'),
  counter('bus_unanswered', 'Messages to other nodes that may not have left; whom they were for is told a Gap.'),
  gauge('bus_untold', 'Channels whose receivers still have to be told of such a loss.'),
  counter('bus_gaps_told', 'Scopes in which messages of the bus may have been missed here, and Gaps were told.'),
  counter('bus_resubscribed', 'Times that the subscriptions were restored after a break.'),
  counter('bus_probe_failures', 'Probes of the subscriptions that did not come back.'),
  counter('bus_lost', 'Pushes that this node accepted and could not hand to the cluster, or not deliver from it.'),
  counter('push_refused_away', 'Direct pushes refused because Redis did not answer.'),
  counter('push_refused_ids', 'Direct pushes refused because no ids might be drawn.'),
  gauge(
    'intake_held',
    'Commands of the push channel to rooms with history, held here until one node has appended them.',
  ),
  counter('intake_appended', 'Commands of the push channel that this node appended to rooms with history.'),
  counter('intake_stood_in', 'Times that this node appended in the place of one that had missed commands.'),
  counter('intake_lost', 'Commands of the push channel to rooms with history that were lost.'),
  gauge('stream_messages', 'Durable pushes in the shards of this job: waiting, and read and not finished.'),
  gauge('stream_pending', 'Of those, read and not finished.'),
  peakGauge('stream_oldest_ms', 'Age of the oldest durable push in the shards of this job.'),
  counter('stream_claimed', 'Durable pushes that an earlier job had read and not finished, taken over.'),
  counter('stream_poisoned', 'Durable pushes that went to the dead letters.'),
  gauge('stream_dead', 'Dead letters kept in the shards of this job.'),
  counter('stream_finished', 'Durable pushes handed over to every node concerned.'),
  counter('stream_refused', 'Durable pushes refused: Redis away or full, or too many under way.'),
  gauge('inbox_messages', 'Durable pushes in the inbox of this node that it has not taken.'),
  counter('inbox_delivered', 'Durable pushes that this node took from its inbox.'),
  counter('inbox_repeated', 'Repeats of durable pushes that this node dropped.'),
  gauge('sessions_outstanding', 'Sessions that Redis could not be told yet.'),
  counter('sessions_rewritten', 'Sessions written again after Redis was away or lost its data.'),
  gauge('settling', 'This node writes its sessions and rooms again: 1, else 0.'),
  counter('redis_data_lost', 'Times that Redis was found to have lost data: it came back empty, or a stream is gone.'),
  counter('bus_moved', 'Channels subscribed to again at another server of a Redis Cluster, since their slots moved.'),
  counter(
    'push_too_large',
    'Pushes that the HTTP API refused (413): larger than limits.push_body_bytes or http.max_body_bytes allows, or than a whole queue.',
  ),
] as const satisfies readonly MetricRow[];

export type MetricName = (typeof METRICS)[number]['name'];

declare const metricBrand: unique symbol;
/** The cell of a metric inside a thread's row. Only `indexMetrics` makes them. */
export type Metric = number & { readonly [metricBrand]: 'metric' };

/** The cells of a table's metrics by name. An index instead of the name keeps a hash lookup off the hot path. */
export function indexMetrics<Name extends string>(metrics: readonly MetricRow<Name>[]): Readonly<Record<Name, Metric>> {
  const cells = Object.fromEntries(metrics.map((row, index) => [row.name, index]));
  return Object.freeze(cells) as unknown as Readonly<Record<Name, Metric>>;
}

/** `METRIC.frames_out` and so on: what ThreadCounters takes. */
export const METRIC = indexMetrics<MetricName>(METRICS);
