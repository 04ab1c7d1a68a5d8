/** Rooms with history over nodes: one sequence for everybody, and what was missed on one node comes back on another. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeRecoverReply, encodeRecover } from '../../src/protocol/index.js';
import { join, welcomeOf } from '../extensions/replies.js';
import { type HalleyProcess, type RedisServer, startRedis, WireClient } from '../kit/index.js';
import { startNodes, stopNodes } from './nodes.js';
import { batchRoute, goimRoutes, type Producer } from './producers.js';

let redis: RedisServer;
let nodes: HalleyProcess[] = [];
let doors: Producer[] = [];
beforeAll(async () => {
  redis = await startRedis();
  nodes = await startNodes(redis.url, 3, { prefix: 'hist', env: { HALLEY_HISTORY_ROOMS: 'live:200:300' } });
  doors = nodes.flatMap((node, index) => [goimRoutes(node, `goim ${index}`), batchRoute(node, `batch ${index}`)]);
});
afterAll(async () => {
  const codes = await stopNodes(nodes);
  await redis.remove();
  expect(codes).toEqual([0, 0, 0]);
});

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

function placesOf(client: WireClient): string[] {
  return client.messages.map(({ epoch, offset, id, text }) => `${epoch}/${offset} ${id} ${text}`);
}

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

it('a member that stays silent on one node keeps its place there when the room goes on elsewhere', async () => {
  const room = 'live://alone';
  const only = await connect(nodes[0]!, 'alone', room);
  const count = await pushAtOnce(room, 2, 'one');
  await only.messageCount(count);
  await only.close();
  // Nobody is in the room now, its history goes on.
  const unseen = await pushAtOnce(room, 2, 'nobody');
  const back = await connect(nodes[0]!, 'alone', room);
  const [row] = (await welcomeOf(back)).rooms;
  expect(row!.offset).toBe(count + unseen);
  const last = only.messages.at(-1)!;
  const answer = await back.request(23, encodeRecover('json', { room, epoch: last.epoch!, offset: last.offset! }), 24);
  const reply = decodeRecoverReply('json', answer.body);
  if (!reply.ok || !reply.value.recovered) throw new Error('not recovered');
  expect(reply.value.batches.flatMap(({ messages }) => messages.map(({ offset }) => offset))).toEqual(
    Array.from({ length: unseen }, (_, index) => count + 1 + index),
  );
  await back.close();
});
