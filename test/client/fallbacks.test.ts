/** The SDK over its other transports: server-sent events, long-poll, TCP framing; and how it falls back to them. */

import { once } from 'node:events';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import {
  HalleyClient,
  type HalleyClientOptions,
  longPollTransport,
  sseTransport,
  type Transport,
} from '../../src/client/index.js';
import { tcpTransport } from '../../src/client/tcp-transport.js';
import { eventually, type HalleyProcess, post, pushRoom, startHalley } from '../kit/index.js';
import { type HttpFront, startHttpFront } from './http-front.js';

let halley: HalleyProcess;
let front: HttpFront;
const clients: HalleyClient[] = [];

beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_HISTORY_ROOMS: 'live:400:600', HALLEY_LOG_LEVEL: 'warn' } });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await front.close();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

async function connected(options: Partial<HalleyClientOptions>): Promise<{ client: HalleyClient; texts: string[] }> {
  const texts: string[] = [];
  const client = new HalleyClient({
    nodes: [front.wsUrl],
    WebSocket,
    mid: 3,
    backoff: { baseMs: 20, capMs: 100 },
    ...options,
  });
  clients.push(client);
  client.on('message', ({ body }) => void texts.push(body.text()));
  await client.connect();
  return { client, texts };
}

describe.each([
  ['sse', () => sseTransport()],
  ['long-poll', () => longPollTransport()],
] as const)('over %s', (name, transport: () => Transport) => {
  it('a client gets every push once and in order, sends, asks and leaves, though its requests are cut', async () => {
    front = await startHttpFront(halley.wsUrl);
    const room = `live://${name}`;
    const opened: string[] = [];
    const { client, texts } = await connected({ transports: [transport()], rooms: [room], key: `over-${name}` });
    client.on('open', (event) => void opened.push(event.transport));
    expect(await client.request(1500, 'up')).toMatchObject({ op: 1500 });
    for (let n = 1; n <= 30; n++) {
      await pushRoom(halley.httpUrl, room, String(n));
      if (n % 10 === 0) front.cutStreams();
    }
    await eventually(() => texts.length >= 30, 10_000, '30 messages');
    expect(texts).toEqual(Array.from({ length: 30 }, (_, index) => String(index + 1)));
    expect(opened).toEqual([]);
    expect(await client.join('live://other')).toMatchObject([{ room: 'live://other' }]);
    client.close();
    await eventually(() => front.sessionCount === 0, 5_000, 'the session to end');
  });

  it('a client hears from the node why it was closed', async () => {
    front = await startHttpFront(halley.wsUrl);
    const closes: unknown[] = [];
    const { client } = await connected({ transports: [transport()], key: `kicked-${name}` });
    client.on('close', (event) => void closes.push(event));
    await post(`${halley.httpUrl}/halley/disconnect`, {
      keys: [`kicked-${name}`],
      code: 3501,
      reason: 'enough',
      reconnect: false,
    });
    await eventually(() => client.state === 'closed', 5_000, 'the end');
    expect(closes).toEqual([{ code: 3501, reason: 'enough', willReconnect: false }]);
  });

  it('a client that the node refuses at the connect hears why', async () => {
    front = await startHttpFront(halley.wsUrl);
    const refused = connected({ transports: [transport()], key: 'k'.repeat(300) });
    await expect(refused).rejects.toMatchObject({ code: 'CLOSED', details: { code: 3504 } });
  });
});

describe('falling back', () => {
  it('goes from a WebSocket that never opens to server-sent events, and begins with those from then on', async () => {
    front = await startHttpFront(halley.wsUrl);
    const { client } = await connected({});
    const opened: string[] = [];
    client.on('open', ({ transport }) => void opened.push(transport));
    await post(`${halley.httpUrl}/halley/disconnect`, {
      keys: [client.key],
      code: 3000,
      reason: 'again',
      reconnect: true,
    });
    await eventually(() => opened.length > 0, 5_000, 'a reconnect');
    expect(opened).toEqual(['sse']);
    expect(front.requestCounts.get('/sub/connect')).toBe(2);
  });

  it('goes on to long-poll where streams are held back, after two deadlines', async () => {
    front = await startHttpFront(halley.wsUrl);
    front.holdStreams();
    let transport = '';
    const client = new HalleyClient({
      nodes: [front.wsUrl],
      WebSocket,
      mid: 3,
      handshakeTimeoutMs: 300,
      backoff: { baseMs: 20, capMs: 50 },
    });
    clients.push(client);
    client.on('open', (event) => {
      transport = event.transport;
    });
    await client.connect();
    expect(transport).toBe('long-poll');
    expect(front.requestCounts.get('/sub/sse')).toBe(2);
    // The links that were given up are not left behind.
    await eventually(() => front.sessionCount === 1, 5_000, 'the sessions of the streams to end');
  });
});

it('over TCP packets come out of the stream whole, however it is split', async () => {
  front = await startHttpFront(halley.wsUrl);
  const sockets: Socket[] = [];
  // goim's TCP in front of the node: the same packets without frames, a few bytes at a time.
  const server = createServer((socket) => {
    sockets.push(socket);
    const upstream = new WebSocket(halley.wsUrl, { perMessageDeflate: false });
    const early: Buffer[] = [];
    socket.on('data', (chunk) => {
      if (upstream.readyState === WebSocket.OPEN) upstream.send(chunk);
      else early.push(chunk);
    });
    upstream.on('open', () => upstream.send(Buffer.concat(early.splice(0))));
    upstream.on('message', (data: Buffer) => {
      for (let at = 0; at < data.length; at += 7) socket.write(data.subarray(at, at + 7));
    });
    socket.on('error', () => {});
    socket.on('close', () => upstream.close());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  try {
    const transports = [tcpTransport((host, tcpPort) => connectTcp({ host, port: tcpPort, noDelay: true }))];
    const { client, texts } = await connected({
      nodes: [`tcp://127.0.0.1:${port}`],
      transports,
      rooms: ['live://tcp'],
    });
    for (const text of ['1', '2', '3']) await pushRoom(halley.httpUrl, 'live://tcp', text);
    await eventually(() => texts.length === 3, 5_000, 'three messages');
    sockets[0]!.destroy();
    await pushRoom(halley.httpUrl, 'live://tcp', '4');
    await eventually(() => texts.length === 4, 5_000, 'the fourth message');
    expect(texts).toEqual(['1', '2', '3', '4']);
    client.close();
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});
