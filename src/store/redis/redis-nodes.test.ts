import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startRedisProxy,
} from '../../../test/kit/index.js';
import { ManualClock, systemClock } from '../../clock/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink } from './redis-link.js';
import { type NodeReport, RedisNodes, type RedisNodesOptions } from './redis-nodes.js';
import { RedisNodesTable } from './redis-nodes-table.js';

const LEASE_MS = 900;
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

async function opened(url = server.url): Promise<RedisLink> {
  if (prefix === '') {
    serial += 1;
    prefix = `t${serial}`;
  }
  const options = { url, prefix, tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 300, clientName: 'test' };
  const link = await RedisLink.open(options, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

const REPORT: NodeReport = {
  hostname: 'host',
  addrs: ['10.0.0.1'],
  tcpPort: 0,
  wsPort: 3102,
  wssPort: 0,
  httpPort: 3111,
  region: 'eu',
  zone: 'a',
  version: '1',
  latitude: undefined,
  longitude: 8.5,
  weight: 10,
  capacity: 0,
  connCount: 0,
  ipCount: 0,
  roles: ['comet'],
};

interface Started {
  readonly nodes: RedisNodes;
  readonly supersededBy: number[];
  readonly newEpochs: number[];
  readonly losses: number[];
  readonly lost: string[];
  connCount: number;
}

async function started(link: RedisLink, serverId: string, more: Partial<RedisNodesOptions> = {}): Promise<Started> {
  const seen = {
    supersededBy: [] as number[],
    newEpochs: [] as number[],
    losses: [] as number[],
    lost: [] as string[],
    connCount: 0,
  };
  const nodes = await RedisNodes.start(
    link,
    {
      serverId,
      leaseMs: LEASE_MS,
      floorEpoch: 0,
      clock: systemClock,
      report: () => ({ ...REPORT, connCount: seen.connCount }),
      onSuperseded: (byEpoch) => seen.supersededBy.push(byEpoch),
      onNewEpoch: async (nodeEpoch) => void seen.newEpochs.push(nodeEpoch),
      onDataLost: (lossCount) => seen.losses.push(lossCount),
      ...more,
    },
    memoryLog().logger,
  );
  cleanups.push(() => nodes.close());
  nodes.onLost((lostId, nodeEpoch) => seen.lost.push(`${lostId}/${nodeEpoch}`));
  return Object.assign(seen, { nodes });
}

const idsOf = ({ nodes }: Started) =>
  nodes
    .live()
    .map(({ serverId }) => serverId)
    .sort();

describe('RedisNodes', () => {
  it('know each other, with what each says of itself', async () => {
    const a = await started(await opened(), 'a');
    const b = await started(await opened(), 'b');
    expect(idsOf(b)).toEqual(['a', 'b']);
    await eventually(() => idsOf(a).length === 2, 3000);
    expect(a.nodes.live().find(({ serverId }) => serverId === 'b')).toMatchObject({
      ...REPORT,
      nodeEpoch: 1,
      isDraining: false,
    });
    expect([a.nodes.isLive('b', 1), a.nodes.isLive('b', 2), a.nodes.isLive('c', 1)]).toEqual([true, false, false]);
    b.connCount = 17;
    await eventually(() => a.nodes.live().some(({ connCount }) => connCount === 17), 3000);
    await b.nodes.drain(true);
    await a.nodes.refresh();
    expect(a.nodes.live().find(({ serverId }) => serverId === 'b')?.isDraining).toBe(true);
  });

  it('renew: they outlive their lease many times over', async () => {
    const a = await started(await opened(), 'a');
    const b = await started(await opened(), 'b');
    const endMs = performance.now() + LEASE_MS * 3;
    await eventually(() => performance.now() > endMs, LEASE_MS * 4);
    expect([idsOf(a), a.nodes.nodeEpoch, a.lost, b.newEpochs]).toEqual([['a', 'b'], 1, [], []]);
  });

  it('that leave are gone at once, and are told once', async () => {
    const a = await started(await opened(), 'a');
    const b = await started(await opened(), 'b');
    await eventually(() => idsOf(a).length === 2, 3000);
    await b.nodes.leave();
    await a.nodes.refresh();
    await a.nodes.refresh();
    expect([idsOf(a), a.lost, a.nodes.fateOf('b', 1)]).toEqual([['a'], ['b/1'], 'gone']);
  });

  it('that fall silent are lost with their lease', async () => {
    const a = await started(await opened(), 'a');
    const b = await started(await opened(), 'b');
    await eventually(() => idsOf(a).length === 2, 3000);
    b.nodes.close();
    await eventually(() => a.lost.length > 0, LEASE_MS * 4);
    expect(a.lost).toEqual(['b/1']);
  });

  it('that start again win at once over the life before, which learns it', async () => {
    const a = await started(await opened(), 'a');
    const first = await started(await opened(), 'b');
    await eventually(() => idsOf(a).length === 2, 3000);
    const second = await started(await opened(), 'b');
    expect(second.nodes.nodeEpoch).toBe(2);
    await a.nodes.refresh();
    expect([a.nodes.isLive('b', 1), a.nodes.isLive('b', 2), a.lost]).toEqual([false, true, ['b/1']]);
    await eventually(() => first.supersededBy.length > 0, LEASE_MS * 2);
    expect(first.supersededBy).toEqual([2]);
    expect(first.nodes.notReady()).toMatchObject([{ reason: 'superseded' }]);
    expect(first.nodes.isLive('b', 1)).toBe(false);
    const endMs = performance.now() + LEASE_MS * 2;
    await eventually(() => performance.now() > endMs, LEASE_MS * 3);
    expect([first.supersededBy, second.supersededBy, second.nodes.nodeEpoch]).toEqual([[2], [], 2]);
  });

  it('start above the epoch they are known to have had', async () => {
    expect((await started(await opened(), 'a', { floorEpoch: 41 })).nodes.nodeEpoch).toBe(42);
    expect((await started(await opened(), 'a', { floorEpoch: 7 })).nodes.nodeEpoch).toBe(43);
  });

  it('cut off for longer than their lease take a new epoch, and are ready when all is rewritten', async () => {
    const proxy = await startRedisProxy(server.port);
    cleanups.push(() => proxy.close());
    let rewritten = () => {};
    const rewriting = new Promise<void>((resolve) => {
      rewritten = resolve;
    });
    const a = await started(await opened(proxy.url), 'a', {
      onNewEpoch: (nodeEpoch) => {
        a.newEpochs.push(nodeEpoch);
        return rewriting;
      },
    });
    const b = await started(await opened(), 'b');
    expect(a.nodes.notReady()).toEqual([]);
    proxy.hold();
    await eventually(() => a.nodes.isLapsed, LEASE_MS * 3);
    expect(a.nodes.notReady()).toMatchObject([{ reason: 'lease_ended' }]);
    await eventually(() => b.lost.length > 0, LEASE_MS * 3);
    proxy.release();
    await eventually(() => a.newEpochs.length > 0, 5000);
    expect([a.newEpochs, a.nodes.nodeEpoch, b.lost]).toEqual([[2], 2, ['a/1']]);
    expect(a.nodes.notReady()).toMatchObject([{ reason: 'rewriting' }]);
    rewritten();
    await eventually(() => a.nodes.notReady().length === 0, 1000);
    await b.nodes.refresh();
    expect([b.nodes.isLive('a', 1), b.nodes.isLive('a', 2)]).toEqual([false, true]);
  });

  it('take a new epoch also where only Redis saw their lease end', async () => {
    const link = await opened();
    const a = await started(link, 'a');
    await link.commands.hset(link.keys.node('a'), 'endMs', '1');
    await eventually(() => a.newEpochs.length > 0, LEASE_MS * 2);
    expect([a.newEpochs, a.supersededBy]).toEqual([[2], []]);
  });

  it('notice each time that Redis came back empty, keep their epoch, and lose nobody over it', async () => {
    const own = await startRedis();
    cleanups.push(() => own.remove());
    const link = await opened(own.url);
    // Longer than a loaded machine may stand still: a lease that ends is another story.
    const leaseMs = 3 * LEASE_MS;
    const a = await started(link, 'a', { leaseMs });
    const b = await started(await opened(own.url), 'b', { leaseMs });
    await eventually(() => idsOf(a).length === 2, 3000);
    for (const lossCount of [1, 2]) {
      await link.commands.flushall();
      await eventually(() => a.losses.length === lossCount && b.losses.length === lossCount, leaseMs * 3);
      const endMs = performance.now() + leaseMs * 1.2;
      await eventually(() => performance.now() > endMs, leaseMs * 2);
    }
    expect([a.losses, b.losses]).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect([a.nodes.nodeEpoch, b.nodes.nodeEpoch, idsOf(a), a.lost, b.lost]).toEqual([1, 1, ['a', 'b'], [], []]);
  });

  it('tell the time of Redis, and never an earlier one', async () => {
    const clock = new ManualClock(5);
    const a = await started(await opened(), 'a', { clock });
    const first = a.nodes.clock.nowMs();
    expect(Math.abs(first - Date.now())).toBeLessThan(2000);
    clock.advance(1000);
    expect(a.nodes.clock.nowMs() - first).toBe(1000);
    // The look corrects what this host's clock ran ahead: the time stands still until Redis has caught up.
    await a.nodes.refresh();
    expect(a.nodes.clock.nowMs()).toBe(first + 1000);
  });

  it('work on a Cluster, and notice that one of its masters lost its data', async () => {
    const cluster = await startRedisCluster();
    cleanups.push(() => cluster.remove());
    const link = await opened(cluster.url);
    const a = await started(link, 'a');
    const b = await started(await opened(cluster.url), 'b');
    await eventually(() => idsOf(a).length === 2, 3000);
    await link.masters()[0]?.flushall();
    await eventually(() => a.losses.length === 1 && b.losses.length === 1, LEASE_MS * 3);
    expect([idsOf(a), idsOf(b)]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
  });
});

it('RedisNodesTable forgets what it knew of epochs when they may begin anew', () => {
  const clock = new ManualClock(0);
  const table = new RedisNodesTable(clock, 100);
  const lost: string[] = [];
  table.onLost((serverId, nodeEpoch) => lost.push(`${serverId}/${nodeEpoch}`));
  const record = (serverId: string, nodeEpoch: number) => ({
    ...REPORT,
    serverId,
    nodeEpoch,
    isDraining: false,
    updatedMs: 0,
  });
  table.replace([record('a', 5), record('b', 9)]);
  table.replace([record('a', 5)]);
  expect([table.fateOf('b', 9), table.fateOf('b', 10), lost]).toEqual(['gone', 'unknown', ['b/9']]);
  table.startGrace();
  table.replace([]);
  expect([table.fateOf('a', 5), table.fateOf('b', 1)]).toEqual(['live', 'unknown']);
  clock.advance(100);
  table.replace([]);
  expect([table.fateOf('a', 5), lost]).toEqual(['gone', ['b/9', 'a/5']]);
});
