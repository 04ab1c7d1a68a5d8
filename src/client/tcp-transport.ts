/**
 * goim's raw TCP, plain and over TLS, for Node. The client folder runs in browsers, so the socket comes from the caller:
 *
 * ```ts
 * import { connect } from 'node:net';
 * import { connect as connectTls } from 'node:tls';
 * const transports = [
 *   tcpTransport((host, port) => connectTls({ host, port }), 'tls'),
 *   tcpTransport((host, port) => connect({ host, port, noDelay: true })),
 *   webSocketTransport({ WebSocket }),
 * ];
 * ```
 *
 * A door of its own in package.json (`halley/client/tcp`): browsers do not load it.
 */
import {
  encodePacket,
  NO_BODY_LIMIT_BYTES,
  OP,
  PARSE,
  PacketStream,
  PUSH_VER,
  parseOutcomeName,
} from '../protocol/index.js';
import { type Link, type LinkEvents, OWN_CODE, type Transport } from './transport.port.js';

/** What is used of a `net.Socket`, or of a `tls.TLSSocket`. */
export interface DuplexLike {
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  write(bytes: Uint8Array): unknown;
  end(): unknown;
  destroy(): unknown;
}

/** @param host without brackets, also where it is an IPv6 address */
export type ConnectTcp = (host: string, port: number) => DuplexLike;

/** Takes addresses `tcp://host:port`, or `tls://host:port`: then `connectTcp` must make the connection a secure one. */
export function tcpTransport(connectTcp: ConnectTcp, scheme: 'tcp' | 'tls' = 'tcp'): Transport {
  return {
    name: scheme,
    takes: (wanted) => wanted === scheme,
    open: (address, authBody, events) => open(connectTcp, address, authBody, events),
  };
}

function open(connectTcp: ConnectTcp, address: string, authBody: Uint8Array<ArrayBuffer>, events: LinkEvents): Link {
  const [, host = '', port = ''] = /^t(?:cp|ls):\/\/\[?([^\]/]*?)\]?:(\d+)\/?$/.exec(address) ?? [];
  let socket: DuplexLike | undefined;
  let isOver = false;
  let reason = 'the connection ended';
  const end = (code: number): void => {
    if (isOver) return;
    isOver = true;
    socket?.destroy();
    events.onEnd({ code, reason });
  };
  const packets = new PacketStream(() => NO_BODY_LIMIT_BYTES);
  const received = (chunk: Uint8Array): void => {
    if (isOver) return;
    packets.feed(chunk);
    let outcome = packets.next();
    for (; outcome === PARSE.OK && !isOver; outcome = packets.next()) {
      const { bodyOffset, packetBytes, bodyBytes } = packets.header;
      // The stream's memory is used again, and what goes out belongs to the receiver.
      const start = bodyOffset + bodyBytes - packetBytes;
      events.onMessage(packets.bytes.slice(start, start + packetBytes) as Uint8Array<ArrayBuffer>);
    }
    if (outcome !== PARSE.OK && outcome !== PARSE.NEED_MORE) {
      reason = `not a packet: ${parseOutcomeName(outcome)}`;
      end(OWN_CODE.UNREADABLE);
    }
  };
  try {
    socket = connectTcp(host, Number(port));
    socket.on('data', received);
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.on('close', () => end(OWN_CODE.LOST));
    // Kept by the socket until it is connected.
    socket.write(encodePacket(OP.AUTH, 0, PUSH_VER, authBody));
  } catch (error) {
    reason = String(error);
    queueMicrotask(() => end(OWN_CODE.NOT_OPENED));
  }
  return {
    send: (packet) => {
      if (!isOver) socket?.write(packet);
    },
    close: (code) => {
      if (isOver) return;
      isOver = true;
      if (code === OWN_CODE.BYE) socket?.end();
      else socket?.destroy();
    },
  };
}
