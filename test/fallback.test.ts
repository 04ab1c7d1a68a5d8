/**
 * The HTTP fallbacks as a stranger uses them: SSE, long-poll, timed poll and POST, over two buckets, each request on a fresh
 * connection, so that most of them land on the wrong bucket and are forwarded.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeBatch, decodeBatch26, encodePacket, OP, PacketHeader, readPacket } from '../src/protocol/index.js';
import { type FallbackAnswer, FallbackClient, isPush, send } from './kit/fallback-client.js';
import { eventually, type HalleyProcess, post, pushRoom, startHalley, WireClient } from './kit/index.js';

const curl = promisify(execFile);
let halley: HalleyProcess;
let base: string;
let nextKey = 0;

beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_LOG_LEVEL: 'warn' } });
  base = FallbackClient.base(halley.wsUrl);
});
afterAll(async () => {
  await halley?.stop();
});

function key(): string {
  nextKey += 1;
  return `fb-${nextKey}`;
}

function connect(auth: object = {}): Promise<FallbackClient> {
  return FallbackClient.connect(halley.wsUrl, { mid: 0, key: key(), platform: 'test', ...auth });
}

/** The first bytes that come back for these, on a connection of their own. */
async function exchangeRaw(port: number, bytes: Buffer): Promise<string> {
  const socket = createConnection(port, '127.0.0.1');
  socket.write(bytes);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return chunk.toString('latin1');
}

