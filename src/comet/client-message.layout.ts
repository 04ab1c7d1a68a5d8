/**
 * Layout of the record that carries a client's message from its bucket to the control thread, where upstream is on.
 *
 *   byte 0        8        16     20     24      26      28
 *        +--------+--------+------+------+-------+-------+------+------+------
 *        | connId | mid    | op   | seq  | key   | room  | key  | room | body
 *        | f64    | f64    | i32  | i32  | bytes | bytes | utf8 | utf8 |
 *        +--------+--------+------+------+-------+-------+------+------+------
 *
 * Little-endian; key and room lengths are u16. What the record does not say (platform, address) the session does.
 */
export const CONN_ID_OFFSET = 0;
export const MID_OFFSET = 8;
export const OP_OFFSET = 16;
export const SEQ_OFFSET = 20;
export const KEY_BYTES_OFFSET = 24;
export const ROOM_BYTES_OFFSET = 26;
export const TEXT_OFFSET = 28;
/** What a u16 can count; longer keys and rooms do not exist (op 7 has 4 KiB, rooms limits.room_id_bytes). */
export const MAX_TEXT_BYTES = 65_535;
