/**
 * Redis freezes for less time than it takes to notice, under direct pushes: what was answered 0 has arrived or a Gap says that
 * it may not have, though nothing is pushed afterwards; what was not answered 0 has an error.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { eventually, get, type RedisServer, startRedis } from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  endNodes,
  KIND,
  Load,
  missing,
  readyWithin,
  removeDataDirs,
  roomName,
  startNodes,
} from './failure-rig.js';

const ROOMS = 4;
let redis: RedisServer;
let nodes: ClusterNode[] = [];
let crowd: Crowd;
let load: Load | undefined;

beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await load?.stop();
  crowd.end();
  await endNodes(nodes);
});
afterAll(async () => {
  await redis.remove();
  await removeDataDirs();
});

async function totalsOf(node: ClusterNode): Promise<Readonly<Record<string, number>>> {
  const { totals } = (await get(`${node.httpUrl}/halley/stats`)).data as { totals: Record<string, number> };
  return totals;
}

it('a direct push that was accepted into a frozen Redis arrives or is told as a Gap, and the counters say so', async () => {
  nodes = await startNodes(redis.url, 2, { HALLEY_CLUSTER_PREFIX: 'told' });
  crowd = new Crowd(ROOMS);
  await crowd.fill(nodes, 64);
  load = new Load(ROOMS, nodes, [KIND.DIRECT], 10);
  await load.advance(20, [KIND.DIRECT]);
  const before = crowd.seats.map(({ client }) => client.gaps.length);
  process.kill(redis.pid, 'SIGSTOP');
  const frozenMs = performance.now();
  try {
    // Until the nodes have noticed: from then on every push has its error.
    await eventually(() => (load?.statusCount(KIND.DIRECT, 503) ?? 0) >= ROOMS, 10_000, 'pushes are refused');
    await load.stop();
    // What was accepted into the silence has had its time.
    await eventually(() => performance.now() - frozenMs > 3_500, 5_000);
  } finally {
    process.kill(redis.pid, 'SIGCONT');
  }
  for (const node of nodes) await readyWithin(node, 10_000);
  let totals: readonly Readonly<Record<string, number>>[] = [];
  const sum = (name: string) => totals.reduce((all, row) => all + (row[name] ?? Number.NaN), 0);
  await eventually(
    async () => {
      totals = await Promise.all(nodes.map(totalsOf));
      return sum('bus_unanswered') > 0 && sum('bus_untold') === 0 && sum('redis_up') === nodes.length;
    },
    5_000,
    'every loss is told',
  );
  expect(sum('bus_lost')).toBeGreaterThan(0);
  expect(sum('redis_reconnects')).toBeGreaterThan(0);
  // Short leases of machine ids end before the silence is noticed: either way nobody got the push, and the answer says so.
  expect(sum('push_refused_away') + sum('push_refused_ids')).toBeGreaterThanOrEqual(ROOMS);
  // The gaps a seat has had since: who misses something has one of its room.
  const untold = () => {
    const told = crowd.seats.filter(({ client, room }, index) =>
      client.gaps.slice(before[index]).some((gap) => gap.scope === 'room' && gap.room === roomName(room)),
    );
    const extended = crowd.seats.filter(({ isExtended }) => isExtended);
    return missing(
      extended.filter((seat) => !told.includes(seat)),
      load as Load,
      KIND.DIRECT,
    );
  };
  await eventually(() => untold().length === 0, 8_000, 'every accepted push has arrived or is told');
  expect(load.statusCount(KIND.DIRECT, 0)).toBe(0);
}, 60_000);
