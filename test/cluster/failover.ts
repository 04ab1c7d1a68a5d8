/**
 * A master of Redis is killed under load and a replica takes its place: what must hold, whoever elects the new one. The tests say
 * how the servers are started and which of them dies.
 */
import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually, type RedisServer } from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  countsAreRight,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  Load,
  missing,
  nothingMissing,
  reasonsOf,
  roomName,
  type Seat,
  startNodes,
} from './failure-rig.js';

const ROOMS = 4;
const CLIENTS = 200;
const COMPLETE_MS = 5_000;
/** Command deadline (1 s) for the call before and for the own one, and what a loaded machine adds. */
const SLOWEST_CALL_MS = 3_000;
/** Silence, election, and every client of Redis that looks for the new master. */
const ELECTED_MS = 30_000;
/** Of what a partial loss leaves behind. */
const LOSS_REASONS = ['redis_lost_data', 'queue_lost'] as const;

export interface FailoverPlan {
  readonly url: string;
  readonly env?: Readonly<Record<string, string>>;
  /** All that are masters now: what is accepted stands on their replicas before one dies. */
  readonly masters: readonly RedisServer[];
  /** Resolves when the master is dead. */
  readonly fails: () => Promise<void>;
  /** Resolves when the new master has a replica again, where accepting needs one. */
  readonly heals?: () => Promise<void>;
  /** The rooms keep their messages: members are told of a Gap only where something is gone for good. */
  readonly hasHistory?: boolean;
  /** Durable pushes are answered when a replica has them: then none may be lost at all. */
  readonly waitsForReplicas: boolean;
}

export interface FailoverFigures {
  readonly slowestCallMs: number;
  /** From the death of the master to the first push that was accepted again in every stream. */
  readonly pushesBackMs: number;
  /** From then on, until every key was reached. */
  readonly completeMs: number;
  readonly refusedCount: number;
  /** Accepted in the instant of the death, and lost with it. */
  readonly lostCount: number;
}

/** Whatever was written to this master before the call, its replica has. */
export async function isReplicated({ port }: RedisServer): Promise<void> {
  const client = new Redis(port, '127.0.0.1', { protocol: 2 });
  try {
    // WAIT looks at the writes of its own connection, and this one comes after all others.
    const key = await ownKey(client);
    await client.set(key, '1', 'PX', 60_000);
    expect(await client.wait(1, 10_000), 'replicas that have everything').toBe(1);
  } finally {
    client.disconnect();
  }
}

/** A key that this server takes, Cluster or not. */
async function ownKey(client: Redis): Promise<string> {
  for (let no = 0; ; no++) {
    const isOwn = await client.get(`mark-${no}`).then(
      () => true,
      (error: Error) => {
        if (error.message.startsWith('MOVED')) return false;
        throw error;
      },
    );
    if (isOwn) return `mark-${no}`;
  }
}

export async function failover(plan: FailoverPlan): Promise<FailoverFigures> {
  const nodes = await startNodes(plan.url, 2, plan.env);
  const crowd = new Crowd(ROOMS);
  let load: Load | undefined;
  try {
    const [first, second] = nodes as [ClusterNode, ClusterNode];
    await crowd.fill(nodes, CLIENTS);
    await everyKeyReached(crowd.seats, first, COMPLETE_MS);
    load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 30);
    await load.advance(15);

    const safe = load.snapshot();
    for (const master of plan.masters) await isReplicated(master);
    await plan.fails();
    const failedMs = performance.now();
    const before = [...crowd.seats];
    await Promise.all(
      nodes.map((node) =>
        eventually(async () => (await reasonsOf(node)).includes('redis_away'), 10_000, 'redis_away on /ready'),
      ),
    );
    const atFailure = load.snapshot();
    await plan.heals?.();
    await load.advance(1, [KIND.DIRECT, KIND.DURABLE], ELECTED_MS);
    const backMs = performance.now();
    await everyKeyReached(crowd.seats, first, COMPLETE_MS);
    const completeMs = performance.now() - backMs;
    await eventually(
      async () => (await Promise.all(nodes.map(reasonsOf))).flat().every((reason) => isLoss(reason)),
      15_000,
      'all nodes are ready',
    );
    await everyKeyReached(crowd.seats, second, COMPLETE_MS);
    await countsAreRight(first, crowd);
    await countsAreRight(second, crowd);

    // From here on everything is whole again: nothing more may get lost, for nobody.
    await load.advance(5);
    const whole = new Map(load.producers.map(({ kind, room, accepted }) => [`${kind}/${room}`, accepted.at(-1) ?? 0]));
    await load.advance(10);
    await load.stop();
    for (const kind of [KIND.DIRECT, KIND.DURABLE] as const) {
      await nothingMissing(crowd.seats, load, kind, (room) => whole.get(`${kind}/${room}`) ?? 0);
    }
    await nothingMissing(before, plan.waitsForReplicas ? load : safe, KIND.DURABLE);
    if (plan.hasHistory === true) await nothingMissing(before, safe, KIND.DIRECT);
    const lost = missing(before, load, KIND.DURABLE);
    const lostLater =
      lost.length === 0 ? [] : missing(before, load, KIND.DURABLE, (room) => lastOf(atFailure, room) + 1);
    expect(lostLater, 'lost although it was accepted by the new master').toEqual([]);
    expect(disorder(crowd.seats)).toEqual([]);
    expect(untold(before, load, plan.hasHistory === true)).toEqual([]);
    // A direct push that found no Redis has no place in a room's log, so nobody can miss it: its sender's node says that it is lost.
    if (missing(before, load, KIND.DIRECT).length > 0) {
      expect(nodes.map((node) => node.output()).join('\n')).toMatch(
        /a push to the cluster was lost|may be missed is told/,
      );
    }
    expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);
    expect([load.statusCount(KIND.DIRECT, 0), load.statusCount(KIND.DURABLE, 0)]).toEqual([0, 0]);
    expect(load.slowestMs).toBeLessThan(SLOWEST_CALL_MS);
    return {
      slowestCallMs: Math.round(load.slowestMs),
      pushesBackMs: Math.round(backMs - failedMs),
      completeMs: Math.round(completeMs),
      refusedCount: load.statusCount(KIND.DIRECT, 503) + load.statusCount(KIND.DURABLE, 503),
      lostCount: lost.length,
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
  }
}

/**
 * What was under way, and what the new master never had, may be lost: extended members who were not told so. Without history
 * everybody is told, with it those who miss something.
 */
function untold(seats: readonly Seat[], load: Load, hasHistory: boolean): readonly string[] {
  return seats
    .filter(({ isExtended }) => isExtended)
    .filter((seat) => !hasHistory || missing([seat], load, KIND.DURABLE).length > 0)
    .filter(({ client, room }) => !client.gaps.some((gap) => gap.scope === 'room' && gap.room === roomName(room)))
    .map(({ key, client }) => `${key} ${JSON.stringify(client.gaps)}`);
}

function isLoss(reason: string): boolean {
  return (LOSS_REASONS as readonly string[]).includes(reason);
}

function lastOf(streams: ReturnType<Load['snapshot']>, ofRoom: number): number {
  return (
    streams
      .of(KIND.DURABLE)
      .find(({ room }) => room === ofRoom)
      ?.accepted.at(-1) ?? 0
  );
}
