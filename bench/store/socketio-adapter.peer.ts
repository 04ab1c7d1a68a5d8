/**
 * The competitor of redis-bus.bench.ts: `@socket.io/redis-adapter` on ioredis, with its usual options. The sender emits to rooms;
 * the receiver's adapter believes that it has a socket in each, and what it would broadcast to its sockets is counted.
 */
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

export interface SocketIoPeer {
  emit(room: string, body: Uint8Array): void;
  /** Resolves when Redis has answered everything emitted so far. */
  flushed(): Promise<unknown>;
  close(): void;
}

interface Counted {
  addAll(id: string, rooms: Set<string>): unknown;
}

/** @param onMessage called with the room and body of each message that came from another process */
export async function openSocketIo(
  url: string,
  rooms: readonly string[],
  onMessage: ((room: string, body: Uint8Array) => void) | undefined,
): Promise<SocketIoPeer> {
  const publisher = new Redis(url, { lazyConnect: true });
  const subscriber = new Redis(url, { lazyConnect: true });
  await Promise.all([publisher.connect(), subscriber.connect()]);
  const server = new Server({ adapter: createAdapter(publisher, subscriber) });
  const { adapter } = server.of('/');
  if (onMessage !== undefined) {
    (adapter as unknown as Counted).addAll('socket-1', new Set(rooms));
    // The adapter decodes a message and calls the broadcast of the class it extends.
    const memory = Object.getPrototypeOf(Object.getPrototypeOf(adapter)) as {
      broadcast: (packet: { data: readonly [string, Uint8Array] }, options: { rooms: Set<string> }) => void;
    };
    memory.broadcast = (packet, options) => {
      const [room = ''] = options.rooms;
      onMessage(room, packet.data[1]);
    };
  }
  await subscriber.ping();
  return {
    emit: (room, body) => void server.to(room).emit('m', body),
    flushed: () => publisher.ping(),
    close: () => {
      // No port was opened, so there is no server to close.
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}
