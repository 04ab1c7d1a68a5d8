import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisProxy, type RedisServer, startRedis, startRedisProxy } from '../../../test/kit/index.js';
import { ManualClock } from '../../clock/index.js';
import type { PutSession, Session } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { MemorySessions } from '../memory-sessions.js';
import { sessionOf } from '../sessions.contract.js';
import { RedisLink } from './redis-link.js';
import { RedisSessionMap } from './redis-session-map.js';
import { RedisSessionSweeper } from './redis-session-sweeper.js';
import { RedisSessions } from './redis-sessions.js';

const COMMAND_TIMEOUT_MS = 300;
const cleanups: (() => unknown)[] = [];
let server: RedisServer;
let serial = 0;
let prefix = '';

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  prefix = '';
});

async function opened(url = server.url, commandTimeoutMs = COMMAND_TIMEOUT_MS): Promise<RedisLink> {
  if (prefix === '') {
    serial += 1;
    prefix = `t${serial}`;
  }
  const options = { url, prefix, tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs, clientName: 'test' };
  const link = await RedisLink.open(options, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** A node's lease, as the test says. */
class Lease {
  readonly serverId: string;
  nodeEpoch = 1;
  isLapsed = false;
  readonly gone = new Set<string>();
  readonly clock = new ManualClock(1_000_000);
  #onLost: (serverId: string, nodeEpoch: number) => void = () => {};

  constructor(serverId: string) {
    this.serverId = serverId;
  }

  fateOf(serverId: string, nodeEpoch: number): 'live' | 'gone' {
    return this.gone.has(`${serverId}/${nodeEpoch}`) ? 'gone' : 'live';
  }

  async refresh(): Promise<void> {}
  markGone(): void {}

  onLost(listener: (serverId: string, nodeEpoch: number) => void): () => void {
    this.#onLost = listener;
    return () => {};
  }

  lose(serverId: string, nodeEpoch: number): void {
    this.gone.add(`${serverId}/${nodeEpoch}`);
    this.#onLost(serverId, nodeEpoch);
  }
}

interface Node {
  readonly sessions: RedisSessions;
  readonly map: RedisSessionMap;
  readonly local: MemorySessions;
  readonly lease: Lease;
  readonly late: [key: string, result: PutSession][];
  connect(overrides: Partial<Session>): Promise<PutSession>;
}

function nodeOn(link: RedisLink, serverId = 'a', rewritePerSec = 20_000): Node {
  const lease = new Lease(serverId);
  const map = new RedisSessionMap(link, lease);
  const sessions = new RedisSessions(link, map, lease, { rewritePerSec }, memoryLog().logger);
  cleanups.push(() => sessions.close());
  const local = new MemorySessions();
  const late: Node['late'] = [];
  sessions.connect({
    ownSessions: () => local.all(),
    holds: (session) => local.byKey(session.key) === session,
    onLateWrite: (session, result) => late.push([session.key, result]),
  });
  const connect = (overrides: Partial<Session>) => {
    const session = sessionOf({ serverId, ...overrides });
    local.put(session);
    return sessions.put(session);
  };
  return { sessions, map, local, lease, late, connect };
}

async function proxied(): Promise<{ proxy: RedisProxy; link: RedisLink }> {
  const proxy = await startRedisProxy(server.port);
  cleanups.push(() => proxy.close());
  return { proxy, link: await opened(proxy.url) };
}

describe('RedisSessions', () => {
  it('takes connects at once while Redis is away, and writes them when it is back', async () => {
    const own = await startRedis();
    cleanups.push(() => own.remove());
    const link = await opened(own.url);
    const node = nodeOn(link);
    await own.stop();
    await eventually(() => !link.isUp, 3000);
    const startedMs = performance.now();
    for (let index = 0; index < 100; index++) {
      expect(await node.connect({ key: `k${index}`, connId: index + 1 })).toEqual({
        status: 'stored',
        previous: undefined,
      });
    }
    expect(performance.now() - startedMs).toBeLessThan(COMMAND_TIMEOUT_MS);
    await expect(node.sessions.byKeys(['k1'])).rejects.toMatchObject({ code: 'REDIS_AWAY' });
    await expect(node.sessions.byMids([7])).rejects.toMatchObject({ code: 'REDIS_AWAY' });
    const again = await startRedis({ port: own.port, dir: own.dir });
    cleanups.push(() => again.remove());
    await eventually(async () => link.isUp && (await node.map.count()) === 100, 10_000);
    expect((await node.sessions.byKeys(['k42']))[0]?.connId).toBe(43);
  });

  it('removes on its return what ended while Redis was away', async () => {
    const { proxy, link } = await proxied();
    const node = nodeOn(link);
    const other = nodeOn(await opened(), 'b');
    await node.connect({});
    proxy.hold();
    await eventually(() => !link.isUp, 3000);
    const session = node.local.byKey('device-1') as Session;
    node.local.remove(session);
    await node.sessions.remove(session);
    expect(await other.connect({ mid: 8, connId: 5 })).toEqual({ status: 'foreign', ownerMid: 7 });
    other.local.remove(other.local.byKey('device-1') as Session);
    proxy.release();
    await eventually(async () => (await other.map.count()) === 0, 5000);
    expect(node.sessions.outstandingCount).toBe(0);
  });

  it('answers a connect within the command timeout, and tells later what was found', async () => {
    const { proxy, link } = await proxied();
    const node = nodeOn(link);
    const other = nodeOn(await opened(), 'b');
    await node.connect({ key: 'warm' });
    const old = sessionOf({ serverId: 'b', connId: 5 });
    await other.connect({ connId: 5 });
    proxy.hold();
    const startedMs = performance.now();
    expect(await node.connect({})).toEqual({ status: 'stored', previous: undefined });
    expect(performance.now() - startedMs).toBeLessThan(COMMAND_TIMEOUT_MS * 2);
    proxy.release();
    await eventually(() => node.late.length > 0, 5000);
    // The first write or its repetition: whichever came first found the owner before.
    expect(node.late.some(([key]) => key === 'device-1')).toBe(true);
    await eventually(async () => (await other.map.byKeys(['device-1']))[0]?.serverId === 'a', 5000);
    expect(old.connId).toBe(5);
  });

  it('leaves no session of a channel that ended while its write was on its way', async () => {
    const { proxy, link } = await proxied();
    const node = nodeOn(link);
    const watcher = nodeOn(await opened(), 'b');
    await node.connect({ key: 'warm' });
    for (const isSlow of [false, true]) {
      if (isSlow) proxy.hold();
      const put = node.connect({});
      const session = node.local.byKey('device-1') as Session;
      node.local.remove(session);
      const removed = node.sessions.remove(session);
      if (isSlow) {
        await put;
        proxy.release();
      }
      await Promise.all([put, removed]);
      await eventually(() => link.isUp && node.sessions.outstandingCount === 0, 5000);
      await eventually(async () => (await watcher.map.byKeys(['device-1']))[0] === undefined, 5000);
    }
    expect(await watcher.map.byMids([7])).toMatchObject([{ key: 'warm' }]);
  });

  it('writes under the present incarnation what began under an earlier one', async () => {
    const node = nodeOn(await opened());
    await node.connect({});
    node.lease.gone.add('a/1');
    node.lease.nodeEpoch = 2;
    expect(await node.map.count()).toBe(0);
    await node.sessions.rewrite();
    expect((await node.sessions.byKeys(['device-1']))[0]).toEqual(sessionOf({ serverId: 'a', nodeEpoch: 2 }));
    await node.sessions.remove(node.local.byKey('device-1') as Session);
    expect(await node.sessions.byKeys(['device-1'])).toEqual([undefined]);
  });

  it('does not let a rewrite take a key from a connection that began later elsewhere', async () => {
    const link = await opened();
    const [a, b] = [nodeOn(link, 'a'), nodeOn(link, 'b')];
    await a.connect({ sinceMs: 1000 });
    await b.connect({ sinceMs: 2000, connId: 5 });
    await a.sessions.rewrite();
    const newer = sessionOf({ serverId: 'b', sinceMs: 2000, connId: 5 });
    expect(a.late).toEqual([['device-1', { status: 'superseded', by: newer }]]);
    expect(await a.sessions.byKeys(['device-1'])).toEqual([newer]);
  });

  it('rewrites 15,000 sessions into an empty Redis within 5 s', async () => {
    const link = await opened(server.url, 2000);
    const node = nodeOn(link);
    const count = 15_000;
    for (let index = 0; index < count; index++)
      node.local.put(sessionOf({ serverId: 'a', key: `k${index}`, mid: index % 5000, connId: index + 1 }));
    const startedMs = performance.now();
    await node.sessions.rewrite();
    const tookMs = performance.now() - startedMs;
    expect(await node.map.count()).toBe(count);
    expect(tookMs).toBeLessThan(5000);
    // 20,000 a second: it is paced, and not let go at once.
    expect(tookMs).toBeGreaterThan(600);
  });

  it('removes many, and nothing of others', async () => {
    const node = nodeOn(await opened(), 'a', 2000);
    const sessions = Array.from({ length: 250 }, (_, index) =>
      sessionOf({ serverId: 'a', key: `k${index}`, connId: index + 1 }),
    );
    await Promise.all(
      [...sessions, sessionOf({ serverId: 'a', key: 'other' })].map((session) => node.sessions.put(session)),
    );
    await node.sessions.removeAll(sessions);
    expect([await node.map.count(), (await node.sessions.byMids([7])).map(({ key }) => key)]).toEqual([1, ['other']]);
  });
});

describe('RedisSessionSweeper', () => {
  const pace = { sliceCount: 50, pauseMs: 1 };

  it('removes what a lost node left, from keys and users, by one of the nodes', async () => {
    const link = await opened();
    const nodes = [nodeOn(link, 'a'), nodeOn(await opened(), 'b')];
    const sweepers = await Promise.all(
      nodes.map(async ({ map, lease }) => {
        const sweeper = new RedisSessionSweeper(await opened(), map, lease, pace, memoryLog().logger);
        cleanups.push(() => sweeper.close());
        return sweeper;
      }),
    );
    const [a] = nodes as [Node, Node];
    for (let index = 0; index < 300; index++)
      await a.map.put(sessionOf({ serverId: 'dead', key: `k${index}`, mid: index % 10, connId: index + 1 }));
    await a.map.put(sessionOf({ serverId: 'b', key: 'alive', mid: 1 }));
    for (const { lease } of nodes) lease.lose('dead', 1);
    await eventually(async () => (await link.commands.keys(`${prefix}:[su]:*`)).length === 2, 10_000);
    await eventually(async () => (await link.commands.exists(link.keys.single('sweep'))) === 0, 5000);
    expect(sweepers.reduce((sum, { removedCount }) => sum + removedCount, 0)).toBe(300);
    expect((await a.map.byMids([1])).map(({ key }) => key)).toEqual(['alive']);
  });

  it('waits while another sweeps, and sweeps itself where that one began too early', async () => {
    const link = await opened();
    const node = nodeOn(link);
    const sweeper = new RedisSessionSweeper(link, node.map, node.lease, pace, memoryLog().logger);
    cleanups.push(() => sweeper.close());
    await node.map.put(sessionOf({ serverId: 'dead' }));
    await link.commands.set(link.keys.single('sweep'), 'another sweeper', 'PX', 1500);
    await link.commands.set(link.keys.single('swept'), String(node.lease.clock.nowMs() - 1));
    node.lease.lose('dead', 1);
    await eventually(() => sweeper.removedCount === 1, 10_000);
    // A sweep that began after the request has met it.
    await link.commands.set(link.keys.single('swept'), String(node.lease.clock.nowMs() + 1000));
    await node.map.put(sessionOf({ serverId: 'dead' }));
    sweeper.request();
    await eventually(async () => (await link.commands.exists(link.keys.single('sweep'))) === 0, 5000);
    expect(sweeper.removedCount).toBe(1);
  });
});
