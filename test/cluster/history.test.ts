/** Rooms with history over nodes: one sequence for everybody, and what was missed on one node comes back on another. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRecoverReply, encodeRecover, OP } from '../../src/protocol/index.js';
import { join, welcomeOf } from '../extensions/replies.js';
import { type HalleyProcess, WireClient } from '../kit/index.js';
import { type ClusterRedis, oneRedis, redisCluster, startNodes, stopNodes } from './nodes.js';
import { batchRoute, goimRoutes, type Producer, redisCli } from './producers.js';

let nodes: HalleyProcess[] = [];
let doors: Producer[] = [];

function connect(node: HalleyProcess, key: string, roomId = ''): Promise<WireClient> {
  return WireClient.connect(node.wsUrl, { key, mid: 1, extended: true, ...(roomId === '' ? {} : { roomId }) });
}

/** Pushes by every door at once, `perDoor` each. Returns how many. */
async function pushAtOnce(room: string, perDoor: number, name: string): Promise<number> {
  await Promise.all(
    doors.map(async (door) => {
      for (let no = 0; no < perDoor; no++) await door.send({ room }, `${name} ${no} by ${door.name}`);
    }),
  );
  return perDoor * doors.length;
}

function liveOf(client: WireClient): number[] {
  return client.messages.map(({ offset = 0 }) => offset);
}

function placesOf(client: WireClient): string[] {
  return client.messages.map(({ epoch, offset, id, text }) => `${epoch}/${offset} ${id} ${text}`);
}

