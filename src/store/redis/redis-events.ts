/**
 * The Redis Stream of upstream events, and its dead letters.
 *
 * `{prefix}:events` holds one entry per event with the fields `id` (snowflake), `type` and `event` (the JSON of
 * logic/upstream/event-record.ts), trimmed to about `maxEvents`. One entry per event and not per batch, so that a consumer group
 * reads, acknowledges and trims by events. A batch as one entry is 9 times cheaper for Redis (bench/logic/upstream.bench.ts), but
 * a script of entries takes more events per second (109,000) than one control thread makes (78,000).
 *
 * Threads: control thread only.
 * Guarantees: the events of one lane stand in order; a batch whose answer was lost is not added twice while this process lives
 *   (redis-events-append.lua). Redis away, slow or full is `retry`: the lane keeps the batch. It never answers `dead`.
 */
import { randomUUID } from 'node:crypto';
import type { DeadLetters, EventBatch, EventSink, SendVerdict } from '../../push/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink } from './redis-link.js';

/** How long the number of a writer's last batch is remembered: longer than a lane may wait between two attempts. */
const REMEMBER_MS = 7_200_000;

type AppendEvents = (stream: string, last: string, ...args: (string | number)[]) => Promise<number>;

export interface RedisEventsOptions {
  readonly serverId: string;
  /** About how many entries each stream keeps. */
  readonly maxEvents: number;
}

export class RedisEventStream implements EventSink {
  readonly name = 'stream';
  readonly #link: RedisLink;
  readonly #options: RedisEventsOptions;
  readonly #append: AppendEvents;
  /** One per run: batch numbers begin anew with each. */
  readonly #writer: string;
  #isClosed = false;

  constructor(link: RedisLink, options: RedisEventsOptions) {
    this.#link = link;
    this.#options = options;
    this.#writer = `${options.serverId}:${randomUUID()}`;
    link.commands.defineCommand('halleyAppendEvents', {
      numberOfKeys: 2,
      lua: luaSource(import.meta.url, 'redis-events-append.lua'),
    });
    const { commands } = link;
    this.#append = (commands as unknown as { halleyAppendEvents: AppendEvents }).halleyAppendEvents.bind(commands);
  }

  async send(batch: EventBatch): Promise<SendVerdict> {
    if (this.#isClosed || !this.#link.isUp) return { kind: 'retry', afterMs: 0, cause: 'redis is away' };
    const { keys } = this.#link;
    const args: (string | number)[] = [this.#options.maxEvents, batch.batchNo, REMEMBER_MS];
    for (const { id, type, json } of batch.events) args.push(id, type, json);
    try {
      await this.#append(keys.events(), `${keys.events(':last')}:${this.#writer}:${batch.lane}`, ...args);
      return { kind: 'sent' };
    } catch (error) {
      return { kind: 'retry', afterMs: 0, cause: error instanceof Error ? error.message : String(error) };
    }
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** `{prefix}:events:dead`, tagged: one entry per batch with `at_ms`, `cause`, `delivery_id` and `events`, a JSON array. */
export class RedisDeadLetters implements DeadLetters {
  readonly #link: RedisLink;
  readonly #maxBatches: number;
  readonly #nowMs: () => number;

  constructor(link: RedisLink, maxBatches: number, nowMs: () => number) {
    this.#link = link;
    this.#maxBatches = maxBatches;
    this.#nowMs = nowMs;
  }

  async store({ deliveryId, events }: EventBatch, cause: string): Promise<void> {
    const { commands, keys } = this.#link;
    const json = `[${events.map((event) => event.json).join(',')}]`;
    const fields = ['at_ms', String(this.#nowMs()), 'cause', cause, 'delivery_id', deliveryId, 'events', json];
    await commands.xadd(keys.events(':dead'), 'MAXLEN', '~', this.#maxBatches, '*', ...fields);
  }
}
