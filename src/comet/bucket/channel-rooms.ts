/**
 * Moves channels between rooms: membership, topics, counts.
 *
 * Threads: its bucket.
 * Guarantees: a channel is a member of a room at most once (goim W3: re-joining one's own room removed one from it); the
 *   topic is subscribed when the membership is made, so no message in between is missed.
 */
import { CLIENT_ERROR, type ClientError } from '../../errors/index.js';
import type { RoomReply } from '../../protocol/index.js';
import { CHANNEL_STATE, type Channel } from './channel.js';
import type { RoomCohort, RoomShard } from './room-shard.js';
import type { RoomShards } from './room-shards.js';
import { roomsOf, type Subscriptions } from './subscriptions.js';

function failed(room: string, error: ClientError): RoomReply {
  return { room, epoch: 0, offset: 0, error };
}

/** Take the cohort out of the rooms besides the primary one; a channel without any keeps no list. */
function removeOther(channel: Channel, cohort: RoomCohort): void {
  const index = channel.otherRooms?.indexOf(cohort) ?? -1;
  if (index < 0) return;
  channel.otherRooms?.splice(index, 1);
  if (channel.otherRooms?.length === 0) channel.otherRooms = undefined;
}

export class ChannelRooms {
  readonly #shards: RoomShards;
  readonly #subscriptions: Subscriptions;
  readonly #roomsPerChannel: number;
  readonly #onRefused: () => void;

  /**
   * @param roomsPerChannel rooms a channel may be in besides its primary one
   * @param onRefused called for each room that a channel asked for and cannot be in
   */
  constructor(
    shards: RoomShards,
    subscriptions: Subscriptions,
    roomsPerChannel: number,
    onRefused: () => void = () => {},
  ) {
    this.#shards = shards;
    this.#subscriptions = subscriptions;
    this.#roomsPerChannel = roomsPerChannel;
    this.#onRefused = onRefused;
  }

  /** Make the channel a member of an active shard, as its primary room or as one more. No-op where it is one already. */
  enter(channel: Channel, shard: RoomShard, primary: boolean): void {
    if (channel.isIn(shard)) return;
    const cohort = this.#shards.memberJoined(shard);
    if (primary) channel.primaryRoom = cohort;
    else if (channel.otherRooms === undefined) channel.otherRooms = [cohort];
    else channel.otherRooms.push(cohort);
    this.#subscriptions.subscribe(channel, cohort);
  }

  /** End a membership. No-op where there is none. */
  exit(channel: Channel, shard: RoomShard): void {
    const cohort = channel.cohortIn(shard);
    if (cohort === undefined) return;
    if (channel.primaryRoom === cohort) channel.primaryRoom = undefined;
    else removeOther(channel, cohort);
    this.#subscriptions.unsubscribe(channel, cohort);
    this.#shards.memberLeft(cohort);
  }

  exitAll(channel: Channel): void {
    for (const { shard } of roomsOf(channel)) this.exit(channel, shard);
  }

  /** Move the primary room to `room`, or leave it for ''. `done(false)`: refused, the channel stays where it was. */
  changePrimary(channel: Channel, room: string, done: (changed: boolean) => void): void {
    if (room === '') {
      if (channel.primaryRoom !== undefined) this.exit(channel, channel.primaryRoom.shard);
      done(true);
      return;
    }
    if (channel.primaryRoom?.shard.room === room) {
      done(true);
      return;
    }
    this.#shards.open([room], ([shard]) => {
      if (shard === undefined || !shard.active || channel.state === CHANNEL_STATE.CLOSED) {
        if (channel.state !== CHANNEL_STATE.CLOSED) this.#onRefused();
        done(false);
        return;
      }
      // Enter first: the room that stays must not be closed and opened again in between.
      const previous = channel.primaryRoom;
      channel.primaryRoom = undefined;
      const cohort = channel.cohortIn(shard);
      if (cohort !== undefined) {
        removeOther(channel, cohort);
        channel.primaryRoom = cohort;
      } else {
        this.enter(channel, shard, true);
      }
      if (previous !== undefined) {
        this.#subscriptions.unsubscribe(channel, previous);
        this.#shards.memberLeft(previous);
      }
      done(true);
    });
  }

  /** Join rooms besides the primary one. `allowed` is asked per room; results stand in the order of `rooms`. */
  join(
    channel: Channel,
    rooms: readonly string[],
    check: (room: string) => ClientError | undefined,
    done: (results: readonly RoomReply[]) => void,
  ): void {
    const refusals = rooms.map(check);
    const accepted = rooms.filter((_, index) => refusals[index] === undefined);
    this.#shards.open(accepted, (shards) => {
      if (channel.state === CHANNEL_STATE.CLOSED) return;
      let next = 0;
      done(
        rooms.map((room, index) => {
          const refusal = refusals[index];
          if (refusal !== undefined) {
            this.#onRefused();
            return failed(room, refusal);
          }
          const shard = shards[next];
          next += 1;
          if (shard === undefined || !shard.active) {
            this.#onRefused();
            return failed(room, CLIENT_ERROR.NODE_ROOMS_FULL);
          }
          if (!channel.isIn(shard) && channel.otherRoomCount() >= this.#roomsPerChannel) {
            this.#onRefused();
            return failed(room, CLIENT_ERROR.TOO_MANY_ROOMS);
          }
          this.enter(channel, shard, false);
          return { room, epoch: shard.epoch, offset: (channel.cohortIn(shard) ?? shard).flushedOffset };
        }),
      );
    });
  }

  /** A room was refused before it came here. */
  refuse(): void {
    this.#onRefused();
  }

  /** Put the channel into an active shard at the backend's wish, if it may be in one more. */
  enterAsked(channel: Channel, shard: RoomShard): void {
    const fits = channel.isIn(shard) || channel.otherRoomCount() < this.#roomsPerChannel;
    if (shard.active && fits) this.enter(channel, shard, false);
    else this.#onRefused();
  }

  leave(channel: Channel, rooms: readonly string[]): RoomReply[] {
    return rooms.map((room) => {
      const shard = this.#shards.byRoom(room);
      const cohort = shard === undefined ? undefined : channel.cohortIn(shard);
      if (shard === undefined || cohort === undefined) return failed(room, CLIENT_ERROR.NOT_MEMBER);
      const result = { room, epoch: shard.epoch, offset: cohort.flushedOffset };
      this.exit(channel, shard);
      return result;
    });
  }
}
