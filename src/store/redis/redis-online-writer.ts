/**
 * redis-online-writer: tells Redis who is online on this node: the rooms that changed, in numbered batches, into a hash
 * (everything, for those who come later) and a capped stream (the changes, for those who follow) by one script.
 *
 * Threads: control thread only; one publish() at a time.
 * Guarantees: work per second is that of the changes, and at most `roomsPerSec` rooms. A batch whose answer was lost is sent
 *   again as it was. Redis that lost batches (restart, failover, flush) is noticed by the next publish() and gets everything anew.
 */
import type { NodeDirectory, OnlineSource, RoomCount } from '../../push/index.js';
import type { RedisLink } from './redis-link.js';
import { RedisScript } from './redis-script.js';

export interface RedisOnlineWriterOptions {
  readonly link: RedisLink;
  readonly directory: NodeDirectory;
  readonly source: OnlineSource;
  /** Most rooms of one publish(). */
  readonly maxRoomsPerPublish: number;
}

/** Rooms of one script call: Lua unpacks at most 8,000 values, and Redis serves others in between. */
const BATCH_ROOMS = 1_000;
/** Batches that a reader may be behind before it has to read everything. */
const LOG_ENTRIES = 256;
/** What a node leaves behind when it is gone ends by itself. */
const TTL_MS = 300_000;

interface Batch {
  readonly seq: number;
  readonly flags: string;
  readonly connCount: number;
  readonly ipCount: number;
  /** Room and count in turn. */
  readonly rooms: readonly string[];
}

export class RedisOnlineWriter {
  readonly #options: RedisOnlineWriterOptions;
  readonly #script = new RedisScript(import.meta.url, 'redis-online-publish.lua');
  readonly #keys: readonly string[];
  #nodeEpoch = -1;
  #seq = 0;
  #connCount = -1;
  #ipCount = -1;
  /** Sent, and nobody knows whether it arrived. */
  #unsure: Batch | undefined;
  /** Rooms still to be told while everything is told anew. */
  #rewrite: Iterator<RoomCount> | undefined;
  #isFirstOfRewrite = false;
  #isSuperseded = false;

  constructor(options: RedisOnlineWriterOptions) {
    this.#options = options;
    const { keys } = options.link;
    const { serverId } = options.directory;
    this.#keys = [keys.online(serverId), keys.online(serverId, ':rooms'), keys.online(serverId, ':log')];
  }

  /** Tell what changed. Rejects where Redis did not answer; the next call goes on where this one stopped. */
  async publish(): Promise<void> {
    const { directory, maxRoomsPerPublish } = this.#options;
    if (directory.nodeEpoch !== this.#nodeEpoch) {
      this.#nodeEpoch = directory.nodeEpoch;
      this.#isSuperseded = false;
      this.#begin();
    }
    if (this.#isSuperseded) return;
    if (this.#unsure !== undefined && !(await this.#send(this.#unsure))) return;
    let sentCount = 0;
    for (let roomCount = 0; roomCount < maxRoomsPerPublish; ) {
      const batch = this.#nextBatch();
      if (batch === undefined) break;
      if (!(await this.#send(batch))) return;
      sentCount += 1;
      roomCount += Math.max(1, batch.rooms.length / 2);
    }
    if (sentCount === 0) await this.#send(this.#batch('k', []));
  }

  /** This node has nobody any more: take its keys away. */
  async retract(): Promise<void> {
    await this.#options.link.commands.unlink(...this.#keys);
  }

  #begin(): void {
    this.#unsure = undefined;
    this.#rewrite = this.#options.source.roomCounts()[Symbol.iterator]();
    this.#isFirstOfRewrite = true;
  }

  /** Undefined: nothing has changed. */
  #nextBatch(): Batch | undefined {
    const { source } = this.#options;
    const rooms: string[] = [];
    if (this.#rewrite !== undefined) {
      const isFirst = this.#isFirstOfRewrite;
      this.#isFirstOfRewrite = false;
      const isLast = this.#takeRewrite(this.#rewrite, rooms);
      if (isLast) this.#rewrite = undefined;
      return this.#batch(`${isFirst ? 'r' : ''}${isLast ? 'c' : ''}`, rooms);
    }
    const taken = source.takeChanges(BATCH_ROOMS, (room, count) => rooms.push(room, String(count)));
    if (taken === 'overflow') {
      this.#begin();
      return this.#nextBatch();
    }
    const hasTotals = source.connectionCount() !== this.#connCount || source.ipCount() !== this.#ipCount;
    return rooms.length > 0 || hasTotals ? this.#batch('', rooms) : undefined;
  }

  /** True: these are the last. Rooms that change after they were passed are told as changes. */
  #takeRewrite(rewrite: Iterator<RoomCount>, rooms: string[]): boolean {
    while (rooms.length < 2 * BATCH_ROOMS) {
      const next = rewrite.next();
      if (next.done === true) return true;
      rooms.push(next.value.room, String(next.value.count));
    }
    return false;
  }

  #batch(flags: string, rooms: readonly string[]): Batch {
    const { source } = this.#options;
    const seq = flags === 'k' ? this.#seq : this.#seq + 1;
    return { seq, flags, connCount: source.connectionCount(), ipCount: source.ipCount(), rooms };
  }

  /** False: Redis wants everything anew, or nothing at all. */
  async #send(batch: Batch): Promise<boolean> {
    const { flags, seq, connCount, ipCount, rooms } = batch;
    if (flags !== 'k') this.#unsure = batch;
    const reply = await this.#script.run(this.#options.link.commands, this.#keys, [
      this.#nodeEpoch,
      seq,
      flags,
      connCount,
      ipCount,
      TTL_MS,
      LOG_ENTRIES,
      ...rooms,
    ]);
    if (reply === 'OK') {
      this.#unsure = undefined;
      this.#seq = seq;
      this.#connCount = connCount;
      this.#ipCount = ipCount;
      return true;
    }
    if (reply === 'SUPERSEDED') this.#isSuperseded = true;
    else this.#begin();
    return false;
  }
}
