/**
 * What a client costs Redis, counted on a real node: round trips by a proxy that lets commands through in ticks, commands by
 * MONITOR of the server.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OP } from '../../src/protocol/index.js';
import {
  type HalleyProcess,
  post,
  type RedisProxy,
  type RedisServer,
  startRedis,
  startRedisProxy,
  WireClient,
} from '../kit/index.js';
import { startNode, stopNodes } from './nodes.js';
import { PUSH_OP } from './producers.js';

const PREFIX = 'cost';
const TICK_MS = 50;
let redis: RedisServer;
let proxy: RedisProxy;
let node: HalleyProcess;
let admin: Redis;
let monitor: ChildProcess;
/** What clients of Redis said, as words; commands inside of scripts left out. */
let said: string[][] = [];
beforeAll(async () => {
  redis = await startRedis();
  proxy = await startRedisProxy(redis.port);
  node = await startNode(proxy.url, 0, { prefix: PREFIX });
  admin = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
  monitor = spawn('redis-cli', ['-p', String(redis.port), 'MONITOR'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: monitor.stdout! });
  lines.on('line', (line) => {
    if (!line.includes(' lua] ')) said.push(Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, word = '']) => word));
  });
  await once(lines, 'line');
});
afterAll(async () => {
  monitor.kill();
  admin.disconnect();
  const codes = await stopNodes([node]);
  await proxy.close();
  await redis.remove();
  expect(codes).toEqual([0]);
});

/** All commands during `job`. */
async function commandsOf(job: () => Promise<void>): Promise<string[][]> {
  const upTo = async (mark: string) => {
    await admin.echo(mark);
    await expect.poll(() => said.findIndex(([, word]) => word === mark), { interval: 2 }).toBeGreaterThanOrEqual(0);
    const at = said.findIndex(([, word]) => word === mark);
    const before = said.slice(0, at);
    said = said.slice(at + 1);
    return before;
  };
  await upTo(`begin-${Math.random()}`);
  await job();
  return upTo(`end-${Math.random()}`);
}

/** Those that name something of the test. */
function naming(commands: readonly string[][], ...names: readonly string[]): string[][] {
  return commands.filter((words) => words.some((word) => names.some((name) => word.includes(name))));
}

/**
 * Round trips, one after the other, that `job` needs for what names `names`: commands are let through in ticks, so what follows
 * from an answer falls into a later tick than what was asked.
 */
async function roundTripsOf(job: () => Promise<unknown>, ...names: readonly string[]): Promise<number> {
  let isDone = false;
  let tripCount = 0;
  proxy.hold();
  const done = job().finally(() => {
    isDone = true;
  });
  while (!isDone) {
    const passed = await commandsOf(async () => {
      proxy.release();
      proxy.hold();
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    });
    if (naming(passed, ...names).length > 0) tripCount += 1;
  }
  proxy.release();
  await done;
  return tripCount;
}

it('a connect waits for two round trips at most, into a room that is new to the node and into one that is not', async () => {
  for (const [key, room] of [
    ['trip-1', 'trip://new'],
    ['trip-2', 'trip://new'],
    ['trip-3', ''],
  ] as const) {
    let client: WireClient | undefined;
    const count = await roundTripsOf(async () => {
      client = await WireClient.connect(node.wsUrl, { key, mid: 77, ...(room === '' ? {} : { roomId: room }) });
    }, 'trip');
    expect(count, key).toBeGreaterThanOrEqual(1);
    expect(count, key).toBeLessThanOrEqual(2);
    await client!.close();
  }
});

it('a connect is one script, and a subscription and a line in the room where the room is new to the node', async () => {
  const connects = await commandsOf(async () => {
    const client = await WireClient.connect(node.wsUrl, { key: 'spent-1', mid: 881, roomId: 'spent://room' });
    await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  const words = naming(connects, 'spent').map(([command]) => command?.toLowerCase());
  expect(words.sort()).toEqual(['evalsha', 'hset', 'subscribe']);

  const second = await commandsOf(async () => {
    await WireClient.connect(node.wsUrl, { key: 'spent-2', mid: 882, roomId: 'spent://room' });
  });
  expect(naming(second, 'spent').map(([command]) => command?.toLowerCase())).toEqual(['evalsha']);
});

it('a disconnect is one script', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'gone-1', mid: 883 });
  const commands = await commandsOf(async () => {
    await client.close();
    await expect.poll(async () => (await admin.exists(`${PREFIX}:s:{gone-1}`)) === 0, { interval: 10 }).toBe(true);
  });
  const own = naming(commands, 'gone-1').filter(([command]) => command?.toLowerCase() !== 'exists');
  expect(own.map(([command]) => command?.toLowerCase())).toEqual(['evalsha']);
});

it('heartbeats cost nothing', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'beat-1', mid: 884, roomId: 'beat://room' });
  const startedMs = performance.now();
  const commands = await commandsOf(async () => {
    for (let beat = 0; beat < 500; beat++) await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  const tookS = (performance.now() - startedMs) / 1000;
  // Its place in the counts, told once and whatever it does.
  const perClient = naming(commands, 'beat').filter((words) => !words.some((word) => word.includes(`${PREFIX}:on:`)));
  expect(perClient).toEqual([]);
  // What the node says for itself: leases, probes, counts; some twenty a second.
  expect(commands.length).toBeLessThan(50 + 50 * tookS);
  await client.close();
});

it('a direct push to a room is one publish, for one member and for fifty', async () => {
  const room = 'fan://out';
  const clients: WireClient[] = [];
  for (const memberCount of [1, 50]) {
    while (clients.length < memberCount) {
      const index = clients.length;
      clients.push(await WireClient.connect(node.wsUrl, { key: `fan-${index}`, mid: 900 + index, roomId: room }));
    }
    const body = `to ${memberCount} members`;
    const commands = await commandsOf(async () => {
      const answer = await post(`${node.httpUrl}/halley/push/batch`, { room, op: PUSH_OP, body });
      expect(answer.data).toMatchObject([{ code: 0 }]);
      await Promise.all(
        clients.map((client) =>
          client.waitFor(() => client.messages.some(({ text }) => text === body) || undefined, body),
        ),
      );
    });
    expect(naming(commands, body).map(([command]) => command?.toLowerCase())).toEqual(['publish']);
  }
  await Promise.all(clients.map((client) => client.close()));
});

it('a direct push to a user is one lookup and one publish per node, for one device and for twenty', async () => {
  const mid = 4242;
  const clients: WireClient[] = [];
  for (const deviceCount of [1, 20]) {
    while (clients.length < deviceCount) {
      clients.push(await WireClient.connect(node.wsUrl, { key: `dev-${clients.length}`, mid, accepts: [PUSH_OP] }));
    }
    const body = `to ${deviceCount} devices`;
    const commands = await commandsOf(async () => {
      await post(`${node.httpUrl}/halley/push/batch`, { mids: [mid], op: PUSH_OP, body });
      await Promise.all(
        clients.map((client) =>
          client.waitFor(() => client.messages.some(({ text }) => text === body) || undefined, body),
        ),
      );
    });
    expect(naming(commands, body).map(([command]) => command?.toLowerCase())).toEqual(['publish']);
    expect(naming(commands, `u:{${mid}}`).map(([command]) => command?.toLowerCase())).toEqual(['hgetall']);
  }
  await Promise.all(clients.map((client) => client.close()));
});
