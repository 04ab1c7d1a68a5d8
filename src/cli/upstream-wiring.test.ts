import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { loadConfig } from '../config/index.js';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../id/index.js';
import type { Session } from '../push/index.js';
import { MemorySessions } from '../store/index.js';
import { RedisLink, RedisUserMarks } from '../store/redis/index.js';
import { memoryLog } from '../telemetry/index.js';
import { wireUpstream } from './upstream-wiring.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function idsOf(): Snowflake {
  const memory = allocateSnowflake({ epochMs: 0, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  return new Snowflake(memory, 0);
}

const configOf = (env: Record<string, string>) =>
  loadConfig({ argvFlags: {}, env: { HALLEY_UPSTREAM_OFFLINE_DEBOUNCE_MS: '0', ...env }, readFile: () => '' }).config;
const session: Session = {
  ...{ key: 'phone', mid: 7, serverId: 'node-a', nodeEpoch: 3, bucket: 1, connId: 1, platform: '', remoteIp: '' },
  sinceMs: 1,
};

/** A node of a cluster with one user, whose comings and goings the test tells. */
async function clusterNode(server: RedisServer, env: Record<string, string>) {
  const log = memoryLog().logger;
  const times = { connectTimeoutMs: 1_000, commandTimeoutMs: 500 };
  const redis = await RedisLink.open(
    { url: server.url, prefix: 'halley', tlsCaFile: '', clientName: 'test', ...times },
    log,
  );
  cleanups.push(() => redis.close());
  const sessions = new MemorySessions();
  const upstream = wireUpstream(configOf({ HALLEY_REDIS: server.url, ...env }), {
    ...{ serverId: 'node-a', nodeEpoch: () => 3, ids: idsOf(), sessions, log, redis },
    cluster: {
      sessions: { byMids: async (mids) => sessions.byMids(mids) },
      directory: { serverId: 'node-a', nodeEpoch: 3, isLive: () => true },
      marks: new RedisUserMarks(redis),
    },
  });
  if (upstream === undefined) throw new Error('upstream is off');
  const connect = () => {
    sessions.put(session);
    upstream.events.connected(session, undefined);
  };
  const disconnect = () => {
    sessions.remove(session);
    upstream.events.disconnected(session, 'client');
  };
  const types = async () =>
    (await redis.commands.xrange(redis.keys.events(), '-', '+')).map(([, fields]) => fields[3] ?? '');
  return { redis, upstream, connect, disconnect, types };
}

it('both sinks get every event of a cluster node, in the same order', async () => {
  const server = await startRedis();
  cleanups.push(() => server.remove());
  const hooked: string[] = [];
  const backend = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { events } = JSON.parse(Buffer.concat(chunks).toString()) as { events: { type: string }[] };
    hooked.push(...events.map(({ type }) => type));
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(backend, 'listening');
  cleanups.push(() => {
    backend.closeAllConnections();
    backend.close();
  });
  const node = await clusterNode(server, {
    HALLEY_UPSTREAM_SINK: 'both',
    HALLEY_UPSTREAM_URL: `http://127.0.0.1:${(backend.address() as AddressInfo).port}/`,
    HALLEY_UPSTREAM_SECRET: 's'.repeat(32),
  });
  node.connect();
  await eventually(async () => (await node.types()).length === 2);
  node.disconnect();
  await eventually(async () => (await node.types()).length === 4);
  expect(await node.upstream.events.close(5_000)).toBe(true);
  expect(await node.types()).toEqual(['connect', 'online', 'disconnect', 'offline']);
  expect(hooked).toEqual(['connect', 'online', 'disconnect', 'offline']);
});

it('events wait while Redis is away, are lost only beyond the bound, and arrive in order when it is back', async () => {
  const server = await startRedis();
  cleanups.push(() => server.remove());
  const node = await clusterNode(server, {
    HALLEY_UPSTREAM_SINK: 'stream',
    HALLEY_UPSTREAM_EVENTS: 'connect,disconnect',
    HALLEY_UPSTREAM_MAX_WAITING_EVENTS: '16',
  });
  await server.stop('SIGKILL');
  await eventually(() => !node.redis.isUp);
  for (let i = 0; i < 8; i++) {
    node.connect();
    node.disconnect();
  }
  node.connect();
  expect(node.upstream.gate).toBeUndefined();
  expect(node.upstream.events.gauges()).toMatchObject({ waitingCount: 16, lostCount: 1 });
  expect(node.upstream.events.notReady().map(({ reason }) => reason)).toEqual(['upstream_full', 'upstream_lost']);
  const back = await startRedis({ port: server.port, dir: server.dir });
  cleanups.push(() => back.stop());
  await eventually(async () => node.redis.isUp && (await node.types()).length === 16);
  expect(await node.types()).toEqual(Array.from({ length: 8 }, () => ['connect', 'disconnect']).flat());
  expect(await node.upstream.events.close(5_000)).toBe(true);
});

it('a stream without Redis is refused at the start, and nothing is made where upstream is off', () => {
  const node = {
    serverId: 'a',
    nodeEpoch: () => 1,
    ids: idsOf(),
    sessions: new MemorySessions(),
    log: memoryLog().logger,
  };
  const config = configOf({ HALLEY_UPSTREAM_SINK: 'stream', HALLEY_REDIS: 'redis://127.0.0.1' });
  expect(() => wireUpstream(config, node)).toThrow('a stream of events needs a node with redis');
  expect(wireUpstream(configOf({}), node)).toBeUndefined();
});
