/**
 * Takes the pushes that the control thread's ring brings to where they wait for the end of the turn: rooms and watch sets
 * to their groups, single channels to the outbox, paced broadcasts to their walk.
 *
 * Threads: its bucket. The bytes of a record are valid until return; everything kept is copied.
 * Hot path: onRoomPush(), onDirectPush(), onAllPush(): nothing is allocated per record.
 */
import { OP_OFFSET, readInt32 } from '../../protocol/index.js';
import {
  EPOCH_OFFSET,
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  OUTER_OFFSET,
  SPEED_OFFSET,
  SUBJECT_OFFSET,
  TARGET_BYTES,
  TARGET_GROUP_HEADER_BYTES,
  targetsOffset,
} from '../push-record.layout.js';
import { CHANNEL_FLAG, CHANNEL_STATE } from './channel.js';
import type { ChannelSlots } from './channel-slots.js';
import type { DirectOutbox } from './direct-outbox.js';
import type { GapRecords } from './gap-records.js';
import type { PacedBroadcasts } from './paced-broadcasts.js';
import type { RoomShard } from './room-shard.js';
import type { RoomShards } from './room-shards.js';
import type { WatchSets } from './watch-sets.js';

export interface PushRecordParts {
  readonly thread: number;
  readonly shards: RoomShards;
  readonly watchSets: WatchSets;
  readonly slots: ChannelSlots;
  readonly outbox: DirectOutbox;
  readonly broadcasts: PacedBroadcasts;
  readonly gaps: GapRecords;
  /** Everything that was pushed to the room in front of this has left: tell its extended members a Gap. */
  readonly tellRoomGap: (shard: RoomShard, unplaced: boolean) => void;
}

export class PushRecords {
  readonly #parts: PushRecordParts;
  #viewedBytes: Uint8Array | undefined;
  #lastView: DataView | undefined;

  constructor(parts: PushRecordParts) {
    this.#parts = parts;
  }

  onRoomPush(bytes: Uint8Array, offset: number): void {
    const view = this.#view(bytes);
    const shard = this.#parts.shards.byNo(view.getUint32(offset + SUBJECT_OFFSET, true));
    if (shard === undefined) return;
    if (this.#parts.gaps.waitsFor(shard)) this.#parts.gaps.settle();
    shard.append(
      bytes,
      offset + MESSAGE_ID_OFFSET,
      offset + OUTER_OFFSET,
      offset + INNER_OFFSET,
      readInt32(bytes, offset + INNER_OFFSET),
      view.getFloat64(offset + OFFSET_OFFSET, true),
    );
  }

  /** The room goes on at another place: what waits belongs to the old one. */
  onRoomPlace(bytes: Uint8Array, offset: number): void {
    const view = this.#view(bytes);
    const shard = this.#parts.shards.byNo(view.getUint32(offset + SUBJECT_OFFSET, true));
    if (shard === undefined) return;
    // A gap of the old place that is told behind the new one would take the client back.
    if (this.#parts.gaps.waitsFor(shard)) this.#parts.gaps.settle();
    const epoch = view.getFloat64(offset + EPOCH_OFFSET, true);
    const lastOffset = view.getFloat64(offset + OFFSET_OFFSET, true);
    // It stays where it is, and yet something is missing: something that never had a place.
    const unplaced = shard.epoch === epoch && shard.lastOffset === lastOffset;
    shard.continueBehind(epoch, lastOffset);
    if (view.getUint32(offset + SPEED_OFFSET, true) === 1) this.#parts.tellRoomGap(shard, unplaced);
  }

  onAllPush(bytes: Uint8Array, offset: number): void {
    const { broadcasts, gaps, watchSets } = this.#parts;
    if (gaps.waitsForAll) gaps.settle();
    const view = this.#view(bytes);
    const packetBytes = readInt32(bytes, offset + INNER_OFFSET);
    const op = readInt32(bytes, offset + INNER_OFFSET + OP_OFFSET);
    const speedPerSec = view.getUint32(offset + SPEED_OFFSET, true);
    if (speedPerSec > 0) {
      broadcasts.start(bytes, offset + MESSAGE_ID_OFFSET, offset + INNER_OFFSET, packetBytes, op, speedPerSec);
      return;
    }
    watchSets.appendAll(
      op,
      bytes,
      offset + MESSAGE_ID_OFFSET,
      offset + OUTER_OFFSET,
      offset + INNER_OFFSET,
      packetBytes,
      view.getFloat64(offset + OFFSET_OFFSET, true),
    );
  }

  onDirectPush(bytes: Uint8Array, offset: number, lengthBytes: number): void {
    if (this.#parts.gaps.waitsForDirect) this.#parts.gaps.settle();
    const view = this.#view(bytes);
    const packetBytes = readInt32(bytes, offset + INNER_OFFSET);
    const end = offset + lengthBytes;
    let position = offset + targetsOffset(packetBytes);
    while (position < end) {
      const thread = view.getUint32(position, true);
      const count = view.getUint32(position + 4, true);
      position += TARGET_GROUP_HEADER_BYTES;
      if (thread === this.#parts.thread) this.#addTargets(view, position, count, bytes, offset, packetBytes);
      position += count * TARGET_BYTES;
    }
  }

  #addTargets(
    view: DataView,
    firstOffset: number,
    count: number,
    bytes: Uint8Array,
    offset: number,
    packetBytes: number,
  ): void {
    const { slots, outbox } = this.#parts;
    const op = readInt32(bytes, offset + INNER_OFFSET + OP_OFFSET);
    const ignoresWatchSet = view.getUint32(offset + SPEED_OFFSET, true) === 1;
    let begun = false;
    for (let index = 0; index < count; index++) {
      const channel = slots.byConnId(view.getFloat64(firstOffset + index * TARGET_BYTES, true));
      if (channel === undefined || channel.state !== CHANNEL_STATE.READY) continue;
      if (!ignoresWatchSet && !channel.watch?.accepts(op)) continue;
      // What a slow channel misses is covered by the direct Gap it gets when it has caught up.
      if (channel.has(CHANNEL_FLAG.SLOW)) continue;
      if (!begun) {
        begun = true;
        outbox.begin(bytes, offset + MESSAGE_ID_OFFSET, offset + INNER_OFFSET, packetBytes);
      }
      outbox.add(channel);
    }
  }

  /** The view over a ring's bytes: one ring brings all pushes, so the last one nearly always serves. */
  #view(bytes: Uint8Array): DataView {
    if (this.#viewedBytes === bytes && this.#lastView !== undefined) return this.#lastView;
    this.#viewedBytes = bytes;
    this.#lastView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.#lastView;
  }
}
