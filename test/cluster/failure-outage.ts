/**
 * Redis goes away under load and comes back: what must hold meanwhile and afterwards, whatever way it went. The tests say how it
 * goes and how it returns.
 */
import { expect } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  countsAreRight,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  Load,
  nothingMissing,
  pushDirectRoom,
  reasonsOf,
  roomName,
  startNodes,
} from './failure-rig.js';

export const AOF = ['--appendonly', 'yes', '--appendfsync', 'always'] as const;
const ROOMS = 4;
const COMPLETE_MS = 5_000;
/** Command deadline (1 s) for the call before and for the own one, and what a loaded machine adds. */
const SLOWEST_CALL_MS = 3_000;

export interface Outage {
  readonly durationMs: number;
  readonly clientCount: number;
  readonly keepsData: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly redisArgs?: readonly string[];
  /** Resolves when it is away. */
  readonly goes: (redis: RedisServer) => Promise<void>;
  /** Resolves with the server that answers again. */
  readonly returns: (redis: RedisServer) => Promise<RedisServer>;
}

/** Redis again on the same port, with what stands in its directory. */
export function startAgain({ port, dir }: RedisServer, args: readonly string[]): Promise<RedisServer> {
  return startRedis({ port, dir, args });
}

function onlyExtended(crowd: Crowd) {
  return crowd.seats.filter(({ isExtended }) => isExtended);
}

export interface OutageFigures {
  readonly slowestCallMs: number;
  readonly completeMs: number;
  readonly readyMs: number;
  readonly refusedCount: number;
  /** From the return of Redis to the first id, seen at a push that was accepted. */
  readonly pushesBackMs: number;
}

async function waitUntil(moment: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, moment - performance.now())));
}

/** Run it, and check everything. */
export async function outage(plan: Outage): Promise<OutageFigures> {
  let redis = await startRedis({ args: plan.redisArgs ?? [] });
  const nodes = await startNodes(redis.url, 2, plan.env);
  const crowd = new Crowd(ROOMS);
  let load: Load | undefined;
  try {
    const [first, second] = nodes as [ClusterNode, ClusterNode];
    await crowd.fill(nodes, plan.clientCount);
    await everyKeyReached(crowd.seats, first, COMPLETE_MS);
    load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 30);
    await load.advance(10);

    await plan.goes(redis);
    const goneMs = performance.now();
    const before = [...crowd.seats];
    await eventually(async () => (await reasonsOf(first)).includes('redis_away'), 4_000, 'redis_away on /ready');
    const refused = await pushDirectRoom(second, 0, '0 nobody gets this');
    expect(refused).toMatchObject({ status: 503, code: -503 });
    // Clients come while nobody can be asked, into rooms that are there and into one that is not.
    const during = await crowd.fill(nodes, ROOMS * nodes.length * 2);
    await waitUntil(goneMs + plan.durationMs);
    expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);

    redis = await plan.returns(redis);
    const backMs = performance.now();
    const acceptedBefore = load.producers.map(({ accepted }) => accepted.length);
    const pushesBack = load.advance(1, [KIND.DIRECT, KIND.DURABLE], 15_000).then(() => performance.now() - backMs);
    const completeMs = await everyKeyReached(crowd.seats, first, COMPLETE_MS);
    if (!plan.keepsData) {
      for (const node of nodes) {
        expect(await reasonsOf(node)).toContain('redis_lost_data');
        expect(node.output()).toContain('Redis has lost its data');
      }
    }
    const readyMs = await allReady(nodes, backMs, plan.keepsData ? [] : ['redis_lost_data', 'queue_lost']);
    const pushesBackMs = await pushesBack;
    expect(acceptedBefore.length).toBe(2 * ROOMS);

    await everyKeyReached(crowd.seats, second, COMPLETE_MS);
    await countsAreRight(first, crowd);
    await countsAreRight(second, crowd);
    await load.advance(5);
    // From here on everything is whole again: nothing more may get lost, for nobody.
    const whole = new Map(load.producers.map(({ kind, room, accepted }) => [`${kind}/${room}`, accepted.at(-1) ?? 0]));
    await load.advance(10);
    await load.stop();
    for (const kind of [KIND.DIRECT, KIND.DURABLE] as const) {
      await nothingMissing(crowd.seats, load, kind, (room) => whole.get(`${kind}/${room}`) ?? 0);
    }
    if (plan.keepsData) await nothingMissing(before, load, KIND.DURABLE);
    expect(disorder(crowd.seats)).toEqual([]);
    // A push that was under way may be lost: extended members of every room are told so.
    const untold = onlyExtended(crowd)
      .filter((seat) => before.includes(seat))
      .filter(
        ({ client, room }) => !client.gaps.some(({ scope, ...gap }) => scope === 'room' && gap.room === roomName(room)),
      );
    expect(untold.map(({ key, client }) => `${key} ${JSON.stringify(client.gaps)}`)).toEqual([]);
    expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);
    expect(during.every(({ client }) => client.closed === undefined)).toBe(true);
    // Every call was answered, and in time.
    expect([load.statusCount(KIND.DIRECT, 0), load.statusCount(KIND.DURABLE, 0)]).toEqual([0, 0]);
    expect(load.slowestMs).toBeLessThan(SLOWEST_CALL_MS);
    return {
      slowestCallMs: Math.round(load.slowestMs),
      completeMs: Math.round(completeMs),
      readyMs: Math.round(readyMs),
      refusedCount: load.statusCount(KIND.DIRECT, 503) + load.statusCount(KIND.DURABLE, 503),
      pushesBackMs: Math.round(pushesBackMs),
    };
  } catch (error) {
    // What the nodes said belongs to the failure.
    throw new Error(`${error}\n${nodes.map((node) => `--- ${node.serverId}\n${node.output()}`).join('\n')}`, {
      cause: error,
    });
  } finally {
    await load?.stop();
    crowd.end();
    await endNodes(nodes);
    await redis.remove();
  }
}

async function allReady(nodes: readonly ClusterNode[], sinceMs: number, besides: readonly string[]): Promise<number> {
  let left = '';
  await eventually(
    async () => {
      const reasons = (await Promise.all(nodes.map(reasonsOf))).flat().filter((reason) => !besides.includes(reason));
      left = reasons.join(', ');
      return reasons.length === 0;
    },
    15_000,
    'all nodes are ready',
  ).catch((error) => {
    throw new Error(`not ready: ${left}`, { cause: error });
  });
  return performance.now() - sinceMs;
}
