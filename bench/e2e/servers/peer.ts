/**
 * The least a server must do to take part: auth into a room, heartbeat, change of room and echo, on goim's wire. Every peer
 * shares it, so that what differs between them is their library's way to send. The feed comes over the process channel
 * and is published from the peer's main thread.
 *
 * Threads: wherever the peer reads its sockets; servePeer() on the main thread.
 */
import {
  type FromFedServer,
  HEADER_BYTES,
  makePacket,
  OPERATION,
  type Publish,
  readInt32,
  runFeed,
  type ToFedServer,
} from '../../../src/cli/bench/index.js';

const SEQ_OFFSET = 12;

/** How a peer acts on one of its sockets. */
export interface PeerActions<Socket> {
  send(socket: Socket, packet: Uint8Array): void;
  /** Put the socket into `room`; '' for none. Also remember it under its device key. */
  admit(socket: Socket, key: string, room: string): void;
  /** Out of the room it is in, into `room`; '' for none. */
  changeRoom(socket: Socket, room: string): void;
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
    case OPERATION.CHANGE_ROOM:
      actions.changeRoom(socket, Buffer.from(body).toString());
      actions.send(socket, makePacket(OPERATION.CHANGE_ROOM_REPLY, seq, body));
      return;
    default:
      actions.send(socket, makePacket(op, seq, body));
  }
}

function tell(message: FromFedServer): void {
  process.send?.(message);
}

export interface PeerHooks {
  /** Awaited before the first message of a feed. */
  readonly beforeFeed?: () => Promise<void>;
  /** After the last publish of each turn of the event loop. */
  readonly onTurn?: () => void;
}

/** Say that this server answers on its port, and publish what the runner asks for. */
export function servePeer(publish: Publish, { beforeFeed, onTurn }: PeerHooks = {}): void {
  process.on('message', async ({ feed }: ToFedServer) => {
    await beforeFeed?.();
    tell({ report: await runFeed(feed, publish, onTurn) });
  });
  process.on('disconnect', () => process.exit(0));
  tell({ ready: { port: 0, httpPort: 0 } });
}
