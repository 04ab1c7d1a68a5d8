/**
 * Id servers whose database goes away, and masters of scheme offset that are set up and grown by `halley id grow` while several servers
 * draw from each one's database.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { loadIdsDefinition } from '../src/logic/index.js';
import {
  eventually,
  freePort,
  get,
  type IdServerProcess,
  type RedisServer,
  runHalley,
  startIdServer,
  startRedis,
  stopIdServer,
} from './kit/index.js';

let redis: RedisServer;
let directory: string;
let prefixCount = 0;
const children = new Set<ChildProcess>();
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
beforeEach(async () => {
  prefixCount++;
  directory = await mkdtemp(join(tmpdir(), 'halley-id-store-'));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const close of closers.splice(0).reverse()) await close();
  await rm(directory, { recursive: true, force: true });
});

const prefixEnv = () => ({ HALLEY_CLUSTER_PREFIX: `idstore${prefixCount}`, HALLEY_LOG_LEVEL: 'error' });
const serve = (args: readonly string[], env: Readonly<Record<string, string>>): Promise<IdServerProcess> =>
  startIdServer(args, { ...prefixEnv(), ...env }, children);

/** Ids by gRPC. Rejects with grpc's ServiceError. */
async function grpcDrawer(port: number): Promise<(count: number) => Promise<readonly string[]>> {
  const Client = grpc.makeGenericClientConstructor(await loadIdsDefinition(), 'Ids');
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  closers.push(() => client.close());
  const call = client['Next'] as unknown as (
    request: object,
    callback: (error: grpc.ServiceError | null, reply: { readonly ids: readonly string[] }) => void,
  ) => void;
  return (count) =>
    new Promise((resolve, reject) => {
      const settle = (error: grpc.ServiceError | null, reply: { readonly ids: readonly string[] }) =>
        error === null ? resolve(reply.ids) : reject(error);
      call.call(client, { scheme: 'segment', biz: 'order', count }, settle);
    });
}

interface Database {
  readonly serverArgs: readonly string[];
  /** What a client is told while it is away. */
  readonly code: string;
  /** Others, which may have their own way to it, should be asked meanwhile. */
  readonly isSeenByReady: boolean;
  /** Let the server's calls fail. */
  takeAway(server: IdServerProcess): Promise<void>;
  bringBack(server: IdServerProcess): Promise<void>;
}

/** A Redis of its own that is killed, and comes back with what it had. */
async function redisDatabase(): Promise<Database> {
  const args = ['--appendonly', 'yes', '--appendfsync', 'always'];
  let own = await startRedis({ port: await freePort(), args });
  closers.push(() => own.remove());
  return {
    serverArgs: ['--redis', own.url],
    code: 'ID_STORE_UNAVAILABLE',
    isSeenByReady: true,
    takeAway: () => own.stop('SIGKILL'),
    bringBack: async () => {
      own = await startRedis({ port: own.port, dir: own.dir, args });
    },
  };
}

/** Counters on a disk that takes no byte more: the kernel refuses the process to let a file grow. */
async function fileDatabase(): Promise<Database> {
  const limit = ({ child }: IdServerProcess, bytes: string): void => {
    execFileSync('prlimit', [`--pid=${child.pid}`, `--fsize=${bytes}:unlimited`]);
  };
  return {
    serverArgs: ['--data-dir', directory],
    code: 'ID_STORE_BROKEN',
    isSeenByReady: false,
    takeAway: async (server) => limit(server, '0'),
    bringBack: async (server) => limit(server, 'unlimited'),
  };
}

const numbers = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, index) => String(first + index));

test.each([
  ['Redis', redisDatabase],
  ['the disk', fileDatabase],
] as const)(
  'with %s gone a server gives out its range to the end, by HTTP and gRPC, says why there is no more, and goes on when it is back',
  async (_, makeDatabase) => {
    const database = await makeDatabase();
    const server = await serve(database.serverArgs, {
      HALLEY_IDS_TAGS: '*:100:0',
      HALLEY_IDS_SCHEMES: 'segment',
      HALLEY_IDS_GRPC_PORT: String(await freePort()),
      HALLEY_CLUSTER_COMMAND_TIMEOUT_MS: '300',
    });
    const ask = (count: number) => get(`${server.httpUrl}/ids?biz=order&count=${count}`);
    const askGrpc = await grpcDrawer(server.grpcPort);
    expect((await ask(10)).data.ids).toEqual(numbers(1, 10));
    await database.takeAway(server);
    expect(await askGrpc(50)).toEqual(numbers(11, 60));
    expect((await ask(20)).data.ids).toEqual(numbers(61, 80));
    // Fewer than asked for: what was left.
    expect(await askGrpc(200)).toEqual(numbers(81, 100));

    const refused = await ask(1);
    expect(refused).toMatchObject({ status: 503, code: -503 });
    expect(refused.message).toContain(database.code);
    expect(refused.headers.get('retry-after')).toBe('1');
    const failure = await askGrpc(1).catch((error: unknown) => error as grpc.ServiceError);
    expect(failure).toMatchObject({ code: grpc.status.UNAVAILABLE });
    expect((failure as grpc.ServiceError).metadata.get('halley-code')).toEqual([database.code]);
    if (database.isSeenByReady) await eventually(async () => (await fetch(`${server.httpUrl}/ready`)).status === 503);

    await database.bringBack(server);
    const id = await eventually(async () => (await ask(1)).data?.ids[0] as string | undefined, 20_000);
    expect(Number(id)).toBeGreaterThan(100);
    expect(Number((await askGrpc(1))[0])).toBeGreaterThan(Number(id));
    await eventually(async () => (await fetch(`${server.httpUrl}/ready`)).status === 200);
    expect(await stopIdServer(server)).toBe(0);
  },
  60_000,
);

