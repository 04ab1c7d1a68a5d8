import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  freePort,
  ownerOf,
  type RedisServer,
  SlotMove,
  slotOf,
  startRedis,
} from '../../../test/kit/index.js';
import type { BusListener } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisBus } from './redis-bus.js';
import { RedisLink } from './redis-link.js';

const MASTER_COUNT = 3;
const servers: RedisServer[] = [];
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  for (let index = 0; index < MASTER_COUNT; index++) {
    const busPort = await freePort();
    servers.push(
      await startRedis({
        args: ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '2000'],
      }),
    );
  }
  const places = servers.map(({ port }) => `127.0.0.1:${port}`);
  await promisify(execFile)('redis-cli', ['--cluster', 'create', ...places, '--cluster-yes']);
  await eventually(async () => {
    for (const { port } of servers) {
      const client = new Redis(port);
      const info = (await client.cluster('INFO')) as string;
      client.disconnect();
      if (!info.includes('cluster_state:ok')) return false;
    }
    return true;
  }, 30_000);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(async () => {
  for (const server of servers) await server.remove();
});

async function startNode(serverId: string, prefix: string, probeMs = 200) {
  const link = await RedisLink.open(
    {
      url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
      prefix,
      tlsCaFile: '',
      connectTimeoutMs: 1_000,
      commandTimeoutMs: 1_000,
      clientName: serverId,
    },
    memoryLog().logger,
  );
  const options = { serverId, roomLingerMs: 0, probeMs, commandTimeoutMs: 1_000, messageMaxBytes: 10_000 };
  const bus = new RedisBus(link, options, memoryLog().logger);
  cleanups.push(() => {
    bus.close();
    link.close();
  });
  const heard: string[] = [];
  const listener: BusListener = {
    onRoom: (room) => void heard.push(`room ${room}`),
    onHistory: (room) => void heard.push(`history ${room}`),
    onAll: () => void heard.push('all'),
    onNode: ({ kind }, from) => void heard.push(`${kind} from ${from}`),
    onPush: (bytes) => void heard.push(`push ${Buffer.from(bytes)}`),
    onMissed: (scope) => void heard.push(`missed ${scope.kind === 'room' ? scope.room : scope.kind}`),
    onRoomsMissed: () => {},
  };
  await bus.start(listener);
  return { bus, link, heard };
}

const payload = { op: 1, body: new Uint8Array(1), messageId: new Uint8Array(8) };

/** End the connections of pub/sub on every server whose name begins so. */
async function killSubscribers(kind: 'subscriber' | 'ssubscriber'): Promise<number> {
  let killedCount = 0;
  for (const { port } of servers) {
    const client = new Redis(port);
    const list = (await client.call('CLIENT', 'LIST', 'TYPE', 'pubsub')) as string;
    for (const line of list.split('\n')) {
      const isSharded = /\bssub=[1-9]/.test(line) && /\bsub=0\b/.test(line);
      const id = /\bid=(\d+)/.exec(line)?.[1];
      if (id === undefined || isSharded !== (kind === 'ssubscriber')) continue;
      await client.client('KILL', 'ID', id);
      killedCount += 1;
    }
    client.disconnect();
  }
  return killedCount;
}

/** Move the slot of a channel to the master after its owner, in one go. */
async function moveSlotOf(channel: string): Promise<void> {
  const slot = await slotOf(servers[0] as RedisServer, channel);
  const owner = await ownerOf(servers, slot);
  const to = servers[(servers.indexOf(owner) + 1) % servers.length] as RedisServer;
  const move = await SlotMove.begin(servers, slot, to);
  await move.finish();
}

/** Longer than any test: nothing is found by a probe. */
const NO_PROBE_MS = 600_000;
/** The refresh of the table by the client itself takes up to 5 s. */
const AT_ONCE_MS = 2_000;

