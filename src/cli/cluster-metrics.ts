/**
 * Copies what the parts of a cluster node count into the node's counters, once a second. What only Redis knows (how long queue and
 * inbox are) is asked for then, one question at a time; while there is no answer the last one stands.
 *
 * Threads: control thread only.
 */
import type { BusInlet, ClusterPusher, HistoryIntake, InboxReader, JobRunner } from '../job/index.js';
import {
  type QueueDepth,
  type RedisBus,
  type RedisLink,
  type RedisNodes,
  type RedisQueue,
  type RedisSessions,
  readQueueDepth,
} from '../store/redis/index.js';
import { METRIC, type ThreadCounters } from '../telemetry/index.js';
import type { DataLoss } from './data-loss.js';
import type { RuntimeCounters } from './runtime-counters.js';

export interface ClusterMetricParts {
  readonly link: RedisLink;
  readonly nodes: RedisNodes;
  readonly sessions: Pick<RedisSessions, 'outstandingCount' | 'rewrittenCount'>;
  readonly bus: Pick<RedisBus, 'gauges'>;
  readonly loss: Pick<DataLoss, 'count'>;
  readonly pusher: Pick<ClusterPusher, 'gauges'>;
  readonly inlet: Pick<BusInlet, 'gauges'>;
  readonly queue: Pick<RedisQueue, 'gauges'>;
  readonly historyIntake: Pick<HistoryIntake, 'gauges'> | undefined;
  readonly reader: Pick<InboxReader, 'gauges'> | undefined;
  readonly runner: Pick<JobRunner, 'gauges' | 'ownedShards'> | undefined;
}

export class ClusterMetrics {
  readonly #parts: ClusterMetricParts;
  #depth: QueueDepth | undefined;
  #isAsking = false;

  constructor(parts: ClusterMetricParts) {
    this.#parts = parts;
  }

  sample(counters: ThreadCounters, totals: Pick<RuntimeCounters, 'grow'>): void {
    const { link, nodes, sessions } = this.#parts;
    const { upCount, timeoutCount } = link.gauges();
    counters.set(METRIC.redis_up, link.isUp ? 1 : 0);
    totals.grow(METRIC.redis_reconnects, Math.max(0, upCount - 1));
    totals.grow(METRIC.redis_timeouts, timeoutCount);
    totals.grow(METRIC.redis_data_lost, this.#parts.loss.count);
    counters.set(METRIC.sessions_outstanding, sessions.outstandingCount);
    totals.grow(METRIC.sessions_rewritten, sessions.rewrittenCount);
    counters.set(METRIC.settling, nodes.isSettling ? 1 : 0);
    this.#sampleBus(counters, totals);
    this.#sampleQueue(counters, totals);
    void this.#ask();
  }

  #sampleBus(counters: ThreadCounters, totals: Pick<RuntimeCounters, 'grow'>): void {
    const { pusher, inlet, historyIntake } = this.#parts;
    const bus = this.#parts.bus.gauges();
    totals.grow(METRIC.bus_out, bus.publishedCount);
    totals.grow(METRIC.bus_in, bus.receivedCount);
    totals.grow(METRIC.bus_unanswered, bus.unansweredCount);
    counters.set(METRIC.bus_untold, bus.untoldCount);
    totals.grow(METRIC.bus_gaps_told, bus.missedCount);
    totals.grow(METRIC.bus_resubscribed, bus.restoredCount);
    totals.grow(METRIC.bus_moved, bus.movedCount);
    totals.grow(METRIC.bus_probe_failures, bus.probeMissCount);
    const { lostCount, awayCount, idsStoppedCount } = pusher.gauges();
    totals.grow(METRIC.bus_lost, lostCount + inlet.gauges().lostCount);
    totals.grow(METRIC.push_refused_away, awayCount);
    totals.grow(METRIC.push_refused_ids, idsStoppedCount);
    if (historyIntake === undefined) return;
    const intake = historyIntake.gauges();
    counters.set(METRIC.intake_held, intake.heldCount);
    totals.grow(METRIC.intake_appended, intake.appendedCount);
    totals.grow(METRIC.intake_stood_in, intake.stoodInCount);
    totals.grow(METRIC.intake_lost, intake.lostCount);
  }

  #sampleQueue(counters: ThreadCounters, totals: Pick<RuntimeCounters, 'grow'>): void {
    const { queue, reader, runner } = this.#parts;
    totals.grow(METRIC.stream_refused, queue.gauges().refusedCount);
    const job = runner?.gauges();
    totals.grow(METRIC.stream_claimed, job?.claimedCount ?? 0);
    totals.grow(METRIC.stream_poisoned, job?.buriedCount ?? 0);
    totals.grow(METRIC.stream_finished, job?.finishedCount ?? 0);
    const inbox = reader?.gauges();
    totals.grow(METRIC.inbox_delivered, inbox?.deliveredCount ?? 0);
    totals.grow(METRIC.inbox_repeated, inbox?.repeatedCount ?? 0);
    if (this.#depth === undefined) return;
    counters.set(METRIC.stream_messages, this.#depth.entryCount);
    counters.set(METRIC.stream_pending, this.#depth.pendingCount);
    counters.set(METRIC.stream_oldest_ms, this.#depth.oldestAgeMs);
    counters.set(METRIC.stream_dead, this.#depth.deadCount);
    counters.set(METRIC.inbox_messages, this.#depth.inboxCount);
  }

  async #ask(): Promise<void> {
    const { link, nodes, runner } = this.#parts;
    if (this.#isAsking || !link.isUp) return;
    this.#isAsking = true;
    const { serverId, nodeEpoch } = nodes;
    // No answer: the next second asks again.
    this.#depth = await readQueueDepth(
      link,
      runner?.ownedShards ?? [],
      { serverId, nodeEpoch },
      nodes.clock.nowMs(),
    ).catch(() => this.#depth);
    this.#isAsking = false;
  }
}
