/**
 * A proxy in front of a real node that lets plain HTTP through and no WebSocket, as some networks do; on demand it cuts what is
 * under way or holds streams back.
 */
import { once } from 'node:events';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Middlebox {
  /** As a node's address. */
  readonly wsUrl: string;
  /** Requests by path since the start: `/sub/poll`. */
  readonly requestCounts: ReadonlyMap<string, number>;
  /** WebSockets that were turned away. */
  readonly upgradeCount: number;
  /** Cut every stream and poll that is open. */
  cutStreams(): void;
  /** From here on nothing of an SSE stream arrives. */
  holdStreams(): void;
  close(): Promise<void>;
}

export async function startMiddlebox(targetPort: number): Promise<Middlebox> {
  const requestCounts = new Map<string, number>();
  const open = new Set<ServerResponse>();
  let upgradeCount = 0;
  let isHeld = false;
  const server = createServer((incoming, response) => {
    const path = new URL(incoming.url ?? '', 'http://middlebox').pathname;
    requestCounts.set(path, (requestCounts.get(path) ?? 0) + 1);
    if (incoming.method === 'GET') open.add(response);
    const { method, headers, url } = incoming;
    const outgoing = request({ host: '127.0.0.1', port: targetPort, method, headers, path: url, agent: false });
    outgoing.on('response', (answer) => {
      answer.on('error', () => response.destroy());
      if (isHeld && path === '/sub/sse') answer.resume();
      else {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
      }
    });
    outgoing.on('error', () => response.destroy());
    response.once('close', () => {
      open.delete(response);
      outgoing.destroy();
    });
    incoming.pipe(outgoing);
  });
  server.on('upgrade', (_request, socket) => {
    upgradeCount += 1;
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/sub`,
    requestCounts,
    get upgradeCount() {
      return upgradeCount;
    },
    cutStreams: () => {
      for (const response of open) response.destroy();
    },
    holdStreams: () => {
      isHeld = true;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
