import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HalleyError } from '../../errors/index.js';
import type { Session } from '../../push/index.js';
import { MemorySessions } from '../../store/index.js';
import { ApiHarness } from './fixtures/api-harness.js';

function session(key: string, mid: number, sinceMs = 1_700_000_000_000): Session {
  return {
    ...{ key, mid, sinceMs, serverId: 'node-1', nodeEpoch: 4, bucket: 2, connId: 77 },
    platform: 'web',
    remoteIp: '10.0.0.9',
  };
}

function keysOf(answer: { readonly json: unknown }): string[] {
  return (answer.json as { data: { key: string }[] }).data.map(({ key }) => key);
}

let api: ApiHarness;
beforeEach(async () => {
  api = await new ApiHarness().start();
  for (const [key, mid] of [
    ['phone', 1],
    ['laptop', 1],
    ['tablet', 2],
    ['sensor', 0],
  ] as const) {
    api.sessions.put(session(key, mid));
  }
});
afterEach(() => api.api.close());

describe('GET /halley/sessions', () => {
  it('tells node, bucket and connection of a session', async () => {
    const answer = await api.get('/halley/sessions?keys=tablet');
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({
      code: 0,
      message: '',
      data: [
        {
          key: 'tablet',
          mid: 2,
          server_id: 'node-1',
          node_epoch: 4,
          bucket: 2,
          conn_id: 77,
          platform: 'web',
          remote_ip: '10.0.0.9',
          since: '2023-11-14T22:13:20.000Z',
        },
      ],
    });
  });

  it('finds all devices of users and single keys, keys first, each once, and leaves out who is not there', async () => {
    const query = 'mids=2&mids=1&mids=9&keys=laptop&keys=nobody&keys=sensor&keys=laptop';
    expect(keysOf(await api.get(`/halley/sessions?${query}`))).toEqual(['laptop', 'sensor', 'tablet', 'phone']);
    expect(keysOf(await api.get('/halley/sessions?mids=9'))).toEqual([]);
  });

  it.each([
    ['', 'at least one of keys and mids'],
    ['mids=0', 'mids must be integers of 1 to 9007199254740991: mids="0"'],
    ['mids=-1', 'mids="-1"'],
    ['mids=1e3', 'mids="1e3"'],
    ['mids=9007199254740992', 'mids="9007199254740992"'],
    ['mids=1&mids=', 'mids=""'],
    ['keys=', 'keys must be a non-empty string'],
    [`keys=${'k'.repeat(257)}`, 'keys must be at most 256 bytes of UTF-8: bytes=257'],
    [
      Array.from({ length: 1001 }, (_, index) => `mids=${index + 1}`).join('&'),
      'at most 1000 keys and mids: count=1001',
    ],
  ])('refuses %.40s with the bound', async (query, sentence) => {
    const answer = await api.get(`/halley/sessions?${query}`);
    expect([answer.status, (answer.json as { code: number }).code]).toEqual([400, -400]);
    expect(answer.text.replaceAll('\\"', '"')).toContain(sentence);
  });

  it('takes exactly as many names as it says', async () => {
    const query = Array.from({ length: 1000 }, (_, index) => `mids=${index + 1}`).join('&');
    expect(keysOf(await api.get(`/halley/sessions?${query}`))).toEqual(['phone', 'laptop', 'tablet']);
  });
});

describe('GET /halley/sessions of a cluster', () => {
  it('waits for both look-ups, and of two sightings of a key tells the later connection', async () => {
    const cluster = await new ApiHarness({
      sessions: {
        byKeys: () => Promise.resolve([session('phone', 1, 1_000), undefined]),
        byMids: () => Promise.resolve([{ ...session('phone', 1, 2_000), serverId: 'node-2' }, session('laptop', 1)]),
      },
    }).start();
    const answer = await cluster.get('/halley/sessions?keys=phone&keys=gone&mids=1');
    const { data } = answer.json as { data: { key: string; server_id: string }[] };
    expect(data.map((row) => [row.key, row.server_id])).toEqual([
      ['phone', 'node-2'],
      ['laptop', 'node-1'],
    ]);
    cluster.api.close();
  });

  it('needs the API token where there is one', async () => {
    const guarded = await new ApiHarness({ apiToken: 'secret' }).start();
    expect((await guarded.get('/halley/sessions?mids=1')).status).toBe(401);
    expect((await guarded.get('/halley/sessions?mids=1', { Authorization: 'Bearer secret' })).status).toBe(200);
    guarded.api.close();
  });
});

describe('an answer that Redis or another node owes', () => {
  let failure: Error;
  let away: ApiHarness;
  beforeAll(async () => {
    const memory = new MemorySessions();
    away = new ApiHarness({
      sessions: { byKeys: (keys) => memory.byKeys(keys), byMids: () => Promise.reject(failure) },
    });
    away.comet.answer = () => Promise.reject(failure);
    await away.start();
  });
  afterAll(() => away.api.close());

  const calls = [
    ['GET /halley/sessions', () => away.get('/halley/sessions?mids=1&keys=a')],
    ['POST /halley/disconnect', () => away.postJson('/halley/disconnect', { keys: ['a'] })],
    ['POST /halley/rooms/join', () => away.postJson('/halley/rooms/join', { keys: ['a'], rooms: ['live://1'] })],
  ] as const;

  it.each(calls)('%s says 503 with -503 and Retry-After, and it is no defect', async (_, call) => {
    for (const code of ['REDIS_AWAY', 'NODE_NO_ANSWER']) {
      failure = new HalleyError(code, 'it does not answer', { serverId: 'node-2' });
      const answer = await call();
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
      expect(answer.json).toEqual({ code: -503, message: `it does not answer: serverId="node-2" [${code}]` });
    }
    expect(away.defects).toEqual([]);
  });

  it.each(calls)('%s still says 500 to every other error, and reports it', async (_, call) => {
    for (const error of [new Error('REDIS_AWAY'), new HalleyError('SOMETHING_ELSE', 'a defect')]) {
      failure = error;
      expect((await call()).status).toBe(500);
      expect(away.defects.splice(0).map((defect) => defect.error)).toEqual([error]);
    }
  });

  it('is 503 also where a handler throws it in the call', async () => {
    failure = new HalleyError('REDIS_AWAY', 'Redis does not answer now');
    away.comet.answer = () => {
      throw failure;
    };
    expect((await away.postJson('/halley/disconnect', { keys: ['a'] })).status).toBe(503);
  });
});
