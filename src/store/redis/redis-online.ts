/**
 * redis-online: who is online in the whole cluster, in this node's memory.
 *
 * Every second the node tells Redis which of its rooms changed (`redis-online-writer.ts`) and reads what the other nodes told
 * (`redis-online-reader.ts`) into sums per room (`redis-online-aggregate.ts`). Questions are answered from those sums and this
 * node's own counts; the remote part of every room that is open here stands in the shared counts too, for heartbeats.
 *
 * Threads: control thread only.
 * Guarantees: own counts are right at once, those of others after their second and ours. A room that empties, a node whose lease
 *   ends, Redis that comes back empty: the counts follow, nothing stays behind (goim's W4). While Redis is away the counts of the
 *   others stand still.
 */
import type { NodeDirectory, NodeOnline, OnlineCounts, OnlineSource, RoomCount } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { RedisLink } from './redis-link.js';
import { OnlineAggregate } from './redis-online-aggregate.js';
import { RedisOnlineReader } from './redis-online-reader.js';
import { RedisOnlineWriter } from './redis-online-writer.js';

export interface RedisOnlineOptions {
  readonly link: RedisLink;
  readonly directory: NodeDirectory;
  readonly source: OnlineSource;
  readonly log: Logger;
  /** Time between two rounds. Default 1,000. */
  readonly intervalMs?: number;
  /** Most rooms told per second, above all when Redis comes back empty. Default 20,000. */
  readonly roomsPerSec?: number;
}

const DEFAULT_INTERVAL_MS = 1_000;
const DEFAULT_ROOMS_PER_SEC = 20_000;

export class RedisOnline implements OnlineCounts {
  readonly #options: RedisOnlineOptions;
  readonly #intervalMs: number;
  readonly #aggregate: OnlineAggregate;
  readonly #writer: RedisOnlineWriter;
  readonly #reader: RedisOnlineReader;
  readonly #stopLossListener: () => void;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: RedisOnlineOptions) {
    const { link, directory, source } = options;
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.#aggregate = new OnlineAggregate((room, remoteCount) => source.setRemote(room, remoteCount));
    const roomsPerSec = options.roomsPerSec ?? DEFAULT_ROOMS_PER_SEC;
    const maxRoomsPerPublish = Math.max(1, Math.round((roomsPerSec * this.#intervalMs) / 1_000));
    this.#writer = new RedisOnlineWriter({ link, directory, source, maxRoomsPerPublish });
    this.#reader = new RedisOnlineReader(link, directory, this.#aggregate);
    this.#stopLossListener = directory.onLost((serverId, nodeEpoch) => this.#reader.forget(serverId, nodeEpoch));
    source.onOpened((room) => this.#aggregate.opened(room));
  }

  /** Begin the rounds; resolves after the first, whether or not Redis answered. The timer holds no process open. */
  async start(): Promise<void> {
    await this.round();
    this.#schedule();
  }

  /** Tell and read once. Calls while one is under way share it. Never rejects. */
  round(): Promise<void> {
    this.#round ??= this.#runRound().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  /** Stop, and take this node's counts out of Redis. Never rejects. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#stopLossListener();
    await this.#round;
    try {
      await this.#writer.retract();
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the counts of this node stay in Redis until they end by themselves');
    }
  }

  // OnlineCounts.

  roomCount(room: string): number {
    return this.#options.source.roomCount(room) + this.#aggregate.total(room);
  }

  localRoomCount(room: string): number {
    return this.#options.source.roomCount(room);
  }

  *roomCounts(prefix: string): Generator<RoomCount> {
    const { source } = this.#options;
    for (const { room, total, mayBeHere } of this.#aggregate.rooms()) {
      if (room.startsWith(prefix)) yield { room, count: mayBeHere ? total + source.roomCount(room) : total };
    }
    for (const one of source.roomCounts()) {
      if (one.room.startsWith(prefix) && this.#aggregate.total(one.room) === 0) yield one;
    }
  }

  connectionCount(): number {
    let sum = this.#options.source.connectionCount();
    for (const [, part] of this.#reader.parts()) sum += part.connCount;
    return sum;
  }

  ipCount(): number {
    let sum = this.#options.source.ipCount();
    for (const [, part] of this.#reader.parts()) sum += part.ipCount;
    return sum;
  }

  nodes(): readonly NodeOnline[] {
    const { source, directory } = this.#options;
    let roomCount = 0;
    for (const { count } of source.roomCounts()) if (count > 0) roomCount += 1;
    const own: NodeOnline = {
      serverId: directory.serverId,
      isLocal: true,
      connCount: source.connectionCount(),
      ipCount: source.ipCount(),
      roomCount,
    };
    const others = [...this.#reader.parts()].map(([serverId, { connCount, ipCount, counts }]) => ({
      serverId,
      isLocal: false,
      connCount,
      ipCount,
      roomCount: counts.size,
    }));
    return [own, ...others];
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.round().then(() => this.#schedule()), this.#intervalMs);
    this.#timer.unref();
  }

  async #runRound(): Promise<void> {
    if (!this.#options.link.isUp) return;
    // Each half goes on where it stopped; what one could not do does not hold up the other.
    for (const result of await Promise.allSettled([this.#writer.publish(), this.#reader.read()])) {
      if (result.status === 'rejected') this.#options.log.debug({ err: result.reason }, 'online counts');
    }
  }
}
