/**
 * The bus's connection for subscriptions: which channels it must have, and everything that can happen to the connection.
 *
 * There is one way back after whatever happened: every channel is subscribed again, in chunks, and only when Redis has
 * acknowledged the last one the owner hears `onRestored` and tells what may have been missed.
 *
 * On Redis Cluster ordinary channels (SUBSCRIBE) and sharded ones (SSUBSCRIBE) live on connections of their own, which ioredis
 * replaces by itself; redis-bus-cluster-client.ts tells when. A sharded channel whose slot moved to another master is the one
 * thing that is mended alone, at once and with its own telling (redis-bus-moved.ts).
 *
 * Threads: control thread only.
 * Guarantees: what `add` returns resolves when Redis has acknowledged, or when the connection is away: then the channel
 *   follows on return. Channels added in one turn of the loop are one SUBSCRIBE (on Cluster one SSUBSCRIBE each, in one write:
 *   a command must not span slots). Nothing rejects. Every wait is bounded by `deadlineMs`. No message comes twice by two
 *   connections: what is replaced is not heard any more.
 */
import { Cluster } from 'ioredis';
import type { Clock } from '../../clock/index.js';
import { HalleyError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/index.js';
import { guardOrdinaryConnection, onSlotMoved, ordinaryConnectionOf } from './redis-bus-cluster-client.js';
import { MovedChannels } from './redis-bus-moved.js';
import type { RedisClient, RedisLink } from './redis-link.js';

export interface BusSubscriberOptions {
  /** Longest wait for an acknowledgement. */
  readonly deadlineMs: number;
  /** Channels in one SUBSCRIBE. */
  readonly chunkCount: number;
}

export interface BusSubscriberLinks {
  readonly onMessage: (channel: string, bytes: Uint8Array) => void;
  /** Every channel is subscribed again after a break. */
  readonly onRestored: () => void;
  /** These are subscribed again, at another server: what was published in between was missed. */
  readonly onMoved: (channels: readonly string[]) => void;
}

/** `ordinary`: SUBSCRIBE. `sharded`: SSUBSCRIBE, on Redis Cluster only. */
export type ChannelKind = 'ordinary' | 'sharded';

interface Batch {
  readonly names: Record<ChannelKind, Set<string>>;
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

const STATE = { NEW: 0, DOWN: 1, RESTORING: 2, READY: 3, CLOSED: 4 } as const;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
const ATTEMPTS_PER_CONNECTION = 4;
/** So many deadlines without a working connection, while Redis answers elsewhere: it is torn down and made anew. */
const STUCK_DEADLINES = 3;
const KINDS: readonly ChannelKind[] = ['ordinary', 'sharded'];

export class BusSubscriber {
  readonly #link: RedisLink;
  readonly #options: BusSubscriberOptions;
  readonly #links: BusSubscriberLinks;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #wanted: Record<ChannelKind, Set<string>> = { ordinary: new Set(), sharded: new Set() };
  #client: RedisClient | undefined;
  #state: (typeof STATE)[keyof typeof STATE] = STATE.NEW;
  /** Changes with every break: an acknowledgement of an earlier connection means nothing. */
  #generation = 0;
  #batch: Batch | undefined;
  /** Under way. */
  #sending: Batch | undefined;
  #removals: Record<ChannelKind, Set<string>> = { ordinary: new Set(), sharded: new Set() };
  #flush: NodeJS.Immediate | undefined;
  #isSending = false;
  #retry: NodeJS.Timeout | undefined;
  #failedCount = 0;
  #downSinceMs = 0;
  #ordinaryConnection: unknown;
  readonly #moved: MovedChannels;

  constructor(link: RedisLink, options: BusSubscriberOptions, links: BusSubscriberLinks, clock: Clock, log: Logger) {
    this.#link = link;
    this.#options = options;
    this.#links = links;
    this.#clock = clock;
    this.#log = log;
    this.#moved = new MovedChannels(options.deadlineMs, {
      wanted: () => (this.isReady ? this.#wanted.sharded : undefined),
      generation: () => this.#generation,
      isPending: (name) =>
        this.#batch?.names.sharded.has(name) === true || this.#sending?.names.sharded.has(name) === true,
      // As in #restore(): the client's list would double.
      renew: async (names) =>
        (await this.#send('unsubscribe', 'sharded', names)) && (await this.#send('subscribe', 'sharded', names)),
      repeat: (names) => this.#send('subscribe', 'sharded', names),
      onMended: (channels) => links.onMoved(channels),
      onHopeless: () => this.replace('channels of a slot that moved could not be subscribed again'),
    });
  }

  get isReady(): boolean {
    return this.#state === STATE.READY;
  }

  /** Changes with every break of the connection. */
  get generation(): number {
    return this.#generation;
  }

  /** Connect and subscribe to what was added before. @throws HalleyError REDIS_UNREACHABLE or BUS_NOT_SUBSCRIBED */
  async start(): Promise<void> {
    const client = await this.#link.openSubscriber();
    this.#client = client;
    const onMessage = (channel: Buffer, message: Buffer) => this.#links.onMessage(channel.toString(), message);
    client.on('messageBuffer', onMessage);
    client.on('smessageBuffer', onMessage);
    guardOrdinaryConnection(client, () => {
      this.#broke();
      void this.#restore();
    });
    onSlotMoved(client, () => this.#moved.mend(client));
    client.on('close', () => this.#broke());
    client.on('ready', () => void this.#restore());
    // Of Cluster only: a shard's connection broke and was replaced; it has its channels again when all are ready.
    client.on('-subscriber', () => this.#broke());
    client.on('subscribersReady', () => {
      if (this.#state === STATE.DOWN) void this.#restore();
    });
    await this.#restore();
    if (!this.isReady) {
      this.close();
      throw new HalleyError(
        'BUS_NOT_SUBSCRIBED',
        'Redis answers and does not let this node subscribe to its channels',
        {
          channels: [...this.#wanted.ordinary].join(','),
        },
      );
    }
  }

  /** undefined: the connection is away, the channel follows when it is back. */
  add(kind: ChannelKind, name: string): Promise<void> | undefined {
    this.#wanted[kind].add(name);
    this.#removals[kind].delete(name);
    if (this.#state === STATE.RESTORING || this.#state === STATE.READY) {
      const batch = this.#openBatch();
      batch.names[kind].add(name);
      return batch.done;
    }
    return undefined;
  }

  remove(kind: ChannelKind, name: string): void {
    this.#wanted[kind].delete(name);
    this.#batch?.names[kind].delete(name);
    if (this.#state !== STATE.RESTORING && this.#state !== STATE.READY) return;
    this.#removals[kind].add(name);
    this.#schedule();
  }

  /** Redis knows of no subscriber to a channel of ours. On Cluster its slot may have moved: then it is subscribed to there. */
  lost(kind: ChannelKind, name: string, reason: string): void {
    if (kind === 'sharded' && this.#client !== undefined && this.#moved.mend(this.#client, name)) return;
    this.replace(reason);
  }

  /** The connection looks alive and is not: make a new one. */
  replace(reason: string): void {
    if (this.#state === STATE.CLOSED || this.#client === undefined) return;
    this.#log.warn({ reason }, 'the subscriptions do not deliver; their connection is replaced');
    this.#broke();
    this.#reconnect();
  }

  /** Once in a while: find what no event tells. */
  check(): void {
    if (this.#state === STATE.READY) {
      if (this.#ordinaryConnection !== ordinaryConnectionOf(this.#client)) {
        this.#broke();
        void this.#restore();
      }
      return;
    }
    if (this.#state === STATE.CLOSED || this.#state === STATE.NEW) return;
    const downMs = this.#clock.monotonicMs() - this.#downSinceMs;
    if (!this.#link.isUp || downMs < STUCK_DEADLINES * this.#options.deadlineMs) return;
    this.#downSinceMs = this.#clock.monotonicMs();
    this.#generation += 1;
    this.#reconnect();
  }

  close(): void {
    this.#broke();
    this.#state = STATE.CLOSED;
    clearTimeout(this.#retry);
    this.#client?.disconnect();
    this.#client?.removeAllListeners('messageBuffer');
    this.#client?.removeAllListeners('smessageBuffer');
  }

  #broke(): void {
    if (this.#state === STATE.CLOSED) return;
    if (this.#state !== STATE.DOWN) this.#downSinceMs = this.#clock.monotonicMs();
    this.#state = STATE.DOWN;
    this.#generation += 1;
    clearTimeout(this.#retry);
    clearImmediate(this.#flush);
    this.#flush = undefined;
    this.#removals = { ordinary: new Set(), sharded: new Set() };
    // Their channels are among the wanted ones: nobody waits for a connection that is away.
    this.#batch?.resolve();
    this.#batch = undefined;
  }

  #reconnect(): void {
    const client = this.#client;
    if (client === undefined) return;
    client.disconnect(true);
    // A peer that has gone without a word would never answer the end of the stream.
    if (!(client instanceof Cluster)) client.stream?.destroy();
  }

  async #restore(): Promise<void> {
    const wasFirst = this.#state === STATE.NEW;
    if (this.#state === STATE.CLOSED || this.#state === STATE.RESTORING) return;
    clearTimeout(this.#retry);
    this.#state = STATE.RESTORING;
    this.#generation += 1;
    const generation = this.#generation;
    const chunk = this.#options.chunkCount;
    for (const kind of KINDS) {
      // As they are now: a room that is linked from here on has a batch of its own.
      const names = [...this.#wanted[kind]];
      for (let index = 0; index < names.length; index += chunk) {
        const part = names.slice(index, index + chunk).filter((name) => this.#wanted[kind].has(name));
        // ioredis keeps a list of the sharded channels that only grows; taking them out first keeps it from doubling.
        const isDone = wasFirst || kind === 'ordinary' || (await this.#send('unsubscribe', kind, part));
        if (!isDone || !(await this.#send('subscribe', kind, part))) {
          if (generation === this.#generation) this.#restoreLater();
          return;
        }
        if (generation !== this.#generation) return;
        // It moves: tens of thousands of rooms may take longer than a connection that is stuck is given.
        this.#downSinceMs = this.#clock.monotonicMs();
      }
    }
    this.#state = STATE.READY;
    this.#failedCount = 0;
    this.#ordinaryConnection = ordinaryConnectionOf(this.#client);
    if (!wasFirst) this.#links.onRestored();
  }

  #restoreLater(): void {
    this.#broke();
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failedCount);
    this.#failedCount += 1;
    this.#log.warn({ delayMs, channelCount: this.#channelCount() }, 'channels could not be subscribed again');
    // On Cluster the servers of some slots may only not be known yet; a connection that keeps failing is made anew.
    const isPatient = this.#failedCount % ATTEMPTS_PER_CONNECTION !== 0 && this.#client?.status === 'ready';
    this.#retry = setTimeout(() => (isPatient ? void this.#restore() : this.#reconnect()), delayMs).unref();
  }

  #channelCount(): number {
    return this.#wanted.ordinary.size + this.#wanted.sharded.size;
  }

  #openBatch(): Batch {
    if (this.#batch === undefined) {
      let resolve = () => {};
      const done = new Promise<void>((settle) => {
        resolve = settle;
      });
      this.#batch = { names: { ordinary: new Set(), sharded: new Set() }, done, resolve };
      this.#schedule();
    }
    return this.#batch;
  }

  #schedule(): void {
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      void this.#sendChanges();
    });
  }

  /** One at a time and in chunks: what comes meanwhile is the next batch, so a leave never overtakes the join before it. */
  async #sendChanges(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#batch !== undefined || this.#removals.ordinary.size + this.#removals.sharded.size > 0) {
        const batch = this.#batch;
        const removals = this.#removals;
        this.#removals = { ordinary: new Set(), sharded: new Set() };
        this.#batch = undefined;
        this.#sending = batch;
        await this.#sendOnce(removals, batch);
        this.#sending = undefined;
      }
    } finally {
      this.#isSending = false;
    }
  }

  async #sendOnce(removals: Record<ChannelKind, Set<string>>, batch: Batch | undefined): Promise<void> {
    const generation = this.#generation;
    const startedMs = performance.now();
    let isDone = true;
    for (const kind of KINDS) {
      // The connection keeps the order, so a channel that was left and joined again ends up subscribed.
      for (const part of chunksOf(removals[kind], this.#options.chunkCount)) {
        isDone &&= generation === this.#generation && (await this.#send('unsubscribe', kind, part));
      }
      if (batch === undefined) continue;
      for (const part of chunksOf(batch.names[kind], this.#options.chunkCount)) {
        isDone &&= generation === this.#generation && (await this.#send('subscribe', kind, part));
      }
    }
    if (!isDone && generation === this.#generation) {
      const isRefused = performance.now() - startedMs < this.#options.deadlineMs;
      this.#sending = undefined;
      // Refused by Cluster: their slots are on their way. Silence is a connection that is stuck.
      if (!isRefused || this.#client === undefined || !this.#moved.mend(this.#client)) {
        this.replace('a SUBSCRIBE was not acknowledged');
      }
    }
    batch?.resolve();
  }

  /** False: refused, or not acknowledged in time. */
  async #send(verb: 'subscribe' | 'unsubscribe', kind: ChannelKind, names: readonly string[]): Promise<boolean> {
    const client = this.#client;
    if (client === undefined || names.length === 0) return names.length === 0;
    const asked =
      kind === 'ordinary'
        ? client[verb](...names)
        : Promise.all(
            names.map((name) => (verb === 'subscribe' ? client.ssubscribe(name) : client.sunsubscribe(name))),
          );
    return within(asked, this.#options.deadlineMs, (error) =>
      this.#log.debug({ err: error, verb, kind, count: names.length }, 'a change of subscriptions failed'),
    );
  }
}

/** Did it resolve in time? */
function within(asked: Promise<unknown>, deadlineMs: number, onError: (error: unknown) => void): Promise<boolean> {
  return new Promise((resolve) => {
    // Behind the sockets: after a long turn the acknowledgement may lie in a buffer that nobody has read.
    const timer = setTimeout(() => setImmediate(() => resolve(false)), deadlineMs);
    const settle = (isDone: boolean) => {
      clearTimeout(timer);
      resolve(isDone);
    };
    asked.then(
      () => settle(true),
      (error: unknown) => {
        onError(error);
        settle(false);
      },
    );
  });
}

function* chunksOf(names: ReadonlySet<string>, count: number): Generator<readonly string[]> {
  const all = [...names];
  for (let index = 0; index < all.length; index += count) yield all.slice(index, index + count);
}
