/**
 * Online counts of several nodes over a real Redis: whatever is joined, left, killed and lost on the way, once it is quiet every
 * node counts what a model counts.
 */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { RedisLink } from '../store/redis/index.js';
import { memoryLog } from '../telemetry/index.js';
import { OnlineNode, TestCluster } from './fixtures/online-node.js';

let server: RedisServer;
let prefixCount = 0;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function openLink(url = server.url): Promise<RedisLink> {
  prefixCount += 1;
  const options = { url, prefix: `on${prefixCount}`, tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 500 };
  const link = await RedisLink.open({ ...options, clientName: 'test' }, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** The same link, on which the answers of scripts get lost while `isLossy` says so: they are carried out and then fail. */
function lossy(link: RedisLink, isLossy: () => boolean): RedisLink {
  const commands = new Proxy(link.commands, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      if (name !== 'evalsha') return member.bind(target);
      return async (...args: unknown[]) => {
        const isLost = isLossy();
        const answer: unknown = await Reflect.apply(member, target, args);
        if (isLost) throw new Error('the answer was lost');
        return answer;
      };
    },
  });
  return new Proxy(link, {
    get: (target, name) => (name === 'commands' ? commands : Reflect.get(target, name, target)),
  });
}

async function rounds(nodes: readonly OnlineNode[], count: number): Promise<void> {
  for (let round = 0; round < count; round++) for (const node of nodes) await node.online.round();
}

function countsOf(node: OnlineNode): Record<string, number> {
  return Object.fromEntries([...node.online.roomCounts('')].map(({ room, count }) => [room, count]));
}

