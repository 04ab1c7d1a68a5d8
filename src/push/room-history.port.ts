/**
 * The kept messages of rooms with history, and the sequence that numbers them. `store/memory-history.ts` keeps them in this
 * process (standalone, and as a node's tail of what it delivered), `store/redis/redis-history.ts` for the whole cluster.
 *
 * A room's life has an epoch; its messages have the offsets 1, 2, 3, ... in it. A room whose record was lost (expired, evicted,
 * Redis came back empty) begins a new life, with an epoch it never had before. Epochs and offsets are below 2^53.
 */
import type { RoomPlace } from './push-command.js';
import type { MaybePromise } from './session.port.js';

export interface HistoryMessage {
  readonly offset: number;
  readonly op: number;
  /** Big-endian, 8 bytes. */
  readonly messageId: Uint8Array;
  readonly body: Uint8Array;
}

/** How much one answer may hold. The first message is given whatever its size. */
export interface RangeLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export type HistoryRange =
  /** Contiguous from the offset that was asked for; none where the room has nothing newer. Less than all where a limit says so. */
  | { readonly isRecoverable: true; readonly place: RoomPlace; readonly messages: readonly HistoryMessage[] }
  /**
   * Another epoch, an offset the room has not reached, or messages that are not kept any more. `place`: where the room
   * stands; `firstOffset`: the oldest that is kept, `place.offset + 1` where none is.
   */
  | { readonly isRecoverable: false; readonly place: RoomPlace; readonly firstOffset: number };

/** Asked for rooms with history only. What cannot be answered rejects: HalleyError REDIS_AWAY. */
export interface RoomHistory {
  hasHistory(room: string): boolean;
  /**
   * Number, keep and (over Redis) publish one message, in one step. A message id that is among the room's last ones is not
   * appended again: the place that it has is the answer.
   */
  append(room: string, op: number, body: Uint8Array, messageId: Uint8Array): MaybePromise<RoomPlace>;
  /** Messages from `fromOffset` on. */
  range(room: string, epoch: number, fromOffset: number, limits: RangeLimits): MaybePromise<HistoryRange>;
  /** Where the room stands. A room without a record begins its life with this. */
  position(room: string): MaybePromise<RoomPlace>;
  /**
   * The room went back: its store lost messages that were delivered (a failover, a restart from an older disk). Begin a new
   * life unless another node has done so: then `epoch` is not the room's any more.
   */
  renew(room: string, epoch: number): MaybePromise<RoomPlace>;
}
