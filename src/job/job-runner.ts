/**
 * JobRunner: the role `job`. Holds its share of the shards of the durable queue and drains them.
 *
 * Threads: control thread only.
 * Guarantees: one owner per shard at a time, by a lease with a fence. Living job nodes share the shards evenly: shard s belongs
 *   to the (s mod n)th of them by server id. A dead job's shards are taken when its lease has ended, in the state it left them: what
 *   it had read is read again, and repeats carry the same message id. `stop()` hands the shards on at once.
 * A node that is gone: what its inbox still held for keys and users is looked up again and sent where they are now; a key that is
 *   nowhere by then has lost those messages, and so have its rooms: their members are gone too.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { DiscardCounter } from '../errors/index.js';
import { cityHash32 } from '../id/index.js';
import type {
  ClusterSessions,
  DurableRoomAppender,
  InboxParcel,
  NodeDirectory,
  NodeRef,
  QueueShards,
  RoomNodes,
} from '../push/index.js';
import type { Logger } from '../telemetry/index.js';
import { JobNodes } from './job-runner-nodes.js';
import { PushRouter, type RoutedPart } from './job-runner-router.js';
import { type ShardCounts, ShardDrain, type ShardOptions } from './job-runner-shard.js';

export interface JobRunnerDeps {
  readonly shards: QueueShards;
  readonly directory: NodeDirectory;
  readonly sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'>;
  readonly roomNodes: Pick<RoomNodes, 'nodesOf' | 'sweep'>;
  /** Absent: no room keeps a history. */
  readonly appender?: DurableRoomAppender;
  /**
   * Server ids of nodes whose sessions and rooms in Redis may be incomplete; undefined: nothing is known of the nodes at the moment.
   * Default: none.
   */
  readonly unsettled?: () => readonly string[] | undefined;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Redis came back without a shard that this job had: how many pushes went with it nobody knows. */
  readonly onQueueLost: (shard: number) => void;
}

export interface JobRunnerOptions extends ShardOptions {
  readonly leaseMs: number;
  /** How long a node that the directory does not know (yet) counts as living. Default 5000. */
  readonly unknownNodeGraceMs?: number;
}

export interface JobRunnerGauges {
  readonly shardCount: number;
  /** Read and not finished. */
  readonly openCount: number;
  /** Nodes whose inbox is full, per shard. */
  readonly slowNodeCount: number;
  readonly finishedCount: number;
  readonly deliveredCount: number;
  readonly buriedCount: number;
  readonly reroutedCount: number;
  readonly retriedCount: number;
  /** Read by an earlier owner and taken over. */
  readonly claimedCount: number;
  readonly queueLostCount: number;
}

interface Owned {
  readonly drain: ShardDrain;
  readonly ended: Promise<void>;
}

const UNKNOWN_NODE_GRACE_MS = 5000;
const MAX_TICK_MS = 500;
const SALVAGE_BATCH_COUNT = 256;
const SALVAGE_ATTEMPTS = 60;
const SALVAGE_RETRY_MS = 1000;

