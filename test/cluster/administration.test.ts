/** What a backend or an operator asks of one node and another one does. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { adviceOf } from '../extensions/replies.js';
import {
  eventually,
  get,
  type HalleyProcess,
  post,
  type RedisServer,
  readiness,
  startRedis,
  WireClient,
} from '../kit/index.js';
import { startNode, stopNodes } from './nodes.js';
import { goimRoutes, PUSH_OP } from './producers.js';

let redis: RedisServer;
let nodes: HalleyProcess[] = [];
beforeAll(async () => {
  redis = await startRedis();
  nodes = await Promise.all(
    [0, 1, 2].map((no) => startNode(redis.url, no, { prefix: 'admin', env: { HALLEY_NODE_ADDRS: `203.0.113.${no}` } })),
  );
});
afterAll(async () => {
  const codes = await stopNodes(nodes);
  await redis.remove();
  expect(codes).toEqual([0, 0, 0]);
});

/** Two devices of user 9 on nodes 0 and 1, one of user 10 on node 1. */
async function devices(name: string): Promise<[WireClient, WireClient, WireClient]> {
  const connect = (node: number, device: string, mid: number) =>
    WireClient.connect(nodes[node]!.wsUrl, { key: `${name}-${device}`, mid, extended: true, accepts: [PUSH_OP] });
  return [await connect(0, 'a', 9), await connect(1, 'b', 9), await connect(1, 'c', 10)];
}

it('disconnects channels of other nodes by key and by user, and counts them', async () => {
  const [a, b, c] = await devices('kick');
  const asked = { mids: [9], keys: ['kick-c', 'nobody'], code: 4001, reason: 'enough', retry_after_ms: 500 };
  const answer = await post(`${nodes[2]!.httpUrl}/halley/disconnect`, asked);
  expect(answer).toMatchObject({ status: 200, data: { count: 3 } });
  for (const client of [a, b, c]) {
    expect(await client.closing()).toEqual({ code: 4001, reason: 'enough' });
    expect(adviceOf(client)).toMatchObject({ code: 4001, reason: 'enough', retryAfterMs: 500 });
  }
  expect(await post(`${nodes[2]!.httpUrl}/halley/disconnect`, { mids: [9] })).toMatchObject({ data: { count: 0 } });
});

it('puts channels of other nodes into rooms, where pushes reach them, and takes them out again', async () => {
  const [a, b, c] = await devices('rooms');
  const room = 'live://by-admin';
  const { httpUrl } = nodes[2]!;
  const joined = await post(`${httpUrl}/halley/rooms/join`, { mids: [9], keys: ['rooms-c'], rooms: [room] });
  expect(joined).toMatchObject({ status: 200, data: { count: 3 } });
  const door = goimRoutes(nodes[2]!, 'goim');
  await door.send({ room }, 'to members');
  await Promise.all([a, b, c].map((client) => client.messageCount(1)));
  const left = await post(`${httpUrl}/halley/rooms/leave`, { mids: [9], rooms: [room] });
  expect(left).toMatchObject({ status: 200, data: { count: 2 } });
  await door.send({ room }, 'to the rest');
  await door.send({ all: true }, 'to all');
  await c.messageCount(3);
  await Promise.all([a, b].map((client) => client.messageCount(2)));
  for (const client of [a, b]) expect(client.messages.map(({ text }) => text)).toEqual(['to members', 'to all']);
  expect(c.messages.map(({ text }) => text).sort()).toEqual(['to all', 'to members', 'to the rest']);
  await Promise.all([a, b, c].map((client) => client.close()));
});

it('takes a drained node out of nodes/weighted of every node at once, and back; its channels stay', async () => {
  const [drained] = nodes;
  const client = await WireClient.connect(drained!.wsUrl, { key: 'stays', mid: 3, accepts: [PUSH_OP] });
  const listed = async (node: HalleyProcess) =>
    ((await get(`${node.httpUrl}/goim/nodes/weighted?platform=android`)).data.nodes as string[]).slice().sort();
  const allList = async (addresses: readonly string[]) => {
    let last: unknown;
    await eventually(
      async () => {
        last = await Promise.all(nodes.map(listed));
        return (last as string[][]).every((list) => String(list) === String(addresses));
      },
      2_000,
      'the same nodes from everyone',
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
  };
  await allList(['203.0.113.0', '203.0.113.1', '203.0.113.2']);
  const answer = await post(`${drained!.httpUrl}/halley/node/drain`, { drain: true });
  expect(answer).toMatchObject({ status: 200, data: { draining: true } });
  // Itself at once, the others by their next look.
  expect(await listed(drained!)).toEqual(['203.0.113.1', '203.0.113.2']);
  await allList(['203.0.113.1', '203.0.113.2']);
  expect((await readiness(drained!.httpUrl)).ready).toBe(false);
  await goimRoutes(nodes[1]!, 'goim').send({ keys: ['stays'] }, 'still here');
  await client.messageCount(1);
  expect((await post(`${drained!.httpUrl}/halley/node/drain`, { drain: false })).code).toBe(0);
  await allList(['203.0.113.0', '203.0.113.1', '203.0.113.2']);
  expect((await readiness(drained!.httpUrl)).ready).toBe(true);
  await client.close();
});
