/**
 * The four bytes of heartbeat bodies: a big-endian int32. In op 3 the number of members online in the client's room; in
 * op 2, optionally, the client's own interval in seconds (goim ignores the body of op 2, so anything may stand there).
 */
import { readInt32 } from './packet.js';

export const HEARTBEAT_BODY_BYTES = 4;
/** What `readHeartbeatBody` returns where there is no usable number. */
export const HEARTBEAT_BODY_NONE = -1;

/** Write `value`, an integer from 0 to 2^31-1, at `offset`. @returns the offset behind it */
export function writeHeartbeatBody(view: DataView, offset: number, value: number): number {
  view.setInt32(offset, value);
  return offset + HEARTBEAT_BODY_BYTES;
}

/** The body in a fresh buffer of 4 bytes. */
export function encodeHeartbeatBody(value: number): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(HEARTBEAT_BODY_BYTES);
  writeHeartbeatBody(new DataView(body.buffer), 0, value);
  return body;
}

/** The number in `bodyBytes` bytes at `offset`, or `HEARTBEAT_BODY_NONE` if they are not exactly 4 or it is negative. */
export function readHeartbeatBody(bytes: Uint8Array, offset: number, bodyBytes: number): number {
  if (bodyBytes !== HEARTBEAT_BODY_BYTES) return HEARTBEAT_BODY_NONE;
  const value = readInt32(bytes, offset);
  return value < 0 ? HEARTBEAT_BODY_NONE : value;
}
