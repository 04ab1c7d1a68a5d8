/** Limits of connections and packets, and the client's address behind proxies, on the whole program. */

import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readsProxyHeaders } from '../src/comet/limits/uws-proxy-probe.js';
import {
  ASK_BUCKET_OP,
  eventually,
  get,
  type HalleyProcess,
  nodeEmpty,
  nodeStats,
  post,
  RawSocket,
  runHalley,
  startHalley,
  WireClient,
} from './kit/index.js';

const APP = fileURLToPath(new URL('./fixtures/misbehaving.mjs', import.meta.url));
const EXIT_OP = 2005;

/** The answer to an upgrade that is refused. */
interface Refused {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: unknown;
}

function refused(
  port: number,
  headers: Readonly<Record<string, string>> = {},
  localAddress?: string,
): Promise<Refused> {
  return new Promise((resolve, reject) => {
    const req = request({
      host: '127.0.0.1',
      port,
      path: '/sub',
      ...(localAddress === undefined ? {} : { localAddress }),
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version': '13',
        ...headers,
      },
    });
    req.on('upgrade', (_, socket) => {
      socket.destroy();
      reject(new Error('the upgrade was not refused'));
    });
    req.on('response', (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          retryAfter: response.headers['retry-after'],
          body: JSON.parse(text),
        }),
      );
    });
    req.on('error', reject);
    req.end();
  });
}

/** Addresses that the node's sessions have, by key. */
async function addressOf(halley: HalleyProcess, key: string): Promise<string> {
  const { data } = await get(`${halley.httpUrl}/halley/sessions?keys=${key}`);
  return (data as { remote_ip: string }[])[0]?.remote_ip ?? '';
}

describe('connections', () => {
  const LIMIT = 4;
  let directory: string;
  let halley: HalleyProcess;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'halley-limits-'));
    halley = await startHalley({
      args: ['--app', APP],
      env: {
        TEST_EVENTS_FILE: join(directory, 'events'),
        HALLEY_LIMITS_ALLOWED_ORIGINS: 'https://app.example.com,https://*.example.org',
        HALLEY_LIMITS_CONNECTIONS_PER_IP: String(LIMIT),
        HALLEY_HTTP_TRUSTED_PROXIES: '127.0.0.1',
        HALLEY_RECONNECT_WINDOW_MS: '3500',
      },
    });
  });
  afterAll(async () => {
    await halley.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const connect = (ip: string, key = '', headers: Readonly<Record<string, string>> = {}) =>
    WireClient.connect(halley.wsUrl, { mid: 1, key }, { headers: { 'X-Forwarded-For': ip, ...headers } });

  it('of pages of other origins are refused with 403 and a body that says why', async () => {
    const client = await connect('203.0.113.1', 'origin', { Origin: 'https://app.example.com' });
    await client.close();
    await (await connect('203.0.113.1', 'below', { Origin: 'https://a.b.example.org' })).close();
    const before = (await nodeStats(halley.httpUrl)).totals.refused_origin;
    expect(await refused(halley.wsPort, { Origin: 'https://example.org' })).toEqual({
      status: 403,
      retryAfter: undefined,
      body: { code: 3506, reason: expect.stringContaining('origin'), reconnect: false, retry_after_ms: 0 },
    });
    expect((await nodeStats(halley.httpUrl)).totals.refused_origin - before).toBe(1);
  });

  it('come from the client that our own proxy names, and from the socket where it is no proxy', async () => {
    const proxied = await connect('198.51.100.1, 203.0.113.7', 'proxied');
    const twice = await WireClient.connect(
      halley.wsUrl,
      { mid: 1, key: 'direct' },
      { localAddress: '127.0.0.9', headers: { 'X-Forwarded-For': '203.0.113.8' } },
    );
    expect(await addressOf(halley, 'proxied')).toBe('203.0.113.7');
    expect(await addressOf(halley, 'direct')).toBe('127.0.0.9');
    await proxied.close();
    await twice.close();
  });

  it('are told by the last of several lines of the header, which our proxy wrote', async () => {
    const raw = await RawSocket.upgrade(halley.wsPort, '/sub', [
      'X-Forwarded-For: 192.0.2.66',
      'X-Forwarded-For: 203.0.113.77',
    ]);
    expect(raw.response).toMatch(/^HTTP\/1.1 101/);
    const others = await Promise.all(Array.from({ length: LIMIT - 1 }, () => connect('203.0.113.77')));
    expect((await refused(halley.wsPort, { 'X-Forwarded-For': '203.0.113.77' })).status).toBe(429);
    raw.destroy();
    for (const client of others) await client.close();
  });

  it('of one address are limited over both buckets, and each that closes makes room for one', async () => {
    const clients = await Promise.all(Array.from({ length: LIMIT }, () => connect('203.0.113.20')));
    const answer = await refused(halley.wsPort, { 'X-Forwarded-For': '203.0.113.20' });
    expect(answer).toEqual({
      status: 429,
      retryAfter: '4',
      body: { code: 3008, reason: expect.stringContaining('at most 4'), reconnect: true, retry_after_ms: 3500 },
    });
    const neighbour = await connect('203.0.113.21');
    for (let round = 0; round < 10; round++) {
      await clients.shift()?.close();
      clients.push(await eventually(() => connect('203.0.113.20').catch(() => undefined)));
      expect((await refused(halley.wsPort, { 'X-Forwarded-For': '203.0.113.20' })).status).toBe(429);
    }
    for (const client of [...clients, neighbour]) await client.close();
  });

  it('of one address are exactly as many as may be, where many try at once', async () => {
    for (let round = 0; round < 5; round++) {
      const tries = await Promise.allSettled(Array.from({ length: 40 }, () => connect('203.0.113.30')));
      const clients = tries.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(clients.length).toBeLessThanOrEqual(LIMIT);
      while (clients.length < LIMIT) clients.push(await connect('203.0.113.30'));
      expect((await refused(halley.wsPort, { 'X-Forwarded-For': '203.0.113.30' })).status).toBe(429);
      for (const client of clients) await client.close();
      // Its close is counted when the server has seen it.
      await eventually(async () => (await connect('203.0.113.30').catch(() => undefined))?.close().then(() => true));
      await nodeEmpty(halley.httpUrl);
    }
  });

  it('of an IPv6 client count by its /64', async () => {
    const clients = await Promise.all([1, 2, 3, 4].map((host) => connect(`2001:db8:0:1::${host}`)));
    expect((await refused(halley.wsPort, { 'X-Forwarded-For': '2001:db8:0:1:9::9' })).status).toBe(429);
    const other = await connect('2001:db8:0:2::1');
    for (const client of [...clients, other]) await client.close();
  });

  it('of a bucket that died are not counted any more, those of the other one are', async () => {
    const bucketOf = async (client: WireClient) => Number((await client.request(ASK_BUCKET_OP)).body.toString());
    const clients: WireClient[] = [];
    let inBoth = false;
    // The kernel deals connections out: until both buckets have some of the four.
    for (let round = 0; round < 50 && !inBoth; round++) {
      for (const client of clients.splice(0)) await client.close();
      while (clients.length < LIMIT) {
        const client = await connect('203.0.113.40').catch(() => undefined);
        if (client !== undefined) clients.push(client);
      }
      inBoth = new Set(await Promise.all(clients.map(bucketOf))).size === 2;
    }
    expect(inBoth).toBe(true);
    const victims: WireClient[] = [];
    const survivors: WireClient[] = [];
    for (const client of clients) ((await bucketOf(client)) === 1 ? victims : survivors).push(client);
    victims[0]?.send(EXIT_OP);
    for (const victim of victims) await victim.closing();
    const fresh: WireClient[] = [];
    while (fresh.length < victims.length) {
      fresh.push(await eventually(() => connect('203.0.113.40').catch(() => undefined)));
    }
    expect((await refused(halley.wsPort, { 'X-Forwarded-For': '203.0.113.40' })).status).toBe(429);
    for (const client of [...survivors, ...fresh]) await client.close();
  });
});

