/** Online counts: every node tells the whole cluster's, and they return to nothing. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OP } from '../../src/protocol/index.js';
import { eventually, get, type HalleyProcess, type RedisServer, startRedis, WireClient } from '../kit/index.js';
import { startNode, startNodes, stopNodes } from './nodes.js';

/** How old the other nodes' part of a count may be. */
const LAG_MS = 3_000;
let redis: RedisServer;
let nodes: HalleyProcess[] = [];
beforeAll(async () => {
  redis = await startRedis();
  nodes = await startNodes(redis.url, 3, { prefix: 'count' });
});
afterAll(async () => {
  const codes = await stopNodes(nodes);
  await redis.remove();
  expect(codes).toEqual([0, 0, 0]);
});

/** What each node tells of the rooms `count://big` and `count://small`. */
async function told({ httpUrl }: HalleyProcess) {
  const [room, total, top] = await Promise.all(
    ['room?type=count&rooms=big&rooms=small', 'total', 'top?type=count&limit=5'].map((query) =>
      get(`${httpUrl}/goim/online/${query}`),
    ),
  );
  return { room: room!.data, total: total!.data, top: top!.data };
}

async function allTell(expected: unknown): Promise<void> {
  let last: unknown;
  await eventually(
    async () => {
      last = await Promise.all(nodes.map(told));
      return JSON.stringify(last) === JSON.stringify(nodes.map(() => expected));
    },
    LAG_MS,
    'the same counts from every node',
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}, expected ${JSON.stringify(expected)}`);
  });
}

it('counts rooms, channels and addresses over all nodes within three seconds, and nothing once all have left', async () => {
  const clients: WireClient[] = [];
  for (let index = 0; index < 30; index++) {
    const node = nodes[index % 3]!;
    const roomId = index < 24 ? 'count://big' : 'count://small';
    // Ten addresses, each on every node: counted once per node, as in goim.
    const localAddress = `127.0.0.${10 + (index % 10)}`;
    clients.push(await WireClient.connect(node.wsUrl, { key: `c${index}`, mid: index + 1, roomId }, { localAddress }));
  }
  await allTell({
    room: { big: 24, small: 6 },
    total: { conn_count: 30, ip_count: 30 },
    top: [
      { room_id: 'big', count: 24 },
      { room_id: 'small', count: 6 },
    ],
  });

  for (const client of clients.slice(0, 3)) {
    const count = await eventually(
      async () => {
        const { body } = await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
        return body.length === 4 && body.readInt32BE(0) === 24 ? 24 : undefined;
      },
      LAG_MS,
      'the members of the whole cluster in op 3',
    );
    expect(count).toBe(24);
  }

  await Promise.all(clients.slice(0, 12).map((client) => client.close()));
  await allTell({
    room: { big: 12, small: 6 },
    total: { conn_count: 18, ip_count: 18 },
    top: [
      { room_id: 'big', count: 12 },
      { room_id: 'small', count: 6 },
    ],
  });

  await Promise.all(clients.slice(12).map((client) => client.close()));
  await allTell({ room: { big: 0, small: 0 }, total: { conn_count: 0, ip_count: 0 }, top: [] });

  const client = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
  const left = await eventually(
    async () => {
      const names = await client.keys('count:[su]:*');
      return names.length === 0 ? names : undefined;
    },
    LAG_MS,
    'no session in Redis',
  );
  expect(left).toEqual([]);
  client.disconnect();
});

it('takes the channels of a node that stops out of every count', async () => {
  const node = await startNode(redis.url, 'extra', { prefix: 'count' });
  const clients = await Promise.all(
    [0, 1, 2, 3].map((index) => WireClient.connect(node.wsUrl, { key: `x${index}`, mid: 1, roomId: 'count://big' })),
  );
  try {
    await allTell({
      room: { big: 4, small: 0 },
      total: { conn_count: 4, ip_count: 1 },
      top: [{ room_id: 'big', count: 4 }],
    });
  } finally {
    expect(await node.stop()).toBe(0);
  }
  await allTell({ room: { big: 0, small: 0 }, total: { conn_count: 0, ip_count: 0 }, top: [] });
  for (const client of clients) expect(client.closed).toBeDefined();
});