describe.each([
  ['one Redis', oneRedis],
  ['a Redis Cluster', redisCluster],
] as const)('on %s', (_, start) => {
  let redis: ClusterRedis;
  beforeAll(async () => {
    redis = await start();
    nodes = await startNodes(redis.url, 3, { prefix: 'hist', env: { HALLEY_HISTORY_ROOMS: 'live:200:300' } });
    doors = nodes.flatMap((node, index) => [goimRoutes(node, `goim ${index}`), batchRoute(node, `batch ${index}`)]);
  });
  afterAll(async () => {
    const codes = await stopNodes(nodes);
    await redis.remove();
    expect(codes).toEqual([0, 0, 0]);
  });

  it('members on two nodes see the same epochs, offsets, ids and texts, without a hole', async () => {
    const room = 'live://same';
    const [a, b] = await Promise.all([connect(nodes[0]!, 'same-a', room), connect(nodes[1]!, 'same-b', room)]);
    const [rowA, rowB] = [(await welcomeOf(a)).rooms[0]!, (await welcomeOf(b)).rooms[0]!];
    expect({ ...rowA }).toEqual({ ...rowB });
    expect(rowA.offset).toBe(0);
    const count = await pushAtOnce(room, 15, 'first');
    await Promise.all([a.messageCount(count), b.messageCount(count)]);
    expect(placesOf(a)).toEqual(placesOf(b));
    expect(a.messages.map(({ offset }) => offset)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    expect(new Set(a.messages.map(({ epoch }) => epoch))).toEqual(new Set([rowA.epoch]));
    expect(new Set(a.messages.map(({ text }) => text)).size).toBe(count);
    for (const door of doors) {
      const own = a.messages.filter(({ text }) => text.endsWith(`by ${door.name}`)).map(({ text }) => text);
      expect(own).toEqual(Array.from({ length: 15 }, (_, no) => `first ${no} by ${door.name}`));
    }
    // Whoever joins later, on a node that has members or on one that never had, is told the same place.
    for (const node of nodes) {
      const late = await connect(node, 'same-late');
      const [row] = await join(late, room);
      expect({ epoch: row!.epoch, offset: row!.offset }).toEqual({ epoch: rowA.epoch, offset: count });
      await late.close();
    }
    await Promise.all([a.close(), b.close()]);
  });

  it('who leaves node A comes back on node B and recovers exactly what was missed, while pushes go on', async () => {
    const room = 'live://moves';
    const stays = await connect(nodes[2]!, 'stays', room);
    const first = await connect(nodes[0]!, 'moves', room);
    const seen = await pushAtOnce(room, 3, 'seen');
    await first.messageCount(seen);
    const last = first.messages.at(-1)!;
    await first.close();
    const missed = await pushAtOnce(room, 5, 'missed');

    const second = await connect(nodes[1]!, 'moves', room);
    const during = pushAtOnce(room, 5, 'during');
    const answer = await second.request(
      23,
      encodeRecover('json', { room, epoch: last.epoch!, offset: last.offset! }),
      24,
    );
    const reply = decodeRecoverReply('json', answer.body);
    if (!reply.ok) throw new Error(reply.error);
    if (!reply.value.recovered) throw new Error('not recovered');
    const total = seen + missed + (await during);
    await stays.messageCount(total);
    expect(stays.messages.map(({ offset }) => offset)).toEqual(Array.from({ length: total }, (_, index) => index + 1));

    const had = new Map<number, string>(first.messages.map(({ offset, text }) => [offset!, text]));
    for (const { epoch, messages } of reply.value.batches) {
      expect(epoch).toBe(last.epoch);
      for (const { offset, body } of messages) {
        expect(had.has(offset), `offset ${offset} comes twice in the answer`).toBe(false);
        had.set(offset, Buffer.from(body).toString());
      }
    }
    expect(Math.max(...had.keys())).toBeGreaterThanOrEqual(seen + missed);
    await second.waitFor(() => second.messages.some(({ offset }) => offset === total) || undefined, 'the last message');
    for (const { offset, text, epoch } of second.messages) {
      expect(epoch).toBe(last.epoch);
      // What was live before the answer stands in it too.
      expect(had.get(offset!) ?? text).toBe(text);
      had.set(offset!, text);
    }
    expect([...had].sort(([x], [y]) => x - y)).toEqual(stays.messages.map(({ offset, text }) => [offset, text]));
    await Promise.all([second.close(), stays.close()]);
  });

  it('a room that everybody has left goes on, and who comes back is told its place and recovers from his own', async () => {
    const room = 'live://alone';
    const only = await connect(nodes[0]!, 'alone', room);
    const count = await pushAtOnce(room, 2, 'one');
    await only.messageCount(count);
    await only.close();
    const total = count + (await pushAtOnce(room, 2, 'nobody'));
    const back = await connect(nodes[0]!, 'alone', room);
    const [row] = (await welcomeOf(back)).rooms;
    const last = only.messages.at(-1)!;
    expect(row!.epoch).toBe(last.epoch);
    const answer = await back.request(
      23,
      encodeRecover('json', { room, epoch: last.epoch!, offset: last.offset! }),
      24,
    );
    const reply = decodeRecoverReply('json', answer.body);
    if (!reply.ok || !reply.value.recovered) throw new Error('not recovered');
    const recovered = reply.value.batches.flatMap(({ messages }) => messages.map(({ offset }) => offset));
    // A durable push is accepted before it has its place: the last ones may come only now, behind the place that was told.
    await back.waitFor(() => Math.max(...recovered, ...liveOf(back)) === total || undefined, 'the last message');
    expect(liveOf(back)).toEqual(Array.from({ length: total - row!.offset }, (_, index) => row!.offset + 1 + index));
    expect(recovered.slice(0, row!.offset - count)).toEqual(
      Array.from({ length: row!.offset - count }, (_, index) => count + 1 + index),
    );
    expect([...new Set([...recovered, ...liveOf(back)])].sort((x, y) => x - y)).toEqual(
      Array.from({ length: total - count }, (_, index) => count + 1 + index),
    );
    await back.close();
  });

  it('what is published on the push channel reaches every member outside of the sequence, and takes no place in it', async () => {
    const room = 'live://outside';
    const members = await Promise.all(nodes.map((node, index) => connect(node, `outside-${index}`, room)));
    const cli = redisCli(redis.port, 'hist', redis.isCluster);
    const [door] = doors;
    await door!.send({ room }, 'first');
    await Promise.all(members.map((member) => member.messageCount(1)));
    await cli.send({ room }, 'outside');
    await Promise.all(members.map((member) => member.messageCount(2)));
    await door!.send({ room }, 'second');
    for (const member of members) {
      await member.messageCount(3);
      expect(member.messages.map(({ offset, text }) => [offset, text])).toEqual([
        [1, 'first'],
        [0, 'outside'],
        [2, 'second'],
      ]);
      expect(member.packets.filter(({ op }) => op === OP.GAP)).toEqual([]);
      await member.close();
    }
    await cli.close();
  });
});
