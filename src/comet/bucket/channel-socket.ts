/**
 * What a channel asks of the socket beneath it, whatever the transport: the part of uWS's WebSocket that a bucket uses.
 * uWS's own object is one as it stands, so nothing lies between a WebSocket channel and C++.
 *
 * Threads: its bucket.
 */
import type { Channel } from './channel.js';

/** What `send` answers: uWS's own numbers. */
export const SOCKET_ANSWER = {
  /** Accepted, and waits behind what the kernel has not taken yet. */
  BUFFERED: 0,
  SENT: 1,
  /** More than slow.max_backpressure_bytes waits: not sent. The channel must be marked slow. */
  DROPPED: 2,
} as const;

export interface ChannelSocket {
  channel?: Channel | undefined;
  /**
   * The client's address as text where the socket does not know it itself: behind a trusted proxy, and on every transport but
   * the WebSocket.
   */
  clientAddress?: string | undefined;
  /** What `Admission.enter` answered for it, where the door asked. */
  admissionTicket?: number | undefined;
  /** Finished wire bytes, one or more packets; copied or written before the call returns. Returns a SOCKET_ANSWER. */
  send(bytes: Uint8Array, isBinary?: boolean): number;
  ping(bytes: Uint8Array): number;
  subscribe(topic: string): boolean;
  unsubscribe(topic: string): boolean;
  /** Bytes accepted and not yet taken by the kernel (by the client, where a response has to be fetched). */
  getBufferedAmount(): number;
  getRemoteAddressAsText(): ArrayBuffer;
  /** Close in order, behind what was sent before. The close handler may run inside. */
  end(code: number, reason: string): void;
  /** Cut. The close handler may run inside. */
  close(): void;
}

const addressText = new TextDecoder('latin1');

/** The client's address as text; an IPv4 address mapped into IPv6 is given as IPv4. */
export function remoteAddressOf(socket: ChannelSocket): string {
  const text = socket.clientAddress ?? addressText.decode(socket.getRemoteAddressAsText());
  return text.startsWith('0000:0000:0000:0000:0000:ffff:') ? mappedIpv4(text) : text;
}

function mappedIpv4(text: string): string {
  const [high, low] = text.slice(30).split(':');
  const value = (Number.parseInt(high ?? '0', 16) << 16) | Number.parseInt(low ?? '0', 16);
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.');
}
