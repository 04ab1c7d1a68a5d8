/**
 * The id service as it ships: `halley id serve` processes that share a Redis or a directory, a node that serves ids beside its
 * comet, and the commands.
 */
import type { ChildProcess } from 'node:child_process';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { growMasters } from '../src/id/index.js';
import { loadIdsDefinition } from '../src/logic/index.js';
import { FileSegmentStore } from '../src/store/index.js';
import {
  freePort,
  get,
  type IdServerProcess,
  type RedisServer,
  runHalley,
  startHalley,
  startIdServer,
  startRedis,
  stopIdServer,
} from './kit/index.js';

const SERVER_COUNT = 3;
const IDS_PER_SERVER = 40_000;
const LONG_MS = 120_000;

let redis: RedisServer;
let directory: string;
let prefixCount = 0;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
beforeEach(async () => {
  prefixCount++;
  directory = await mkdtemp(join(tmpdir(), 'halley-id-server-'));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

type StoreKind = 'redis' | 'file';
const storeArgs = (kind: StoreKind, url = redis.url): string[] =>
  kind === 'redis' ? ['--redis', url] : ['--data-dir', directory];
const prefixEnv = (): Record<string, string> => ({
  HALLEY_CLUSTER_PREFIX: `ids${prefixCount}`,
  HALLEY_LOG_LEVEL: 'warn',
});

const serve = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<IdServerProcess> =>
  startIdServer(args, { ...prefixEnv(), ...env }, children);

const idsOf = async (url: string, scheme: string, count: number, biz = 'order'): Promise<readonly string[]> => {
  const answer = await get(`${url}/ids?${new URLSearchParams({ scheme, biz, count: String(count) })}`);
  if (answer.code !== 0) throw new Error(`${answer.status}: ${answer.message}`);
  return answer.data.ids;
};

async function drawFrom(url: string, scheme: string, wantedCount: number): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < wantedCount) ids.push(...(await idsOf(url, scheme, 5_000)));
  return ids;
}

const isRising = (ids: readonly string[]) => ids.every((id, at) => at === 0 || BigInt(id) > BigInt(ids[at - 1] ?? ''));

describe(`three id servers on one store, ${IDS_PER_SERVER} ids of each scheme from each`, () => {
  test.each([
    ['redis', ['segment', 'redis-incr', 'snowflake', 'sonyflake', 'rule']],
    ['file', ['segment', 'snowflake', 'sonyflake', 'rule']],
  ] as const)(
    'on %s have no id twice, and each its own in rising order',
    async (kind, schemes) => {
      const env = { HALLEY_IDS_RULES: '*={seq:9}', HALLEY_IDS_LEASE_MS: '2000' };
      const servers = await Promise.all(Array.from({ length: SERVER_COUNT }, () => serve(storeArgs(kind), env)));
      for (const scheme of schemes) {
        const lists = await Promise.all(servers.map(({ httpUrl }) => drawFrom(httpUrl, scheme, IDS_PER_SERVER)));
        expect(lists.map((ids) => ids.length)).toEqual(servers.map(() => IDS_PER_SERVER));
        expect(lists.map(isRising), scheme).toEqual(servers.map(() => true));
        expect(new Set(lists.flat()).size, scheme).toBe(SERVER_COUNT * IDS_PER_SERVER);
      }
      expect(await Promise.all(servers.map((server) => stopIdServer(server)))).toEqual([0, 0, 0]);
    },
    LONG_MS,
  );
});

test('three masters, each with a store of its own, have no id of scheme offset twice', async () => {
  const directories = Array.from({ length: SERVER_COUNT }, (_, index) => join(directory, String(index)));
  const stores = await Promise.all(directories.map((each) => FileSegmentStore.open({ directory: join(each, 'ids') })));
  await growMasters(stores, 'order');
  for (const store of stores) await store.close();
  const servers = await Promise.all(
    directories.map((each, index) => serve(['--data-dir', each], { HALLEY_IDS_MASTER: String(index + 1) })),
  );
  const lists = await Promise.all(servers.map(({ httpUrl }) => drawFrom(httpUrl, 'offset', IDS_PER_SERVER)));
  expect(lists.map(isRising)).toEqual([true, true, true]);
  expect(new Set(lists.flat()).size).toBe(SERVER_COUNT * IDS_PER_SERVER);
  for (const server of servers) await stopIdServer(server);
}, 60_000);

