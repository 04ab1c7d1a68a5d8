import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeBody } from '../../protocol/index.js';
import type { OnlineCounts } from '../../push/index.js';
import { ApiHarness } from './fixtures/api-harness.js';
import { routeTableMarkdown } from './index.js';
import { ROUTES } from './routes.js';

let api: ApiHarness;
beforeAll(async () => {
  api = await new ApiHarness({ batchMaxCount: 5, handlerDeadlineMs: 300 }).start();
});
afterAll(() => api.api.close());
afterEach(() => {
  api.pusher.commands.length = 0;
  api.pusher.outcome = 'ok';
  api.comet.calls.length = 0;
  api.comet.answer = () => 1;
  api.reasons = [];
  api.defects.length = 0;
});

describe('POST /halley/push/batch', () => {
  const commands = [
    { room: 'live://1', op: 1000, body: 'a' },
    { rooms: ['live://1', 'live://2'], op: 1001, body: 'b' },
    { keys: ['k'], op: 1002, body: 'c' },
    { mids: [7], op: 1003, body: 'd' },
    { all: true, op: 1004, body: 'e', speed: 50 },
  ];
  const targets = [
    { kind: 'rooms', rooms: ['live://1'] },
    { kind: 'rooms', rooms: ['live://1', 'live://2'] },
    { kind: 'keys', keys: ['k'] },
    { kind: 'mids', mids: [7] },
    { kind: 'all', speedPerSec: 50 },
  ];

  it.each([
    ['application/json', 'json'],
    ['application/json; charset=utf-8', 'json'],
    ['application/msgpack', 'msgpack'],
    ['Application/X-MsgPack', 'msgpack'],
  ] as const)('accepts commands for every target in order, as %s', async (type, codec) => {
    const answer = await api.post('/halley/push/batch', encodeBody(codec, commands), { 'Content-Type': type });
    expect([answer.status, answer.json]).toEqual([
      200,
      { code: 0, message: '', data: commands.map(() => ({ code: 0, message: '' })) },
    ]);
    expect(api.pusher.commands.map((one) => one.target)).toEqual(targets);
    expect(api.pusher.commands.map((one) => one.op)).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect(api.pusher.commands.map((one) => Buffer.from(one.body).toString()).join('')).toBe('abcde');
  });

  it('accepts a single command', async () => {
    const answer = await api.postJson('/halley/push/batch', commands[2]);
    expect(answer.json).toEqual({ code: 0, message: '', data: [{ code: 0, message: '' }] });
    expect(api.pusher.commands.length).toBe(1);
  });

  it('answers each command by itself and goes on behind a bad one', async () => {
    const answer = await api.postJson('/halley/push/batch', [
      commands[0],
      { room: 'live://1', op: 0, body: 'x' },
      { keyz: ['k'], op: 1, body: 'x' },
      { mids: [9007199254740992], op: 1, body: 'x' },
      commands[2],
    ]);
    const { data } = answer.json as { data: { code: number; message: string }[] };
    expect(data.map((row) => row.code)).toEqual([0, -400, -400, -400, 0]);
    expect(data[1]?.message).toContain('[1].op');
    expect(data[2]?.message).toContain('keyz');
    expect(data[3]?.message).toContain('[3].mids');
    expect(api.pusher.commands.length).toBe(2);
  });

  it('says per command that the queue is full', async () => {
    api.pusher.outcome = 'full';
    const answer = await api.postJson('/halley/push/batch', [commands[0]]);
    expect(answer.json).toMatchObject({ code: 0, data: [{ code: -503 }] });
  });

  it.each(['', '?durable=true'])('says per command that it is too large, and counts each%s', async (query) => {
    api.pusher.outcome = 'too_large';
    const before = api.pushesTooLarge;
    const answer = await api.postJson(`/halley/push/batch${query}`, [commands[0], { room: 1 }, commands[2]]);
    expect(answer.json).toMatchObject({ code: 0, data: [{ code: -413 }, { code: -400 }, { code: -413 }] });
    expect(api.pushesTooLarge - before).toBe(2);
  });

  it.each([
    ['another content type', 'text/plain', '[]', 415, -415, 'application/json'],
    ['no content type', '', '[]', 415, -415, 'application/json'],
    ['text that is no JSON', 'application/json', '{', 400, -400, 'JSON'],
    ['an empty body', 'application/json', '', 400, -400, 'JSON'],
    ['bytes that are no MessagePack', 'application/msgpack', '\xc1', 400, -400, 'MessagePack'],
    ['too many commands', 'application/json', '[1,2,3,4,5,6]', 413, -413, 'at most 5'],
  ])('refuses %s as a whole', async (_what, type, body, status, code, part) => {
    const answer = await api.post(
      '/halley/push/batch',
      Buffer.from(body, 'latin1'),
      type === '' ? {} : { 'Content-Type': type },
    );
    expect(answer.status).toBe(status);
    expect(answer.json).toEqual({ code, message: expect.stringContaining(part) });
  });
});

