/** The SDK against a real node, in Node with `ws`. */
import { SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import {
  type ClientEvents,
  type ClientMessage,
  HalleyClient,
  type HalleyClientOptions,
  KimClient,
} from '../../src/client/index.js';
import { eventually, type HalleyProcess, nodeEmpty, post, pushRoom, startHalley } from '../kit/index.js';
import { type Cutter, startCutter } from './cutter.js';

const clients: HalleyClient[] = [];
let halley: HalleyProcess;
let cutter: Cutter;

beforeAll(async () => {
  halley = await startHalley({
    env: { HALLEY_HISTORY_ROOMS: 'live:400:600', HALLEY_LOG_LEVEL: 'warn', HALLEY_RECONNECT_WINDOW_MS: '0' },
  });
  cutter = await startCutter(halley.wsPort);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await nodeEmpty(halley.httpUrl);
});
afterAll(async () => {
  await cutter?.close();
  expect(await halley.stop()).toBe(0);
});

/** A client with everything it told. */
class Told {
  readonly client: HalleyClient;
  readonly messages: ClientMessage[] = [];
  readonly gaps: ClientEvents['gap'][] = [];
  readonly closes: ClientEvents['close'][] = [];
  readonly errors: Error[] = [];
  openCount = 0;

  constructor(options: Partial<HalleyClientOptions> = {}) {
    this.client = new HalleyClient({
      nodes: [halley.wsUrl],
      WebSocket,
      mid: 7,
      backoff: { baseMs: 20, capMs: 100 },
      ...options,
    });
    clients.push(this.client);
    this.client.on('message', (message) => void this.messages.push(message));
    this.client.on('gap', (gap) => void this.gaps.push(gap));
    this.client.on('close', (close) => void this.closes.push(close));
    this.client.on('error', (error) => void this.errors.push(error));
    this.client.on('open', () => {
      this.openCount += 1;
    });
  }

  async connect(): Promise<this> {
    await this.client.connect();
    return this;
  }

  texts(): string[] {
    return this.messages.map(({ body }) => body.text());
  }

  count(count: number): Promise<true> {
    return eventually(() => this.messages.length >= count || undefined, 10_000, `${count} messages`);
  }
}

describe('a client', () => {
  it('gets what is pushed to its rooms, to its key and to all', async () => {
    const told = await new Told({ key: 'sdk-1', rooms: ['live://1'], ops: [1000] }).connect();
    await pushRoom(halley.httpUrl, 'live://1', '{"n":1}');
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=sdk-1`, 'to the key');
    await post(`${halley.httpUrl}/goim/push/all?operation=1000`, 'to all');
    await told.count(3);
    const [room, ...others] = told.messages.toSorted((a, b) => a.scope.localeCompare(b.scope)).toReversed();
    expect(room).toMatchObject({ scope: 'room', room: 'live://1', offset: 1, op: 1000 });
    expect(room!.body.json()).toEqual({ n: 1 });
    expect(room!.id).toMatch(/^\d+$/);
    expect(others.map(({ scope, body }) => [scope, body.text()])).toEqual([
      ['direct', 'to the key'],
      ['all', 'to all'],
    ]);
  });

  it('joins, leaves, moves, watches and unwatches while it is connected', async () => {
    const told = await new Told({ key: 'sdk-2' }).connect();
    const [joined, refused] = await told.client.join(['live://2', 'x'.repeat(300)]);
    expect(joined).toMatchObject({ room: 'live://2', offset: 0 });
    expect(refused?.error?.code).toBe(101);
    expect(await told.client.changeRoom('live://3')).toMatchObject({ room: 'live://3', offset: 0 });
    expect(told.client.rooms).toEqual(['live://3', 'live://2']);
    await pushRoom(halley.httpUrl, 'live://2', 'a');
    await pushRoom(halley.httpUrl, 'live://3', 'b');
    await told.count(2);
    told.client.leave('live://2');
    await told.client.watch([1001]);
    await pushRoom(halley.httpUrl, 'live://2', 'not any more');
    await post(`${halley.httpUrl}/goim/push/all?operation=1001`, 'c');
    await told.count(3);
    await told.client.unwatch([1001]);
    await post(`${halley.httpUrl}/goim/push/all?operation=1001`, 'not any more');
    await pushRoom(halley.httpUrl, 'live://3', 'd');
    await told.count(4);
    expect(told.texts().toSorted()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('gets the answer to a request, and a typed error where the connection ends first', async () => {
    const told = await new Told({ nodes: [cutter.wsUrl] }).connect();
    expect(await told.client.request(1234, 'hello')).toMatchObject({ op: 1234 });
    const refused = await told.client.request(30, { method: 'nothing', params: {} });
    expect(refused.op).toBe(31);
    expect(refused.body.json()).toMatchObject({ error: { code: 102 } });
    cutter.hold();
    const lost = told.client.request(1234, 'x');
    const kept = told.client.request(1234, 'y', { retry: true });
    cutter.cut();
    await expect(lost).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(await kept).toMatchObject({ op: 1234 });
  });

  it('keeps its made-up key, its rooms of now and its watch set over a cut, and misses nothing', async () => {
    const told = await new Told({ nodes: [cutter.wsUrl], rooms: ['live://4', 'live://5'], ops: [1000] }).connect();
    const { key } = told.client;
    expect(key).not.toBe('');
    await pushRoom(halley.httpUrl, 'live://4', '1');
    await told.count(1);
    cutter.refuse();
    await eventually(() => told.closes.length > 0, 5_000, 'the cut');
    for (const text of ['2', '3', '4']) await pushRoom(halley.httpUrl, 'live://4', text);
    told.client.leave('live://5');
    const joined = told.client.join('live://6');
    cutter.accept();
    expect(await joined).toMatchObject([{ room: 'live://6' }]);
    await told.count(4);
    expect(told.texts()).toEqual(['1', '2', '3', '4']);
    expect(told.gaps).toEqual([]);
    expect(told.client.key).toBe(key);
    await pushRoom(halley.httpUrl, 'live://5', 'left');
    await pushRoom(halley.httpUrl, 'live://6', '5');
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=${key}`, '6');
    await told.count(6);
    expect(told.texts().slice(4).toSorted()).toEqual(['5', '6']);
  });

  it('tells a hole of a room without history once, with its ends', async () => {
    const told = await new Told({ nodes: [cutter.wsUrl], rooms: ['plain://1'] }).connect();
    await pushRoom(halley.httpUrl, 'plain://1', '1');
    await told.count(1);
    // Somebody stays, so that the room lives on.
    await new Told({ rooms: ['plain://1'] }).connect();
    cutter.refuse();
    await eventually(() => told.closes.length > 0, 5_000, 'the cut');
    for (const text of ['2', '3']) await pushRoom(halley.httpUrl, 'plain://1', text);
    cutter.accept();
    await eventually(() => told.gaps.length > 0, 10_000, 'a gap');
    await pushRoom(halley.httpUrl, 'plain://1', '4');
    await told.count(2);
    expect(told.texts()).toEqual(['1', '4']);
    expect(told.gaps).toMatchObject([{ scope: 'room', room: 'plain://1', from: 2, to: 3, isNewEpoch: false }]);
  });

  it('ends for good when its key is taken over', async () => {
    const first = await new Told({ key: 'sdk-7' }).connect();
    const second = await new Told({ key: 'sdk-7' }).connect();
    await eventually(() => first.client.state === 'closed', 5_000, 'the take-over');
    expect(first.closes).toMatchObject([{ code: 3500, willReconnect: false }]);
    expect(second.client.state).toBe('open');
    await expect(first.client.request(1000)).rejects.toMatchObject({ code: 'DISCONNECTED' });
  });

  it('rejects connect where the backend will not have it, and leaves nothing behind when it is closed while connecting', async () => {
    const told = new Told({ nodes: ['ws://127.0.0.1:9/sub'] });
    const connecting = told.client.connect();
    told.client.close();
    await expect(connecting).rejects.toMatchObject({ code: 'CLOSED' });
    expect(told.client.state).toBe('closed');
  });

  it('finds its nodes by nodes/weighted', async () => {
    const port = String(halley.wsPort);
    const node = await startHalley({
      env: { HALLEY_NODE_ADDRS: '127.0.0.1', HALLEY_NODE_DEFAULT_DOMAIN: 'localhost' },
    });
    try {
      expect(port).not.toBe('');
      const told = await new Told({ nodes: { discover: node.httpUrl } }).connect();
      expect(told.client.state).toBe('open');
      told.client.close();
    } finally {
      await node.stop();
    }
  });

  it('carries KIM’s Client: send, read, and a close frame at the end', async () => {
    const kim = new KimClient('kim-1', 'web', { WebSocket, mid: 7 });
    await expect(kim.send(new Uint8Array(1))).rejects.toMatchObject({ code: 'NOT_CONNECTED' });
    await kim.connect(halley.wsUrl);
    await expect(kim.connect(halley.wsUrl)).rejects.toMatchObject({ code: 'ALREADY_CONNECTED' });
    await kim.send(new TextEncoder().encode('up'));
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=kim-1`, 'down');
    const frame = await kim.read();
    expect([frame.opCode, new TextDecoder().decode(frame.payload)]).toEqual([2, 'down']);
    const last = kim.read();
    kim.close();
    expect((await last).opCode).toBe(8);
    await expect(kim.read()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

it('a client fetches a new token where the server says that the old one is no good, once', async () => {
  const secret = 'a-secret-of-at-least-thirty-two-bytes';
  const sign = (by: string) =>
    new SignJWT({ mid: 9 }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(by));
  const node = await startHalley({ env: { HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: secret } });
  try {
    let askedCount = 0;
    const repaired = new HalleyClient({
      nodes: [node.wsUrl],
      WebSocket,
      token: async () => {
        askedCount += 1;
        return sign(askedCount === 1 ? 'another-secret-of-thirty-two-bytes!!' : secret);
      },
    });
    await repaired.connect();
    expect(askedCount).toBe(2);
    repaired.close();
    const hopeless = new HalleyClient({
      nodes: [node.wsUrl],
      WebSocket,
      token: () => sign('another-secret-of-thirty-two-bytes!!'),
    });
    await expect(hopeless.connect()).rejects.toMatchObject({ code: 'CLOSED', details: { code: 3505 } });
  } finally {
    await node.stop();
  }
});

it('a client with 1,000 rooms behind catches up in all of them over one connection', async () => {
  const names = Array.from({ length: 1_000 }, (_, index) => `live://behind-${index}`);
  const node = await startHalley({
    env: {
      HALLEY_HISTORY_ROOMS: 'live:10:600',
      HALLEY_LIMITS_ROOMS_PER_CHANNEL: '1000',
      // 512 packets may wait on an open channel, half of what the client has to ask.
      HALLEY_LIMITS_PRE_AUTH_PACKETS: '32',
      HALLEY_RECONNECT_WINDOW_MS: '0',
      HALLEY_LOG_LEVEL: 'warn',
    },
  });
  const nodeCutter = await startCutter(node.wsPort);
  const pushAll = async (body: string) => {
    for (let at = 0; at < names.length; at += 250) {
      const commands = names.slice(at, at + 250).map((room) => ({ room, op: 1000, body }));
      await post(`${node.httpUrl}/halley/push/batch`, commands);
    }
  };
  const anchor = new Told({ nodes: [node.wsUrl], rooms: names });
  const told = new Told({ nodes: [nodeCutter.wsUrl], rooms: names });
  try {
    await Promise.all([anchor.connect(), told.connect()]);
    // Most did not find room in the auth body and are joined behind it.
    await Promise.all([anchor.client.join(names), told.client.join(names)]);
    await pushAll('1');
    await Promise.all([anchor.count(1_000), told.count(1_000)]);
    nodeCutter.refuse();
    await eventually(() => told.closes.length > 0, 5_000, 'the cut');
    await pushAll('2');
    await pushAll('3');
    await anchor.count(3_000);
    nodeCutter.accept();
    await told.count(3_000);
    expect(told.gaps).toEqual([]);
    expect(told.errors).toEqual([]);
    expect(told.closes).toHaveLength(1);
    for (const name of names) {
      expect(told.messages.filter(({ room }) => room === name).map(({ body }) => body.text())).toEqual(['1', '2', '3']);
    }
  } finally {
    for (const { client } of [anchor, told]) client.close();
    await nodeCutter.close();
    await node.stop();
  }
}, 60_000);
