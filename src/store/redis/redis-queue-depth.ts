/**
 * How much waits in the durable queue and in this node's inbox, for the metrics: lengths that Redis knows without counting.
 *
 * Threads: control thread only.
 * Guarantees: three commands per shard, all in one write; rejects where Redis does not answer. On Cluster shards are of
 *   different moments.
 */
import type { RedisLink } from './redis-link.js';
import { QUEUE_GROUP } from './redis-queue-shards.js';

export interface QueueDepth {
  /** Entries of the shards: not read yet, and read and not finished. */
  readonly entryCount: number;
  /** Of those, read by a job and not finished. */
  readonly pendingCount: number;
  /** Age of the oldest entry in ms, by this host's clock; 0: none waits. */
  readonly oldestAgeMs: number;
  /** Dead letters kept. */
  readonly deadCount: number;
  /** Durable pushes in the inbox that the node has not taken. */
  readonly inboxCount: number;
}

/** A shard that no job has claimed yet has no group. Anything else is an error. */
function noneWithoutGroup(error: unknown): readonly [number] {
  if (error instanceof Error && error.message.startsWith('NOGROUP')) return [0];
  throw error;
}

/** @param shards those to look at: a job's own, so that the sum over nodes is the queue's */
export async function readQueueDepth(
  link: RedisLink,
  shards: readonly number[],
  node: { readonly serverId: string; readonly nodeEpoch: number },
  nowMs: number,
): Promise<QueueDepth> {
  const { commands, keys } = link;
  const ask = async (shard: number) => {
    const key = keys.queue(shard);
    const [entryCount, pending, first, deadCount] = await Promise.all([
      commands.xlen(key),
      commands.xpending(key, QUEUE_GROUP).catch(noneWithoutGroup),
      commands.xrange(key, '-', '+', 'COUNT', 1),
      commands.xlen(keys.queue(shard, ':dead')),
    ]);
    const bornMs = Number.parseInt(first[0]?.[0] ?? '', 10);
    const oldestAgeMs = Number.isNaN(bornMs) ? 0 : Math.max(0, nowMs - bornMs);
    return { entryCount, pendingCount: Number(pending[0]), oldestAgeMs, deadCount };
  };
  const [inboxCount, rows] = await link.bounded(() =>
    Promise.all([commands.xlen(keys.inbox(node.serverId, node.nodeEpoch)), Promise.all(shards.map(ask))]),
  );
  const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    entryCount: sum((row) => row.entryCount),
    pendingCount: sum((row) => row.pendingCount),
    oldestAgeMs: Math.max(0, ...rows.map((row) => row.oldestAgeMs)),
    deadCount: sum((row) => row.deadCount),
    inboxCount,
  };
}