describe('POST /halley/disconnect', () => {
  it.each([
    [{ keys: ['a'] }, { code: 3501, reason: 'disconnected by the backend', reconnect: false, retryAfterMs: 0 }],
    [
      { mids: [1, '2'], reconnect: true, retry_after_ms: 500 },
      { code: 3000, reason: 'shutdown', reconnect: true, retryAfterMs: 500 },
    ],
    [
      { keys: ['a'], code: 3100, reason: 'go' },
      { code: 3100, reason: 'go', reconnect: true, retryAfterMs: 0 },
    ],
    [
      { keys: ['a'], code: 4001, reconnect: true },
      { code: 4001, reason: '', reconnect: true, retryAfterMs: 0 },
    ],
    [
      { keys: ['a'], code: null, reason: null },
      { code: 3501, reason: 'disconnected by the backend', reconnect: false, retryAfterMs: 0 },
    ],
  ])('%j closes with %j', async (body, advice) => {
    api.comet.answer = () => 2;
    const answer = await api.postJson('/halley/disconnect', body);
    expect(answer.text).toBe('{"code":0,"message":"","data":{"count":2}}');
    const keys = 'keys' in body ? body.keys : [];
    const mids = 'mids' in body ? [1, 2] : [];
    expect(api.comet.calls).toEqual([['disconnect', { keys, mids }, advice]]);
  });

  it.each([
    [{}, 'at least one of "keys" and "mids"'],
    [{ keys: [] }, 'at least one of'],
    [{ keyz: ['a'] }, '"keyz" is no member of this request, the nearest is "keys"'],
    [{ keys: ['a'], retryAfterMs: 1 }, 'the nearest is "retry_after_ms"'],
    [{ keys: 'a' }, 'keys must be an array: keys="a"'],
    [{ keys: ['a', ''] }, 'keys[1] must be a non-empty string'],
    [{ mids: [1.5] }, 'mids[0] must be an integer'],
    [{ mids: [9007199254740992] }, 'up to 2^53-1'],
    [{ mids: ['9007199254740993'] }, 'mids[0]="9007199254740993"'],
    [{ keys: ['a'], code: 1000 }, 'code must be an integer from 3000 to 4999: code=1000'],
    [{ keys: ['a'], code: 3500, reconnect: true }, 'reconnect=true code=3500'],
    [{ keys: ['a'], code: 3000, reconnect: false }, 'reconnect=false code=3000'],
    [{ keys: ['a'], reconnect: 'yes' }, 'reconnect must be true or false: reconnect="yes"'],
    [{ keys: ['a'], reason: 'x'.repeat(124) }, 'reason must be a string of at most 123 bytes'],
    [{ keys: ['a'], retry_after_ms: -1 }, 'retry_after_ms must be an integer from 0'],
    [['a'], 'the body must be a JSON object'],
    [null, 'the body must be a JSON object: body=null'],
  ])('refuses %j', async (body, part) => {
    const answer = await api.postJson('/halley/disconnect', body);
    expect(answer.status).toBe(400);
    expect(answer.json).toEqual({ code: -400, message: expect.stringContaining(part) });
    expect(api.comet.calls).toEqual([]);
  });
});

describe('POST /halley/rooms', () => {
  it.each(['join', 'leave'])('%s counts the channels found, answered at once or later', async (change) => {
    const body = { keys: ['a'], mids: [3], rooms: ['live://1', 'plain'] };
    expect((await api.postJson(`/halley/rooms/${change}`, body)).json).toMatchObject({ data: { count: 1 } });
    api.comet.answer = () => new Promise((resolve) => setImmediate(() => resolve(4)));
    expect((await api.postJson(`/halley/rooms/${change}`, body)).json).toMatchObject({ data: { count: 4 } });
    expect(api.comet.calls[0]).toEqual([change, { keys: ['a'], mids: [3] }, ['live://1', 'plain']]);
  });

  it.each([
    [{ keys: ['a'] }, '"rooms" must name at least one room'],
    [{ keys: ['a'], rooms: [''] }, 'rooms[0] must be a non-empty string'],
    [{ keys: ['a'], rooms: ['r'.repeat(257)] }, 'rooms[0] must be at most 256 bytes'],
    [{ rooms: ['a'] }, 'at least one of "keys" and "mids"'],
    [{ keys: ['a'], room: ['a'] }, 'the nearest is "rooms"'],
  ])('join refuses %j', async (body, part) => {
    const answer = await api.postJson('/halley/rooms/join', body);
    expect([answer.status, answer.json]).toEqual([400, { code: -400, message: expect.stringContaining(part) }]);
    expect(api.comet.calls).toEqual([]);
  });

  it('answers 504 when the buckets do not, and 500 with a report when they fail', async () => {
    api.comet.answer = () => new Promise(() => {});
    const late = await api.postJson('/halley/rooms/join', { keys: ['a'], rooms: ['r'] });
    expect([late.status, late.json]).toEqual([504, { code: -504, message: expect.stringContaining('deadlineMs=300') }]);
    api.comet.answer = () => Promise.reject(new Error('bucket 2 died'));
    const failed = await api.postJson('/halley/rooms/leave', { keys: ['a'], rooms: ['r'] });
    expect([failed.status, failed.json]).toEqual([500, { code: -500, message: expect.any(String) }]);
    expect(failed.text).not.toContain('bucket 2');
    expect(api.defects).toEqual([{ error: new Error('bucket 2 died'), where: 'POST /halley/rooms/leave' }]);
  });
});