describe('the bus on Redis Cluster', () => {
  it('brings messages to rooms in all slots, to one node, to all, and from any producer', async () => {
    const [a, b] = await Promise.all([startNode('a', 'c1'), startNode('b', 'c1')]);
    const rooms = Array.from({ length: 300 }, (_, index) => `live://${index}`);
    await Promise.all(rooms.map((room) => b.bus.link(room)));
    const counts = await Promise.all(rooms.map((room) => a.bus.publishRoom(room, { kind: 'room', ...payload })));
    expect(counts).toEqual(rooms.map(() => 1));
    await eventually(() => b.heard.length === rooms.length);
    expect(b.heard.splice(0).sort()).toEqual(rooms.map((room) => `room ${room}`).sort());
    await a.bus.publishNode('b', { kind: 'answer', requestId: 1, count: 1 });
    await a.bus.publishAll({ kind: 'all', ...payload, speedPerSec: 0 });
    await a.link.commands.publish(a.link.keys.pushChannel(), 'x');
    await eventually(() => a.heard.length === 2 && b.heard.length === 3);
    expect([a.heard.sort(), b.heard.sort()]).toEqual([
      ['all', 'push x'],
      ['all', 'answer from a', 'push x'],
    ]);
  });

  it.each(['ssubscriber', 'subscriber'] as const)(
    'restores everything after its %s connections broke, and tells it',
    async (kind) => {
      const a = await startNode('a', `c-${kind}`);
      const rooms = Array.from({ length: 30 }, (_, index) => `live://${index}`);
      await Promise.all(rooms.map((room) => a.bus.link(room)));
      expect(await killSubscribers(kind)).toBeGreaterThan(0);
      await eventually(() => a.bus.gauges().restoredCount >= 1, 20_000);
      await eventually(() => a.bus.isSubscribed);
      expect(new Set(a.heard)).toEqual(
        new Set(['missed direct', 'missed all', ...rooms.map((room) => `missed ${room}`)]),
      );
      a.heard.length = 0;
      await eventually(async () => {
        const counts = await Promise.all(rooms.map((room) => a.bus.publishRoom(room, { kind: 'room', ...payload })));
        return counts.every((count) => count === 1) && a.bus.isSubscribed;
      });
      a.heard.length = 0;
      await a.bus.publishAll({ kind: 'all', ...payload, speedPerSec: 0 });
      await a.bus.publishRoom('live://7', { kind: 'room', ...payload });
      await eventually(() => a.heard.includes('all') && a.heard.includes('room live://7'));
    },
  );

  it('follows a room whose slot moves at once, tells what it may have missed, and leaves all other rooms alone', async () => {
    const [a, b] = await Promise.all([startNode('a', 'cm', NO_PROBE_MS), startNode('b', 'cm', NO_PROBE_MS)]);
    const rooms = Array.from({ length: 30 }, (_, index) => `live://${index}`);
    await Promise.all(rooms.map((room) => a.bus.link(room)));
    for (let round = 0; round < 3; round++) {
      a.heard.length = 0;
      await moveSlotOf(a.link.keys.roomChannel('live://7'));
      await eventually(() => a.bus.gauges().movedCount === round + 1, AT_ONCE_MS, 'the room to be subscribed again');
      expect(a.heard.splice(0)).toEqual(['missed live://7']);
      const counts = await Promise.all(
        Array.from({ length: 20 }, () => b.bus.publishRoom('live://7', { kind: 'room', ...payload })),
      );
      expect(counts).toEqual(counts.map(() => 1));
      await eventually(() => a.heard.length === 20);
      expect(new Set(a.heard)).toEqual(new Set(['room live://7']));
    }
    expect([a.bus.gauges().restoredCount, b.bus.gauges().restoredCount]).toEqual([0, 0]);
  });

  it('follows its own channel, and that of a room which is joined while the slot moves', async () => {
    const [a, b] = await Promise.all([startNode('a', 'cn', NO_PROBE_MS), startNode('b', 'cn', NO_PROBE_MS)]);
    await moveSlotOf(a.link.keys.nodeChannel('a'));
    await eventually(() => a.heard.includes('missed direct'), AT_ONCE_MS, 'the own channel to be subscribed again');
    expect(await b.bus.publishNode('a', { kind: 'answer', requestId: 1, count: 1 })).toBe(1);
    await eventually(() => a.heard.includes('answer from b'));
    await Promise.all([moveSlotOf(a.link.keys.roomChannel('live://9')), a.bus.link('live://9')]);
    await eventually(
      async () => (await b.bus.publishRoom('live://9', { kind: 'room', ...payload })) === 1,
      AT_ONCE_MS,
      'a subscriber of the room',
    );
    expect([a.bus.gauges().restoredCount, a.bus.isSubscribed]).toEqual([0, true]);
  });
});
