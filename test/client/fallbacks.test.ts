/** The SDK over its other transports, all against the doors of a real node: TLS, server-sent events, long-poll, TCP; and how it falls back. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import {
  HalleyClient,
  type HalleyClientOptions,
  longPollTransport,
  sseTransport,
  type Transport,
  webSocketTransport,
} from '../../src/client/index.js';
import { type DuplexLike, tcpTransport } from '../../src/client/tcp-transport.js';
import {
  eventually,
  type HalleyProcess,
  makeTlsDirectory,
  nodeEmpty,
  nodeStats,
  post,
  pushRoom,
  startHalley,
  type TlsDirectory,
  tlsEnv,
} from '../kit/index.js';
import { type Cutter, startCutter } from './cutter.js';
import { type Middlebox, startMiddlebox } from './middlebox.js';

let tls: TlsDirectory;
let halley: HalleyProcess;
let box: Middlebox;
let tcpCutter: Cutter;
const clients: HalleyClient[] = [];

beforeAll(async () => {
  tls = await makeTlsDirectory();
  halley = await startHalley({
    env: {
      HALLEY_HISTORY_ROOMS: 'live:400:600',
      HALLEY_LOG_LEVEL: 'warn',
      HALLEY_RECONNECT_WINDOW_MS: '0',
      ...tlsEnv(tls.own),
    },
  });
  tcpCutter = await startCutter(halley.tcpPort);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await nodeEmpty(halley.httpUrl);
  await box?.close();
});
afterAll(async () => {
  await tcpCutter.close();
  expect(await halley.stop()).toBe(0);
  await tls.remove();
});

async function connected(options: Partial<HalleyClientOptions>): Promise<{ client: HalleyClient; texts: string[] }> {
  const texts: string[] = [];
  const client = new HalleyClient({
    nodes: [halley.wsUrl],
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
    box = await startMiddlebox(halley.wsPort);
    const room = `live://${name}`;
    const opened: string[] = [];
    const { client, texts } = await connected({
      nodes: [box.wsUrl],
      transports: [transport()],
      rooms: [room],
      key: `over-${name}`,
    });
    client.on('open', (event) => void opened.push(event.transport));
    expect(await client.request(1500, 'up')).toMatchObject({ op: 1500 });
    for (let n = 1; n <= 30; n++) {
      await pushRoom(halley.httpUrl, room, String(n));
      if (n % 10 === 0) box.cutStreams();
    }
    await eventually(() => texts.length >= 30, 10_000, '30 messages');
    expect(texts).toEqual(Array.from({ length: 30 }, (_, index) => String(index + 1)));
    expect(opened).toEqual([]);
    expect(await client.join('live://other')).toMatchObject([{ room: 'live://other' }]);
    client.close();
    // Not by a timeout: its POST says so.
    await nodeEmpty(halley.httpUrl);
  });

  it('a client hears from the node why it was closed', async () => {
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
    const refused = connected({ transports: [transport()], key: 'k'.repeat(300) });
    await expect(refused).rejects.toMatchObject({ code: 'CLOSED', details: { code: 3504 } });
  });
});

describe('falling back', () => {
  it('goes from a WebSocket that never opens to server-sent events, and begins with those from then on', async () => {
    box = await startMiddlebox(halley.wsPort);
    const { client } = await connected({ nodes: [box.wsUrl] });
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
    expect(box.requestCounts.get('/sub/connect')).toBe(2);
    expect(box.upgradeCount).toBe(2);
  });

  it('goes on to long-poll where streams are held back, after two deadlines', async () => {
    box = await startMiddlebox(halley.wsPort);
    box.holdStreams();
    let transport = '';
    const client = new HalleyClient({
      nodes: [box.wsUrl],
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
    expect(box.requestCounts.get('/sub/sse')).toBe(2);
    // The links that were given up are not left behind.
    await eventually(() => channelCount(1), 5_000, 'the sessions of the streams to end');
  });
});

describe('over TCP', () => {
  /** What arrives comes in pieces of seven bytes. */
  function split(socket: Socket): DuplexLike {
    return {
      on: (event: string, listener: (value: never) => void) => {
        if (event !== 'data') return socket.on(event, listener as () => void);
        return socket.on('data', (chunk: Buffer) => {
          for (let at = 0; at < chunk.length; at += 7)
            (listener as (piece: Uint8Array) => void)(chunk.subarray(at, at + 7));
        });
      },
      write: (bytes) => socket.write(bytes),
      end: () => socket.end(),
      destroy: () => socket.destroy(),
    };
  }

  it('packets come out of the stream whole, however it is split, and a cut loses nothing', async () => {
    const transports = [tcpTransport((host, port) => split(connectTcp({ host, port, noDelay: true })))];
    const { client, texts } = await connected({
      nodes: [`tcp://127.0.0.1:${tcpCutter.port}`],
      transports,
      rooms: ['live://tcp'],
    });
    for (const text of ['1', '2', '3']) await pushRoom(halley.httpUrl, 'live://tcp', text);
    await eventually(() => texts.length === 3, 5_000, 'three messages');
    tcpCutter.cut();
    await pushRoom(halley.httpUrl, 'live://tcp', '4');
    await eventually(() => texts.length === 4, 5_000, 'the fourth message');
    expect(texts).toEqual(['1', '2', '3', '4']);
    expect(await client.request(1500, 'up')).toMatchObject({ op: 1500 });
  });

  it('a client hears from the node why it was closed, and one that is refused, too', async () => {
    const transports = [tcpTransport((host, port) => connectTcp({ host, port, noDelay: true }))];
    const nodes = [`tcp://127.0.0.1:${halley.tcpPort}`];
    const closes: unknown[] = [];
    const { client } = await connected({ nodes, transports, key: 'kicked-tcp' });
    client.on('close', (event) => void closes.push(event));
    await post(`${halley.httpUrl}/halley/disconnect`, {
      ...{ keys: ['kicked-tcp'], code: 3501, reason: 'enough', reconnect: false },
    });
    await eventually(() => client.state === 'closed', 5_000, 'the end');
    expect(closes).toEqual([{ code: 3501, reason: 'enough', willReconnect: false }]);
  });
});

