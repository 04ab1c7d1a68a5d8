/** A TCP proxy in front of a node, which cuts connections as networks do: without a word. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Cutter {
  readonly wsUrl: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly openCount: number;
  /** Cut all connections; later ones are served. */
  cut(): void;
  /** Cut all connections, and later ones at once, until accept(). */
  refuse(): void;
  accept(): void;
  /** What the node sends on the connections of now does not arrive any more. */
  hold(): void;
  close(): Promise<void>;
}

export async function startCutter(targetPort: number): Promise<Cutter> {
  const sockets = new Set<Socket>();
  let isRefusing = false;
  const server = createServer((client) => {
    if (isRefusing) {
      client.destroy();
      return;
    }
    const target = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      // Why one ended is the test's business; the other ends with it.
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    client.once('close', () => target.unpipe(client));
    targets.add(target);
    target.once('close', () => targets.delete(target));
  });
  const targets = new Set<Socket>();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port,
    wsUrl: `ws://127.0.0.1:${port}/sub`,
    get openCount() {
      return targets.size;
    },
    cut,
    refuse: () => {
      isRefusing = true;
      cut();
    },
    accept: () => {
      isRefusing = false;
    },
    hold: () => {
      for (const target of targets) {
        target.unpipe();
        target.resume();
      }
    },
    close: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
