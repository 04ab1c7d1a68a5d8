import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type RedisClusterServers,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startRedisProxy,
} from '../../../test/kit/index.js';
import type { Session } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { sessionOf, sessionStoreContract } from '../sessions.contract.js';
import { RedisLink } from './redis-link.js';
import { type NodeFates, RedisSessionMap } from './redis-session-map.js';

const cleanups: (() => unknown)[] = [];
let server: RedisServer;
let cluster: RedisClusterServers;
let single: RedisLink;
let sharded: RedisLink;

beforeAll(async () => {
  [server, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
  single = await opened(server.url);
  sharded = await opened(cluster.url);
});
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  await Promise.all([server.remove(), cluster.remove()]);
});

async function opened(url: string, prefix = 'halley'): Promise<RedisLink> {
  const options = { url, prefix, tlsCaFile: '', connectTimeoutMs: 2000, commandTimeoutMs: 5000, clientName: 'test' };
  const link = await RedisLink.open(options, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** Nodes whose fate the test decides: live unless it says otherwise. */
class Fates implements NodeFates {
  readonly gone = new Set<string>();
  readonly unknown = new Set<string>();
  refreshCount = 0;

  fateOf(serverId: string, nodeEpoch: number): 'live' | 'gone' | 'unknown' {
    const incarnation = `${serverId}/${nodeEpoch}`;
    if (this.unknown.has(incarnation)) return 'unknown';
    return this.gone.has(incarnation) ? 'gone' : 'live';
  }

  async refresh(): Promise<void> {
    this.refreshCount += 1;
  }

  markGone(serverId: string, nodeEpoch: number): void {
    this.unknown.delete(`${serverId}/${nodeEpoch}`);
    this.gone.add(`${serverId}/${nodeEpoch}`);
  }
}

/** An empty map: the servers are this file's own, and its tests run one after the other. */
async function mapOn(link: RedisLink, fates: NodeFates = new Fates()): Promise<RedisSessionMap> {
  await Promise.all(link.masters().map((master) => master.flushall()));
  return new RedisSessionMap(link, fates);
}

sessionStoreContract('RedisSessionMap on one server', () => mapOn(single), 100);
sessionStoreContract('RedisSessionMap on a Cluster of three masters', () => mapOn(sharded), 50);

describe.each([
  ['one server', () => single],
  ['a Cluster', () => sharded],
] as const)('sessions of several nodes on %s', (_, linkOf) => {
  const old = sessionOf({ serverId: 'a', connId: 1, sinceMs: 1000 });
  const fresh = sessionOf({ serverId: 'b', connId: 9, sinceMs: 2000 });

  it('name the owner on another node when a key is taken over', async () => {
    const map = await mapOn(linkOf());
    await map.put(old);
    expect(await map.put(fresh)).toEqual({ status: 'stored', previous: old });
    expect(await map.remove(old)).toBeUndefined();
    expect(await map.byMids([7])).toEqual([fresh]);
  });

  it('are not overwritten by a write of an older connection that comes late', async () => {
    const map = await mapOn(linkOf());
    await map.put(fresh);
    expect(await map.put(old)).toEqual({ status: 'superseded', by: fresh });
    expect([await map.byKeys(['device-1']), await map.byMids([7])]).toEqual([[fresh], [fresh]]);
  });

  // A node whose idea of Redis' clock was behind refused who had just come over from another node: the client was told that it
  // was taken over by the connection it had left, and to stop.
  it('are taken over by who comes later within the error of the clocks, and stay his when both are written again', async () => {
    const map = await mapOn(linkOf());
    const ahead = sessionOf({ serverId: 'a', connId: 1, sinceMs: 1400 });
    const behind = sessionOf({ serverId: 'b', connId: 9, sinceMs: 1000 });
    const stored = { ...behind, sinceMs: 1401 };
    await map.put(ahead, 500);
    expect(await map.put(behind, 500)).toEqual({ status: 'stored', previous: ahead });
    expect([await map.byKeys(['device-1']), await map.byMids([7])]).toEqual([[stored], [stored]]);
    expect(await map.put(behind)).toEqual({ status: 'stored', previous: undefined });
    expect(await map.put(ahead)).toEqual({ status: 'superseded', by: stored });
    expect([await map.byKeys(['device-1']), await map.byMids([7])]).toEqual([[stored], [stored]]);
    expect(await map.remove(behind)).toEqual(stored);
    expect(await map.byMids([7])).toEqual([]);
    // Beyond it the time decides, also for a connect.
    await map.put(ahead, 300);
    expect(await map.put(behind, 300)).toEqual({ status: 'superseded', by: ahead });
  });

  it('do not count once their node is gone: not as owner, not as foreign, not as younger', async () => {
    const fates = new Fates();
    const map = await mapOn(linkOf(), fates);
    await map.put(fresh);
    fates.markGone('b', 1);
    expect(await map.byKeys(['device-1'])).toEqual([undefined]);
    expect(await map.byMids([7])).toEqual([]);
    expect(await map.put(old)).toEqual({ status: 'stored', previous: undefined });
    expect(await map.byMids([7])).toEqual([old]);
    await map.remove(old);
    await map.put(sessionOf({ serverId: 'b', mid: 8 }));
    expect(await map.put(old)).toEqual({ status: 'stored', previous: undefined });
    expect([await map.byKeys(['device-1']), await map.byMids([7, 8])]).toEqual([[old], [old]]);
  });

  it('of a node that was never heard of count as dead only after a look', async () => {
    const fates = new Fates();
    const map = await mapOn(linkOf(), fates);
    await map.put(sessionOf({ serverId: 'young', mid: 8 }));
    fates.unknown.add('young/1');
    // The look finds it: a node that has just started.
    fates.refresh = async () => {
      fates.unknown.clear();
    };
    expect(await map.put(old)).toEqual({ status: 'foreign', ownerMid: 8 });
  });

  // The dead device stood in the user's hash with a later time, and on Cluster the living one was not noted beside it: a push
  // to the user missed him until the next rewrite.
  it('are found by user although a younger one of a dead node was left there', async () => {
    const fates = new Fates();
    const map = await mapOn(linkOf(), fates);
    await map.put(sessionOf({ serverId: 'b', sinceMs: 5000 }));
    fates.markGone('b', 1);
    const foreign = sessionOf({ serverId: 'a', mid: 8, connId: 3 });
    await map.put(foreign);
    await map.remove(foreign);
    await map.put(old);
    expect(await map.byMids([7])).toEqual([old]);
  });

  it('are written again under a new incarnation without a previous owner', async () => {
    const fates = new Fates();
    const map = await mapOn(linkOf(), fates);
    await map.put(old);
    fates.markGone('a', 1);
    const again = { ...old, nodeEpoch: 2 };
    expect(await map.put(again)).toEqual({ status: 'stored', previous: undefined });
    expect(await map.put(again)).toEqual({ status: 'stored', previous: undefined });
    expect(await map.byMids([7])).toEqual([again]);
  });
});

// Two nodes send their writes in order, the network delivers them in any: connects, disconnects, repetitions and sweeps.
describe('of all connections of a key', () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('connect'),
        node: fc.constantFrom('a', 'b'),
        key: fc.constantFrom('k1', 'k2'),
        mid: fc.constantFrom(7, 7, 8),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('disconnect'), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('rewrite'), pick: fc.nat() }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('deliver'), node: fc.constantFrom('a', 'b') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('die'), node: fc.constantFrom('a', 'b') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep') }) },
  );

  it.each([
    ['one server', () => single, 300],
    ['a Cluster', () => sharded, 100],
  ] as const)('the newest that is open stays, and nothing of one that ended, on %s', async (_, linkOf, runCount) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
        const fates = new Fates();
        const map = await mapOn(linkOf(), fates);
        const epochs: Record<string, number> = { a: 1, b: 1 };
        const outboxes: Record<string, (() => Promise<void>)[]> = { a: [], b: [] };
        const open = new Map<number, Session>();
        let serial = 0;
        const end = (session: Session) => {
          if (!open.delete(session.connId)) return;
          outboxes[session.serverId]?.push(async () => void (await map.remove(session)));
        };
        const write = (session: Session) =>
          outboxes[session.serverId]?.push(async () => {
            const result = await map.put(session);
            // The node closes what lost its key; a connection that lost it ends.
            if (result.status !== 'stored') end(session);
            else if (result.previous !== undefined) {
              expect(result.previous.sinceMs).toBeLessThan(session.sinceMs);
              end(result.previous);
            }
          });
        const sweep = async () => {
          for await (const { sessions, devices } of map.slices(100)) {
            for (const dead of sessions)
              if (fates.fateOf(dead.serverId, dead.nodeEpoch) === 'gone') await map.remove(dead);
            for (const dead of devices) {
              if (fates.fateOf(dead.serverId, dead.nodeEpoch) === 'gone') await map.removeFromUser(dead.mid, dead);
            }
          }
        };
        const picked = (pick: number) => [...open.values()][pick % Math.max(1, open.size)];
        for (const each of steps) {
          if (each.kind === 'connect' && 'key' in each) {
            serial += 1;
            const nodeEpoch = epochs[each.node] ?? 0;
            const session = sessionOf({
              key: each.key,
              mid: each.mid,
              serverId: each.node,
              nodeEpoch,
              connId: serial,
              sinceMs: serial,
            });
            open.set(serial, session);
            write(session);
          } else if ('pick' in each) {
            const session = picked(each.pick);
            if (session !== undefined) (each.kind === 'disconnect' ? end : write)(session);
          } else if (each.kind === 'deliver' && 'node' in each) {
            await outboxes[each.node]?.shift()?.();
          } else if (each.kind === 'die' && 'node' in each) {
            // What it had sent may still arrive; its connections are gone with it.
            fates.markGone(each.node, epochs[each.node] ?? 0);
            epochs[each.node] = (epochs[each.node] ?? 0) + 1;
            for (const session of [...open.values()]) if (session.serverId === each.node) open.delete(session.connId);
          } else if (each.kind === 'sweep') await sweep();
        }
        while ((outboxes['a']?.length ?? 0) + (outboxes['b']?.length ?? 0) > 0) {
          for (const outbox of Object.values(outboxes)) await outbox.shift()?.();
        }
        await sweep();
        const stored = await map.byKeys(['k1', 'k2']);
        // Every other one was told that it lost its key, and ended: what is open now is what is stored.
        for (const [index, key] of ['k1', 'k2'].entries()) {
          const still = [...open.values()].filter((session) => session.key === key);
          expect(still).toEqual(stored[index] === undefined ? [] : [stored[index]]);
        }
        const devices = await map.byMids([7, 8]);
        expect(new Set(devices)).toEqual(new Set(stored.filter((session) => session !== undefined)));
      }),
      { numRuns: runCount },
    );
  });
});