describe('over TLS', () => {
  const secured = (ca: string) =>
    class extends WebSocket {
      constructor(url: string) {
        super(url, { ca });
      }
    };

  it('a client connects to the wss door and gets the pushes of its rooms', async () => {
    const transports = [webSocketTransport({ WebSocket: secured(tls.ca) })];
    const { texts } = await connected({ nodes: [halley.wssUrl], transports, rooms: ['live://tls'] });
    await pushRoom(halley.httpUrl, 'live://tls', 'over TLS');
    await eventually(() => texts.length === 1, 5_000, 'a message');
    expect(texts).toEqual(['over TLS']);
  });

  it('a client connects to the TCP door and gets the pushes of its rooms', async () => {
    const transports = [tcpTransport((host, port) => connectTls({ host, port, ca: tls.ca }), 'tls')];
    const nodes = [`tls://127.0.0.1:${halley.tcpTlsPort}`];
    const { client, texts } = await connected({ nodes, transports, rooms: ['live://tcp-tls'] });
    await pushRoom(halley.httpUrl, 'live://tcp-tls', 'over TLS');
    await eventually(() => texts.length === 1, 5_000, 'a message');
    expect(texts).toEqual(['over TLS']);
    expect(await client.request(1500, 'up')).toMatchObject({ op: 1500 });
  });

  it('a certificate that nobody vouches for is no connection, and the next node is tried at once', async () => {
    const reasons: string[] = [];
    const transports = [webSocketTransport({ WebSocket })];
    const client = new HalleyClient({ nodes: [halley.wssUrl, halley.wsUrl], transports, mid: 3 });
    clients.push(client);
    client.on('reconnecting', ({ delayMs, code }) => void reasons.push(`${code} ${delayMs}`));
    let address = '';
    client.on('open', (event) => {
      address = event.address;
    });
    await client.connect();
    expect(reasons).toEqual(['1006 0']);
    expect(address).toBe(halley.wsUrl);
  });
});

async function channelCount(count: number): Promise<true | undefined> {
  const { totals } = await nodeStats(halley.httpUrl);
  return totals.channels === count || undefined;
}