describe('limits.proxy_protocol = "v2"', () => {
  it('is kept by the binary that is loaded, or stops the start with a sentence that names the way out', async () => {
    const env = { HALLEY_LIMITS_PROXY_PROTOCOL: 'v2' };
    const isKept = await readsProxyHeaders();
    const started = await startHalley({ env }).catch((error: unknown) => String(error));
    if (typeof started === 'string') {
      expect([isKept, started]).toEqual([false, expect.stringContaining('limits.proxy_protocol must not be v2')]);
      // One sentence, of the program's own: no thread had started that could have died of it.
      const lines = started.split('\n').filter((line) => line !== '');
      expect(lines).toEqual([
        expect.stringContaining('halley ended with 1'),
        expect.stringMatching(
          /^halley: limits\.proxy_protocol .* set it to v2-tcp, .* \[PROXY_PROTOCOL_UNSUPPORTED\]$/,
        ),
      ]);
      return;
    }
    try {
      expect(isKept).toBe(true);
      expect(await refused(started.wsPort)).toMatchObject({ status: 403, body: { code: 3506, reconnect: false } });
      expect((await nodeStats(started.httpUrl)).totals.refused_proxy).toBe(1);
    } finally {
      await started.stop();
    }
  });
});

describe('packets', () => {
  it('above messages_per_s close the channel with 3009; heartbeats do not count', async () => {
    const halley = await startHalley({
      env: { HALLEY_LIMITS_MESSAGES_PER_S: '1', HALLEY_LIMITS_MESSAGES_BURST: '10' },
    });
    try {
      const client = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'fast', extended: true });
      // Auth was the first of the ten.
      for (let count = 0; count < 9; count++) client.send(1000, 'x');
      await client.request(2, '', 3);
      expect(client.closed).toBe(undefined);
      for (let count = 0; count < 9; count++) client.send(1000, 'x');
      expect(await client.closing()).toEqual({ code: 3009, reason: 'too fast' });
      const advice = JSON.parse(client.packets.at(-1)?.body.toString() ?? '');
      expect(advice).toMatchObject({ code: 3009, reconnect: true });
      expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ rate_closed: 1, rate_dropped: 0 });
    } finally {
      await halley.stop();
    }
  });

  it('above the rate are dropped and counted where rate_action says so, and connects above theirs get 503', async () => {
    const halley = await startHalley({
      args: ['--buckets', '1'],
      env: {
        HALLEY_LIMITS_MESSAGES_PER_S: '1',
        HALLEY_LIMITS_MESSAGES_BURST: '3',
        HALLEY_LIMITS_RATE_ACTION: 'drop',
        HALLEY_LIMITS_CONNECTS_PER_S: '1',
        HALLEY_LIMITS_CONNECTS_BURST: '2',
      },
    });
    try {
      const client = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'fast' });
      for (let count = 0; count < 50; count++) client.send(1000, 'x');
      await client.request(2, '', 3);
      expect(client.closed).toBe(undefined);
      expect((await nodeStats(halley.httpUrl)).totals.rate_dropped).toBeGreaterThanOrEqual(45);
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => refused(halley.wsPort).catch(() => undefined)),
      );
      const refusals = answers.filter((answer) => answer !== undefined);
      expect(refusals.length).toBeGreaterThanOrEqual(15);
      expect(refusals[0]).toMatchObject({ status: 503, retryAfter: '10', body: { code: 3002, reconnect: true } });
      expect((await nodeStats(halley.httpUrl)).totals.refused_rate).toBe(refusals.length);
      // The bucket refills.
      await eventually(() => WireClient.connect(halley.wsUrl, { mid: 1, key: 'later' }).catch(() => undefined));
    } finally {
      await halley.stop();
    }
  });
});

