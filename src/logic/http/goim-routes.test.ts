import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApiHarness, NODE } from './fixtures/api-harness.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const OK = '{"code":0,"message":""}';
const required = (field: string) =>
  `Key: '${field}' Error:Field validation for '${field}' failed on the 'required' tag`;

let api: ApiHarness;
beforeAll(async () => {
  api = await new ApiHarness().start();
});
afterAll(() => api.api.close());
afterEach(() => {
  api.pusher.commands.length = 0;
  api.pusher.outcome = 'ok';
  api.comet.countByRoom.clear();
});

describe("goim's push routes", () => {
  it.each([
    ['keys?operation=1000&keys=a&keys=b', { kind: 'keys', keys: ['a', 'b'] }, 1000],
    ['keys?operation=1000&keys=a,b', { kind: 'keys', keys: ['a,b'] }, 1000],
    ['keys?keys=a', { kind: 'keys', keys: ['a'] }, 0],
    ['keys?operation=&keys=a', { kind: 'keys', keys: ['a'] }, 0],
    ['keys?operation=5&keys=', { kind: 'keys', keys: [''] }, 5],
    ['keys?operation=5&keys=a+b%26c%3D%E4%B8%AD', { kind: 'keys', keys: ['a b&c=中'] }, 5],
    ['keys?operation=1&operation=2&keys=a', { kind: 'keys', keys: ['a'] }, 1],
    ['keys?operation=-2147483648&keys=a', { kind: 'keys', keys: ['a'] }, -2147483648],
    ['keys?operation=%2B7&keys=a&unknown=1', { kind: 'keys', keys: ['a'] }, 7],
    ['mids?operation=1000&mids=1&mids=2', { kind: 'mids', mids: [1, 2] }, 1000],
    ['mids?mids=9007199254740991', { kind: 'mids', mids: [9007199254740991] }, 0],
    ['mids?operation=7&mids=0&mids=3&mids=-4', { kind: 'mids', mids: [3] }, 7],
    ['room?operation=1000&type=live&room=1000', { kind: 'rooms', rooms: ['live://1000'] }, 1000],
    ['room?operation=-1&type=a%2Fb&room=c/d%20e', { kind: 'rooms', rooms: ['a/b://c/d e'] }, -1],
    ['all?operation=1000', { kind: 'all', speedPerSec: 0 }, 1000],
    ['all?operation=2147483647&speed=500', { kind: 'all', speedPerSec: 500 }, 2147483647],
    ['all?operation=1000&speed=-5', { kind: 'all', speedPerSec: 0 }, 1000],
  ])('POST /goim/push/%s is accepted', async (target, pushed, op) => {
    const answer = await api.post(`/goim/push/${target}`, '{"test":1}');
    expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([200, JSON_TYPE, OK]);
    expect(api.pusher.last()).toEqual({ target: pushed, op, body: '{"test":1}' });
  });

  it.each([
    ['mids?operation=1000', 'no mid at all'],
    ['mids?operation=1000&mids=', 'an empty mid'],
    ['mids?operation=1000&mids=0&mids=-1', 'mids that are nobody'],
  ])('POST /goim/push/%s (%s) is code 0 and reaches nobody', async (target) => {
    expect((await api.post(`/goim/push/${target}`, 'x')).text).toBe(OK);
    expect(api.pusher.commands).toEqual([]);
  });

  it('answers push/keys without keys as goim does: status 200, code -400, no text', async () => {
    const answer = await api.post('/goim/push/keys?operation=1000', 'x');
    expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([
      200,
      JSON_TYPE,
      '{"code":-400,"message":""}',
    ]);
  });

  it.each([
    ['POST', '/goim/push/keys?operation=x&keys=a', 'strconv.ParseInt: parsing "x": invalid syntax'],
    ['POST', '/goim/push/keys?operation=1.5&keys=a', 'strconv.ParseInt: parsing "1.5": invalid syntax'],
    [
      'POST',
      '/goim/push/keys?operation=2147483648&keys=a',
      'strconv.ParseInt: parsing "2147483648": value out of range',
    ],
    ['POST', '/goim/push/keys?operation=-2147483649', 'strconv.ParseInt: parsing "-2147483649": value out of range'],
    ['POST', '/goim/push/keys?operation=0x10', 'strconv.ParseInt: parsing "0x10": invalid syntax'],
    ['POST', '/goim/push/keys?operation=%22%0a', 'strconv.ParseInt: parsing "\\"\\n": invalid syntax'],
    ['POST', '/goim/push/mids?mids=1,2', 'strconv.ParseInt: parsing "1,2": invalid syntax'],
    ['POST', '/goim/push/mids?mids=1&mids=y', 'strconv.ParseInt: parsing "y": invalid syntax'],
    [
      'POST',
      '/goim/push/mids?mids=9223372036854775808',
      'strconv.ParseInt: parsing "9223372036854775808": value out of range',
    ],
    [
      'POST',
      '/goim/push/mids?mids=9007199254740993',
      'strconv.ParseInt: parsing "9007199254740993": value out of range',
    ],
    ['POST', '/goim/push/mids?operation=a&mids=b', 'strconv.ParseInt: parsing "a": invalid syntax'],
    ['POST', '/goim/push/room?type=live&room=1', required('Op')],
    ['POST', '/goim/push/room?operation=0&type=live&room=1', required('Op')],
    ['POST', '/goim/push/room?operation=1&room=1', required('Type')],
    ['POST', '/goim/push/room?operation=1&type=live&room=', required('Room')],
    ['POST', '/goim/push/room', [required('Op'), required('Type'), required('Room')].join('\n')],
    ['POST', '/goim/push/room?operation=z&type=', 'strconv.ParseInt: parsing "z": invalid syntax'],
    ['POST', '/goim/push/all', required('Op')],
    ['POST', '/goim/push/all?operation=0', required('Op')],
    ['POST', '/goim/push/all?operation=1&speed=q', 'strconv.ParseInt: parsing "q": invalid syntax'],
    ['GET', '/goim/online/top?limit=1', required('Type')],
    ['GET', '/goim/online/top?type=live', required('Limit')],
    ['GET', '/goim/online/top?type=live&limit=0', required('Limit')],
    ['GET', '/goim/online/top?type=live&limit=ten', 'strconv.ParseInt: parsing "ten": invalid syntax'],
    ['GET', '/goim/online/top', [required('Type'), required('Limit')].join('\n')],
    // goim panics here and answers 500 without a body.
    [
      'GET',
      '/goim/online/top?type=live&limit=-1',
      "Key: 'Limit' Error:Field validation for 'Limit' failed on the 'min' tag",
    ],
    ['GET', '/goim/online/room?type=live', required('Rooms')],
    ['GET', '/goim/online/room?rooms=1', required('Type')],
  ])('%s %s is refused as gin does: status 400, text/plain, the validator text', async (method, target, message) => {
    const answer = await api.request(method, target, { body: method === 'POST' ? 'x' : '' });
    expect([answer.status, answer.headers['content-type']]).toEqual([400, TEXT_TYPE]);
    expect(answer.json).toEqual({ code: -400, message });
    expect(api.pusher.commands).toEqual([]);
  });

  it.each(['keys?keys=a', 'mids?mids=1', 'room?operation=1&type=t&room=r', 'all?operation=1'])(
    'POST /goim/push/%s says that the queue is full, the message too large, the node going down',
    async (target) => {
      const message = expect.stringContaining('nobody got');
      api.pusher.outcome = 'full';
      const full = await api.post(`/goim/push/${target}`, 'x');
      expect([full.status, full.headers['retry-after'], full.json]).toEqual([503, '1', { code: -503, message }]);
      api.pusher.outcome = 'too_large';
      const before = api.pushesTooLarge;
      const tooLarge = await api.post(`/goim/push/${target}`, 'x');
      expect([tooLarge.status, tooLarge.json]).toEqual([413, { code: -413, message }]);
      expect(api.pushesTooLarge - before).toBe(1);
      api.pusher.outcome = 'closed';
      const closed = await api.post(`/goim/push/${target}`, 'x');
      expect([closed.status, closed.json]).toEqual([503, { code: -503, message }]);
    },
  );

  it('takes an empty message and one of arbitrary bytes', async () => {
    await api.post('/goim/push/keys?keys=a');
    expect(api.pusher.last()?.body).toBe('');
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    await api.post('/goim/push/keys?keys=a', bytes);
    expect([...(api.pusher.commands.at(-1)?.body ?? [])]).toEqual([...bytes]);
  });
});