describe('connect', () => {
  test('answers with a short token, and op 8 is message 1', async () => {
    const client = await connect({ halley: 1 });
    expect(client.session).toMatch(/^[\w-]{54}$/);
    const answer = await client.poll();
    expect(answer.status).toBe(200);
    expect(answer.headers['halley-cursor']).toBe('1');
    expect(answer.json).toMatchObject({ cursor: 1, packets: [{ op: OP.AUTH_REPLY, seq: 1, ver: 1 }] });
    expect(JSON.parse(answer.json.packets[0].body)).toMatchObject({ rooms: [] });
  });

  test('refuses an auth body that is none with 400 and the close code', async () => {
    for (const body of ['', 'nonsense', '[]', '{"mid":"x"}']) {
      const answer = await send(`${base}/sub/connect`, { method: 'POST', body });
      expect([body, answer.status, answer.json?.code, answer.json?.reconnect]).toEqual([body, 400, 3504, false]);
    }
  });

  test('refuses a key that belongs to another user with 403', async () => {
    const own = key();
    await connect({ mid: 7, key: own });
    const answer = await send(`${base}/sub/connect`, { method: 'POST', body: JSON.stringify({ mid: 8, key: own }) });
    expect([answer.status, answer.json.code]).toEqual([403, 3506]);
  });

  test('takes a key over from a WebSocket, and a WebSocket takes it back', async () => {
    const own = key();
    const socket = await WireClient.connect(halley.wsUrl, { mid: 9, key: own });
    const client = await connect({ mid: 9, key: own });
    expect((await socket.closing()).code).toBe(3500);
    await client.poll();
    const waiting = client.poll(20_000);
    const again = await WireClient.connect(halley.wsUrl, { mid: 9, key: own });
    const answer = await waiting;
    expect([answer.status, answer.json]).toEqual([
      410,
      { code: 3500, reason: 'taken over', reconnect: false, retry_after_ms: 0 },
    ]);
    await again.close();
  });

  test('of a body above the bound says 413', async () => {
    const answer = await send(`${base}/sub/connect`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect([answer.status, answer.json.code]).toEqual([413, 3503]);
  });
});

describe('polls', () => {
  test('bring what is pushed, in order and none twice, while every request is on a fresh connection', async () => {
    const room = `poll://${key()}`;
    const client = await connect({ room_id: room });
    await client.poll();
    const count = 200;
    const pushing = (async () => {
      for (let index = 0; index < count; index++) await pushRoom(halley.httpUrl, room, `m${index}`);
    })();
    const packets = await client.packets(count);
    await pushing;
    expect(packets.map(({ body }) => body)).toEqual(Array.from({ length: count }, (_, index) => `m${index}`));
  });

  test('bring the same messages again while they are not acknowledged: a lost answer loses nothing', async () => {
    const room = `lost://${key()}`;
    const client = await connect({ room_id: room, halley: 1 });
    await client.poll();
    const seen: string[] = [];
    const pushing = (async () => {
      for (let index = 0; index < 60; index++) await pushRoom(halley.httpUrl, room, `m${index}`);
    })();
    for (let round = 0; seen.length < 60 && round < 500; round++) {
      const before = client.cursor;
      const answer = await client.poll(500);
      if (answer.status !== 200) continue;
      const texts = answer.json.packets.filter(isPush).map(({ body }: { body: string }) => body);
      if (round % 3 === 0) {
        // As if the answer had been lost on its way.
        client.cursor = before;
        const again = await client.poll(0);
        const repeated = again.json.packets.filter(isPush).map(({ body }: { body: string }) => body);
        expect(repeated.slice(0, texts.length)).toEqual(texts);
        seen.push(...repeated);
      } else seen.push(...texts);
    }
    await pushing;
    expect(seen).toEqual(Array.from({ length: 60 }, (_, index) => `m${index}`));
  });

  test('are answered in binary with whole packets, and with 204 where nothing came', async () => {
    const room = `bin://${key()}`;
    const client = await connect({ room_id: room, halley: 1 });
    await pushRoom(halley.httpUrl, room, 'hello');
    const answer = await eventually(async () => {
      const found = await send(client.url('poll', { cursor: 1, wait_ms: 0 }));
      return found.status === 200 && found;
    });
    expect(answer.headers['content-type']).toBe('application/octet-stream');
    expect(answer.headers['halley-cursor']).toBe('2');
    const header = new PacketHeader();
    expect(readPacket(answer.body, 0, answer.body.length, header, 1000, 2)).toBe(0);
    expect(header.op).toBe(OP.BATCH);
    const batch = decodeBatch26(answer.body.subarray(header.bodyOffset));
    expect(batch.ok && [batch.value.room, Buffer.from(batch.value.messages[0]!.body).toString()]).toEqual([
      room,
      'hello',
    ]);
    const none = await send(client.url('poll', { cursor: 2, wait_ms: 0 }));
    expect([none.status, none.body.length, none.headers['halley-cursor']]).toEqual([204, 0, '2']);
    const startedMs = performance.now();
    const waited = await send(client.url('poll', { cursor: 2, wait_ms: 300 }));
    expect(waited.status).toBe(204);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(295);
  });

  test('of one session: the newer wins, the older is answered with 409', async () => {
    const client = await connect();
    await client.poll();
    let ended: FallbackAnswer | undefined;
    void client.poll(20_000).then((answer) => {
      ended = answer;
    });
    // More than once: the older may be on its way through another bucket while the first of these is answered.
    const answer = await eventually(async () => {
      await send(client.url('poll', { cursor: 1, wait_ms: 0 }));
      return ended;
    });
    expect([answer.status, answer.json.code]).toEqual([409, 3500]);
  });

  test('refuse a cursor that nobody was given, and a wait that is no number', async () => {
    const client = await connect();
    for (const query of [
      { cursor: 2 },
      { cursor: -1 },
      { cursor: 'x' },
      { cursor: '9'.repeat(400) },
      { wait_ms: 'x' },
    ]) {
      const answer = await send(client.url('poll', query as Record<string, string>));
      expect([JSON.stringify(query), answer.status, answer.json?.code]).toEqual([JSON.stringify(query), 400, 3502]);
    }
  });
});

describe('send', () => {
  test('takes packets as bytes and as JSON, and answers come downstream', async () => {
    const room = `send://${key()}`;
    const client = await connect({ halley: 1 });
    await client.poll();
    const octets = { 'content-type': 'application/octet-stream' };
    const two = Buffer.concat([encodePacket(1001, 5, 1, Buffer.from('a')), encodePacket(1002, 6, 1)]);
    expect((await send(client.url('send'), { body: two, headers: octets })).status).toBe(204);
    const sent = [
      { op: OP.HEARTBEAT, seq: 7 },
      { op: OP.JOIN_ROOMS, seq: 8, body: [room] },
      { op: 1003, seq: 9, body: 'text' },
    ];
    expect((await client.post('send', sent)).status).toBe(204);
    expect((await client.post('send', { op: OP.HEARTBEAT, seq: 10, body: 60 })).status).toBe(204);
    const replies = await client.packets(6, () => true);
    expect(replies.map(({ op, seq }) => [op, seq])).toEqual([
      [1001, 5],
      [1002, 6],
      [OP.HEARTBEAT_REPLY, 7],
      [OP.JOIN_ROOMS_REPLY, 8],
      [1003, 9],
      [OP.HEARTBEAT_REPLY, 10],
    ]);
    expect(replies[2]?.body).toBe(0);
    await pushRoom(halley.httpUrl, room, 'joined');
    expect(await client.packets(1)).toMatchObject([{ op: 1000, body: 'joined', room, offset: 1 }]);
  });

  test('refuses what is malformed with 400 and keeps the session', async () => {
    const client = await connect();
    const octets = 'application/octet-stream';
    const json = 'application/json';
    const beyond = encodePacket(1001, 1, 1, Buffer.from('abc'));
    new DataView(beyond.buffer).setInt32(0, 200);
    const cases: [string, string | Uint8Array, number][] = [
      [octets, '', 400],
      [octets, 'short', 400],
      [octets, beyond, 400],
      [octets, Buffer.concat([encodePacket(1001, 1, 1), Buffer.from('tail')]), 400],
      [octets, encodePacket(1001, 1, 1, new Uint8Array(70_000)), 413],
      [octets, new Uint8Array(140_000), 413],
      [json, '', 400],
      [json, '{', 400],
      [json, '[]', 400],
      [json, '{"op":"x"}', 400],
      [json, '{"op":1.5}', 400],
      [json, '{"op":1000,"bdy":1}', 400],
      [json, '[{"op":1000},7]', 400],
      [json, '{"op":1000,"body":9007199254740993}', 400],
      [json, Buffer.from([0x22, 0xff, 0x22]), 400],
      ['text/plain', '{"op":1000}', 415],
    ];
    for (const [type, body, status] of cases) {
      const answer = await send(client.url('send'), { method: 'POST', body, headers: { 'content-type': type } });
      expect([type, String(body).slice(0, 40), answer.status]).toEqual([type, String(body).slice(0, 40), status]);
      expect(answer.json).toMatchObject({ reconnect: false, retry_after_ms: 0 });
      expect(answer.json.reason.length).toBeGreaterThan(10);
    }
    expect((await client.post('send', { op: OP.HEARTBEAT })).status).toBe(204);
  });

  test('of a body above the limit of its operation ends the session with 413, as on the WebSocket', async () => {
    const client = await connect();
    const answer = await client.post('send', { op: 1000, body: 'x'.repeat(5000) });
    expect([answer.status, answer.json.code]).toEqual([413, 3503]);
    expect((await client.post('send', { op: OP.HEARTBEAT })).status).toBe(410);
  });
});

describe('SSE', () => {
  test('streams packets in base64 and in JSON, with the number of each as its id', async () => {
    const room = `sse://${key()}`;
    const [plain, json] = [await connect({ room_id: room }), await connect({ room_id: room, halley: 1 })];
    const [plainStream, jsonStream] = [await plain.stream(), await json.stream({ format: 'json' })];
    expect(plainStream.contentType).toBe('text/event-stream; charset=utf-8');
    await Promise.all([plainStream.count(1), jsonStream.count(1)]);
    for (const text of ['one', 'two', 'drei €']) await pushRoom(halley.httpUrl, room, text);
    await eventually(() => jsonStream.packets.filter(isPush).length === 3);
    expect(jsonStream.packets.filter(isPush).map(({ body, offset, room: of }) => [body, offset, of])).toEqual([
      ['one', 1, room],
      ['two', 2, room],
      ['drei €', 3, room],
    ]);
    expect(jsonStream.packets.find(isPush)?.id).toMatch(/^\d{15,}$/);
    const texts = () =>
      plainStream.events.slice(1).flatMap(({ data }) => {
        const batch = decodeBatch(Buffer.from(data, 'base64').subarray(16));
        return batch.ok ? batch.value.map((packet) => Buffer.from(packet.body).toString()) : [];
      });
    await eventually(() => texts().length === 3);
    expect(texts()).toEqual(['one', 'two', 'drei €']);
    expect(plainStream.events.map(({ id }) => Number(id))).toEqual(plainStream.events.map((_, index) => index + 1));
    plainStream.close();
    jsonStream.close();
  });

  test('goes on behind the last event that was seen, with what came meanwhile', async () => {
    const room = `again://${key()}`;
    const client = await connect({ room_id: room, halley: 1 });
    const first = await client.stream({ format: 'json' });
    await first.count(1);
    for (const text of ['a', 'b', 'c']) await pushRoom(halley.httpUrl, room, text);
    await eventually(() => first.packets.filter(isPush).length === 3);
    const lastButOne = first.events.at(-2)!;
    first.close();
    for (const text of ['d', 'e']) await pushRoom(halley.httpUrl, room, text);
    const second = await client.stream({ format: 'json', cursor: 0 }, { 'last-event-id': lastButOne.id });
    await eventually(() => second.packets.at(-1)?.body === 'e');
    const missed = first.packets.filter(isPush).slice(0, -JSON.parse(first.events.at(-1)!.data).length);
    expect([...missed, ...second.packets].filter(isPush).map(({ body }) => body)).toEqual(['a', 'b', 'c', 'd', 'e']);
    second.close();
  });

  test('ends with an event that says why', async () => {
    const own = key();
    const client = await connect({ key: own, halley: 1 });
    const stream = await client.stream({ format: 'json' });
    await stream.count(1);
    const answer = await post(`${halley.httpUrl}/halley/disconnect`, { keys: [own], reason: 'bye' });
    expect(answer.status).toBe(200);
    await eventually(() => stream.isEnded);
    const [last] = stream.events.slice(-1);
    expect(last?.event).toBe('close');
    expect(JSON.parse(last?.data ?? '')).toMatchObject({ code: 3501, reason: 'bye', reconnect: false });
    client.cursor = Number(stream.events.at(-2)?.id);
    const after = await client.poll();
    expect([after.status, after.json.code, after.json.reason]).toEqual([410, 3501, 'bye']);
  });

  test('ends when a newer stream of the session comes', async () => {
    const client = await connect();
    const older = await client.stream();
    await older.count(1);
    const newer = await client.stream();
    await eventually(() => older.isEnded);
    expect(older.events.at(-1)).toMatchObject({ event: 'close' });
    expect(JSON.parse(older.events.at(-1)!.data)).toMatchObject({ code: 3500 });
    newer.close();
  });
});

describe('a client that does not read', () => {
  test('is slow above the bound, and is told Gaps when it has caught up', async () => {
    const room = `slow://${key()}`;
    const client = await connect({ room_id: room, halley: 1 });
    await client.poll();
    const text = 'x'.repeat(30_000);
    const count = 30;
    for (let index = 0; index < count; index++) await pushRoom(halley.httpUrl, room, text);
    const late = await client.packets(1, ({ op }) => op === OP.GAP);
    const gap = JSON.parse(String(late[0]?.body));
    expect(gap).toMatchObject({ scope: 'room', room });
    await pushRoom(halley.httpUrl, room, 'after');
    // The newest may have come to its bucket when there was room again: what is not in the Gap follows it.
    expect(gap.to).toBeGreaterThan(count / 2);
    const rest = await client.packets(count + 1 - gap.to);
    expect(rest.map(({ offset }) => offset)).toEqual(rest.map((_, index) => gap.to + 1 + index));
    expect(rest.at(-1)).toMatchObject({ body: 'after', offset: count + 1 });
  });

  test('of a stream is told a Gap too, and a stream beside it gets everything', async () => {
    const room = `slowsse://${key()}`;
    const [client, other] = [await connect({ room_id: room, halley: 1 }), await connect({ room_id: room, halley: 1 })];
    const [stream, reading] = [await client.stream({ format: 'json' }), await other.stream({ format: 'json' })];
    await stream.count(1);
    stream.pause();
    const text = 'y'.repeat(200_000);
    const count = 60;
    for (let index = 0; index < count; index++) {
      await pushRoom(halley.httpUrl, room, text);
      await eventually(() => reading.events.length === index + 2, 10_000, `push ${index}`);
    }
    stream.resume();
    const gap = await eventually(() => stream.packets.find(({ op }) => op === OP.GAP), 20_000, 'a gap');
    expect(JSON.parse(String(gap.body))).toMatchObject({ scope: 'room', room, to: count });
    const offsets = stream.packets.filter(isPush).map(({ offset }) => offset ?? 0);
    expect(offsets).toEqual(offsets.map((_, index) => index + 1));
    expect(offsets.length).toBeLessThan(count);
    stream.close();
    reading.close();
  });
});

describe('sessions', () => {
  test('end with close, and say so', async () => {
    const client = await connect();
    const waiting = client.poll(20_000);
    expect((await waiting).status).toBe(200);
    const next = client.poll(20_000);
    await eventually(async () => (await send(client.url('close'), { method: 'POST', body: '' })).status === 204);
    const told = { code: 3509, reason: 'closed by the client', reconnect: false, retry_after_ms: 0 };
    for (const answer of [await next, await client.poll(), await client.post('send', { op: 1001 })]) {
      expect([answer.status, answer.json]).toEqual([410, told]);
    }
    expect((await send(client.url('close'), { method: 'POST', body: '' })).status).toBe(204);
    const streaming = await connect();
    const stream = await streaming.stream();
    await stream.count(1);
    expect((await send(streaming.url('close'), { method: 'POST', body: '' })).status).toBe(204);
    await eventually(() => stream.isEnded);
    expect(JSON.parse(stream.events.at(-1)?.data ?? '')).toEqual(told);
  });

  test('that are forged, foreign or malformed are gone (410), a missing one is a mistake (400)', async () => {
    const client = await connect();
    const bytes = Buffer.from(client.session, 'base64url');
    for (let offset = 0; offset < bytes.length; offset++) {
      const forged = Buffer.from(bytes);
      forged[offset]! ^= 0x01;
      const answer = await send(new FallbackClient(base, forged.toString('base64url')).url('poll'));
      expect([offset, answer.status, typeof answer.json.code]).toEqual([offset, 410, 'number']);
    }
    for (const token of ['x', '%00', 'ä', 'A'.repeat(54), client.session.slice(1), `${client.session}A`]) {
      expect([token, (await send(new FallbackClient(base, token).url('poll'))).status]).toEqual([token, 410]);
    }
    expect((await send(`${base}/sub/poll`)).status).toBe(400);
    expect((await client.poll()).status).toBe(200);
  });

  test('are found behind queries and headers that Node would not send on', async () => {
    const client = await connect();
    const path = `/sub/poll?session=${client.session}&cursor=0&wait_ms=0&x=`;
    const port = Number(new URL(base).port);
    // On fresh connections, so that some are forwarded.
    for (let round = 0; round < 12; round++) {
      const head = Buffer.from(`GET ${path}\xe4\xff HTTP/1.1\r\nhost: x\r\norigin: \xff\xfe\r\n\r\n`, 'latin1');
      expect((await exchangeRaw(port, head)).slice(0, 12)).toBe('HTTP/1.1 200');
      const sse = `GET ${path.replace('poll', 'sse')} HTTP/1.1\r\nhost: x\r\nlast-event-id: x\xffz\r\n\r\n`;
      expect((await exchangeRaw(port, Buffer.from(sse, 'latin1'))).slice(0, 12)).toBe('HTTP/1.1 400');
    }
    expect(halley.output()).not.toMatch(/handler failed/);
  });

  test('go on when a poll is aborted', async () => {
    const room = `abort://${key()}`;
    const client = await connect({ room_id: room });
    await client.poll();
    for (let round = 0; round < 5; round++) {
      const abort = new AbortController();
      const poll = client.poll(20_000, { signal: abort.signal }).catch(() => 'aborted');
      setTimeout(() => abort.abort(), 20);
      expect(await poll).toBe('aborted');
    }
    for (let round = 0; round < 3; round++) await pushRoom(halley.httpUrl, room, `r${round}`);
    expect((await client.packets(3)).map(({ body }) => body)).toEqual(['r0', 'r1', 'r2']);
  });
});

describe('HTTP', () => {
  test('routes are named where the path or the method is wrong', async () => {
    expect((await send(`${base}/sub/other`)).status).toBe(404);
    const wrong = await send(`${base}/sub/poll`, { method: 'POST', body: '' });
    expect([wrong.status, wrong.headers['allow']]).toEqual([405, 'GET, OPTIONS']);
  });

  test('preflights and answers carry CORS headers', async () => {
    const headers = { origin: 'https://page.example', 'access-control-request-method': 'POST' };
    const preflight = await send(`${base}/sub/send`, { method: 'OPTIONS', headers });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'POST, OPTIONS',
      'access-control-allow-headers': 'Content-Type, Last-Event-ID',
    });
    const client = await connect();
    const poll = await client.poll(0, { headers: { origin: 'https://page.example' } });
    expect(poll.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'Halley-Cursor, Retry-After',
      'cache-control': 'no-store',
    });
  });

  test('is enough for curl', async () => {
    const room = `curl://${key()}`;
    const auth = JSON.stringify({ mid: 0, key: key(), room_id: room, halley: 1 });
    const { stdout } = await curl('curl', ['-s', '-d', auth, `${base}/sub/connect`]);
    const { session } = JSON.parse(stdout) as { session: string };
    await pushRoom(halley.httpUrl, room, 'to curl');
    const polled = await eventually(async () => {
      const url = `${base}/sub/poll?session=${session}&cursor=0&wait_ms=0&format=json`;
      const { stdout: text } = await curl('curl', ['-s', url]);
      return text.includes('to curl') && (JSON.parse(text) as { packets: object[] });
    });
    expect(polled.packets).toMatchObject([{ op: OP.AUTH_REPLY }, { op: 1000, body: 'to curl', room, offset: 1 }]);
    const sse = curl('curl', ['-sN', '--max-time', '1', `${base}/sub/sse?session=${session}&format=json&cursor=1`]);
    const text = await sse.catch((error: { stdout: string }) => error).then((result) => result.stdout);
    expect(text).toMatch(/^:\n\nid: 2\ndata: \[\{"op":1000/);
    await curl('curl', ['-s', '-d', '', `${base}/sub/close?session=${session}`]);
  });
});

test('2,000 pollers are told of a push, and leave nothing behind', async () => {
  const room = `many://${key()}`;
  const clients: FallbackClient[] = [];
  while (clients.length < 2_000) {
    clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect({ room_id: room })))));
  }
  for (let from = 0; from < clients.length; from += 200) {
    const answers = await Promise.all(clients.slice(from, from + 200).map((client) => client.poll(0)));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
  }
  const polls = clients.map((client) => client.poll(30_000));
  await new Promise((resolve) => setImmediate(resolve));
  await pushRoom(halley.httpUrl, room, 'to all of them');
  for (const poll of polls) {
    const answer = await poll;
    expect([answer.status, answer.json?.packets[0]?.body]).toEqual([200, 'to all of them']);
  }
  for (let from = 0; from < clients.length; from += 200) {
    const closes = clients
      .slice(from, from + 200)
      .map((client) => send(client.url('close'), { method: 'POST', body: '' }));
    expect((await Promise.all(closes)).every(({ status }) => status === 204)).toBe(true);
  }
});
