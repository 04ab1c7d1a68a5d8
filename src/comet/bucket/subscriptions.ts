/**
 * Which topics a channel is subscribed to, and the flow for channels that uWS had to drop messages for (slow ones).
 *
 * `dropped` fires inside uWS's own walk over subscribers, where close, end, send and unsubscribe crash; so it only marks.
 * In setImmediate, which runs after that walk, the channel leaves its topics. When its buffer has drained it is told a Gap
 * per room, one for "all" and one for direct pushes, and subscribes again: what it missed is accounted for, nobody else
 * waited, and its memory never exceeded slow.max_backpressure_bytes by more than one drained batch.
 *
 * Threads: its bucket.
 */
import type { Codec } from '../../protocol/index.js';
import { encodeGap, type GapBody, OP } from '../../protocol/index.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import type { FanoutGroup } from './fanout-group.js';
import type { RoomCohort, RoomShard } from './room-shard.js';

export interface SubscriptionsLinks {
  readonly sendControl: (channel: Channel, op: number, body: Uint8Array) => void;
  /** Close a channel that has been slow for too long. */
  readonly closeSlow: (channel: Channel) => void;
  readonly onMarked: () => void;
  readonly onRecovered: () => void;
  readonly onGapSent: () => void;
  /** Runs `fn` so that no exception escapes. */
  readonly guard: (fn: () => void) => void;
}

export function codecOf(channel: Channel): Codec {
  return channel.has(CHANNEL_FLAG.MSGPACK) ? 'msgpack' : 'json';
}

export class Subscriptions {
  readonly #links: SubscriptionsLinks;
  readonly #closeAfterS: number;
  readonly #extendedCloseAfterS: number;
  /** Marked by `dropped`, still in their topics. */
  #marked: Channel[] = [];
  readonly #slow = new Set<Channel>();
  /** Offset of the newest push to all, for its Gap. */
  readonly #allPosition: () => { readonly epoch: number; readonly offset: number };

  /**
   * @param closeAfterMs how long a plain channel may stay slow
   * @param extendedCloseAfterMs the same for an extended one; 0: for ever
   */
  constructor(
    links: SubscriptionsLinks,
    closeAfterMs: number,
    allPosition: () => { readonly epoch: number; readonly offset: number },
    extendedCloseAfterMs = 0,
  ) {
    this.#links = links;
    this.#closeAfterS = closeAfterMs / 1000;
    this.#extendedCloseAfterS = extendedCloseAfterMs > 0 ? extendedCloseAfterMs / 1000 : Infinity;
    this.#allPosition = allPosition;
  }

  get slowCount(): number {
    return this.#slow.size;
  }

  /** Subscribe the channel to a group. A slow channel follows when it has recovered. */
  subscribe(channel: Channel, group: FanoutGroup): void {
    if (channel.has(CHANNEL_FLAG.OUT) || channel.socket === undefined) return;
    if (channel.has(CHANNEL_FLAG.EXTENDED)) {
      channel.socket.subscribe(group.topicExtended);
      group.extendedCount += 1;
    } else {
      channel.socket.subscribe(group.topicPlain);
      group.plainCount += 1;
    }
  }

  unsubscribe(channel: Channel, group: FanoutGroup): void {
    if (channel.has(CHANNEL_FLAG.OUT)) return;
    const extended = channel.has(CHANNEL_FLAG.EXTENDED);
    if (extended) group.extendedCount -= 1;
    else group.plainCount -= 1;
    // After the close handler uWS has left all topics already and the socket must not be touched.
    if (channel.state !== CHANNEL_STATE.CLOSED && channel.socket !== undefined) {
      channel.socket.unsubscribe(extended ? group.topicExtended : group.topicPlain);
    }
  }

