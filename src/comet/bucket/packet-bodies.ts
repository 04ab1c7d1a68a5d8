/** Checks of what stands in packets from clients, and in what applications answer to them. */
import type { PacketHeader } from '../../protocol/index.js';

/** Body bytes that really are there: a length of 0 to 15 means an empty body. */
export function bodyBytesIn(bytes: Uint8Array, header: PacketHeader): number {
  return Math.max(0, Math.min(header.bodyBytes, bytes.length - header.bodyOffset));
}

/** What a listener returned, as a body. An application written in JavaScript may return anything: wire bytes may not. */
export function checkedReply(reply: unknown): string | Uint8Array | undefined {
  if (reply === undefined || reply === null) return undefined;
  if (typeof reply === 'string' || reply instanceof Uint8Array) return reply;
  throw new TypeError(`a listener answers with nothing, a string or a Uint8Array: type=${typeof reply}`);
}

export function isRoomList(value: unknown, maxCount: number): value is string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= maxCount &&
    value.every((room) => typeof room === 'string')
  );
}