test.each(['redis', 'file'] as const)(
  'servers on %s that are killed in mid-range skip ids and repeat none',
  async (kind) => {
    const all: string[] = [];
    const env = { HALLEY_IDS_TAGS: '*:1000:0', HALLEY_IDS_LEASE_MS: '500' };
    const other = await serve(storeArgs(kind), env);
    for (let life = 0; life < 3; life++) {
      const server = await serve(storeArgs(kind), env);
      for (const scheme of ['segment', 'snowflake', 'sonyflake']) {
        all.push(...(await idsOf(server.httpUrl, scheme, 30)).map((id) => `${scheme} ${id}`));
        all.push(...(await idsOf(other.httpUrl, scheme, 30)).map((id) => `${scheme} ${id}`));
      }
      expect(await stopIdServer(server, 'SIGKILL')).toBe('SIGKILL');
    }
    expect(new Set(all).size).toBe(all.length);
    const counted = all.filter((id) => id.startsWith('segment')).map((id) => Number(id.split(' ')[1]));
    // Each life took a range of 1000 and used 30 of it.
    expect(Math.max(...counted)).toBeGreaterThan(3_000);
  },
  LONG_MS,
);

describe('machine ids of servers', () => {
  it.each(['redis', 'file'] as const)(
    'on %s: a configured one that another server has is refused at the start',
    async (kind) => {
      const env = { HALLEY_IDS_MACHINE: '907', HALLEY_IDS_LEASE_MS: '500' };
      const first = await serve(storeArgs(kind), env);
      await expect(serve(storeArgs(kind), env)).rejects.toThrow(/ended with 1:[\s\S]*ID_MACHINE_CLASH/);
      const [id = ''] = await idsOf(first.httpUrl, 'snowflake', 1);
      const decoded = await get(`${first.httpUrl}/ids/decode?scheme=snowflake&id=${id}`);
      expect(decoded.data.readings).toMatchObject([{ scheme: 'snowflake', machine_id: 907 }]);
      expect(await stopIdServer(first)).toBe(0);
      const second = await serve(storeArgs(kind), env);
      expect(BigInt((await idsOf(second.httpUrl, 'snowflake', 1))[0] ?? '')).toBeGreaterThan(BigInt(id));
      await stopIdServer(second);
    },
  );

  it('come from a file, or from the private address where the host has one', async () => {
    const path = join(directory, 'machine');
    await writeFile(path, '1000');
    const server = await serve(storeArgs('file'), { HALLEY_IDS_MACHINE: `file:${path}` });
    const [id = ''] = await idsOf(server.httpUrl, 'sonyflake', 1);
    expect(Number(BigInt(id) & 65_535n)).toBe(1_000);
    await stopIdServer(server);
    const privateIp = Object.values(networkInterfaces())
      .flatMap((infos) => infos ?? [])
      .find(({ address, internal }) => !internal && /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address));
    const started = serve(storeArgs('file'), { HALLEY_IDS_MACHINE: 'private-ip' });
    if (privateIp === undefined) await expect(started).rejects.toThrow('ID_MACHINE_NO_PRIVATE_IP');
    else {
      const [, , high = 0, low = 0] = privateIp.address.split('.').map(Number);
      const [ipId = ''] = await idsOf((await started).httpUrl, 'sonyflake', 1);
      expect(Number(BigInt(ipId) & 65_535n)).toBe(high * 256 + low);
    }
  });
});

describe('a server', () => {
  it('asks for its token by HTTP and gRPC, and serves both', async () => {
    const grpcPort = await freePort();
    const server = await serve(storeArgs('file'), {
      HALLEY_HTTP_TOKEN: 'secret',
      HALLEY_IDS_GRPC_PORT: String(grpcPort),
    });
    expect((await get(`${server.httpUrl}/ids?biz=order`)).status).toBe(401);
    const bearer = { authorization: 'Bearer secret' };
    expect((await get(`${server.httpUrl}/ids?biz=order`, bearer)).data.ids).toEqual(['1']);
    expect((await get(`${server.httpUrl}/goim/online/total`, bearer)).status).toBe(404);
    const Client = grpc.makeGenericClientConstructor(await loadIdsDefinition(), 'Ids');
    const client = new Client(`127.0.0.1:${grpcPort}`, grpc.credentials.createInsecure());
    const metadata = new grpc.Metadata();
    metadata.set('authorization', 'Bearer secret');
    const reply = await new Promise((resolve, reject) => {
      const next = client['Next'] as unknown as (...args: unknown[]) => void;
      const callback = (error: unknown, value: unknown) => (error === null ? resolve(value) : reject(error));
      next.call(client, { biz: 'order', count: 2 }, metadata, callback);
    });
    expect(reply).toMatchObject({ ids: ['2', '3'] });
    client.close();
    const asked = await runHalley(['id', 'next', '--url', server.httpUrl, '--biz', 'order'], {
      HALLEY_HTTP_TOKEN: 'secret',
    });
    expect(asked).toMatchObject({ code: 0, stdout: '4\n' });
    expect((await runHalley(['id', 'next', '--url', server.httpUrl, '--biz', 'order'])).stderr).toContain('API token');
    expect(await stopIdServer(server)).toBe(0);
  });
});