describe('GET', () => {
  it('/health answers 200, /ready 200 or 503 with reasons', async () => {
    expect([(await api.get('/health')).status, (await api.get('/ready')).text]).toEqual([200, '{"ready":true}']);
    api.reasons = [{ reason: 'bucket_down', detail: 'bucket 2 crashed 5 times' }];
    const notReady = await api.get('/ready');
    expect([notReady.status, notReady.json]).toEqual([503, { ready: false, reasons: api.reasons }]);
    expect((await api.get('/health')).status).toBe(200);
    expect((await api.get('/goim/nodes/instances')).json).toMatchObject({ data: [{ metadata: { offline: 'true' } }] });
  });

  it('/halley/stats answers what the node counts', async () => {
    expect((await api.get('/halley/stats')).json).toEqual({
      code: 0,
      message: '',
      data: { totals: { pushes: 1 }, threads: [] },
    });
  });
});

describe('the route table', () => {
  it('answers a wrong method on our own paths with 405 and what is allowed', async () => {
    const answer = await api.get('/halley/disconnect');
    expect([answer.status, answer.headers.allow, answer.json]).toEqual([
      405,
      'POST, OPTIONS',
      { code: -405, message: expect.stringContaining('"GET"') },
    ]);
  });

  it('becomes a Markdown table with one row per route', () => {
    const lines = routeTableMarkdown().split('\n');
    expect(lines.length).toBe(ROUTES.length + 2);
    expect(new Set(lines.map((line) => line.split(/(?<!\\)\|/).length))).toEqual(new Set([6]));
    expect(lines).toContain('| `GET /health` |  | 200 as long as the event loop turns | open |');
  });
});

describe('GET /halley/online', () => {
  const online: OnlineCounts = {
    roomCount: (room) => (room === 'live://1' ? 8 : 0),
    localRoomCount: (room) => (room === 'live://1' ? 3 : 0),
    roomCounts: (prefix) =>
      [
        { room: 'live://1', count: 8 },
        { room: 'chat://x', count: 9 },
      ].filter(({ room }) => room.startsWith(prefix)),
    connectionCount: () => 16,
    ipCount: () => 9,
    nodes: () => [
      { serverId: 'a', isLocal: true, connCount: 7, ipCount: 4, roomCount: 1 },
      { serverId: 'b', isLocal: false, connCount: 9, ipCount: 5, roomCount: 2 },
    ],
  };

  it("answers for the whole cluster, as goim's routes do", async () => {
    const cluster = await new ApiHarness({ online }).start();
    try {
      const data = async (target: string) => ((await cluster.get(target)).json as { data: unknown }).data;
      expect(await data('/halley/online/top?limit=2&type=live')).toEqual([
        { room: 'live://1', count: 8, local_count: 3 },
      ]);
      expect(await data('/halley/online/top?limit=1')).toMatchObject([{ room: 'chat://x' }]);
      expect(await data('/halley/online/room?rooms=live://1&rooms=no://1')).toEqual([
        { room: 'live://1', count: 8, local_count: 3 },
        { room: 'no://1', count: 0, local_count: 0 },
      ]);
      expect(await data('/halley/online/total')).toEqual({
        conn_count: 16,
        ip_count: 9,
        nodes: [
          { server_id: 'a', local: true, conn_count: 7, ip_count: 4, room_count: 1 },
          { server_id: 'b', local: false, conn_count: 9, ip_count: 5, room_count: 2 },
        ],
      });
      expect(await data('/goim/online/total')).toEqual({ conn_count: 16, ip_count: 9 });
      expect(await data('/goim/online/top?type=live&limit=5')).toEqual([{ room_id: '1', count: 8 }]);
      expect(await data('/goim/online/room?type=live&rooms=1')).toEqual({ '1': 8 });
    } finally {
      cluster.api.close();
    }
  });

  it('answers for the node where it is alone', async () => {
    api.comet.countByRoom.set('live://1', 4);
    expect((await api.get('/halley/online/total')).json).toMatchObject({
      data: { nodes: [{ server_id: 'node-1', local: true, conn_count: 7, ip_count: 3, room_count: 1 }] },
    });
    expect((await api.get('/halley/online/room?rooms=live://1')).json).toMatchObject({
      data: [{ room: 'live://1', count: 4, local_count: 4 }],
    });
    api.comet.countByRoom.clear();
    expect((await api.get('/halley/online/top')).json).toMatchObject({ code: -400 });
  });
});
