/** Rooms with history over nodes: one sequence for everybody, and what was missed on one node comes back on another. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRecoverReply, encodeRecover, OP } from '../../src/protocol/index.js';
import { join, welcomeOf } from '../extensions/replies.js';
import { eventually, type HalleyProcess, WireClient } from '../kit/index.js';
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

  it('2,000 messages of the push channel come to every member once, in order and with a place each, and are recovered', async () => {
    const room = 'live://pushed';
    const members = await Promise.all(nodes.map((node, index) => connect(node, `pushed-${index}`, room)));
    const clis = [redisCli(redis.port, 'hist', redis.isCluster), redisCli(redis.port, 'hist', redis.isCluster)];
    const [door] = doors;
    // Two producers and a third by HTTP: the order of each is kept. Every tenth has the bytes of the one before it.
    const texts = Array.from({ length: 1_000 }, (_, no) => `${no - (no % 10 === 9 ? 1 : 0)}`);
    await Promise.all([
      ...clis.map(async (cli, index) => {
        for (const text of texts) await cli.send({ room }, `cli ${index} ${text}`);
      }),
      (async () => {
        for (let no = 0; no < 20; no++) await door!.send({ room }, `http ${no}`);
      })(),
    ]);
    const total = 2 * texts.length + 20;
    for (const member of members) {
      await member.messageCount(total);
      expect(liveOf(member)).toEqual(Array.from({ length: total }, (_, index) => index + 1));
      const own = (name: string) =>
        member.messages.filter(({ text }) => text.startsWith(name)).map(({ text }) => text.slice(name.length));
      for (const index of clis.keys()) expect(own(`cli ${index} `)).toEqual(texts);
      expect(own('http ')).toEqual(Array.from({ length: 20 }, (_, no) => `${no}`));
      expect(new Set(member.messages.map(({ id }) => id)).size).toBe(total);
      expect(member.packets.filter(({ op }) => op === OP.GAP)).toEqual([]);
    }
    const late = await connect(nodes[1]!, 'pushed-late', room);
    await door!.send({ room }, 'last');
    await late.messageCount(1);
    const { epoch } = members[0]!.messages.at(-1)!;
    const answer = await late.request(23, encodeRecover('json', { room, epoch: epoch!, offset: total - 150 }), 24);
    const reply = decodeRecoverReply('json', answer.body);
    if (!reply.ok || !reply.value.recovered) throw new Error('not recovered');
    const recovered = reply.value.batches.flatMap(({ messages }) =>
      messages.map(({ offset, body }) => `${offset} ${Buffer.from(body).toString()}`),
    );
    expect(recovered.slice(0, 150)).toEqual(
      members[0]!.messages.slice(total - 150, total).map(({ offset, text }) => `${offset} ${text}`),
    );
    // Those that stand by have looked by then: nothing comes twice.
    const endMs = performance.now() + 2_500;
    await eventually(() => performance.now() > endMs, 5_000);
    for (const member of members) expect(liveOf(member).length).toBe(total + 1);
    await Promise.all([...members, late].map((client) => client.close()));
    await Promise.all(clis.map((cli) => cli.close()));
  }, 60_000);
});

it('a node that is killed while the push channel is busy takes nothing with it: the others have all of it, in order', async () => {
  const redis = await oneRedis();
  const three = await startNodes(redis.url, 3, { prefix: 'killed', env: { HALLEY_HISTORY_ROOMS: 'live:1000:300' } });
  try {
    const rooms = Array.from({ length: 6 }, (_, no) => `live://busy-${no}`);
    const members = await Promise.all(
      rooms.flatMap((room) => three.slice(1).map((node, index) => connect(node, `${room}-${index}`, room))),
    );
    const cli = redisCli(redis.port, 'killed');
    const count = 100;
    for (let no = 0; no < count; no++) {
      // With six rooms the first node appends for some of them.
      if (no === count / 2) three[0]!.child.kill('SIGKILL');
      for (const room of rooms) await cli.send({ room }, `${no}`);
    }
    for (const member of members) {
      await member.messageCount(count);
      expect(member.messages.map(({ offset, text }) => `${offset} ${text}`)).toEqual(
        Array.from({ length: count }, (_, no) => `${no + 1} ${no}`),
      );
      await member.close();
    }
    await cli.close();
  } finally {
    await stopNodes(three.slice(1));
    await three[0]!.stop('SIGKILL');
    await redis.remove();
  }
}, 60_000);