describe("goim's online routes", () => {
  it('lists the fullest rooms of exactly one type, equal ones by name, without cutting ids', async () => {
    const counts = { 'test://a/b': 5, 'test://c': 9, 'test://b': 5, 'te://x': 50, 'test2://y': 50, test: 50 };
    for (const [room, count] of Object.entries(counts)) api.comet.countByRoom.set(room, count);
    const top = async (query: string) => (await api.get(`/goim/online/top?${query}`)).json;
    expect(await top('type=test&limit=2')).toEqual({
      code: 0,
      message: '',
      data: [
        { room_id: 'c', count: 9 },
        { room_id: 'a/b', count: 5 },
      ],
    });
    expect(await top('type=test&limit=100')).toMatchObject({ data: [{}, {}, { room_id: 'b', count: 5 }] });
    expect(await top('type=te&limit=10')).toMatchObject({ data: [{ room_id: 'x', count: 50 }] });
    expect(await top('type=none&limit=10')).toEqual({ code: 0, message: '', data: [] });
  });

  it('counts the named rooms, 0 where nobody is, right after a change', async () => {
    const room = async () => (await api.get('/goim/online/room?type=test&rooms=1&rooms=2,3&rooms=__proto__')).text;
    expect(await room()).toBe('{"code":0,"message":"","data":{"1":0,"2,3":0,"__proto__":0}}');
    api.comet.countByRoom.set('test://1', 4).set('test://__proto__', 2);
    expect(await room()).toBe('{"code":0,"message":"","data":{"1":4,"2,3":0,"__proto__":2}}');
    api.comet.countByRoom.delete('test://1');
    expect(await room()).toBe('{"code":0,"message":"","data":{"1":0,"2,3":0,"__proto__":2}}');
  });

  it('counts connections and addresses', async () => {
    const answer = await api.get('/goim/online/total');
    expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([
      200,
      JSON_TYPE,
      '{"code":0,"message":"","data":{"conn_count":7,"ip_count":3}}',
    ]);
  });
});

