/** The line of a node in a room, by which durable pushes find it, follows the room's members there. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, type HalleyProcess, type RedisServer, startRedis, WireClient } from '../kit/index.js';
import { startNodes, stopNodes } from './nodes.js';
import { goimRoutes } from './producers.js';

let redis: RedisServer;
let nodes: HalleyProcess[] = [];
let admin: Redis;
beforeAll(async () => {
  redis = await startRedis();
  nodes = await startNodes(redis.url, 2, { prefix: 'room', env: { HALLEY_CLUSTER_ROOM_LINGER_MS: '0' } });
  admin = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
});
afterAll(async () => {
  admin.disconnect();
  const codes = await stopNodes(nodes);
  await redis.remove();
  expect(codes).toEqual([0, 0]);
});

// Leaving is a script, joining a plain command. Where Redis did not know the script, it was sent again behind the command: the
// node had members and no line, and durable pushes to the room passed it by for as long as it had them.
it('stays when the last member leaves and comes back at once, although Redis has forgotten all scripts', async () => {
  const room = 'live://back';
  const client = await WireClient.connect(nodes[0]!.wsUrl, { key: 'back', mid: 1, extended: true });
  const door = goimRoutes(nodes[1]!, 'goim');
  for (let round = 0; round < 10; round++) {
    await client.request(18, JSON.stringify([room]), 19);
    await admin.script('FLUSH');
    client.send(20, JSON.stringify([room]));
    await client.request(18, JSON.stringify([room]), 19);
    await door.send({ room }, `round ${round}`);
    await client.waitFor(
      () => client.messages.some(({ text }) => text === `round ${round}`) || undefined,
      `round ${round}`,
      3_000,
    );
    expect(await admin.hkeys('room:r:{live://back}:nodes')).toEqual(['room-0']);
  }
  await client.close();
  await eventually(async () => (await admin.exists('room:r:{live://back}:nodes')) === 0, 3_000, 'no line of a node');
});
