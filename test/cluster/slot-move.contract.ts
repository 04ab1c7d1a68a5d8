/**
 * Slots of a Redis Cluster move to another master while clients come and pushes go on: keys of a slot that is on its way are
 * answered with ASK, those of one that has arrived with MOVED, and channels of a room lose their subscribers.
 */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  eventually,
  ownerOf,
  type RedisClusterServers,
  type RedisServer,
  SlotMove,
  slotOf,
  startRedisCluster,
} from '../kit/index.js';
import {
  type ClusterNode,
  Crowd,
  countsAreRight,
  disorder,
  endNodes,
  everyKeyReached,
  KIND,
  type Kind,
  Load,
  missing,
  nothingMissing,
  readyWithin,
  reasonsOf,
  removeDataDirs,
  roomName,
  startNodes,
} from './failure-rig.js';

const TEST_MS = 120_000;
const ROOMS = 4;
const SLOWEST_CALL_MS = 3_000;
let cluster: RedisClusterServers;
let nodes: ClusterNode[] = [];
let crowd: Crowd;
let load: Load | undefined;

/** Begin to move the slot of `key` to the master after its owner. */
async function moveSlotOf(key: string): Promise<SlotMove> {
  const slot = await slotOf(cluster.servers[0] as RedisServer, key);
  const owner = await ownerOf(cluster.servers, slot);
  const to = cluster.servers[(cluster.servers.indexOf(owner) + 1) % cluster.servers.length] as RedisServer;
  return SlotMove.begin(cluster.servers, slot, to);
}

/** @param kinds of rooms: a name, and the environment of the nodes */
export function slotMoveSuite(
  kinds: readonly (readonly [name: string, env: Readonly<Record<string, string>>])[],
): void {
  beforeEach(async () => {
    cluster = await startRedisCluster();
    crowd = new Crowd(ROOMS);
  });
  afterEach(async () => {
    await load?.stop();
    load = undefined;
    crowd.end();
    await endNodes(nodes.splice(0));
    await cluster.remove();
  });
  afterAll(removeDataDirs);

  describe.each(kinds)('a slot of a Redis Cluster moves under load, %s', (_, env) => {
    it(
      'no connection drops, every durable push arrives once and in order, and every call is answered in time',
      async () => {
        nodes = await startNodes(cluster.url, 2, { HALLEY_CLUSTER_PROBE_MS: '500', ...env });
        const [first, second] = nodes as [ClusterNode, ClusterNode];
        await crowd.fill(nodes, 120);
        await everyKeyReached(crowd.seats, first, 5_000);
        load = new Load(ROOMS, nodes, [KIND.DIRECT, KIND.DURABLE], 20);
        await load.advance(5);
        for (const key of [
          'halley:q:{0}',
          `halley:r:{${roomName(0)}}:seq`,
          'halley:s:{device-0}',
          'halley:u:{1}',
          'halley:nodes',
          'halley:mach',
          'halley:in:{node-0}:1',
          'halley:on:{node-1}',
        ]) {
          const move = await moveSlotOf(key);
          // What is new is asked for at the other master, what is old is still here.
          await crowd.fill(nodes, 4);
          await load.advance(3);
          // One by one: meanwhile a script may have keys here and there.
          while ((await move.moveKeys(1)) > 0);
          await load.advance(3);
          await move.finish();
          await load.advance(3);
          await crowd.fill(nodes, 4);
        }
        for (const node of nodes) await readyWithin(node, 5_000);
        await everyKeyReached(crowd.seats, first, 5_000);
        await everyKeyReached(crowd.seats, second, 5_000);
        await countsAreRight(first, crowd);
        // A room whose channel lost its subscribers on the way is found by a probe, and its members are told; then nothing is lost.
        const running = load;
        let whole = new Map<string, number>();
        const isWhole = (kind: Kind) =>
          missing(crowd.seats, running, kind, (room) => whole.get(`${kind}/${room}`) ?? 0).length === 0;
        await eventually(
          async () => {
            whole = new Map(
              running.producers.map(({ kind, room, accepted }) => [`${kind}/${room}`, accepted.at(-1) ?? 0]),
            );
            await running.advance(60);
            return eventually(() => isWhole(KIND.DIRECT) && isWhole(KIND.DURABLE), 2_000).catch(() => false);
          },
          30_000,
          'sixty pushes of each producer that all arrive',
        );
        await load.stop();
        const beginners = crowd.seats.slice(0, 120);
        await nothingMissing(beginners, load, KIND.DURABLE);
        for (const kind of [KIND.DIRECT, KIND.DURABLE] as const) {
          await nothingMissing(crowd.seats, load, kind, (room) => whole.get(`${kind}/${room}`) ?? 0);
        }
        expect(disorder(crowd.seats)).toEqual([]);
        // A direct push that fell between two subscriptions: its room was told.
        const unsaid = beginners.filter(
          (seat) =>
            seat.isExtended &&
            missing([seat], load as Load, KIND.DIRECT).length > 0 &&
            !seat.client.gaps.some(({ room }) => room === roomName(seat.room)),
        );
        expect(unsaid.map(({ key }) => key)).toEqual([]);
        expect(crowd.seats.filter(({ client }) => client.closed !== undefined)).toEqual([]);
        expect([load.statusCount(KIND.DIRECT, 0), load.statusCount(KIND.DURABLE, 0)]).toEqual([0, 0]);
        expect(load.slowestMs).toBeLessThan(SLOWEST_CALL_MS);
        await eventually(async () => (await Promise.all(nodes.map(reasonsOf))).flat().length === 0, 5_000, 'all ready');
        const refused = load.statusCount(KIND.DIRECT, 503) + load.statusCount(KIND.DURABLE, 503);
        process.stdout.write(`slots moved: ${JSON.stringify({ refused, slowestMs: Math.round(load.slowestMs) })}\n`);
      },
      TEST_MS,
    );
  });
}
