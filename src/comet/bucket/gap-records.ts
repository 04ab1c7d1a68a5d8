/**
 * Takes the records that say "messages were lost on their way to this node" (see `CometPort.tellGap`) and tells the extended
 * channels concerned (op 22).
 *
 * A resubscribed node tells a Gap for every room it has, tens of thousands in a row. uWS keeps the members of a topic to
 * itself, so finding them is a walk over the bucket's channels: the gaps of a turn are collected and told in one walk.
 *
 * Threads: its bucket.
 * Guarantees: a channel hears the Gap behind everything that was delivered to that scope before the record, and in front of
 *   what comes after it. Plain channels hear nothing; slow ones get their own Gaps when they have caught up.
 */
import type { GapBody } from '../../protocol/index.js';
import { GAP_SCOPE, OFFSET_OFFSET, SPEED_OFFSET, SUBJECT_OFFSET } from '../push-record.layout.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelSlots } from './channel-slots.js';
import type { DirectOutbox } from './direct-outbox.js';
import type { RoomShard } from './room-shard.js';
import type { RoomShards } from './room-shards.js';
import type { WatchSets } from './watch-sets.js';

export interface GapRecordParts {
  readonly shards: RoomShards;
  readonly watchSets: WatchSets;
  readonly slots: ChannelSlots;
  readonly outbox: DirectOutbox;
  /** Of the node's "all" sequence. */
  readonly allEpoch: number;
  readonly tell: (channel: Channel, gap: GapBody) => void;
}

const DIRECT_GAP: GapBody = { scope: 'direct', room: '', epoch: 0, to: 0 };

export class GapRecords {
  readonly #parts: GapRecordParts;
  readonly #rooms = new Map<RoomShard, GapBody>();
  #all: GapBody | undefined;
  #isDirect = false;

  constructor(parts: GapRecordParts) {
    this.#parts = parts;
  }

  get waitsForAll(): boolean {
    return this.#all !== undefined;
  }

  get waitsForDirect(): boolean {
    return this.#isDirect;
  }

  waitsFor(shard: RoomShard): boolean {
    return this.#rooms.size > 0 && this.#rooms.has(shard);
  }

  onGap(bytes: Uint8Array, start: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const offset = view.getFloat64(start + OFFSET_OFFSET, true);
    switch (view.getUint32(start + SPEED_OFFSET, true)) {
      case GAP_SCOPE.ROOM: {
        const shard = this.#parts.shards.byNo(view.getUint32(start + SUBJECT_OFFSET, true));
        if (shard === undefined) return;
        shard.continueBehind(shard.epoch, offset);
        this.#rooms.set(shard, { scope: 'room', room: shard.room, epoch: shard.epoch, to: offset });
        return;
      }
      case GAP_SCOPE.ALL:
        this.#parts.watchSets.skipTo(offset);
        this.#all = { scope: 'all', room: '', epoch: this.#parts.allEpoch, to: offset };
        return;
      case GAP_SCOPE.DIRECT:
        this.#isDirect = true;
    }
  }

  /** Tell what is to be told: at the end of a turn, and before anything that must come behind it. */
  settle(): void {
    const all = this.#all;
    const isDirect = this.#isDirect;
    if (this.#rooms.size === 0 && all === undefined && !isDirect) return;
    const { outbox, slots, tell } = this.#parts;
    // Direct pushes that came earlier go first.
    if (isDirect && !outbox.isEmpty) outbox.flush();
    for (const channel of slots.all()) {
      if (channel.state !== CHANNEL_STATE.READY || !channel.has(CHANNEL_FLAG.EXTENDED)) continue;
      if (channel.has(CHANNEL_FLAG.SLOW)) continue;
      if (this.#rooms.size > 0) this.#tellRooms(channel);
      if (all !== undefined) tell(channel, all);
      if (isDirect) tell(channel, DIRECT_GAP);
    }
    this.#rooms.clear();
    this.#all = undefined;
    this.#isDirect = false;
  }

  #tellRooms(channel: Channel): void {
    const { primaryRoom, otherRooms } = channel;
    const primary = primaryRoom === undefined ? undefined : this.#rooms.get(primaryRoom.shard);
    if (primary !== undefined) this.#parts.tell(channel, primary);
    if (otherRooms === undefined) return;
    for (const { shard } of otherRooms) {
      const gap = this.#rooms.get(shard);
      if (gap !== undefined) this.#parts.tell(channel, gap);
    }
  }
}
