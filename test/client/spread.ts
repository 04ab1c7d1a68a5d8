/**
 * Many clients through the restart of their node: when each came back. The node is the least that the handshake needs, so that the
 * machine's two cores go to the clients, and its op 8 gives the window.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import WebSocket, { WebSocketServer } from 'ws';
import { HalleyClient } from '../../src/client/index.js';
import { encodePacket, encodeUtf8, OP } from '../../src/protocol/index.js';
import { eventually } from '../kit/index.js';

export interface SpreadResult {
  /** Clients that came back in each second after the restart. */
  readonly perSecond: readonly number[];
  /** Clients per second if they came back evenly over the window. */
  readonly averagePerSecond: number;
}

/** @param downMs the node is away for so long; who tries meanwhile waits again */
export async function runSpread(clientCount: number, windowMs: number, downMs: number): Promise<SpreadResult> {
  let node = await startNode(0, windowMs);
  const { port } = node;
  const backMs: number[] = [];
  let restartedMs = Number.POSITIVE_INFINITY;
  const clients = Array.from({ length: clientCount }, () => {
    const client = new HalleyClient({
      nodes: [`ws://127.0.0.1:${port}/sub`],
      WebSocket,
      mid: 1,
      handshakeTimeoutMs: 60_000,
    });
    client.on('open', ({ isReconnect }) => {
      if (isReconnect) backMs.push(performance.now() - restartedMs);
    });
    return client;
  });
  try {
    for (let at = 0; at < clientCount; at += 100) {
      await Promise.all(clients.slice(at, at + 100).map((client) => client.connect()));
    }
    restartedMs = performance.now();
    await node.stop();
    if (downMs > 0) await new Promise((resolve) => setTimeout(resolve, downMs));
    node = await startNode(port, windowMs);
    await eventually(() => backMs.length === clientCount, windowMs * 4 + 20_000, `all ${clientCount} back`);
    const perSecond = Array.from({ length: Math.ceil(Math.max(...backMs) / 1000) }, () => 0);
    for (const ms of backMs) perSecond[Math.floor(ms / 1000)]! += 1;
    return { perSecond, averagePerSecond: (clientCount * 1000) / windowMs };
  } finally {
    for (const client of clients) client.close();
    await node.stop();
  }
}

async function startNode(port: number, windowMs: number): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const server = new WebSocketServer({ port, host: '127.0.0.1', perMessageDeflate: false, backlog: 4096 });
  await once(server, 'listening');
  const welcome = encodePacket(
    OP.AUTH_REPLY,
    0,
    1,
    encodeUtf8(JSON.stringify({ key: 'k', reconnect_window_ms: windowMs, rooms: [] })),
  );
  server.on('connection', (socket) => {
    socket.on('message', () => socket.send(welcome));
    socket.on('error', () => {});
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      // A crash: nobody is told anything.
      for (const socket of server.clients) socket.terminate();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
