/**
 * Upstream, wired from the configuration: events, lanes, sinks and dead letters, and the gate that buckets read.
 *
 * Threads: control thread only.
 */
import { systemClock } from '../clock/index.js';
import { type Config, UPSTREAM_EVENT_TYPES } from '../config/index.js';
import { HalleyError, OUTCOME } from '../errors/index.js';
import type { Snowflake } from '../id/index.js';
import { type ClusterPresence, DeadLetterFile, EventLanes, UpstreamEvents, WebhookSink } from '../logic/index.js';
import type { DeadLetters, EventSink, UpstreamEventType } from '../push/index.js';
import type { MemorySessions } from '../store/index.js';
import { RedisDeadLetters, RedisEventStream, type RedisLink } from '../store/redis/index.js';
import { type Logger, METRIC, type ThreadCounters } from '../telemetry/index.js';
import type { RuntimeCounters } from './runtime-counters.js';
import { packageVersion } from './version.js';

/** Dead batches that Redis keeps. */
const DEAD_BATCHES = 10_000;
/** The stream's lane tries again soon: whether Redis is back is cheap to ask. */
const STREAM_RETRY_MAX_MS = 1_000;

export interface UpstreamNode {
  readonly serverId: string;
  /** Of now: in a cluster it may change. */
  readonly nodeEpoch: () => number;
  readonly ids: Snowflake;
  /** The directory of this node's channels. */
  readonly sessions: MemorySessions;
  readonly log: Logger;
  /** Both absent standalone. */
  readonly redis?: RedisLink | undefined;
  readonly cluster?: ClusterPresence | undefined;
}

export interface WiredUpstream {
  /** For comet and the readiness probes. */
  readonly events: UpstreamEvents;
  /** For the buckets; undefined where client messages are not sent. */
  readonly gate: SharedArrayBuffer | undefined;
  /** Copy the gauges, about once a second. */
  sample(counters: ThreadCounters, totals: RuntimeCounters): void;
}

/** Undefined with `upstream.sink = none`. */
export function wireUpstream(config: Config, node: UpstreamNode): WiredUpstream | undefined {
  const { upstream } = config;
  const { redis, log } = node;
  if (upstream.sink === 'none') return undefined;
  if (upstream.sink !== 'webhook' && redis === undefined) {
    throw new HalleyError('UPSTREAM_NEEDS_REDIS', 'a stream of events needs a node with redis', {
      sink: upstream.sink,
    });
  }
  const named = upstream.events as readonly UpstreamEventType[];
  const types = new Set(named.length === 0 ? UPSTREAM_EVENT_TYPES : named);
  const gate = types.has('message') ? new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT) : undefined;
  const events = new UpstreamEvents(
    {
      serverId: node.serverId,
      types,
      offlineDebounceMs: upstream.offline_debounce_ms,
      maxWaitingCount: upstream.max_waiting_events,
    },
    {
      local: node.sessions,
      cluster: node.cluster,
      nodeEpoch: node.nodeEpoch,
      nextId: idSource(node.ids),
      clock: systemClock,
      log,
      // Pairs with the load in upstream-outlet.ts.
      onGate: (isShut) => gate !== undefined && void Atomics.store(new Int32Array(gate), 0, isShut ? 1 : 0),
    },
  );
  const dead: DeadLetters =
    redis === undefined
      ? new DeadLetterFile(config.data_dir, upstream.dead_max_bytes, systemClock)
      : new RedisDeadLetters(redis, DEAD_BATCHES, () => systemClock.nowMs());
  const lanesOf = (sink: EventSink, laneCount: number, retryMaxMs: number, giveUpMs: number) =>
    new EventLanes(
      {
        laneCount,
        batchMaxEvents: upstream.batch_max_events,
        batchMaxBytes: upstream.batch_max_bytes,
        batchDelayMs: upstream.batch_delay_ms,
        maxWaitingEvents: upstream.max_waiting_events,
        maxWaitingBytes: upstream.max_waiting_bytes,
        retryBaseMs: Math.min(upstream.retry_base_ms, retryMaxMs),
        retryMaxMs,
        giveUpMs,
      },
      { sink, dead, clock: systemClock, log, onChange: () => events.lanesChanged(), random: Math.random },
    );
  const lanes: EventLanes[] = [];
  if (upstream.sink !== 'stream') {
    const { url, secret, timeout_ms: timeoutMs, lanes: laneCount, webhook_ca_file: caFile } = upstream;
    const { serverId, nodeEpoch } = node;
    const userAgent = `halley/${packageVersion()}`;
    const sink = new WebhookSink(
      { url, secret, timeoutMs, maxSockets: laneCount, serverId, nodeEpoch, userAgent, caFile },
      systemClock,
    );
    lanes.push(lanesOf(sink, laneCount, upstream.retry_max_ms, upstream.give_up_ms));
  }
  if (upstream.sink !== 'webhook' && redis !== undefined) {
    const sink = new RedisEventStream(redis, { serverId: node.serverId, maxEvents: upstream.stream_max_events });
    // One lane: the stream has one order anyway. Never given up: there is nowhere else to put it while Redis is away.
    const stream = lanesOf(sink, 1, Math.min(upstream.retry_max_ms, STREAM_RETRY_MAX_MS), Number.POSITIVE_INFINITY);
    redis.onUp(() => stream.retryNow());
    lanes.push(stream);
  }
  events.connect(lanes);
  return {
    events,
    gate,
    sample(counters, totals) {
      const gauges = events.gauges();
      counters.set(METRIC.upstream_waiting, gauges.waitingCount);
      totals.grow(METRIC.upstream_sent, gauges.sentCount);
      totals.grow(METRIC.upstream_failed, gauges.failedCount);
      totals.grow(METRIC.upstream_dead, gauges.deadCount);
      totals.grow(METRIC.upstream_lost, gauges.lostCount);
    },
  };
}

/** Ids in decimal, undefined instead of a throw while none may be issued. */
function idSource(ids: Snowflake): () => string | undefined {
  const bytes = Buffer.alloc(8);
  return () => (ids.tryWriteTo(bytes, 0) === OUTCOME.OK ? bytes.readBigUInt64BE(0).toString() : undefined);
}
