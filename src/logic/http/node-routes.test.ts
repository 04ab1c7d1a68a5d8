import { afterEach, describe, expect, it } from 'vitest';
import type { NodeRecord } from '../../push/index.js';
import { DrainSwitch } from '../drain-switch.js';
import { MemoryNodes, nodeRecord } from '../fixtures/node-records.js';
import { createNodeLookup, DEFAULT_LOOKUP, type NodeLookupOptions } from '../node-lookup.js';
import { parseRegionList, parseRegionPlaces } from '../regions-rules.js';
import { ApiHarness, NODE } from './fixtures/api-harness.js';

const open: ApiHarness[] = [];
afterEach(() => {
  for (const api of open.splice(0)) api.api.close();
});

/** Nodes in three cities; the second has two addresses and a name, the third only IPv6. */
const RECORDS: readonly NodeRecord[] = [
  nodeRecord('bj', { region: 'bj', connCount: 240_590, addrs: ['198.51.100.1'], latitude: 39.9, longitude: 116.4 }),
  nodeRecord('sh', {
    region: 'sh',
    connCount: 375_420,
    addrs: ['198.51.100.2', 'sh.example.org', '198.51.100.22'],
    latitude: 31.2,
    longitude: 121.5,
  }),
  nodeRecord('gz', { region: 'gz', connCount: 293_430, addrs: ['2001:db8::3'] }),
];
const REGIONAL: Partial<NodeLookupOptions> = {
  regionRules: parseRegionList(['203.0.113.0/24=sh', '127.0.0.0/8=gz'], 'test'),
  placeByRegion: parseRegionPlaces(['bj=39.9,116.4', 'sh=31.2,121.5', 'gz=23.1,113.3'], 'test'),
  trustedProxies: ['127.0.0.1'],
};

async function cluster(options: Partial<NodeLookupOptions> = {}, records = RECORDS) {
  const nodes = new MemoryNodes('bj', records);
  const told: boolean[] = [];
  const drain = new DrainSwitch((isDraining) => void told.push(isDraining));
  const self = () => nodeRecord('alone');
  const lookup = createNodeLookup({ drain, directory: nodes, self }, { ...DEFAULT_LOOKUP, ...options });
  const api = await new ApiHarness({ lookup }).start();
  open.push(api);
  const data = async (target: string, headers: Record<string, string> = {}) =>
    // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever a route answers
    ((await api.get(target, headers)).json as any).data;
  const ids = async (target: string, headers: Record<string, string> = {}): Promise<string[]> =>
    (await data(target, headers)).nodes.map((node: { server_id: string }) => node.server_id);
  return { api, nodes, data, ids, told };
}

describe('nodes/weighted of a cluster', () => {
  it("gives goim's order and form: addresses, or names for browsers", async () => {
    const { api, data } = await cluster();
    expect((await api.get('/goim/nodes/weighted')).text).toBe(
      '{"code":0,"message":"","data":{"domain":"conn.goim.io","tcp_port":3101,"ws_port":3102,"wss_port":3103,"heartbeat":240,"nodes":["198.51.100.1","2001:db8::3","198.51.100.2","sh.example.org","198.51.100.22"],"backoff":{"max_delay":300,"base_delay":3,"factor":1.8,"jitter":0.3},"heartbeat_max":2}}',
    );
    expect((await data('/goim/nodes/weighted?platform=web')).nodes).toEqual([
      'bj-host.goim.io',
      'gz-host.goim.io',
      'sh-host.goim.io',
    ]);
  });

  it("knows the client's region by its address", async () => {
    const { data } = await cluster(REGIONAL);
    const first = async (forwardedFor: string) =>
      (await data('/goim/nodes/weighted', { 'X-Forwarded-For': forwardedFor })).nodes[0];
    expect(await first('203.0.113.5')).toBe('198.51.100.2');
    expect(await first('192.0.2.1')).toBe('198.51.100.1');
  });

  it('falls back to the domain where no node takes clients, with the ports of the node itself', async () => {
    const { data } = await cluster(
      {},
      RECORDS.map((record) => ({ ...record, isDraining: true, tcpPort: 9 })),
    );
    expect(await data('/goim/nodes/weighted')).toMatchObject({ nodes: ['conn.goim.io'], tcp_port: NODE.tcpPort });
  });

  it('has the ports of the best node', async () => {
    const { data } = await cluster({}, [nodeRecord('a', { tcpPort: 0, wsPort: 8080, wssPort: 0 })]);
    const reply = await data('/goim/nodes/weighted');
    expect([reply.tcp_port, reply.ws_port, reply.wss_port]).toEqual([undefined, 8080, undefined]);
  });
});

