/** Small things that the end of a channel needs. */
import type { Channel } from './channel.js';

/** At a stop, behind the drain time: for answers of other buckets that go through this one. */
export const SETTLE_MS = 200;

/** Of a close with BUCKET_FAILED where the bucket goes on. */
export const STALLED_REASON = 'the bucket stalled and lost messages';

/** RFC 6455: a close reason has at most 123 bytes. */
const MAX_REASON_BYTES = 123;

/** As much of the text as fits, cut between characters. */
export function closeReason(text: string): string {
  let reason = text;
  while (Buffer.byteLength(reason) > MAX_REASON_BYTES) reason = reason.slice(0, -1);
  return reason;
}

/** What its client has not taken yet: such a channel is closed last. */
export function unsentBytes(channel: Channel): number {
  return channel.socket?.getBufferedAmount() ?? 0;
}

/** `close` takes channels out of what is walked. */
export function closeEach(channels: Iterable<Channel>, close: (channel: Channel) => void): void {
  for (const channel of [...channels]) close(channel);
}
