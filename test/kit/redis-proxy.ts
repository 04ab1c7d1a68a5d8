/**
 * A TCP proxy in front of a Redis: counts the bursts a client sends, and can hold back what clients send or swallow what the
 * server sends, as a slow network or a stuck server would.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface RedisProxy {
  readonly port: number;
  readonly url: string;
  /** Chunks from clients so far: what a client wrote in one go arrives as one, unless it is large. */
  readonly burstCount: number;
  /** From here on nothing reaches the server, until release(). */
  hold(): void;
  /** What was held goes on, in order. */
  release(): void;
  /**
   * Of the connections that are open now those on which the server sends a chunk that `isOfThem`: from then on nothing of what it
   * sends reaches the client. Later connections are whole.
   */
  deafen(isOfThem: (chunk: Buffer) => boolean): void;
  /**
   * From here on the server does not learn that a client has ended its side, and what it sends still goes to that client: as
   * where packets of one direction take seconds. Until close().
   */
  linger(): void;
  /** Cut all connections; later ones are served again. */
  cut(): void;
  close(): Promise<void>;
}

export async function startRedisProxy(targetPort: number): Promise<RedisProxy> {
  let burstCount = 0;
  let isHeld = false;
  let connectionCount = 0;
  let deafenedUntil = 0;
  let deafTo = (_chunk: Buffer): boolean => false;
  const held: (() => void)[] = [];
  const sockets = new Set<Socket>();
  let isLingering = false;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const target = connect(targetPort, '127.0.0.1');
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // The other side ends with it; why it ended is the test's business.
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        target.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      burstCount += 1;
      if (isHeld) held.push(() => target.write(chunk));
      else target.write(chunk);
    });
    client.on('end', () => {
      if (!isLingering) client.end();
    });
    let isDeaf = false;
    const madeAt = ++connectionCount;
    target.on('data', (chunk: Buffer) => {
      if (madeAt <= deafenedUntil && deafTo(chunk)) isDeaf = true;
      if (!isDeaf) client.write(chunk);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get burstCount() {
      return burstCount;
    },
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
      for (const send of held.splice(0)) send();
    },
    deafen: (isOfThem) => {
      deafTo = isOfThem;
      deafenedUntil = connectionCount;
    },
    linger: () => {
      isLingering = true;
    },
    cut,
    close: async () => {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}