describe('the cost', () => {
  async function scriptCount(link: RedisLink): Promise<number> {
    let count = 0;
    for (const master of link.masters()) {
      const stats = await master.info('commandstats');
      for (const match of stats.matchAll(/cmdstat_(?:eval|evalsha):calls=(\d+)/g)) count += Number(match[1]);
    }
    return count;
  }

  it.each([
    ['one server', () => single, [1, 1, 2]],
    ['a Cluster', () => sharded, [2, 2, 3]],
  ] as const)('on %s of connect, disconnect, and connect over a dead owner', async (_, linkOf, expected) => {
    const link = linkOf();
    const fates = new Fates();
    const map = await mapOn(link, fates);
    await map.put(sessionOf({ key: 'warm' }));
    const costOf = async (action: () => Promise<unknown>) => {
      const before = await scriptCount(link);
      await action();
      return (await scriptCount(link)) - before;
    };
    const session = sessionOf({});
    const costs = [await costOf(() => map.put(session)), await costOf(() => map.remove(session))];
    await map.put(sessionOf({ serverId: 'dead', mid: 8 }));
    fates.markGone('dead', 1);
    costs.push(await costOf(() => map.put(session)));
    expect(costs).toEqual(expected);
  });

  it('of many connects at once is a few writes to the socket', async () => {
    const proxy = await startRedisProxy(server.port);
    cleanups.push(() => proxy.close());
    const link = await opened(proxy.url, 'bursts');
    const map = new RedisSessionMap(link, new Fates());
    await map.put(sessionOf({ key: 'warm' }));
    const before = proxy.burstCount;
    const sessions = Array.from({ length: 200 }, (_, index) => sessionOf({ key: `k${index}`, connId: index + 1 }));
    await Promise.all(sessions.map((session) => map.put(session)));
    // 200 scripts of about 300 bytes fill a few socket buffers; the pulse may have beaten meanwhile.
    expect(proxy.burstCount - before).toBeLessThanOrEqual(5);
  });
});
