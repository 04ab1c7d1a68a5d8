/**
 * The durable queue on Redis Streams, the job's side: shards under a lease with a fence, read by a consumer group, handed
 * over to inbox streams.
 *
 * Threads: control thread only.
 * Guarantees: every command on a shard carries the fence of its lease and is refused under a newer one, so a job that was
 *   frozen past its lease neither takes nor finishes anything. On a single server (and Sentinel) a hand-over is one script: in the inboxes
 *   and finished, or neither. On Cluster the inboxes come first and the finish last: a crash in between repeats, and a
 *   frozen job may repeat too. An inbox that nobody reads or fills for `INBOX_TTL_S` is gone.
 */
import { HalleyError } from '../../errors/index.js';
import {
  type ClaimedEntries,
  FENCED,
  type Fenced,
  type InboxEntry,
  type InboxParcel,
  type NodeRef,
  type PushCommand,
  type QueueEntry,
  type QueueShards,
  type ShardLease,
} from '../../push/index.js';
import type { RedisClient, RedisLink } from './redis-link.js';
import { bufferOf, decodeEntry, encodeTarget, type RawEntry, targetHash } from './redis-queue-entry.js';
import { RedisScript, type ScriptArgument } from './redis-script.js';

export interface RedisQueueShardsOptions {
  readonly shardCount: number;
  /** Owner of leases and name of the consumer. */
  readonly serverId: string;
  /** Entries read so often before come one at a time. */
  readonly carefulAttemptCount: number;
  /** Grace beyond a blocking read, after which its connection counts as stuck. */
  readonly commandTimeoutMs: number;
}

/** The one consumer group of every shard. */
export const QUEUE_GROUP = 'job';
/** Seconds after which an inbox that is neither filled nor read ends: its node is long gone and no job saw it go. */
export const INBOX_TTL_S = 86_400;
/** Dead letters kept per shard; older ones are trimmed. */
export const DEAD_MAX_COUNT = 10_000;