describe('nodes/instances of a cluster', () => {
  it('shows every node, and as offline those that take no clients', async () => {
    const { data } = await cluster({}, [
      nodeRecord('bj', {
        region: 'bj',
        zone: 'bj1',
        connCount: 5,
        ipCount: 4,
        addrs: ['10.0.0.1', '::1'],
        tcpTlsPort: 3104,
      }),
      nodeRecord('full', { capacity: 7, connCount: 7 }),
      nodeRecord('drained', { isDraining: true }),
      nodeRecord('logic', { roles: ['logic', 'job'], wsPort: 0, wssPort: 0, tcpPort: 0 }),
      nodeRecord('secure', { wsPort: 0, tcpPort: 0, tcpTlsPort: 3104 }),
    ]);
    const instances = await data('/goim/nodes/instances');
    expect(instances[0]).toEqual({
      region: 'bj',
      zone: 'bj1',
      env: 'dev',
      appid: 'goim.comet',
      hostname: 'bj-host',
      addrs: [
        ...['ws://10.0.0.1:3102/sub', 'ws://[::1]:3102/sub', 'wss://10.0.0.1:3103/sub', 'wss://[::1]:3103/sub'],
        ...['tcp://10.0.0.1:3101', 'tcp://[::1]:3101', 'tls://10.0.0.1:3104', 'tls://[::1]:3104'],
      ],
      version: '0.1.0',
      latest_timestamp: 1_000_000_000,
      metadata: {
        addrs: '10.0.0.1,::1',
        conn_count: '5',
        ip_count: '4',
        offline: 'false',
        weight: '10',
        server_id: 'bj',
      },
    });
    const rows = instances.map((one: { appid: string; addrs: string[]; metadata: Record<string, string> }) => [
      one.metadata['server_id'],
      one.appid,
      one.metadata['offline'],
      one.addrs.map((url) => url.split('//')[0]).join(''),
    ]);
    expect(rows.slice(1)).toEqual([
      ['full', 'goim.comet', 'true', 'ws:wss:tcp:'],
      ['drained', 'goim.comet', 'true', 'ws:wss:tcp:'],
      ['logic', 'goim.logic', 'true', ''],
      ['secure', 'goim.comet', 'false', 'wss:tls:'],
    ]);
  });
});