describe('halley id grow', () => {
  const grow = (...args: string[]) => runHalley(['id', 'grow', ...args], prefixEnv());
  const asMasters = (places: readonly string[]) => places.flatMap((place) => ['--master', place]);

  it('raises the masters from two to three while two servers draw from each one\u2019s database: no id twice, no server restarted', async () => {
    const databases = [0, 1, 2].map((index) => `${redis.url}/${index}`);
    const setUp = await grow('--biz', 'order', ...asMasters(databases.slice(0, 2)));
    expect(setUp).toMatchObject({ code: 0, stdout: 'biz=order fromId=1 masters=2\n' });
    const open = async (master: number) => ({
      master,
      ids: [] as number[],
      server: await serve(['--redis', databases[master - 1] ?? ''], {
        HALLEY_IDS_MASTER: String(master),
        HALLEY_IDS_TAGS: '*:200:0',
      }),
    });
    const drawers = await Promise.all([1, 1, 2, 2].map(open));
    let baseId = Number.POSITIVE_INFINITY;
    const drawPast = async (drawer: (typeof drawers)[number]): Promise<void> => {
      while ((drawer.ids.at(-1) ?? 0) < baseId + 3_000) {
        const answer = await get(`${drawer.server.httpUrl}/ids?biz=order&scheme=offset&count=500`);
        expect(answer.status, answer.message).toBe(200);
        drawer.ids.push(...answer.data.ids.map(Number));
      }
    };
    const drawing = Promise.all(drawers.map(drawPast));
    const grown = await grow('--biz', 'order', '--margin', '20000', ...asMasters(databases));
    expect(grown.code, grown.stderr).toBe(0);
    baseId = Number(/fromId=(\d+) masters=3/.exec(grown.stdout)?.[1]);
    expect(grown.stdout).toBe(`biz=order fromId=1 masters=2\nbiz=order fromId=${baseId} masters=3\n`);
    const newcomer = await open(3);
    drawers.push(newcomer);
    await Promise.all([drawing, drawPast(newcomer)]);

    const all = drawers.flatMap(({ ids }) => ids);
    expect(new Set(all).size).toBe(all.length);
    for (const { master, ids } of drawers) {
      expect(ids.every((id, at) => at === 0 || id > (ids[at - 1] ?? 0))).toBe(true);
      const strays = ids.filter((id) => (id < baseId ? (id - 1) % 2 : (id - baseId) % 3) !== master - 1);
      expect(strays).toEqual([]);
      expect(ids.at(-1)).toBeGreaterThanOrEqual(baseId);
    }
    // Run again it finds nothing to do.
    expect(await grow('--biz', 'order', ...asMasters(databases))).toMatchObject({ code: 0, stdout: grown.stdout });
  }, 60_000);

  it('refuses fewer masters, other places, a store twice and no tag, and explains itself', async () => {
    const stores = ['a', 'b', 'c'].map((name) => join(directory, name));
    const [a = '', b = '', c = ''] = stores;
    expect((await grow('--biz', 'order', ...asMasters([a, b]))).code).toBe(0);
    const refused = async (code: string, ...args: string[]) => {
      const ran = await grow(...args);
      expect(ran.code).toBe(1);
      expect(ran.stderr).toContain(`[${code}]`);
    };
    await refused('ID_MASTERS_FEWER', '--biz', 'order', '--master', a);
    await refused('ID_MASTERS_MISPLACED', '--biz', 'order', ...asMasters([b, a, c]));
    await refused('ID_BAD_OPTION', '--biz', 'order', ...asMasters([a, b, b]));
    await refused('ID_BAD_OPTION', ...asMasters(stores));
    await refused('ID_BAD_OPTION', '--biz', 'order', '--margin', '1e3', ...asMasters(stores));
    const help = await grow('--help');
    expect(help).toMatchObject({ code: 0 });
    expect(help.stdout).toContain('run the same command again until it ends with 0');
    expect((await grow('--biz', 'order', ...asMasters(stores))).stdout).toMatch(/masters=3\n$/);
  }, 60_000);
});