/** Rejects and reconnects where a blocking call has not come back in time. */
export async function answeredWithin<T>(client: RedisClient, call: Promise<T>, timeoutMs: number): Promise<T> {
  let deadline: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    deadline = setTimeout(() => {
      client.disconnect(true);
      reject(new Error(`Redis gave no answer to a blocking read: timeoutMs=${timeoutMs}`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([call, silence]);
  } finally {
    clearTimeout(deadline);
  }
}

/** True where Redis answered and found fault with the command itself; all else may pass. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && /^(WRONGTYPE|ERR) /.test(error.message);
}

function entryOf(raw: RawEntry, attemptCount: number): QueueEntry {
  const { entryId, command, problem, bytes } = decodeEntry(raw);
  return { entryId, command, problem, bytes, attemptCount };
}

export class RedisQueueShards implements QueueShards {
  readonly shardCount: number;
  readonly #link: RedisLink;
  readonly #options: RedisQueueShardsOptions;
  readonly #leaseScript = new RedisScript(import.meta.url, 'redis-queue-lease.lua');
  readonly #readScript = new RedisScript(import.meta.url, 'redis-queue-read.lua');
  readonly #claimScript = new RedisScript(import.meta.url, 'redis-queue-claim.lua');
  readonly #handOverScript = new RedisScript(import.meta.url, 'redis-queue-hand-over.lua');
  readonly #buryScript = new RedisScript(import.meta.url, 'redis-queue-bury.lua');
  /** Per shard, kept for the next lease of it: a link never forgets a connection. */
  readonly #blockingByShard = new Map<number, RedisClient>();

  constructor(link: RedisLink, options: RedisQueueShardsOptions) {
    this.#link = link;
    this.#options = options;
    this.shardCount = options.shardCount;
  }

  async take(shard: number, leaseMs: number): Promise<ShardLease | undefined> {
    const fence = await this.#lease(shard, 'take', 0, leaseMs);
    return fence === 0 ? undefined : { shard, fence };
  }

  async renew({ shard, fence }: ShardLease, leaseMs: number): Promise<boolean> {
    return (await this.#lease(shard, 'renew', fence, leaseMs)) === fence;
  }

  async release({ shard, fence }: ShardLease, unfinishedIds: readonly string[]): Promise<void> {
    await this.#lease(shard, 'release', fence, 0, [QUEUE_GROUP, ...unfinishedIds]);
  }

  async claim(lease: ShardLease, afterId: string, maxCount: number): Promise<ClaimedEntries | Fenced> {
    const { serverId, carefulAttemptCount } = this.#options;
    const args = [
      lease.fence,
      QUEUE_GROUP,
      serverId,
      afterId === '' ? '-' : `(${afterId}`,
      maxCount,
      carefulAttemptCount,
    ];
    const reply = await this.#claimScript.runRaw(this.#link.commands, this.#shardKeys(lease.shard), args);
    if (reply === 0) return FENCED;
    const [isNew, hasMore, lastReadId, entries, attempts] = reply as [
      number,
      number,
      Buffer,
      readonly RawEntry[],
      readonly (Buffer | number)[],
    ];
    const attemptsById = new Map<string, number>();
    for (let at = 0; at + 1 < attempts.length; at += 2)
      attemptsById.set(String(attempts[at]), Number(attempts[at + 1]));
    return {
      isNew: isNew === 1,
      hasMore: hasMore === 1,
      lastReadId: lastReadId.toString('latin1'),
      entries: entries.map((raw) => entryOf(raw, attemptsById.get(raw[0].toString('latin1')) ?? 1)),
    };
  }

  async read(lease: ShardLease, maxCount: number): Promise<readonly QueueEntry[] | Fenced> {
    const args = [lease.fence, QUEUE_GROUP, this.#options.serverId, maxCount];
    const reply = await this.#readScript.runRaw(this.#link.commands, this.#shardKeys(lease.shard), args);
    return reply === 0 ? FENCED : (reply as readonly RawEntry[]).map((raw) => entryOf(raw, 1));
  }

  async waitForMore(shard: number, lastReadId: string, waitMs: number): Promise<void> {
    const client = await this.#blockingClient(shard);
    const key = this.#link.keys.queue(shard);
    // Tells only that there is something; what it is comes through the group, under the fence.
    const call = client.call('xread', ['COUNT', 1, 'BLOCK', waitMs, 'STREAMS', key, lastReadId]);
    await answeredWithin(client, call, waitMs + this.#options.commandTimeoutMs);
  }

  async handOver(
    lease: ShardLease,
    parcels: readonly InboxParcel[],
    doneIds: readonly string[],
  ): Promise<readonly number[] | Fenced> {
    if (this.#link.isCluster) return await this.#handOverOnCluster(lease, parcels, doneIds);
    return await this.#handOver(lease, parcels, doneIds);
  }

  async bury(lease: ShardLease, entryId: string, reason: string): Promise<undefined | Fenced> {
    const names = [...this.#shardKeys(lease.shard), this.#link.keys.queue(lease.shard, ':dead')];
    const args = [lease.fence, QUEUE_GROUP, entryId, reason, DEAD_MAX_COUNT];
    return (await this.#buryScript.runRaw(this.#link.commands, names, args)) === 0 ? FENCED : undefined;
  }

  async readInbox({ serverId, nodeEpoch }: NodeRef, afterId: string, maxCount: number): Promise<readonly InboxEntry[]> {
    const key = this.#link.keys.inbox(serverId, nodeEpoch);
    const from = afterId === '' ? '-' : `(${afterId}`;
    const reply = await this.#link.commands.xrangeBuffer(key, from, '+', 'COUNT', maxCount);
    return (reply as readonly RawEntry[]).map(decodeEntry);
  }

  async forward(parcels: readonly InboxParcel[]): Promise<void> {
    const calls = this.#link.isCluster ? parcels.map((parcel) => [parcel]) : [parcels];
    await Promise.all(calls.map((some) => this.#handOver(undefined, some, [])));
  }

  async deleteInbox({ serverId, nodeEpoch }: NodeRef): Promise<void> {
    await this.#link.commands.unlink(this.#link.keys.inbox(serverId, nodeEpoch));
  }

  close(): void {
    for (const client of this.#blockingByShard.values()) client.disconnect();
    this.#blockingByShard.clear();
  }

  async #handOverOnCluster(
    lease: ShardLease,
    parcels: readonly InboxParcel[],
    doneIds: readonly string[],
  ): Promise<readonly number[] | Fenced> {
    const answers = await Promise.all(parcels.map((parcel) => this.#handOver(undefined, [parcel], [])));
    if (doneIds.length > 0 && (await this.#handOver(lease, [], doneIds)) === FENCED) return FENCED;
    return answers.map((answer) => answer[0] as number);
  }

  /** @param lease undefined: only the inboxes */
  async #handOver(
    lease: ShardLease | undefined,
    parcels: readonly InboxParcel[],
    doneIds: readonly string[],
  ): Promise<readonly number[] | Fenced> {
    const names = lease === undefined ? [] : this.#shardKeys(lease.shard);
    for (const { node } of parcels) names.push(this.#link.keys.inbox(node.serverId, node.nodeEpoch));
    // A message that goes to several nodes travels once.
    const numberByCommand = new Map<PushCommand, number>();
    const messages: ScriptArgument[] = [];
    const deliveries: ScriptArgument[] = [];
    for (const parcel of parcels) {
      deliveries.push(parcel.deliveries.length);
      for (const { command, target, isRerouted } of parcel.deliveries) {
        let number = numberByCommand.get(command);
        if (number === undefined) {
          number = numberByCommand.size + 1;
          numberByCommand.set(command, number);
          const speed = target.kind === 'all' ? target.speedPerSec : 0;
          messages.push(bufferOf(command.messageId as Uint8Array), command.op, speed, bufferOf(command.body));
        }
        const to = encodeTarget(target);
        deliveries.push(number, to, isRerouted ? targetHash(to) : 0);
      }
    }
    const args = [
      lease === undefined ? 0 : 1,
      lease?.fence ?? 0,
      QUEUE_GROUP,
      INBOX_TTL_S,
      doneIds.length,
      ...doneIds,
      numberByCommand.size,
      ...messages,
      ...deliveries,
    ];
    try {
      const reply = await this.#handOverScript.runRaw(this.#link.commands, names, args);
      return reply === 0 ? FENCED : (reply as number[]);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      throw new HalleyError('INBOX_REFUSED', 'Redis does not take what was to be handed over', {}, error);
    }
  }

  #shardKeys(shard: number): string[] {
    return [this.#link.keys.queue(shard), this.#link.keys.queue(shard, ':lease')];
  }

  async #lease(
    shard: number,
    action: string,
    fence: number,
    leaseMs: number,
    more: readonly string[] = [],
  ): Promise<number> {
    const names = [this.#link.keys.queue(shard, ':lease'), this.#link.keys.queue(shard)];
    const args = [action, this.#options.serverId, fence, leaseMs, ...more];
    return Number(String(await this.#leaseScript.runRaw(this.#link.commands, names, args)));
  }

  async #blockingClient(shard: number): Promise<RedisClient> {
    const known = this.#blockingByShard.get(shard);
    if (known !== undefined) return known;
    // While Redis is away every attempt would leave a connection behind that goes on trying.
    if (!this.#link.isUp) throw new HalleyError('REDIS_AWAY', 'Redis does not answer');
    const client = await this.#link.openBlocking();
    this.#blockingByShard.set(shard, client);
    return client;
  }
}
