/**
 * The least a server must do to take part: auth into a room, heartbeat, echo and the feed, on goim's wire. Every peer
 * shares it, so that what differs between them is their library's way to send.
 *
 * Threads: wherever the peer reads its sockets.
 */
import type { Feed, FeedReport } from '../wire/feed.js';
import { HEADER_BYTES, makePacket, OPERATION, readInt32 } from '../wire/packet.js';

const SEQ_OFFSET = 12;

/** How a peer acts on one of its sockets. */
export interface PeerActions<Socket> {
  send(socket: Socket, packet: Uint8Array): void;
  /** Put the socket into `room`; '' for none. Also remember it under its device key. */
  admit(socket: Socket, key: string, room: string): void;
  feed(socket: Socket, feed: Feed): void;
}

/** Handle one packet of a client. `packet` is only read until this returns. */
export function handlePeerPacket<Socket>(actions: PeerActions<Socket>, socket: Socket, packet: Uint8Array): void {
  const op = readInt32(packet, 8);
  const seq = readInt32(packet, SEQ_OFFSET);
  const body = packet.subarray(HEADER_BYTES);
  switch (op) {
    case OPERATION.AUTH: {
      const { key, room_id: room } = JSON.parse(Buffer.from(body).toString()) as { key?: string; room_id?: string };
      actions.admit(socket, key ?? '', room ?? '');
      actions.send(socket, makePacket(OPERATION.AUTH_REPLY, seq, new Uint8Array(0)));
      return;
    }
    case OPERATION.HEARTBEAT:
      actions.send(socket, makePacket(OPERATION.HEARTBEAT_REPLY, seq, new Uint8Array(4)));
      return;
    case OPERATION.FEED:
      actions.feed(socket, JSON.parse(Buffer.from(body).toString()) as Feed);
      return;
    default:
      actions.send(socket, makePacket(op, seq, body));
  }
}

export function feedReportPacket(report: FeedReport): Buffer {
  return makePacket(OPERATION.FEED_REPORT, 0, Buffer.from(JSON.stringify(report)));
}

/** Tell the runner that this server answers on its port. */
export function announceReady(): void {
  process.send?.({ ready: true });
  process.on('disconnect', () => process.exit(0));
}
