/**
 * Records of the actor runtime in a ring: the kinds it keeps for itself and the header in front of every body.
 *
 * Layout (Int32, body start is 8-byte aligned, so the message is too):
 *
 *    0         4               8          12                16      20               24
 *    | target  | target        | sender   | sender          | ask   | form, hops ...  | key, padded to 8 | message
 *    | id      | incarnation   | id       | incarnation     | id    | (see packMeta)  |
 *
 * Keyed records: target id = hash of the type's name, target incarnation unused, the key in UTF-8 follows the header.
 * Replies: target id = 0, target incarnation and ask id are those of the asker. Sender id 0 = no sender.
 */

/** Kinds 0 to 15 belong to this room, 16 to 255 to the rooms above (`ThreadRuntime.onRaw`). */
export const KIND = { MESSAGE: 0, KEYED: 1, REPLY: 2, FAILURE: 3 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
export const FIRST_RAW_KIND = 16;
export const LAST_RAW_KIND = 255;

/** How the message is written: msgpack, plain bytes, nothing at all, or the short way of flat-codec.ts. */
export const FORM = { MSGPACK: 0, BYTES: 1, UNDEFINED: 2, FLAT: 3 } as const;
export type Form = (typeof FORM)[keyof typeof FORM];

/** Int32 words of the header, from its start, in the machine's byte order: a ring never leaves its process. */
export const TARGET_ID_WORD = 0;
export const TARGET_INCARNATION_WORD = 1;
export const SENDER_ID_WORD = 2;
export const SENDER_INCARNATION_WORD = 3;
export const ASK_ID_WORD = 4;
export const META_WORD = 5;
export const HEADER_BYTES = 24;

/** A key may have as many UTF-8 bytes as fit in the 16 bits there are for it, less one so that the word stays positive. */
export const MAX_KEY_BYTES = 0x7fff;
/** A keyed record that threads with different views of the placement hand on; more hops than this are a dead letter. */
export const MAX_HOPS = 8;

/** Bits 0 to 3 form, 4 to 7 hops, 8 to 15 the sender's thread (not the ring's: records are handed on), 16 to 30 key bytes. */
export function packMeta(form: Form, hops: number, senderThread: number, keyBytes: number): number {
  return form | (hops << 4) | (senderThread << 8) | (keyBytes << 16);
}
export function formOf(meta: number): Form {
  return (meta & 0xf) as Form;
}
export function hopsOf(meta: number): number {
  return (meta >> 4) & 0xf;
}
export function senderThreadOf(meta: number): number {
  return (meta >> 8) & 0xff;
}
export function keyBytesOf(meta: number): number {
  return meta >>> 16;
}
/** Where the message starts behind a header and `keyBytes` bytes of key. */
export function messageOffset(keyBytes: number): number {
  return HEADER_BYTES + ((keyBytes + 7) & ~7);
}
