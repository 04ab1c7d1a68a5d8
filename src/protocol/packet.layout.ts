/**
 * Layout of goim's packet header: 16 bytes, all integers big-endian and signed.
 *
 * ```text
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * | 0   packet length in bytes, header included          int32    |
 * +-------------------------------+-------------------------------+
 * | 4   header length (16)  int16 | 6   ver                 int16 |
 * +-------------------------------+-------------------------------+
 * | 8   op                                               int32    |
 * +---------------------------------------------------------------+
 * | 12  seq                                              int32    |
 * +---------------------------------------------------------------+
 * | 16  body, packet length - 16 bytes                            |
 * ```
 */

export const PACKET_LENGTH_OFFSET = 0;
export const HEADER_LENGTH_OFFSET = 4;
export const VER_OFFSET = 6;
export const OP_OFFSET = 8;
export const SEQ_OFFSET = 12;
/** Size of the header, and the only value its own length field may have. */
export const PACKET_HEADER_BYTES = 16;

/** `ver` of everything the server pushes. Replies copy the request's. */
export const PUSH_VER = 1;
/** `seq` of everything the server pushes. Replies copy the request's. */
export const PUSH_SEQ = 0;
