/**
 * The envelope of one message of a room with history, as it travels on the room's channel and lies in its stream.
 *
 * ```text
 * +0    u8    0xc1: this form, version 1. No MessagePack value begins so: other envelopes on a channel can be told apart
 * +1    u64   roomEpoch
 * +9    u64   offset in the room
 * +17   u64   message id          \
 * +25   i32   operation            | the message: what the caller encodes and what the stream keeps
 * +29   body, to the end          /
 * ```
 *
 * All big-endian. Epoch and offset stand in front, so that the script that draws them writes 17 bytes and appends the rest as
 * it came (store/redis/history-append.lua).
 *
 * Guarantees: decoders never throw; an epoch or offset of 2^53 and above is refused. Bodies are views of what was given.
 */
import { readInt32 } from './packet.js';
import { readU64, U64_BYTES, U64_UNSAFE } from './u64.js';

export const HISTORY_ENVELOPE_FORM = 0xc1;
export const HISTORY_PREFIX_BYTES = 1 + U64_BYTES + U64_BYTES;
export const HISTORY_MESSAGE_HEADER_BYTES = U64_BYTES + 4;

/** One kept message without its place. */
export interface HistoryRecord {
  /** 8 bytes. */
  readonly messageId: Uint8Array;
  readonly op: number;
  readonly body: Uint8Array;
}

export interface HistoryEnvelope extends HistoryRecord {
  readonly epoch: number;
  readonly offset: number;
}

/** @param messageId 8 bytes, copied like the body */
export function encodeHistoryRecord(op: number, body: Uint8Array, messageId: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HISTORY_MESSAGE_HEADER_BYTES + body.length);
  bytes.set(messageId.subarray(0, U64_BYTES), 0);
  new DataView(bytes.buffer).setInt32(U64_BYTES, op);
  bytes.set(body, HISTORY_MESSAGE_HEADER_BYTES);
  return bytes;
}

/** undefined: too short. The parts are views of `bytes`. */
export function decodeHistoryRecord(bytes: Uint8Array): HistoryRecord | undefined {
  if (bytes.length < HISTORY_MESSAGE_HEADER_BYTES) return undefined;
  return {
    messageId: bytes.subarray(0, U64_BYTES),
    op: readInt32(bytes, U64_BYTES),
    body: bytes.subarray(HISTORY_MESSAGE_HEADER_BYTES),
  };
}

/** undefined: not this form, too short, or a number that cannot be exact. The parts are views of `bytes`. */
export function decodeHistoryEnvelope(bytes: Uint8Array): HistoryEnvelope | undefined {
  if (bytes.length < HISTORY_PREFIX_BYTES || bytes[0] !== HISTORY_ENVELOPE_FORM) return undefined;
  const epoch = readU64(bytes, 1);
  const offset = readU64(bytes, 1 + U64_BYTES);
  if (epoch === U64_UNSAFE || offset === U64_UNSAFE || epoch === 0 || offset === 0) return undefined;
  const record = decodeHistoryRecord(bytes.subarray(HISTORY_PREFIX_BYTES));
  return record === undefined ? undefined : { epoch, offset, ...record };
}
