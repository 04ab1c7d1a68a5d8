/**
 * The durable queue on Redis Streams, producing side: pushes are appended to the shard of their target.
 *
 * Threads: control thread only.
 * Guarantees: per shard one call is under way; what comes meanwhile leaves with the next, in order (group commit: the batch grows
 *   with the round trip). `ok` once Redis has acknowledged, and `replicas` of its replicas have the write. Nothing is
 *   trimmed: handing over deletes an entry, so what a shard holds is what waits, and a shard of `maxMessagesCount` answers `full`.
 *   Redis away, out of memory, or silent past the deadline: `full`, where only silence leaves open whether the push was kept.
 * Bound: `maxInFlightCount` pushes that wait for Redis, beyond them `full`.
 * Durability is Redis's own: what `ok` survives is what `appendfsync` and `replicas` say. Without an attached replica and
 *   `replicas` above 0 every push is `full`, though it is kept: a write that fewer replicas have is no promise.
 * Hot path: `append`; a push costs one script argument list, a promise per call. `bench/store/redis-queue.bench.ts`.
 */
import { HalleyError, OUTCOME } from '../../errors/index.js';
import { cityHash32, type Snowflake } from '../../id/index.js';
import {
  type DurablePush,
  type DurableQueue,
  isIdempotencyId,
  PUSH_OUTCOME,
  type PushOutcome,
} from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { RedisClient, RedisLink } from './redis-link.js';
import { bufferOf, encodeTarget } from './redis-queue-entry.js';
import { RedisScript, type ScriptArgument } from './redis-script.js';

export interface RedisQueueOptions {
  readonly shardCount: number;
  /** Entries of one shard. */
  readonly maxMessagesCount: number;
  readonly maxInFlightCount: number;
  readonly onceWindowMs: number;
  /** Replicas that must have a write; 0: Redis alone. */
  readonly replicaCount: number;
  /** Deadline of WAIT; the deadline of other commands is the link's. */
  readonly commandTimeoutMs: number;
  /** Largest body; a larger one is `too_large`. */
  readonly bodyMaxBytes: number;
}

export interface RedisQueueGauges {
  readonly appendedCount: number;
  /** Pushes whose idempotency id was seen before. */
  readonly repeatedCount: number;
  /** Pushes that were answered `full`. */
  readonly refusedCount: number;
  readonly inFlightCount: number;
}

interface Waiting {
  readonly to: string;
  readonly push: DurablePush;
  readonly messageId: Buffer;
  readonly settle: (outcome: PushOutcome) => void;
}

interface Shard {
  readonly index: number;
  waiting: Waiting[];
  isSending: boolean;
  isScheduled: boolean;
}

const CALL_MAX_COUNT = 512;
const CALL_MAX_BYTES = 4 * 1024 * 1024;
const OUTCOMES: readonly PushOutcome[] = [PUSH_OUTCOME.FULL, PUSH_OUTCOME.OK, PUSH_OUTCOME.OK];
const REPEATED = 2;

export class RedisQueue implements DurableQueue {
  readonly #link: RedisLink;
  readonly #options: RedisQueueOptions;
  readonly #ids: Pick<Snowflake, 'tryWriteTo'>;
  readonly #producer: string;
  readonly #log: Logger;
  readonly #shards: readonly Shard[];
  readonly #script = new RedisScript(import.meta.url, 'redis-queue-append.lua');
  /** WAIT holds a connection up, so appends that need it have their own. */
  #waitingClient: RedisClient | undefined;
  #isClosed = false;
  #appendedCount = 0;
  #repeatedCount = 0;
  #refusedCount = 0;
  #inFlightCount = 0;

