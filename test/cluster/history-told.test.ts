/**
 * A push to a room with history that was accepted, and never reached Redis: no offset will ever be missing for it, so the members
 * are told a Gap that ends where the room stands.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type GapEvent, HalleyClient } from '../../src/client/index.js';
import { decodeGap, decodeRecoverReply, encodeRecover, type GapBody, OP } from '../../src/protocol/index.js';
import { welcomeOf } from '../extensions/replies.js';
import {
  eventually,
  get,
  type HalleyProcess,
  post,
  pushRoom,
  type RedisProxy,
  type RedisServer,
  startRedis,
  startRedisProxy,
  WireClient,
} from '../kit/index.js';
import { startNode } from './nodes.js';

const ROOM = 'live://told';
let redis: RedisServer;
let proxy: RedisProxy;
let nodes: HalleyProcess[] = [];

beforeAll(async () => {
  redis = await startRedis();
  proxy = await startRedisProxy(redis.port);
  // Ids are drawn for as long as it takes: the push must be accepted.
  const env = { HALLEY_HISTORY_ROOMS: 'live:200:300', HALLEY_ID_LEASE_MS: '5000' };
  const options = { prefix: 'histtold', env };
  nodes = await Promise.all([startNode(proxy.url, 0, options), startNode(redis.url, 1, options)]);
});
afterAll(async () => {
  for (const node of nodes) await node.stop();
  await proxy.close();
  await redis.remove();
});

function gapsOf({ packets }: WireClient): GapBody[] {
  return packets
    .filter(({ op }) => op === OP.GAP)
    .map(({ body }) => {
      const gap = decodeGap('json', body);
      if (!gap.ok) throw new Error(gap.error);
      return gap.value;
    })
    .filter(({ room }) => room === ROOM);
}

it('is told to the members on every node as a Gap at the room’s offset, and costs nobody the history', async () => {
  const members = await Promise.all(
    nodes.map((node, index) =>
      WireClient.connect(node.wsUrl, { mid: 1, key: `told-${index}`, extended: true, roomId: ROOM }),
    ),
  );
  const { epoch } = (await welcomeOf(members[0]!)).rooms[0]!;
  for (const text of ['1', '2']) await pushRoom(nodes[0]!.httpUrl, ROOM, text);
  for (const member of members) await member.messageCount(2);
  expect(members.map(gapsOf)).toEqual([[], []]);
  const sdk = new HalleyClient({ nodes: [nodes[1]!.wsUrl], WebSocket, mid: 2, rooms: [ROOM] });
  const sdkGaps: GapEvent[] = [];
  sdk.on('gap', (event) => void sdkGaps.push(event));
  await sdk.connect();

  proxy.hold();
  // At most once, and answered before Redis has it.
  const lost = await post(`${nodes[0]!.httpUrl}/halley/push/batch`, [{ room: ROOM, op: 1000, body: 'lost' }]);
  expect(lost.code).toBe(0);
  await eventually(
    async () => (await get(`${nodes[0]!.httpUrl}/halley/stats`)).data.totals.bus_lost > 0,
    10_000,
    'the push is given up',
  );
  // What was held never arrives: its connections are gone.
  proxy.cut();
  proxy.release();

  const gap = { scope: 'room', room: ROOM, epoch, to: 2, unplaced: true };
  await eventually(() => members.every((member) => gapsOf(member).length > 0), 15_000, 'the loss is told');
  for (const member of members) expect(gapsOf(member)).toContainEqual(gap);
  await eventually(() => sdkGaps.length > 0, 5_000, 'the application hears of it');
  expect(sdkGaps).toContainEqual({ scope: 'room', room: ROOM, epoch, isUnplaced: true });
  await pushRoom(nodes[1]!.httpUrl, ROOM, '3');
  for (const member of members) {
    await member.messageCount(3);
    expect(member.messages.map(({ offset, text }) => `${offset} ${text}`)).toEqual(['1 1', '2 2', '3 3']);
    const answer = await member.request(23, encodeRecover('json', { room: ROOM, epoch, offset: 0 }), 24);
    const reply = decodeRecoverReply('json', answer.body);
    if (!reply.ok || !reply.value.recovered) throw new Error('not recovered');
    expect(reply.value.batches.flatMap(({ messages }) => messages).map(({ offset }) => offset)).toEqual([1, 2, 3]);
  }
  sdk.close();
  await Promise.all(members.map((member) => member.close()));
}, 60_000);