describe('a channel that never reads and sends heartbeats', () => {
  it('is closed after slow.extended_close_after_ms', async () => {
    const halley = await startHalley({
      env: { HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: '65536', HALLEY_SLOW_EXTENDED_CLOSE_AFTER_MS: '2000' },
    });
    try {
      const client = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'deaf', extended: true, accepts: [1000] });
      client.pause();
      const body = 'x'.repeat(60_000);
      await eventually(async () => {
        client.send(2);
        for (let count = 0; count < 20; count++) {
          await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=deaf`, body);
        }
        return (await nodeStats(halley.httpUrl)).totals.slow_closed === 1 || undefined;
      }, 30_000);
      expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ channels: 0, slow_closed: 1 });
      client.terminate();
    } finally {
      await halley.stop();
    }
  });
});

describe('reconnect advice', () => {
  it('goes into op 8, into op 6 of a move, and into op 6 of a shutdown', async () => {
    const halley = await startHalley({ env: { HALLEY_RECONNECT_WINDOW_MS: '4321' } });
    const adviceOf = (client: WireClient) =>
      JSON.parse(client.packets.find(({ op }) => op === 6)?.body.toString() ?? '');
    const clients = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        WireClient.connect(halley.wsUrl, { mid: 1, key: `moved-${index}`, extended: true }),
      ),
    );
    const welcome = clients[0]?.packets.find(({ op }) => op === 8);
    expect(JSON.parse(welcome?.body.toString() ?? '')).toMatchObject({ reconnect_window_ms: 4321 });
    const moved = await runHalley(['drain', '--move', '300', '--url', halley.httpUrl, '--json']);
    expect([moved.code, JSON.parse(moved.stdout)]).toEqual([0, { draining: true, moving: 10 }]);
    for (const client of clients) expect(await client.closing()).toEqual({ code: 3000, reason: 'shutdown' });
    const expected = { code: 3000, reason: 'shutdown', reconnect: true, retry_after_ms: 4321, nodes: [] };
    for (const client of clients) expect(adviceOf(client)).toEqual(expected);
    // It still serves who comes: it is the balancer that sends nobody.
    const last = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'last', extended: true });
    await halley.stop();
    expect(await last.closing()).toEqual({ code: 3000, reason: 'shutdown' });
    expect(adviceOf(last)).toEqual(expected);
  });
});

it('a list of origins with a mistake stops the start with one sentence', async () => {
  const { code, stderr, stdout } = await runHalley(['--ws-port', '0', '--http-port', '0', '--buckets', '1'], {
    HALLEY_LIMITS_ALLOWED_ORIGINS: 'https://example.com/path',
    HALLEY_DATA_DIR: await mkdtemp(join(tmpdir(), 'halley-limits-')),
  });
  expect(code).not.toBe(0);
  expect(stderr + stdout).toContain('each of limits.allowed_origins must be an origin');
});