describe("goim's node routes", () => {
  it('answers nodes/weighted byte for byte, names for browsers and addresses for all others', async () => {
    expect((await api.get('/goim/nodes/weighted?platform=web')).text).toBe(
      '{"code":0,"message":"","data":{"domain":"conn.goim.io","tcp_port":3101,"ws_port":3102,"wss_port":3103,"heartbeat":240,"nodes":["comet1.goim.io"],"backoff":{"max_delay":300,"base_delay":3,"factor":1.8,"jitter":0.3},"heartbeat_max":2}}',
    );
    for (const query of ['', '?platform=ios', '?platform=']) {
      const { json } = await api.get(`/goim/nodes/weighted${query}`);
      expect(json).toMatchObject({ data: { nodes: ['10.0.0.1', '10.0.0.2'] } });
    }
  });

  it('leaves zero members out and falls back to the domain', async () => {
    const bare = await new ApiHarness({
      node: { ...NODE, addrs: [], wssPort: 0, backoff: { ...NODE.backoff, jitterRatio: 0 } },
    }).start();
    const { json } = await bare.get('/goim/nodes/weighted');
    bare.api.close();
    expect((json as { data: unknown }).data).toEqual({
      domain: 'conn.goim.io',
      tcp_port: 3101,
      ws_port: 3102,
      heartbeat: 240,
      nodes: ['conn.goim.io'],
      backoff: { max_delay: 300, base_delay: 3, factor: 1.8 },
      heartbeat_max: 2,
    });
  });

  it('answers nodes/instances with this node, metadata as texts', async () => {
    const { json } = await api.get('/goim/nodes/instances');
    expect(json).toEqual({
      code: 0,
      message: '',
      data: [
        {
          region: 'bj',
          zone: 'bj001',
          env: 'dev',
          appid: 'goim.comet',
          hostname: 'comet1',
          addrs: ['ws://10.0.0.1:3102/sub'],
          version: '0.1.0',
          latest_timestamp: expect.any(Number),
          metadata: {
            addrs: '10.0.0.1,10.0.0.2',
            conn_count: '7',
            ip_count: '3',
            offline: 'false',
            weight: '10',
            server_id: 'node-1',
          },
        },
      ],
    });
  });
});

describe("gin's manners", () => {
  it.each([
    ['GET', '/goim/push/keys'],
    ['POST', '/goim/online/total'],
    ['PUT', '/goim/push/all'],
    ['GET', '/goim/nothing'],
    ['GET', '/'],
    ['POST', '/goim/push/mids=3'],
    ['GET', '/goim/push/all/'],
    ['GET', '/goim/online/total//'],
  ])('%s %s is 404 in plain text', async (method, target) => {
    const answer = await api.request(method, target);
    expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([
      404,
      'text/plain',
      '404 page not found',
    ]);
  });

  it('redirects a trailing slash to the route: 307 for POST, 301 for GET, query kept', async () => {
    const post = await api.post('/goim/push/all/?operation=1&speed=2', 'x');
    expect([post.status, post.headers.location, post.text]).toEqual([307, '/goim/push/all?operation=1&speed=2', '']);
    const get = await api.get('/goim/online/total/');
    expect([get.status, get.headers.location]).toEqual([301, '/goim/online/total']);
    expect(api.pusher.commands).toEqual([]);
  });
});