describe('GET /halley/nodes', () => {
  it('answers nodes with their ports, best first, without their loads, and is never kept by a cache', async () => {
    const { api } = await cluster();
    const answer = await api.get('/halley/nodes?limit=1');
    expect(answer.json).toEqual({
      code: 0,
      message: '',
      data: {
        order: 'weighted',
        region: '',
        domain: 'conn.goim.io',
        nodes: [
          {
            server_id: 'bj',
            addrs: ['198.51.100.1'],
            tcp_port: 3101,
            ws_port: 3102,
            wss_port: 3103,
            region: 'bj',
          },
        ],
      },
    });
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  it('orders by least connections and by distance', async () => {
    const { data, ids } = await cluster(REGIONAL);
    expect(await ids('/halley/nodes?order=least_conn')).toEqual(['bj', 'gz', 'sh']);
    const near = await data('/halley/nodes?order=nearest&lat=31&lon=121');
    expect(
      near.nodes.map((node: { server_id: string; distance_km: number }) => [node.server_id, node.distance_km]),
    ).toEqual([
      ['sh', 53],
      ['bj', 1073],
      ['gz', 1162],
    ]);
    expect(near.region).toBe('sh');
  });

  it('takes the region from the query, else from the place, else from the address, as far as it can be believed', async () => {
    const { data, ids } = await cluster(REGIONAL);
    const region = async (query: string, headers: Record<string, string> = {}) =>
      (await data(`/halley/nodes${query}`, headers)).region;
    const proxied = { 'X-Forwarded-For': '192.0.2.7, 203.0.113.5' };
    expect(await region('')).toBe('gz');
    expect(await region('', proxied)).toBe('sh');
    expect(await region('?ip=203.0.113.9')).toBe('sh');
    expect(await region('?ip=192.0.2.1', proxied)).toBe('');
    expect(await region('?region=bj', proxied)).toBe('bj');
    expect(await region('?region=', proxied)).toBe('');
    expect(await region('?region=elsewhere')).toBe('elsewhere');
    expect(await region('?lat=40&lon=116', proxied)).toBe('bj');
    expect(await region('?lat=40&lon=116&region=gz')).toBe('gz');
    expect(await ids('/halley/nodes?order=nearest', proxied)).toEqual(['sh', 'bj', 'gz']);
  });

  it('believes no X-Forwarded-For where no proxy is trusted', async () => {
    const { data } = await cluster({ ...REGIONAL, trustedProxies: [] });
    expect((await data('/halley/nodes', { 'X-Forwarded-For': '203.0.113.5' })).region).toBe('gz');
  });

  it('answers one address a line as text, names for browsers, the domain where there is no node', async () => {
    const { api, nodes } = await cluster();
    const text = await api.get('/halley/nodes?format=text&limit=2');
    expect([text.status, text.headers['content-type'], text.text]).toEqual([
      200,
      'text/plain; charset=utf-8',
      '198.51.100.1\n2001:db8::3\n',
    ]);
    expect((await api.get('/halley/nodes?format=text&limit=1&platform=web')).text).toBe('bj-host.goim.io\n');
    nodes.records = [];
    expect((await api.get('/halley/nodes?format=text')).text).toBe('conn.goim.io\n');
    expect((await api.get('/halley/nodes')).json).toMatchObject({ data: { domain: 'conn.goim.io', nodes: [] } });
  });

  it.each([
    ['order=best', 'order must be one of weighted, least_conn, nearest: order=\\"best\\"'],
    ['order=', 'order must be one of'],
    ['format=xml', 'format must be one of json, text'],
    ['limit=0', 'limit must be an integer of 1 to 64'],
    ['limit=65', 'limit must be an integer of 1 to 64'],
    ['limit=-1', 'limit must be an integer of 1 to 64'],
    ['limit=', 'limit must be an integer of 1 to 64'],
    ['limit=1.5', 'limit must be an integer of 1 to 64'],
    ['lat=1', 'lat and lon belong together'],
    ['lon=1', 'lat and lon belong together'],
    ['lat=91&lon=0', 'lat must be a decimal number of -90 to 90: lat=\\"91\\"'],
    ['lat=0&lon=181', 'lon must be a decimal number of -180 to 180'],
    ['lat=NaN&lon=0', 'lat must be a decimal number'],
    ['lat=&lon=', 'lat must be a decimal number'],
    ['ip=example.org', 'ip must be an IPv4 or IPv6 address'],
    ['region=a,b', 'region must be a text of 1 to 64 bytes'],
    [`region=${'x'.repeat(65)}`, 'region must be a text of 1 to 64 bytes'],
  ])('refuses %s and says what it takes, without counting a client', async (query, problem) => {
    const { api, nodes, ids } = await cluster({}, [nodeRecord('a', { capacity: 1 })]);
    for (const path of ['/halley/nodes', '/halley/httpdns']) {
      if (path.endsWith('dns') && query.startsWith('format')) continue;
      const answer = await api.get(`${path}?${query}`);
      expect([answer.status, answer.json]).toEqual([400, { code: -400, message: expect.any(String) }]);
      expect(answer.text).toContain(problem);
    }
    expect(nodes.records.length).toBe(1);
    expect(await ids('/halley/nodes')).toEqual(['a']);
  });
});

describe('GET /halley/httpdns', () => {
  it('answers IPs only, one of each node before a second of any, and how long they may be kept', async () => {
    const { api } = await cluster();
    const answer = await api.get('/halley/httpdns?dn=conn.goim.io');
    expect([answer.status, answer.headers['content-type'], answer.headers['cache-control'], answer.text]).toEqual([
      200,
      'text/plain; charset=utf-8',
      'private, max-age=10',
      '198.51.100.1;198.51.100.2;198.51.100.22',
    ]);
    const text = async (query: string) => (await api.get(`/halley/httpdns?${query}`)).text;
    expect(await text('limit=2')).toBe('198.51.100.1;198.51.100.2');
    expect(await text('limit=2&ttl=1')).toBe('198.51.100.1;198.51.100.2,10');
    expect(await text('type=aaaa')).toBe('2001:db8::3');
    expect(await text('type=AAAA&ttl=0')).toBe('2001:db8::3');
  });

  it('goes by the address that a backend asks for, and by its order', async () => {
    const { api } = await cluster({ ...REGIONAL, httpdnsIpCount: 1, httpdnsTtlS: 0 });
    const answer = await api.get('/halley/httpdns?ip=203.0.113.5&order=nearest');
    expect([answer.text, answer.headers['cache-control']]).toEqual(['198.51.100.2', 'no-store']);
  });

  it('answers an empty body, not to be kept, where no node has an IP', async () => {
    const { api } = await cluster({}, [nodeRecord('a', { addrs: ['a.example.org'] })]);
    const answer = await api.get('/halley/httpdns');
    expect([answer.status, answer.text, answer.headers['cache-control']]).toEqual([200, '', 'no-store']);
  });

  it.each(['type=mx', 'ttl=2'])('refuses %s', async (query) => {
    const { api } = await cluster();
    expect((await api.get(`/halley/httpdns?${query}`)).status).toBe(400);
  });
});

describe('POST /halley/node/drain', () => {
  it('takes this node out of every list at once, keeps it connected, says so to /ready, and puts it back', async () => {
    const { api, data, ids, told } = await cluster();
    const drained = await api.postJson('/halley/node/drain', { drain: true });
    expect([drained.status, drained.json]).toEqual([200, { code: 0, message: '', data: { draining: true } }]);
    expect(await ids('/halley/nodes')).toEqual(['gz', 'sh']);
    expect((await data('/goim/nodes/weighted')).nodes[0]).toBe('2001:db8::3');
    expect((await api.get('/halley/httpdns')).text).toBe('198.51.100.2;198.51.100.22');
    const [own] = await data('/goim/nodes/instances');
    expect([own.metadata.server_id, own.metadata.offline]).toEqual(['bj', 'true']);
    const ready = await api.get('/ready');
    expect([ready.status, ready.json]).toMatchObject([503, { ready: false, reasons: [{ reason: 'draining' }] }]);
    expect(api.comet.calls).toEqual([]);

    expect((await api.postJson('/halley/node/drain', { drain: false })).json).toMatchObject({
      data: { draining: false },
    });
    expect((await ids('/halley/nodes')).sort()).toEqual(['bj', 'gz', 'sh']);
    expect((await api.get('/ready')).status).toBe(200);
    expect(told).toEqual([true, false]);
  });

  it('asks the channels to go where it is told to, behind the word to the cluster, and never on the way back', async () => {
    const events: (string | number)[] = [];
    const drain = new DrainSwitch(
      async (isDraining) => void events.push(`draining ${isDraining}`),
      (overMs) => {
        events.push(overMs);
        return 12;
      },
    );
    const lookup = createNodeLookup({ drain, directory: undefined, self: () => nodeRecord('alone') });
    const api = await new ApiHarness({ lookup }).start();
    open.push(api);
    const answer = await api.postJson('/halley/node/drain', { drain: true, move_over_ms: 500 });
    expect(answer.json).toMatchObject({ data: { draining: true, moving: 12 } });
    expect(events).toEqual(['draining true', 500]);
    for (const body of [
      { drain: false, move_over_ms: 1 },
      { drain: true, move_over_ms: -1 },
    ]) {
      expect((await api.postJson('/halley/node/drain', body)).status).toBe(400);
    }
    expect(events).toHaveLength(2);
  });

  it('leaves the domain of a node that is alone', async () => {
    const api = await new ApiHarness().start();
    open.push(api);
    await api.postJson('/halley/node/drain', { drain: true });
    expect((await api.get('/goim/nodes/weighted')).json).toMatchObject({ data: { nodes: ['conn.goim.io'] } });
    expect((await api.get('/goim/nodes/instances')).json).toMatchObject({
      data: [{ metadata: { offline: 'true' } }],
    });
    expect((await api.get('/ready')).status).toBe(503);
  });

  it('answers 503 where the cluster could not be told, and drains all the same', async () => {
    const drain = new DrainSwitch(() => Promise.reject(new Error('Redis is away')));
    const directory = new MemoryNodes('a', [nodeRecord('a')]);
    const api = await new ApiHarness({
      lookup: createNodeLookup({ drain, directory, self: () => nodeRecord('a') }),
    }).start();
    open.push(api);
    const answer = await api.postJson('/halley/node/drain', { drain: true });
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
    expect(answer.text).toContain('Redis is away');
    expect((await api.get('/halley/nodes')).json).toMatchObject({ data: { nodes: [] } });
  });

  it.each(['{}', '{"drain":null}', '{"drain":1}', '{"drian":true}', '[]', 'x'])('refuses %s', async (body) => {
    const { api, told } = await cluster();
    expect((await api.post('/halley/node/drain', body)).status).toBe(400);
    expect(told).toEqual([]);
  });
});
