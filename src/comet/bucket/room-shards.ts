/**
 * All rooms of one bucket, and the requests to the sequencer that open them.
 *
 * Threads: its bucket.
 * Guarantees: a channel joins only a room that the sequencer has numbered for this bucket, so no message after the join's
 *   offset can miss it; member counts stand in shared memory as soon as they change.
 */

import type { RoomCounts } from '../room-counts.js';
import type { RoomInfo } from '../thread-messages.js';
import type { FanoutContext } from './fanout-group.js';
import { COHORT_MEMBERS, type RoomCohort, RoomShard } from './room-shard.js';

export interface RoomShardsLinks {
  /** Ask the sequencer to open rooms; it answers with `opened(request, infos)`. */
  readonly requestOccupy: (request: number, rooms: readonly string[]) => void;
  readonly requestVacate: (roomNo: number) => void;
}

interface PendingOccupy {
  readonly shards: readonly RoomShard[];
  readonly done: (shards: readonly RoomShard[]) => void;
}

export class RoomShards {
  readonly #context: FanoutContext;
  readonly #links: RoomShardsLinks;
  readonly #counts: RoomCounts;
  readonly #thread: number;
  readonly #cohortMembers: number;
  readonly #byRoom = new Map<string, RoomShard>();
  readonly #byNo = new Map<number, RoomShard>();
  readonly #pending = new Map<number, PendingOccupy>();
  #request = 0;
  #topicSerial = 0;

  constructor(
    context: FanoutContext,
    links: RoomShardsLinks,
    counts: RoomCounts,
    thread: number,
    cohortMembers: number = COHORT_MEMBERS,
  ) {
    this.#context = context;
    this.#links = links;
    this.#counts = counts;
    this.#thread = thread;
    this.#cohortMembers = cohortMembers;
  }

  get count(): number {
    return this.#byRoom.size;
  }

  byNo(roomNo: number): RoomShard | undefined {
    return this.#byNo.get(roomNo);
  }

  byRoom(room: string): RoomShard | undefined {
    return this.#byRoom.get(room);
  }

  /** Members of the room in the whole cluster. */
  onlineCount(shard: RoomShard): number {
    return shard.active ? this.#counts.total(shard.roomNo) : 0;
  }

  /** Take the shards of these rooms for a request; each must be given back by settle() when the answer is there. */
  hold(rooms: readonly string[]): RoomShard[] {
    return rooms.map((room) => {
      let shard = this.#byRoom.get(room);
      if (shard === undefined) {
        this.#topicSerial += 1;
        shard = new RoomShard(this.#context, `r${this.#topicSerial.toString(36)}`, room, this.#cohortMembers);
        this.#byRoom.set(room, shard);
      }
      shard.requestCount += 1;
      return shard;
    });
  }

  /** The sequencer's answer for held shards, in the same order: number what is new. Rooms it refused stay inactive. */
  activate(shards: readonly RoomShard[], infos: readonly RoomInfo[]): void {
    for (const [index, shard] of shards.entries()) {
      const info = infos[index];
      if (info === undefined || shard.active || info[0] === 0) continue;
      shard.roomNo = info[0];
      shard.continueBehind(info[1], info[2]);
      this.#byNo.set(shard.roomNo, shard);
    }
  }

  /** The request behind hold() is over: close what nobody joined. */
  settle(shards: readonly RoomShard[]): void {
    for (const shard of shards) {
      shard.requestCount -= 1;
      this.#closeIfEmpty(shard);
    }
  }

  /**
   * Open rooms, then call `done` with their shards (a refused one is not active). Rooms that are open already cost no
   * round trip: then `done` runs before this returns.
   */
  open(rooms: readonly string[], done: (shards: readonly RoomShard[]) => void): void {
    const shards = this.hold(rooms);
    if (shards.every((shard) => shard.active)) {
      this.#finish(shards, done);
      return;
    }
    this.#request += 1;
    this.#pending.set(this.#request, { shards, done });
    this.#links.requestOccupy(this.#request, rooms);
  }

  /** The sequencer's answer to an open(). */
  opened(request: number, infos: readonly RoomInfo[]): void {
    const pending = this.#pending.get(request);
    if (pending === undefined) return;
    this.#pending.delete(request);
    this.activate(pending.shards, infos);
    this.#finish(pending.shards, pending.done);
  }

  /** Whatever `done` does, the shards are given back: a request that stays counted would keep its rooms open for ever. */
  #finish(shards: readonly RoomShard[], done: (shards: readonly RoomShard[]) => void): void {
    try {
      done(shards);
    } finally {
      this.settle(shards);
    }
  }

  /** Answers of the sequencer were lost: forget every room and request. All members have left before. */
  reset(): void {
    for (const shard of this.#byRoom.values()) shard.discard();
    this.#byRoom.clear();
    this.#byNo.clear();
    this.#pending.clear();
  }

  /** One member more or less; the shared count follows at once. The cohort is where the member stands. */
  memberJoined(shard: RoomShard): RoomCohort {
    const cohort = shard.place();
    this.#counts.set(shard.roomNo, this.#thread, shard.memberCount);
    return cohort;
  }

  memberLeft(cohort: RoomCohort): void {
    const { shard } = cohort;
    shard.displace(cohort);
    this.#counts.set(shard.roomNo, this.#thread, shard.memberCount);
    this.#closeIfEmpty(shard);
  }

  #closeIfEmpty(shard: RoomShard): void {
    if (shard.memberCount > 0 || shard.requestCount > 0) return;
    shard.discard();
    // One that a reset has forgotten: its number may be another room's by now.
    if (this.#byRoom.get(shard.room) !== shard) return;
    this.#byRoom.delete(shard.room);
    if (!shard.active) return;
    this.#byNo.delete(shard.roomNo);
    this.#links.requestVacate(shard.roomNo);
  }
}
