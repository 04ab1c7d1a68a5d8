/**
 * What a client costs a Redis Cluster: round trips counted by proxies in front of every master, which let commands through in ticks
 * and which the cluster announces in place of the masters; commands by MONITOR of every master.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { OP } from '../../src/protocol/index.js';
import {
  eventually,
  type HalleyProcess,
  post,
  type RedisClusterServers,
  type RedisProxy,
  startRedisCluster,
  startRedisProxy,
  WireClient,
} from '../kit/index.js';
import { startNode, stopNodes } from './nodes.js';
import { PUSH_OP } from './producers.js';

const PREFIX = 'cost';
const TICK_MS = 60;
let servers: RedisClusterServers;
let node: HalleyProcess;
const proxies: RedisProxy[] = [];
const admins: Redis[] = [];
const monitors: ChildProcess[] = [];
/** What clients said to each master, as words; commands inside of scripts left out. */
const said: string[][][] = [];

beforeAll(async () => {
  servers = await startRedisCluster(3, {
    announcedPort: async (port) => {
      const proxy = await startRedisProxy(port);
      proxies.push(proxy);
      return proxy.port;
    },
  });
  node = await startNode(`redis+cluster://${proxies.map(({ port }) => `127.0.0.1:${port}`).join(',')}`, 0, {
    prefix: PREFIX,
    // None of its own questions may be mistaken for what a client costs, and none may go without an answer for a tick too long.
    env: { HALLEY_CLUSTER_COMMAND_TIMEOUT_MS: '5000' },
  });
  for (const { port } of servers.servers) {
    admins.push(new Redis(port, '127.0.0.1', { protocol: 2 }));
    const words: string[][] = [];
    said.push(words);
    const monitor = spawn('redis-cli', ['-p', String(port), 'MONITOR'], { stdio: ['ignore', 'pipe', 'inherit'] });
    monitors.push(monitor);
    const lines = createInterface({ input: monitor.stdout! });
    lines.on('line', (line) => {
      if (line.includes(' lua] ')) return;
      words.push(Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, word = '']) => word));
    });
    await once(lines, 'line');
  }
}, 60_000);
afterAll(async () => {
  for (const monitor of monitors) monitor.kill();
  for (const admin of admins) admin.disconnect();
  const codes = await stopNodes([node]);
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await servers.remove();
  expect(codes).toEqual([0]);
});

/** All commands at all masters during `job`. */
async function commandsOf(job: () => Promise<void>): Promise<string[][]> {
  const upTo = async (mark: string) => {
    await Promise.all(admins.map((admin) => admin.echo(mark)));
    const indexOf = (words: readonly string[][]) => words.findIndex(([, word]) => word === mark);
    await eventually(() => said.every((words) => indexOf(words) >= 0), 5_000, 'every MONITOR has caught up');
    return said.flatMap((words) => words.splice(0, indexOf(words) + 1).slice(0, -1));
  };
  await upTo(`begin-${Math.random()}`);
  await job();
  return upTo(`end-${Math.random()}`);
}

function naming(commands: readonly string[][], ...names: readonly string[]): string[][] {
  return commands.filter((words) => words.some((word) => names.some((name) => word.includes(name))));
}

/** Round trips, one after the other, that `job` needs for what names `names`: see cost.test.ts. */
async function roundTripsOf(job: () => Promise<unknown>, ...names: readonly string[]): Promise<number> {
  let isDone = false;
  let tripCount = 0;
  for (const proxy of proxies) proxy.hold();
  const done = job().finally(() => {
    isDone = true;
  });
  while (!isDone) {
    const passed = await commandsOf(async () => {
      for (const proxy of proxies) {
        proxy.release();
        proxy.hold();
      }
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    });
    if (naming(passed, ...names).length > 0) tripCount += 1;
  }
  for (const proxy of proxies) proxy.release();
  await done;
  return tripCount;
}

/** The session of a key is gone, whichever master has it. */
async function isGone(key: string): Promise<void> {
  const name = `${PREFIX}:s:{${key}}`;
  const count = async () => {
    const found = await Promise.all(admins.map((admin) => admin.exists(name).catch(() => 0)));
    return found.reduce((sum, one) => sum + one, 0);
  };
  await eventually(async () => (await count()) === 0, 5_000, `the end of the session of ${key}`);
}

// Scripts that a master does not know yet cost a repeat each: these connects bring them there.
beforeAll(async () => {
  const warm = await Promise.all(
    Array.from({ length: 40 }, (_, no) =>
      WireClient.connect(node.wsUrl, { key: `warm-${no}`, mid: 10_000 + no, roomId: `warm://${no}` }),
    ),
  );
  await Promise.all(warm.map((client) => client.close()));
  await Promise.all(warm.map((_, no) => isGone(`warm-${no}`)));
});

it('a connect waits for three round trips at most, into a room that is new to the node and into one that is not', async () => {
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
    expect(count, key).toBeLessThanOrEqual(3);
    await client!.close();
    await isGone(key);
  }
});

it('a disconnect is two scripts at most: of the session, and of its user', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'gone-1', mid: 883 });
  const commands = await commandsOf(async () => {
    await client.close();
    await isGone('gone-1');
  });
  const own = naming(commands, 'gone-1').filter(([command]) => command?.toLowerCase() !== 'exists');
  expect(own.length).toBeGreaterThanOrEqual(1);
  expect(own.length).toBeLessThanOrEqual(2);
  expect(new Set(own.map(([command]) => command?.toLowerCase()))).toEqual(new Set(['evalsha']));
});

it('heartbeats cost nothing', async () => {
  const client = await WireClient.connect(node.wsUrl, { key: 'beat-1', mid: 884 });
  const commands = await commandsOf(async () => {
    for (let beat = 0; beat < 300; beat++) await client.request(OP.HEARTBEAT, '', OP.HEARTBEAT_REPLY);
  });
  expect(naming(commands, 'beat')).toEqual([]);
  await client.close();
});

it('a direct push to a room is one publish, however many members it has', async () => {
  const room = 'fan://out';
  const clients: WireClient[] = [];
  for (const memberCount of [1, 30]) {
    while (clients.length < memberCount) {
      const no = clients.length;
      clients.push(await WireClient.connect(node.wsUrl, { key: `fan-${no}`, mid: 900 + no, roomId: room }));
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
    expect(naming(commands, body).map(([command]) => command?.toLowerCase())).toEqual(['spublish']);
  }
  await Promise.all(clients.map((client) => client.close()));
});