  private constructor(
    link: RedisLink,
    ids: Pick<Snowflake, 'tryWriteTo'>,
    producer: string,
    options: RedisQueueOptions,
    log: Logger,
  ) {
    this.#link = link;
    this.#ids = ids;
    this.#producer = producer;
    this.#options = options;
    this.#log = log;
    this.#shards = Array.from({ length: options.shardCount }, (_, index) => ({
      index,
      waiting: [],
      isSending: false,
      isScheduled: false,
    }));
  }

  /** @throws HalleyError QUEUE_REPLICAS_ON_CLUSTER, REDIS_UNREACHABLE */
  static async open(
    link: RedisLink,
    ids: Pick<Snowflake, 'tryWriteTo'>,
    producer: string,
    options: RedisQueueOptions,
    log: Logger,
  ): Promise<RedisQueue> {
    const queue = new RedisQueue(link, ids, producer, options, log);
    if (options.replicaCount > 0) {
      if (link.isCluster) {
        throw new HalleyError(
          'QUEUE_REPLICAS_ON_CLUSTER',
          'stream.replicas needs a single Redis or Sentinel: WAIT has no key that would lead it to the right server',
          { replicas: options.replicaCount },
        );
      }
      queue.#waitingClient = await link.openBlocking();
    }
    return queue;
  }

  append(pushes: readonly DurablePush[]): Promise<readonly PushOutcome[]> {
    for (const { idempotencyId } of pushes) {
      if (idempotencyId === undefined || isIdempotencyId(idempotencyId)) continue;
      throw new HalleyError('BAD_IDEMPOTENCY_ID', 'an idempotency id has 1 to 128 bytes of visible ASCII', {
        id: idempotencyId.slice(0, 140),
      });
    }
    return Promise.all(pushes.map((push) => this.#appendOne(push)));
  }

  gauges(): RedisQueueGauges {
    return {
      appendedCount: this.#appendedCount,
      repeatedCount: this.#repeatedCount,
      refusedCount: this.#refusedCount,
      inFlightCount: this.#inFlightCount,
    };
  }

  /** Answer `closed` from now on, also to what has not left yet. */
  close(): void {
    this.#isClosed = true;
    for (const shard of this.#shards) {
      for (const { settle } of shard.waiting.splice(0)) settle(PUSH_OUTCOME.CLOSED);
    }
    this.#waitingClient?.disconnect();
  }

  #appendOne(push: DurablePush): PushOutcome | Promise<PushOutcome> {
    if (this.#isClosed) return PUSH_OUTCOME.CLOSED;
    if (push.body.byteLength > this.#options.bodyMaxBytes) return PUSH_OUTCOME.TOO_LARGE;
    const isAway = this.#waitingClient === undefined ? !this.#link.isUp : this.#waitingClient.status !== 'ready';
    if (isAway) return this.#refuse(push, 'Redis does not answer');
    const { maxInFlightCount } = this.#options;
    if (this.#inFlightCount >= maxInFlightCount) {
      const bound = `inFlight=${this.#inFlightCount} maxInFlight=${maxInFlightCount}`;
      return this.#refuse(push, `too many durable pushes wait for Redis (stream.max_in_flight): ${bound}`);
    }
    const messageId = push.messageId === undefined ? Buffer.allocUnsafe(8) : bufferOf(push.messageId);
    if (push.messageId === undefined && this.#ids.tryWriteTo(messageId, 0) !== OUTCOME.OK) {
      return this.#refuse(push, 'no ids may be drawn: the lease of the machine id is late (id.lease_ms)');
    }

    const to = encodeTarget(push.target);
    const shard = this.#shards[
      this.#shards.length === 1 ? 0 : cityHash32(Buffer.from(to)) % this.#shards.length
    ] as Shard;
    this.#inFlightCount++;
    return new Promise((resolve) => {
      const settle = (outcome: PushOutcome) => {
        this.#inFlightCount--;
        resolve(outcome);
      };
      shard.waiting.push({ to, push, messageId, settle });
      this.#schedule(shard);
    });
  }

  #refuse({ onRefused }: DurablePush, reason: string): PushOutcome {
    this.#refusedCount++;
    onRefused?.(reason);
    return PUSH_OUTCOME.FULL;
  }

  /** At the end of the turn, so that all pushes of one read of the sockets leave together. */
  #schedule(shard: Shard): void {
    if (shard.isSending || shard.isScheduled || shard.waiting.length === 0) return;
    shard.isScheduled = true;
    setImmediate(() => {
      shard.isScheduled = false;
      void this.#send(shard);
    });
  }

  async #send(shard: Shard): Promise<void> {
    if (shard.isSending || shard.waiting.length === 0) return;
    shard.isSending = true;
    const batch = this.#takeBatch(shard);
    try {
      const outcomes = await this.#call(shard, batch);
      for (const [index, { settle, push }] of batch.entries()) {
        const outcome = outcomes[index] ?? 0;
        if (outcome === 0) this.#refuse(push, this.#fullText(shard));
        else if (outcome === REPEATED) this.#repeatedCount++;
        else this.#appendedCount++;
        settle(OUTCOMES[outcome] ?? PUSH_OUTCOME.FULL);
      }
    } catch (error) {
      this.#log.warn({ err: error, shard: shard.index, pushes: batch.length }, 'durable pushes could not be kept');
      const reason = failureText(error);
      for (const { settle, push } of batch) settle(this.#refuse(push, reason));
    } finally {
      shard.isSending = false;
      // Not in this turn: a connection that fails at once must not recurse.
      this.#schedule(shard);
    }
  }

  #fullText({ index }: Shard): string {
    const { maxMessagesCount } = this.#options;
    return `the shard of the durable queue is full (stream.max_messages): shard=${index} maxMessages=${maxMessagesCount}`;
  }

  #takeBatch(shard: Shard): readonly Waiting[] {
    let count = 0;
    let bytes = 0;
    for (const { push } of shard.waiting) {
      bytes += push.body.byteLength;
      if (count > 0 && (count >= CALL_MAX_COUNT || bytes > CALL_MAX_BYTES)) break;
      count++;
    }
    return shard.waiting.splice(0, count);
  }

  async #call(shard: Shard, batch: readonly Waiting[]): Promise<readonly number[]> {
    const { keys } = this.#link;
    const names = [keys.queue(shard.index)];
    const args: ScriptArgument[] = [this.#options.maxMessagesCount, this.#options.onceWindowMs];
    for (const { to, push, messageId } of batch) {
      const { idempotencyId, target } = push;
      if (idempotencyId !== undefined) names.push(keys.queueOnce(shard.index, idempotencyId));
      const speed = target.kind === 'all' ? target.speedPerSec : 0;
      const onceIndex = idempotencyId === undefined ? 0 : names.length;
      args.push(onceIndex, messageId, to, push.op, speed, this.#producer, bufferOf(push.body));
    }
    const client = this.#waitingClient;
    if (client === undefined) {
      // Bounded: behind a pipeline without an answer it would wait twice as long, and the pushes behind it with it.
      return await this.#link.bounded(() => this.#script.runRaw(this.#link.commands, names, args) as Promise<number[]>);
    }
    return await this.#withReplicas(client, names, args);
  }

  async #withReplicas(
    client: RedisClient,
    names: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<readonly number[]> {
    const { replicaCount, commandTimeoutMs } = this.#options;
    let deadline: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      deadline = setTimeout(() => {
        // The connection is stuck; its successor is not.
        client.disconnect(true);
        reject(new HalleyError('REDIS_SILENT', 'Redis gave no answer in time', { timeoutMs: 2 * commandTimeoutMs }));
      }, 2 * commandTimeoutMs);
    });
    const work = async () => {
      const outcomes = (await this.#script.runRaw(client, names, args)) as number[];
      const reachedCount = Number(await client.call('wait', [replicaCount, commandTimeoutMs]));
      if (reachedCount < replicaCount) {
        throw new HalleyError('QUEUE_REPLICAS_BEHIND', 'fewer replicas than stream.replicas have the pushes', {
          reached: reachedCount,
          replicas: replicaCount,
        });
      }
      return outcomes;
    };
    try {
      return await Promise.race([work(), silence]);
    } finally {
      clearTimeout(deadline);
    }
  }
}

/** What the caller is told. Only Redis knows whether a call without an answer was carried out. */
function failureText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const isOpen =
    error instanceof HalleyError || !/^(OOM|READONLY|NOPERM|NOREPLICAS|MISCONF|LOADING|CLUSTERDOWN)/.test(text);
  return isOpen ? `${text}; it may be kept all the same` : text;
}