  /** From uWS `dropped`, or after a send that was dropped: mark only. */
  mark(channel: Channel): void {
    if (channel.has(CHANNEL_FLAG.SLOW) || channel.state !== CHANNEL_STATE.READY) return;
    channel.flags |= CHANNEL_FLAG.SLOW;
    this.#links.onMarked();
    if (this.#marked.length === 0) setImmediate(() => this.#links.guard(() => this.#leaveTopics()));
    this.#marked.push(channel);
  }

  /** From uWS `drain`: the channel may have caught up. */
  drained(channel: Channel): void {
    if (!channel.has(CHANNEL_FLAG.OUT) || channel.socket === undefined || channel.socket.getBufferedAmount() > 0)
      return;
    this.#slow.delete(channel);
    channel.flags &= ~(CHANNEL_FLAG.SLOW | CHANNEL_FLAG.OUT);
    this.#links.onRecovered();
    if (channel.has(CHANNEL_FLAG.EXTENDED)) this.#sendGaps(channel);
    for (const group of groupsOf(channel)) this.subscribe(channel, group);
  }

  /** Tell an extended channel that it missed something which never reached this node. */
  tellGap(channel: Channel, gap: GapBody): void {
    this.#sendGap(channel, codecOf(channel), gap);
  }

  /** The channel is gone. Call before its groups are left. */
  forget(channel: Channel): void {
    // One that is marked and not yet out is still counted by its groups; #leaveTopics skips it by its state.
    if (channel.has(CHANNEL_FLAG.OUT)) this.#slow.delete(channel);
  }

  /**
   * Once a second: close channels that stay slow. Plain ones cannot be told what they miss; extended ones can, but one that
   * never reads and sends heartbeats would otherwise keep its buffer for ever.
   */
  tick(nowS: number): void {
    for (const channel of this.#slow) {
      if (channel.slowSinceS === 0) channel.slowSinceS = nowS;
      else {
        const afterS = channel.has(CHANNEL_FLAG.EXTENDED) ? this.#extendedCloseAfterS : this.#closeAfterS;
        if (nowS - channel.slowSinceS >= afterS) this.#links.closeSlow(channel);
      }
    }
  }

  #leaveTopics(): void {
    const marked = this.#marked;
    this.#marked = [];
    for (const channel of marked) {
      if (channel.state !== CHANNEL_STATE.READY) continue;
      for (const group of groupsOf(channel)) this.unsubscribe(channel, group);
      channel.slowSinceS = 0;
      channel.flags |= CHANNEL_FLAG.OUT;
      this.#slow.add(channel);
      // It may have drained between the drop and now; no further drain event would come then.
      this.drained(channel);
    }
  }

  #sendGaps(channel: Channel): void {
    const codec = codecOf(channel);
    for (const { shard, epoch, flushedOffset } of roomsOf(channel)) {
      this.#sendGap(channel, codec, { scope: 'room', room: shard.room, epoch, to: flushedOffset });
    }
    const all = this.#allPosition();
    const allTo = channel.watch?.flushedOffset ?? all.offset;
    this.#sendGap(channel, codec, { scope: 'all', room: '', epoch: all.epoch, to: Math.max(allTo, 0) });
    this.#sendGap(channel, codec, { scope: 'direct', room: '', epoch: 0, to: 0 });
  }

  /**
   * Members of a room missed messages up to where their cohort stands now. Channels that are out of their topics hear it on
   * return.
   */
  tellRoomGap(channels: Iterable<Channel>, shard: RoomShard, unplaced: boolean): void {
    if (!shard.hasExtended) return;
    for (const channel of channels) {
      if (channel.state !== CHANNEL_STATE.READY || !channel.has(CHANNEL_FLAG.EXTENDED)) continue;
      if (channel.has(CHANNEL_FLAG.OUT)) continue;
      const cohort = channel.cohortIn(shard);
      if (cohort === undefined) continue;
      const { epoch, flushedOffset } = cohort;
      this.#sendGap(channel, codecOf(channel), { scope: 'room', room: shard.room, epoch, to: flushedOffset, unplaced });
    }
  }

  #sendGap(channel: Channel, codec: Codec, gap: GapBody): void {
    this.#links.sendControl(channel, OP.GAP, encodeGap(codec, gap));
    this.#links.onGapSent();
  }
}

/** The rooms of a channel, as the cohorts it stands in, the primary one first. */
export function roomsOf(channel: Channel): RoomCohort[] {
  const cohorts: RoomCohort[] = [];
  if (channel.primaryRoom !== undefined) cohorts.push(channel.primaryRoom);
  if (channel.otherRooms !== undefined) cohorts.push(...channel.otherRooms);
  return cohorts;
}

/** Everything a channel is subscribed to: its rooms and its watch set. */
export function groupsOf(channel: Channel): FanoutGroup[] {
  const groups: FanoutGroup[] = roomsOf(channel);
  if (channel.watch !== undefined) groups.push(channel.watch);
  return groups;
}
