/**
 * A room as one bucket sees it: its members here, and the messages that wait for them.
 *
 * A socket write takes about 7 us, so a flush to 15,000 members held the loop for a tenth of a second, and then all of them
 * waited for the next. So a room's members stand in cohorts, each with topics and pending messages of its own, and the
 * scheduler flushes one at a time, each with everything since ITS last flush. The room is its own first cohort and small
 * rooms have no other; nobody ever moves from one to another.
 *
 * What FanoutGroup has and is not overridden here (flush(), flushedOffset, the counts) is the first cohort's alone.
 *
 * Life: PENDING from the first request that names it until the sequencer has numbered it, then ACTIVE; gone when it has
 * neither members nor requests under way. Only then is the sequencer told, so a request can never be overtaken by a
 * vacate of its own bucket.
 *
 * Threads: its bucket.
 * Guarantees: every cohort is given every message, so each is in order and without a hole by itself; a channel is in one
 *   cohort from its join to its leave. One that leaves and comes back before every cohort has been flushed may stand in one
 *   that is further behind, and read again what it has had: an extended client sees it by the offsets (the join's answer
 *   goes back, too), a plain one cannot.
 * Hot path: append().
 */
import { type FanoutContext, FanoutGroup } from './fanout-group.js';

const utf8 = new TextEncoder();

/**
 * Most members of one cohort, and of one slice of a flush. In a room of 15,000, cohorts of 1,024, 2,048 and 4,096 all cut p99
 * from 255 to about 155 ms for no CPU; in a room of 2,000, two halves win a tenth of p99 and cost 5 to 15 %
 * (bench:e2e big-room and room, one bucket). So what a flush reaches within 15 ms is left whole.
 */
export const COHORT_MEMBERS = 2_048;

/** Members of a room that are flushed together; what a channel refers to as "the room it is in". */
export abstract class RoomCohort extends FanoutGroup {
  /** Channels that stand here, slow ones included. */
  placedCount = 0;

  abstract readonly shard: RoomShard;

  /** Go on behind this place; what waits belongs in front of it and leaves first. */
  continueBehind(epoch: number, offset: number): void {
    this.flush();
    this.epoch = epoch;
    this.lastOffset = offset;
  }
}

class LaterCohort extends RoomCohort {
  readonly shard: RoomShard;

  constructor(context: FanoutContext, topic: string, roomUtf8: Uint8Array, shard: RoomShard) {
    super(context, topic, roomUtf8);
    this.shard = shard;
    this.epoch = shard.epoch;
    this.lastOffset = shard.lastOffset;
  }
}

export class RoomShard extends RoomCohort {
  readonly #context: FanoutContext;
  readonly #topic: string;
  readonly #cohortMembers: number;
  readonly room: string;
  /** 0 while pending. */
  roomNo = 0;
  /** Channels in the room in this bucket, slow ones included. */
  memberCount = 0;
  /** Requests to the control thread that name this room and are not answered yet. */
  requestCount = 0;
  /** Undefined in a room that never had more members here than one cohort holds. */
  #later: LaterCohort[] | undefined;
  #cohortSerial = 0;

  constructor(context: FanoutContext, topic: string, room: string, cohortMembers: number = COHORT_MEMBERS) {
    super(context, topic, utf8.encode(room));
    this.#cohortMembers = cohortMembers;
    this.#context = context;
    this.#topic = topic;
    this.room = room;
  }

  get shard(): RoomShard {
    return this;
  }

  get active(): boolean {
    return this.roomNo !== 0;
  }

  get cohortCount(): number {
    return 1 + (this.#later?.length ?? 0);
  }

  /** One member more: the cohort it stands in. The first that is not full, so that leaves do not scatter the members. */
  place(): RoomCohort {
    const cohort = this.#firstWithRoom() ?? this.#openCohort();
    cohort.placedCount += 1;
    this.memberCount += 1;
    return cohort;
  }

  /** One member less. Call after it was unsubscribed. */
  displace(cohort: RoomCohort): void {
    cohort.placedCount -= 1;
    this.memberCount -= 1;
    if (cohort === this || cohort.placedCount > 0) return;
    cohort.discard();
    this.#later = this.#later?.filter((other) => other !== cohort);
    if (this.#later?.length === 0) this.#later = undefined;
  }

  override append(
    bytes: Uint8Array,
    idOffset: number,
    outerOffset: number,
    innerOffset: number,
    packetBytes: number,
    offset: number,
  ): void {
    super.append(bytes, idOffset, outerOffset, innerOffset, packetBytes, offset);
    const later = this.#later;
    if (later === undefined) return;
    for (let index = 0; index < later.length; index++) {
      later[index]!.append(bytes, idOffset, outerOffset, innerOffset, packetBytes, offset);
    }
  }

  /** Has any cohort a subscriber of the extended form? */
  get hasExtended(): boolean {
    return this.extendedCount > 0 || (this.#later?.some((cohort) => cohort.extendedCount > 0) ?? false);
  }

  /** In every cohort: a message behind the place must find none in front of it. */
  override continueBehind(epoch: number, offset: number): void {
    super.continueBehind(epoch, offset);
    if (this.#later !== undefined) for (const cohort of this.#later) cohort.continueBehind(epoch, offset);
  }

  /** Forget what is pending in every cohort. */
  override discard(): void {
    super.discard();
    if (this.#later !== undefined) for (const cohort of this.#later) cohort.discard();
  }

  #firstWithRoom(): RoomCohort | undefined {
    if (this.placedCount < this.#cohortMembers) return this;
    return this.#later?.find((cohort) => cohort.placedCount < this.#cohortMembers);
  }

  #openCohort(): RoomCohort {
    this.#cohortSerial += 1;
    const topic = `${this.#topic}#${this.#cohortSerial.toString(36)}`;
    const cohort = new LaterCohort(this.#context, topic, utf8.encode(this.room), this);
    if (this.#later === undefined) this.#later = [cohort];
    else this.#later.push(cohort);
    return cohort;
  }
}
