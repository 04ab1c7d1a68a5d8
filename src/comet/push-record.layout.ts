/**
 * Layout of the records that carry a push from the control thread to the buckets, as raw ring records.
 *
 * A push is encoded once, by the sequencer, as the bytes that a plain client will see: outer op-9 header and inner
 * packet stand back to back, so a lone large message leaves as a view of the ring.
 *
 *   byte   0        4        8                16               24                40                      end
 *          +--------+--------+----------------+----------------+-----------------+-----------------------+---------
 *          | subject| speed  | message id     | offset         | outer op-9      | inner goim packet     | targets
 *          | u32    | u32    | 8 B big-endian | f64            | header, 16 B    | 16 B header + body    | (direct)
 *          +--------+--------+----------------+----------------+-----------------+-----------------------+---------
 *
 *   subject  room number (ROOM_PUSH), number of target groups (DIRECT_PUSH), 0 (ALL_PUSH)
 *   speed    channels per second and bucket, 0 = at once (ALL_PUSH); 1 = whatever the watch set says (DIRECT_PUSH)
 *   offset   the room's (ROOM_PUSH) or the node's "all" offset (ALL_PUSH)
 *   targets  DIRECT_PUSH only, from the next multiple of 8: per group u32 thread, u32 count, count x f64 connection id
 *
 * A GAP record ends after the offset: `subject` is the room's number or 0, `speed` a GAP_SCOPE, `offset` the one that the gap
 * spends (0 for direct).
 *
 * ROOM_PLACE has no push: `subject` is the room number, `speed` 1 where the members are told a Gap, then at 8 the room's
 * epoch from here on (f64) and at 16 the offset it stands at (f64).
 *
 * Integers of the record itself are little-endian; the packets inside are goim's, big-endian.
 */

/** Kinds of raw records of this room (16 and up belong to upper layers). */
export const RAW_KIND = {
  CONTROL: 16,
  ROOM_PUSH: 17,
  DIRECT_PUSH: 18,
  ALL_PUSH: 19,
  GAP: 20,
  /** The other way: client-message.layout.ts. */
  CLIENT_MESSAGE: 21,
  ROOM_PLACE: 24,
} as const;

export const SUBJECT_OFFSET = 0;
export const SPEED_OFFSET = 4;
export const MESSAGE_ID_OFFSET = 8;
export const OFFSET_OFFSET = 16;
/** ROOM_PLACE only. */
export const EPOCH_OFFSET = 8;
export const PLACE_BYTES = 24;
export const OUTER_OFFSET = 24;
export const INNER_OFFSET = 40;

/** Whose messages were missed, in a GAP record. */
export const GAP_SCOPE = { ROOM: 1, DIRECT: 2, ALL: 3 } as const;
export type GapScopeCode = (typeof GAP_SCOPE)[keyof typeof GAP_SCOPE];
/** Length of a GAP record. */
export const GAP_RECORD_BYTES = 24;

/** Where the targets of a direct push begin, for an inner packet of `packetBytes`. */
export function targetsOffset(packetBytes: number): number {
  return (INNER_OFFSET + packetBytes + 7) & ~7;
}

export const TARGET_GROUP_HEADER_BYTES = 8;
export const TARGET_BYTES = 8;
