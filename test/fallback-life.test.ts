/**
 * The ends of fallback sessions: auth that is refused, silence, a bucket that dies, a shutdown; and origins.
 */
import { createHmac } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { OP } from '../src/protocol/index.js';
import { FallbackClient, send } from './kit/fallback-client.js';
import {
  ASK_BUCKET_OP,
  eventually,
  type HalleyOptions,
  type HalleyProcess,
  nodeEmpty,
  pushRoom,
  startHalley,
} from './kit/index.js';

const APP = fileURLToPath(new URL('./fixtures/misbehaving.mjs', import.meta.url));
const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const EXIT_OP = 2005;

let nodes: HalleyProcess[] = [];
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
});

async function start(options: HalleyOptions = {}): Promise<HalleyProcess> {
  const halley = await startHalley({ ...options, env: { HALLEY_LOG_LEVEL: 'fatal', ...options.env } });
  nodes.push(halley);
  return halley;
}

function jwt(claims: object): string {
  const text = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const head = `${text({ alg: 'HS256', typ: 'JWT' })}.${text(claims)}`;
  return `${head}.${createHmac('sha256', SECRET).update(head).digest('base64url')}`;
}

describe('a fallback session', () => {
  test('without a good token is refused with 401, and begins with one', async () => {
    const { wsUrl } = await start({ env: { HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: SECRET } });
    const url = `${FallbackClient.base(wsUrl)}/sub/connect`;
    for (const token of ['', 'x.y.z']) {
      const answer = await send(url, { body: JSON.stringify({ mid: 1, key: 'a', token }) });
      expect([answer.status, answer.json.code, answer.json.reconnect]).toEqual([401, 3505, false]);
    }
    const token = jwt({ mid: 1, exp: Math.floor(Date.now() / 1000) + 60 });
    const client = await FallbackClient.connect(wsUrl, { key: 'a', token });
    expect((await client.poll()).status).toBe(200);
  });

  test('lives while it polls or sends, and ends with 3003 in silence, though its stream is open', async () => {
    const { wsUrl, httpUrl } = await start({
      env: { HALLEY_HEARTBEAT_INTERVAL_S: '1', HALLEY_HEARTBEAT_MAX_MISSES: '2' },
    });
    const [polling, sending, silent] = [
      await FallbackClient.connect(wsUrl, { key: 'polling' }),
      await FallbackClient.connect(wsUrl, { key: 'sending' }),
      await FallbackClient.connect(wsUrl, { key: 'silent' }),
    ];
    const stream = await silent.stream();
    const open = await sending.stream({ format: 'json' });
    await eventually(async () => {
      // The wait is cut to half of the idle time, so that waiting does not count as silence.
      expect((await polling.poll(20_000)).status).toBeLessThan(300);
      expect((await sending.post('send', { op: OP.HEARTBEAT })).status).toBe(204);
      return stream.isEnded;
    });
    expect(JSON.parse(stream.events.at(-1)!.data)).toMatchObject({ code: 3003, reconnect: true });
    expect(open.isEnded).toBe(false);
    expect((await polling.poll(0)).status).toBeLessThan(300);
    await polling.post('close', '');
    await sending.post('close', '');
    await nodeEmpty(httpUrl);
  });

  test('of a bucket that died is gone (410), whichever bucket is asked; those of the others go on', async () => {
    const { wsUrl, httpUrl } = await start({ args: ['--app', APP] });
    const clients = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        FallbackClient.connect(wsUrl, { key: `k${index}`, room_id: 'live://1' }),
      ),
    );
    const buckets = await Promise.all(
      clients.map(async (client) => {
        await client.poll();
        await client.post('send', { op: ASK_BUCKET_OP });
        return Number((await client.packets(1))[0]?.body);
      }),
    );
    const victim = buckets[0]!;
    expect(new Set(buckets).size).toBe(2);
    await clients[0]!.post('send', { op: EXIT_OP }).catch(() => undefined);
    for (const [index, client] of clients.entries()) {
      if (buckets[index] !== victim) continue;
      await eventually(async () => {
        const answer = await client.poll(0).catch(() => undefined);
        return answer?.status === 410 && [3000, 3001].includes(answer.json.code) && answer.json.reconnect === true;
      });
    }
    await eventually(async () => {
      const client = await FallbackClient.connect(wsUrl, { key: 'new' }).catch(() => undefined);
      if (client === undefined) return false;
      await client.poll();
      await client.post('send', { op: ASK_BUCKET_OP });
      return Number((await client.packets(1))[0]?.body) === victim;
    }, 20_000);
    // Its slots are in use again, its serials are not.
    expect((await clients[0]!.poll(0)).status).toBe(410);
    await pushRoom(httpUrl, 'live://1', 'still there');
    for (const [index, client] of clients.entries()) {
      if (buckets[index] !== victim) expect((await client.packets(1))[0]?.body).toBe('still there');
    }
  });

  test('is told of a shutdown: a poll by 410, a stream by its last event, both to come back', async () => {
    const halley = await start();
    const [polling, streaming] = [
      await FallbackClient.connect(halley.wsUrl, { key: 'p', halley: 1 }),
      await FallbackClient.connect(halley.wsUrl, { key: 's' }),
    ];
    await polling.poll();
    const poll = polling.poll(20_000);
    const stream = await streaming.stream();
    await stream.count(1);
    await pushRoom(halley.httpUrl, 'live://none', 'x').catch(() => undefined);
    const stopped = halley.stop();
    const answer = await poll;
    expect([answer.status, answer.json.code, answer.json.reconnect]).toEqual([410, 3000, true]);
    await eventually(() => stream.isEnded);
    expect(stream.events.at(-1)?.event).toBe('close');
    expect(JSON.parse(stream.events.at(-1)!.data)).toMatchObject({ code: 3000, reconnect: true });
    expect(await stopped).toBe(0);
  });

  test('of an earlier life of the node is gone, and its client told to come back', async () => {
    const first = await start({ args: ['--server-id', 'same'] });
    const client = await FallbackClient.connect(first.wsUrl, { key: 'a' });
    const port = String(first.wsPort);
    await first.stop();
    const second = await start({ args: ['--server-id', 'same', '--ws-port', port] });
    const answer = await client.through(second.wsUrl).poll();
    expect([answer.status, answer.json.reconnect]).toEqual([410, expect.any(Boolean)]);
  });
});