describe('online counts of a cluster', () => {
  it('hold the members of all nodes, and follow them up and down to nothing', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    a.setMembers('live://1', 1, 2);
    a.setMembers('live://1', 2, 1);
    b.setMembers('live://1', 1, 5);
    b.setMembers('chat://x', 1, 1);
    a.connCount = 7;
    b.connCount = 9;
    await rounds([a, b], 2);
    for (const node of [a, b]) {
      expect(countsOf(node)).toEqual({ 'live://1': 8, 'chat://x': 1 });
      expect([node.online.connectionCount(), node.online.ipCount()]).toEqual([16, 9]);
    }
    expect([a.online.roomCount('live://1'), a.online.localRoomCount('live://1')]).toEqual([8, 3]);
    expect([a.heartbeatCount('live://1'), b.heartbeatCount('live://1')]).toEqual([8, 8]);
    expect([...a.online.roomCounts('chat://')]).toEqual([{ room: 'chat://x', count: 1 }]);
    expect(a.online.nodes()).toEqual([
      { serverId: 'a', isLocal: true, connCount: 7, ipCount: 4, roomCount: 1 },
      { serverId: 'b', isLocal: false, connCount: 9, ipCount: 5, roomCount: 2 },
    ]);
    b.setMembers('live://1', 1, 0);
    b.setMembers('chat://x', 1, 0);
    a.setMembers('live://1', 1, 0);
    await rounds([b, a], 1);
    expect([countsOf(a), a.heartbeatCount('live://1')]).toEqual([{ 'live://1': 1 }, 1]);
    expect(await link.commands.exists(link.keys.online('b', ':rooms'))).toBe(0);
  });

  it('show the members on other nodes in the heartbeat of a room from its opening on', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    b.setMembers('live://1', 1, 5);
    await rounds([b, a], 1);
    a.setMembers('live://1', 1, 1);
    expect(a.heartbeatCount('live://1')).toBe(6);
    a.setMembers('live://1', 1, 0);
    // The number of the closed room goes to this one.
    a.setMembers('live://2', 1, 1);
    expect(a.heartbeatCount('live://2')).toBe(1);
  });

  it('lose a dead node at once, and nothing of it stays in Redis for ever', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    b.setMembers('live://1', 1, 5);
    b.connCount = 5;
    a.setMembers('live://1', 1, 1);
    await rounds([b, a], 1);
    expect(a.heartbeatCount('live://1')).toBe(6);
    cluster.end('b');
    expect([a.heartbeatCount('live://1'), a.online.connectionCount(), a.online.nodes().length]).toEqual([1, 0, 1]);
    await rounds([a], 1);
    expect(countsOf(a)).toEqual({ 'live://1': 1 });
    for (const part of ['', ':rooms', ':log'] as const) {
      const ttlMs = await link.commands.pttl(link.keys.online('b', part));
      expect(ttlMs).toBeGreaterThan(60_000);
    }
    await a.online.close();
    expect(await link.commands.exists(link.keys.online('a'), link.keys.online('a', ':rooms'))).toBe(0);
  });

  it('are read whole again where a reader was away for too many batches', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    b.setMembers('live://gone', 1, 1);
    await rounds([b, a], 1);
    b.setMembers('live://gone', 1, 0);
    for (let count = 1; count <= 500; count++) {
      b.setMembers(`live://${count % 7}`, 1, count);
      await b.online.round();
    }
    expect(await link.commands.xlen(link.keys.online('b', ':log'))).toBeLessThan(500);
    await a.online.round();
    expect(countsOf(a)).toEqual(countsOf(b));
  });

  it('do not dip while a node tells everything again, and drop what it does not have any more', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const a = new OnlineNode(cluster, 'a', link);
    const b = new OnlineNode(cluster, 'b', link);
    for (let room = 0; room < 40; room++) b.setMembers(`live://${room}`, 1, 2);
    await rounds([b, a], 1);
    const seen: number[] = [];
    await link.commands.flushall();
    b.setMembers('live://0', 1, 0);
    for (let round = 0; round < 4; round++) {
      await rounds([b, a], 1);
      seen.push(Object.keys(countsOf(a)).length);
    }
    expect(seen.every((count) => count === 40 || count === 39)).toBe(true);
    expect(countsOf(a)).toEqual(countsOf(b));
  });

  it('stand still while Redis is away, and are right again when it comes back empty', async () => {
    const own = await startRedis();
    cleanups.push(() => own.remove());
    const link = await openLink(own.url);
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    b.setMembers('live://1', 1, 5);
    await rounds([b, a], 1);
    await own.stop('SIGKILL');
    await eventually(() => !link.isUp);
    b.setMembers('live://1', 1, 6);
    b.setMembers('live://2', 1, 1);
    await rounds([b, a], 2);
    expect(countsOf(a)).toEqual({ 'live://1': 5 });
    const again = await startRedis({ port: own.port });
    cleanups.push(() => again.remove());
    await eventually(() => link.isUp);
    await rounds([b, a], 3);
    expect(countsOf(a)).toEqual({ 'live://1': 6, 'live://2': 1 });
  });

  it('go on by themselves once started', async () => {
    const link = await openLink();
    const cluster = new TestCluster();
    cluster.begin('a', 1);
    cluster.begin('b', 1);
    const [a, b] = [new OnlineNode(cluster, 'a', link), new OnlineNode(cluster, 'b', link)];
    await Promise.all([a.online.start(), b.online.start()]);
    b.setMembers('live://1', 1, 5);
    await eventually(() => a.online.roomCount('live://1') === 5);
    await Promise.all([a.online.close(), b.online.close()]);
  });

  it('equal the model once it is quiet, whatever happened before', async () => {
    const link = await openLink();
    const serverId = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      {
        weight: 12,
        arbitrary: fc.record({
          kind: fc.constant('members' as const),
          serverId,
          room: fc.integer({ min: 0, max: 9 }),
          thread: fc.integer({ min: 1, max: 2 }),
          count: fc.integer({ min: 0, max: 3 }),
        }),
      },
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('round' as const), serverId }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const), serverId }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('thaw' as const), serverId }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('lossy' as const), isLossy: fc.boolean() }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 80 }), async (steps) => {
        await link.commands.flushall();
        let isLossy = false;
        let nodeEpoch = 0;
        const cluster = new TestCluster();
        const nodes = new Map<string, OnlineNode>();
        const start = (id: string) => {
          nodeEpoch += 1;
          cluster.begin(id, nodeEpoch);
          nodes.set(
            id,
            new OnlineNode(
              cluster,
              id,
              lossy(link, () => isLossy),
            ),
          );
        };
        for (const id of ['a', 'b', 'c']) start(id);
        for (const one of steps) {
          if (one.kind === 'members') {
            nodes.get(one.serverId)?.setMembers(`r://${one.room}`, one.thread, one.count);
          } else if (one.kind === 'round') await nodes.get(one.serverId)?.online.round();
          else if (one.kind === 'flush') await link.commands.flushall();
          else if (one.kind === 'lossy') isLossy = one.isLossy;
          else if (one.kind === 'thaw' && nodes.has(one.serverId)) {
            // It takes a new lease and goes on with what it has.
            nodeEpoch += 1;
            cluster.begin(one.serverId, nodeEpoch);
          } else if (one.kind === 'kill') {
            if (nodes.delete(one.serverId)) cluster.end(one.serverId);
            else start(one.serverId);
          }
        }
        isLossy = false;
        await rounds([...nodes.values()], 3);
        const model: Record<string, number> = {};
        for (const node of nodes.values()) {
          for (const { room, count } of node.source.roomCounts()) model[room] = (model[room] ?? 0) + count;
        }
        for (const node of nodes.values()) {
          expect(countsOf(node)).toEqual(model);
          for (const { room } of node.sequencer.rooms()) expect(node.heartbeatCount(room)).toBe(model[room]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
