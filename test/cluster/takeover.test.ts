/** One device key is one session in the whole cluster: of the newest connection, wherever it is. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { adviceOf } from '../extensions/replies.js';
import { eventually, type HalleyProcess, WireClient } from '../kit/index.js';
import { type ClusterRedis, oneRedis, redisCluster, startNodes, stopNodes } from './nodes.js';
import { batchRoute, goimRoutes, type Producer, PUSH_OP, redisCli } from './producers.js';

const ROUNDS = 50;
let mid = 0;
let callCount = 0;
let nodes: HalleyProcess[] = [];
let doors: Producer[] = [];

/** A device of the present user. */
function connect(node: HalleyProcess, key: string, extended = true): Promise<WireClient> {
  return WireClient.connect(node.wsUrl, { key, mid, extended, accepts: [PUSH_OP] });
}

/**
 * Pushes by every door, to the key and to its user: `survivor` gets each once, the others none. What a call that was given up has
 * pushed may still be on its way to whoever has the key now, so each call counts its own.
 */
async function reachesOnly(survivor: WireClient, others: readonly WireClient[], key: string): Promise<void> {
  callCount += 1;
  const mark = ` in call ${callCount}`;
  const own = ({ messages }: WireClient) => messages.map(({ text }) => text).filter((text) => text.endsWith(mark));
  const expected: string[] = [];
  for (const door of doors) {
    for (const target of [{ keys: [key] }, { mids: [mid] }]) {
      const text = `to ${Object.values(target)[0]} by ${door.name}${mark}`;
      expected.push(text);
      await door.send(target, text);
    }
  }
  await eventually(
    () => survivor.closed !== undefined || own(survivor).length >= expected.length,
    10_000,
    'every push of this call',
  );
  expect(own(survivor).sort()).toEqual(expected.sort());
  expect(others.flatMap(own)).toEqual([]);
}

describe.each([
  ['one Redis', oneRedis],
  ['a Redis Cluster', redisCluster],
] as const)('on %s', (_, start) => {
  let redis: ClusterRedis;
  beforeAll(async () => {
    redis = await start();
    nodes = await startNodes(redis.url, 3, { prefix: 'take' });
    doors = [
      redisCli(redis.port, 'take', redis.isCluster),
      goimRoutes(nodes[2]!, 'goim'),
      batchRoute(nodes[2]!, 'batch'),
    ];
  });
  afterAll(async () => {
    await Promise.all(doors.map((door) => door.close()));
    const codes = await stopNodes(nodes);
    await redis.remove();
    expect(codes).toEqual([0, 0, 0]);
  });
  beforeEach(() => {
    mid += 1;
  });

  it('closes the channel on node A when its key connects on node B, and pushes go to B', async () => {
    const [a, b] = nodes;
    for (const extended of [true, false]) {
      const key = `moved-${extended}`;
      const first = await connect(a!, key, extended);
      await reachesOnly(first, [], key);
      const second = await connect(b!, key, extended);
      const closed = await first.closing();
      expect(closed.code).toBe(CLOSE.TAKEN_OVER.code);
      if (extended) expect(adviceOf(first)).toMatchObject({ code: CLOSE.TAKEN_OVER.code, reconnect: false });
      await reachesOnly(second, [first], key);
      await second.close();
    }
  });

  it('refuses a key to another user on another node', async () => {
    const [a, b] = nodes;
    const owner = await connect(a!, 'owned');
    const thief = await WireClient.open(b!.wsUrl);
    thief.send(7, JSON.stringify({ key: 'owned', mid: mid + 1_000_000, accepts: [PUSH_OP] }));
    expect((await thief.closing()).code).toBe(CLOSE.FORBIDDEN.code);
    await reachesOnly(owner, [], 'owned');
    await owner.close();
  });

  it(`leaves one session in ${ROUNDS} random interleavings of connects, cuts and reconnects on two nodes`, async () => {
    const [a, b] = nodes;
    const between = (low: number, high: number) => low + Math.floor(Math.random() * (high - low + 1));
    for (let round = 0; round < ROUNDS; round++) {
      mid += 1;
      const key = `race-${round}`;
      const story: string[] = [];
      const clients: WireClient[] = [];
      const racers = Array.from({ length: between(2, 5) }, async (_, index) => {
        await new Promise((resolve) => setTimeout(resolve, between(0, 8)));
        const node = Math.random() < 0.5 ? 0 : 1;
        story.push(`${index} on ${node}`);
        // One that was taken over before its answer is closed instead.
        const client = await connect(node === 0 ? a! : b!, key).catch(() => undefined);
        if (client === undefined) return;
        clients.push(client);
        if (Math.random() < 0.3) {
          story.push(`${index} cut`);
          client.terminate();
        }
      });
      await Promise.all(racers);
      const isLastLater = Math.random() < 0.5;
      let last: WireClient | undefined;
      if (isLastLater || clients.every(({ socket }) => socket.readyState !== socket.OPEN)) {
        last = await connect(Math.random() < 0.5 ? a! : b!, key);
        story.push('last one');
        clients.push(last);
      }
      const open = () => clients.filter(({ closed }) => closed === undefined);
      const told = `round ${round}: ${story.join(', ')}`;
      await eventually(
        () => open().length <= 1,
        5_000,
        `${told}: one left of ${clients.map(({ closed }) => closed?.code ?? 'open')}`,
      );
      const [left] = open();
      if (last !== undefined) expect(left, told).toBe(last);
      for (const { closed } of clients) expect([undefined, CLOSE.TAKEN_OVER.code, 1006], told).toContain(closed?.code);
      const reaches = (survivor: WireClient) =>
        reachesOnly(
          survivor,
          clients.filter((client) => client !== survivor),
          key,
        );
      // A racer that lost may have been told to go by one that was cut: then nobody is left, and the key is free. The one that was
      // cut had its answer before the other heard of it, so that one may also learn it only now.
      const mayStillGo = left !== last && story.some((step) => step.endsWith('cut'));
      const isReached =
        left !== undefined &&
        (await reaches(left).then(
          () => true,
          (error: unknown) => {
            if (mayStillGo && left.closed?.code === CLOSE.TAKEN_OVER.code) return false;
            throw new Error(`${told}: ${String(error)}`, { cause: error });
          },
        ));
      const survivor = isReached ? left : await connect(a!, key);
      if (!isReached) await reaches(survivor);
      survivor.terminate();
    }
  }, 60_000);
});
