/** The reason of a WebSocket close frame, which RFC 6455 gives 123 bytes. */
const MAX_BYTES = 123;

export function closeReason(text: string): string {
  let reason = text;
  while (Buffer.byteLength(reason) > MAX_BYTES) reason = reason.slice(0, -1);
  return reason;
}