export class JobRunner {
  readonly discarded = new DiscardCounter();
  readonly #deps: JobRunnerDeps;
  readonly #options: JobRunnerOptions;
  readonly #clock: Clock;
  readonly #nodes: JobNodes;
  readonly #router: PushRouter;
  readonly #unsettled: () => readonly string[] | undefined;
  readonly #owned = new Map<number, Owned>();
  /** Shards whose group this job has seen: where it is missing later, the data is gone. */
  readonly #knownShards = new Set<number>();
  readonly #counts: ShardCounts = { finished: 0, delivered: 0, buried: 0, rerouted: 0, retried: 0, claimed: 0 };
  readonly #salvages = new Set<Promise<void>>();
  #queueLostCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #stopListening: (() => void) | undefined;
  #isStopping = false;
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: JobRunnerDeps, options: JobRunnerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#clock = deps.clock ?? systemClock;
    this.#unsettled = deps.unsettled ?? (() => []);
    this.#nodes = new JobNodes(deps.directory, this.#clock, options.unknownNodeGraceMs ?? UNKNOWN_NODE_GRACE_MS);
    this.#router = new PushRouter({
      sessions: deps.sessions,
      roomNodes: deps.roomNodes,
      nodes: this.#nodes,
      unsettled: () => this.#unsettled() ?? [],
      appender: deps.appender,
    });
  }

  start(): void {
    this.#stopListening = this.#deps.directory.onLost((serverId, nodeEpoch) => this.#onLost({ serverId, nodeEpoch }));
    this.#schedule(0);
  }

  /** Finish what is under way and hand the shards on. Resolves within the command deadline. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    this.#stopListening?.();
    await this.#ticking;
    for (const { drain } of this.#owned.values()) drain.stop();
    await Promise.all([...this.#owned.values()].map(({ ended }) => ended));
    await Promise.all(this.#salvages);
    this.#nodes.close();
    this.#deps.shards.close();
  }

  /** Shards in this job's hands now. */
  get ownedShards(): readonly number[] {
    return [...this.#owned.keys()];
  }

  gauges(): JobRunnerGauges {
    let openCount = 0;
    let slowNodeCount = 0;
    for (const { drain } of this.#owned.values()) {
      const gauges = drain.gauges();
      openCount += gauges.openCount;
      slowNodeCount += gauges.slowNodeCount;
    }
    const { finished, delivered, buried, rerouted, retried, claimed } = this.#counts;
    return {
      shardCount: this.#owned.size,
      openCount,
      slowNodeCount,
      finishedCount: finished,
      deliveredCount: delivered,
      buriedCount: buried,
      reroutedCount: rerouted,
      retriedCount: retried,
      claimedCount: claimed,
      queueLostCount: this.#queueLostCount,
    };
  }

  #schedule(delayMs: number): void {
    if (this.#isStopping) return;
    this.#timer = setTimeout(() => {
      this.#ticking = this.#tick()
        .catch((error: unknown) => this.discarded.ignore(error, 'leases of shards not reached'))
        .finally(() => this.#schedule(Math.min(MAX_TICK_MS, this.#options.leaseMs / 3)));
    }, delayMs);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    const { shards, directory } = this.#deps;
    const jobIds = this.#nodes.withRole('job').map(({ serverId }) => serverId);
    // The directory is about a second old: it may not show this node yet.
    if (!jobIds.includes(directory.serverId)) jobIds.push(directory.serverId);
    jobIds.sort();
    await this.#renew();
    for (let shard = 0; shard < shards.shardCount; shard++) {
      const isMine = jobIds[shard % jobIds.length] === directory.serverId;
      const owned = this.#owned.get(shard);
      if (owned !== undefined && !isMine) owned.drain.stop();
      if (owned !== undefined || !isMine || this.#isStopping) continue;
      await this.#take(shard);
    }
  }

  async #take(shard: number): Promise<void> {
    const { shards, log } = this.#deps;
    const lease = await shards.take(shard, this.#options.leaseMs);
    if (lease === undefined) return;
    log.info({ shard, fence: lease.fence }, 'took a shard of the durable queue');
    const drain = new ShardDrain(
      lease,
      {
        ...this.#deps,
        appender: this.#deps.appender,
        isInformed: () => this.#unsettled() !== undefined,
        router: this.#router,
        nodes: this.#nodes,
        clock: this.#clock,
        discarded: this.discarded,
        onNewGroup: (lost) => this.#onNewGroup(lost),
      },
      this.#options,
      this.#counts,
    );
    const ended = drain.run().finally(() => this.#owned.delete(shard));
    this.#owned.set(shard, { drain, ended });
  }

  async #renew(): Promise<void> {
    const { leaseMs } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#renewedAtMs < leaseMs / 3) return;
    await Promise.all(
      [...this.#owned.values()].map(async ({ drain }) => {
        // Where Redis does not answer the fence decides: nothing is finished under an older one.
        if (!(await this.#deps.shards.renew(drain.lease, leaseMs))) drain.fence();
      }),
    );
    this.#renewedAtMs = nowMs;
  }

  #onNewGroup(shard: number): void {
    if (!this.#knownShards.has(shard)) {
      this.#knownShards.add(shard);
      return;
    }
    this.#queueLostCount++;
    this.#deps.log.error({ shard }, 'Redis came back without a shard of the durable queue: its pushes are lost');
    this.#deps.onQueueLost(shard);
  }

  #onLost(node: NodeRef): void {
    const jobIds = this.#nodes.withRole('job').map(({ serverId }) => serverId);
    const index = cityHash32(Buffer.from(node.serverId)) % Math.max(1, jobIds.length);
    if (jobIds.length > 0 && jobIds[index] !== this.#deps.directory.serverId) return;
    const salvage = this.#salvage(node).finally(() => this.#salvages.delete(salvage));
    this.#salvages.add(salvage);
  }

  async #salvage(node: NodeRef): Promise<void> {
    for (let attempt = 0; attempt < SALVAGE_ATTEMPTS && !this.#isStopping; attempt++) {
      try {
        // Where the same process has a new lease, it empties the inbox itself and is settled when it has.
        const isWriting = this.#unsettled()?.includes(node.serverId) ?? true;
        if (this.#nodes.successorOf(node) !== undefined && isWriting) throw new Error('the node is settling');
        await this.#salvageOnce(node);
        return;
      } catch (error) {
        this.#deps.log.debug({ err: error, ...node }, 'an inbox waits to be cleared');
        await new Promise((resolve) => setTimeout(resolve, SALVAGE_RETRY_MS).unref());
      }
    }
    this.#deps.log.warn({ ...node }, 'the inbox of a lost node was not cleared; it ends by itself');
  }

  async #salvageOnce(node: NodeRef): Promise<void> {
    const { shards } = this.#deps;
    for (let afterId = ''; ; ) {
      const entries = await shards.readInbox(node, afterId, SALVAGE_BATCH_COUNT);
      const last = entries.at(-1);
      if (last === undefined) break;
      afterId = last.entryId;
      const held = entries.flatMap(({ command, partHash }) =>
        command === undefined
          ? []
          : [{ node, delivery: { command, target: command.target, isRerouted: partHash !== 0 } }],
      );
      const parts = (await this.#router.reroute(held)).flat();
      if (parts.length > 0) await shards.forward(parcelsOf(parts));
      this.#counts.rerouted += parts.length;
    }
    await shards.deleteInbox(node);
  }
}

function parcelsOf(parts: readonly RoutedPart[]): readonly InboxParcel[] {
  const parcels: { node: NodeRef; deliveries: RoutedPart['delivery'][] }[] = [];
  for (const { node, delivery } of parts) {
    const known = parcels.find(
      (parcel) => parcel.node.serverId === node.serverId && parcel.node.nodeEpoch === node.nodeEpoch,
    );
    if (known !== undefined) known.deliveries.push(delivery);
    else parcels.push({ node, deliveries: [delivery] });
  }
  return parcels;
}