describe('a node with a comet', () => {
  it('gives out ids beside its other routes, on the same store as the commands', async () => {
    const node = await startHalley({ dataDir: directory, args: ['--buckets', '1'] });
    expect(await idsOf(node.httpUrl, 'segment', 2)).toEqual(['1', '2']);
    const ids = [...(await idsOf(node.httpUrl, 'snowflake', 3)), ...(await idsOf(node.httpUrl, 'uuid-v7', 3))];
    expect(new Set(ids).size).toBe(6);
    const asked = await runHalley(['id', 'next', '--data-dir', directory, '--biz', 'order', '--count', '2']);
    expect(asked.stdout).toBe('1001\n1002\n');
    expect(await idsOf(node.httpUrl, 'segment', 1)).toEqual(['3']);
    expect(await node.stop('SIGTERM')).toBe(0);
  });

  it('opens its counters with the first id that somebody wants', async () => {
    const node = await startHalley({ dataDir: directory, args: ['--buckets', '1'] });
    await expect(access(join(directory, 'ids'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await get(`${node.httpUrl}/ids/decode?id=42`)).code).toBe(0);
    await idsOf(node.httpUrl, 'uuid-v4', 1);
    await expect(access(join(directory, 'ids'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await idsOf(node.httpUrl, 'segment', 1)).toEqual(['1']);
    await access(join(directory, 'ids'));
    expect(await node.stop('SIGTERM')).toBe(0);
  });

  it('never gives out an id that a message of a node can have: machine ids apart, and refused at the start otherwise', async () => {
    const refused = await runHalley(['--data-dir', directory, '--ws-port', '0', '--http-port', '0'], {
      HALLEY_IDS_MACHINE: '7',
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('those from 0 to 895 belong to the nodes');
    expect((await runHalley(['config', 'check'], { HALLEY_ID_MACHINE_BLOCK: '56' })).code).not.toBe(0);
    for (const args of [[], ['--redis', redis.url]]) {
      const env = { ...prefixEnv(), HALLEY_ID_LEASE_MS: '1000' };
      const node = await startHalley({ dataDir: directory, args: ['--buckets', '1', ...args], env });
      const [id = ''] = await idsOf(node.httpUrl, 'snowflake', 1);
      expect(Number((BigInt(id) >> 12n) & 1_023n)).toBeGreaterThanOrEqual(896);
      expect(await node.stop('SIGTERM')).toBe(0);
    }
  });
});

describe('halley id', () => {
  const next = (...args: string[]) => runHalley(['id', 'next', '--data-dir', directory, ...args]);

  it('next takes from a store as many ids as it prints', async () => {
    expect((await next('--biz', 'order', '--count', '3')).stdout).toBe('1\n2\n3\n');
    expect((await next('--biz', 'order')).stdout).toBe('4\n');
    const onRedis = ['id', 'next', '--redis', redis.url, '--scheme', 'redis-incr', '--biz', 'order', '--count', '2'];
    expect((await runHalley(onRedis, prefixEnv())).stdout).toBe('1\n2\n');
    expect((await runHalley(onRedis, prefixEnv())).stdout).toBe('3\n4\n');
  });

  it('next prints what is left below the maximum, and fails', async () => {
    const env = { HALLEY_IDS_TAGS: 'order:10:2' };
    const args = ['id', 'next', '--data-dir', directory, '--biz', 'order', '--count', '3'];
    const first = await runHalley(args, env);
    expect(first).toMatchObject({ code: 1, stdout: '1\n2\n' });
    expect(first.stderr).toContain('missingCount=1');
    expect((await runHalley(args, env)).stderr).toContain('ID_COUNTER_ENDED');
  });

  it('decode says what an id holds, in one scheme or in all that fit', async () => {
    const id = '382786297854619648';
    const all = await runHalley(['id', 'decode', id]);
    expect(all.stdout).toContain('scheme=snowflake machineId=');
    const one = await runHalley(['id', 'decode', id, '--scheme', 'segment']);
    expect(one).toMatchObject({ code: 1 });
    expect((await runHalley(['id', 'decode', '42'])).stdout).toBe('scheme=segment value=42\n');
  });

  it('refuses what it does not understand with its usage', async () => {
    for (const args of [[], ['nxt'], ['decode'], ['next', '--cuont', '1'], ['next', 'more']]) {
      const ran = await runHalley(['id', ...args]);
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain('Usage: halley id next');
    }
    expect((await runHalley(['id', '--help'])).stdout).toContain('halley id serve');
    expect((await next('--biz', 'order', '--count', '0')).stderr).toContain('ID_BAD_COUNT');
    expect((await runHalley(['id', 'next', '--url', 'http://127.0.0.1:1'])).stderr).toContain('ID_SERVER_AWAY');
  });
});
