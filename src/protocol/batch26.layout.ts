/**
 * Layout of an op-26 batch: goim's packet header (op 26, ver 1, seq 0), then, big-endian:
 *
 * ```text
 * +0        u16  bytes of the room id (0: no room)
 * +2        the room id, UTF-8                          r bytes
 * +2+r      u64  roomEpoch
 * +10+r     u64  offset of the first message
 * +18+r     message 0:  u64 message id | one goim packet
 *           message 1:  u64 message id | one goim packet     its offset is the first one's plus 1, and so on
 *           ...                                              to the end of the body
 * ```
 *
 * A batch holds contiguous offsets only; after a hole a new batch begins.
 * No room and roomEpoch 0: a direct push (by key or mid), the offset is 0 and counts nothing. No room and another
 * roomEpoch: the node's sequence of pushes to all.
 */
import { PACKET_HEADER_BYTES } from './packet.layout.js';
import { U64_BYTES } from './u64.js';

export const ROOM_LENGTH_BYTES = 2;
/** Bytes of an op-26 batch in front of its first message, without the room id. */
export const BATCH26_FIXED_BYTES = PACKET_HEADER_BYTES + ROOM_LENGTH_BYTES + U64_BYTES + U64_BYTES;
/** Bytes in front of each message's packet. */
export const BATCH26_ID_BYTES = U64_BYTES;
/** Longest room id the layout can hold. */
export const BATCH26_MAX_ROOM_BYTES = 0xffff;
