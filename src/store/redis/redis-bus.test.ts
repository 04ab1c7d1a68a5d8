import { connect, createServer, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, freePort, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { encodeBusEnvelope } from '../../protocol/index.js';
import type { BusListener } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisBus, type RedisBusOptions } from './redis-bus.js';
import { RedisLink } from './redis-link.js';

const COMMAND_TIMEOUT_MS = 500;
const cleanups: (() => unknown)[] = [];
let server: RedisServer;
let redis: Redis;
let prefixSerial = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(async () => {
  redis.disconnect();
  await server.remove();
});

/** Keeps what it hears, as short texts. */
class Ears implements BusListener {
  readonly heard: string[] = [];
  readonly pushed: Uint8Array[] = [];
  readonly missedRooms: string[] = [];

  onRoom(room: string, message: { readonly op: number; readonly body: Uint8Array; readonly messageId: Uint8Array }) {
    this.heard.push(`room ${room} ${message.op} ${Buffer.from(message.body)} #${message.messageId[7]}`);
  }
  onHistory(room: string, bytes: Uint8Array) {
    this.heard.push(`history ${room} ${Buffer.from(bytes).toString('hex')}`);
  }
  onAll(message: { readonly body: Uint8Array; readonly speedPerSec: number }) {
    this.heard.push(`all ${Buffer.from(message.body)} at ${message.speedPerSec}`);
  }
  onNode(message: { readonly kind: string }, from: string) {
    this.heard.push(`${message.kind} from ${from}`);
  }
  onPush(bytes: Uint8Array) {
    this.pushed.push(bytes);
  }
  onMissed(scope: { readonly kind: string; readonly room?: string }) {
    this.heard.push(`missed ${scope.kind}${scope.room === undefined ? '' : ` ${scope.room}`}`);
  }
  onRoomsMissed(rooms: readonly string[]) {
    this.missedRooms.push(...rooms);
  }

  take(): string[] {
    return this.heard.splice(0);
  }
}

interface Node {
  readonly bus: RedisBus;
  readonly ears: Ears;
  readonly link: RedisLink;
}

async function startNode(serverId: string, options: Partial<RedisBusOptions> & { url?: string; prefix?: string } = {}) {
  const { url = server.url, prefix = `t${prefixSerial}`, ...rest } = options;
  const link = await RedisLink.open(
    { url, prefix, tlsCaFile: '', connectTimeoutMs: 1_000, commandTimeoutMs: COMMAND_TIMEOUT_MS, clientName: serverId },
    memoryLog().logger,
  );
  const bus = new RedisBus(
    link,
    {
      serverId,
      roomLingerMs: 0,
      probeMs: 100,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      messageMaxBytes: 100_000,
      ...rest,
    },
    memoryLog().logger,
  );
  const ears = new Ears();
  cleanups.push(() => {
    bus.close();
    link.close();
  });
  await bus.start(ears);
  return { bus, ears, link } satisfies Node;
}

/** Nodes of one test share a prefix that no other test has. */
async function startNodes(...serverIds: string[]): Promise<Node[]> {
  prefixSerial += 1;
  return Promise.all(serverIds.map((serverId) => startNode(serverId)));
}

const message = (text: string, op = 1_000) => ({
  kind: 'room' as const,
  op,
  body: new TextEncoder().encode(text),
  messageId: new Uint8Array(8).fill(9),
});
const advice = { code: 3500, reason: 'taken over', reconnect: false, retryAfterMs: 0 };
const owner = (serverId: string) => ({ key: 'k', serverId, nodeEpoch: 1, bucket: 1, connId: 5 });

/** The subscriber connections of a node, as Redis sees them. */
async function subscribersOf(serverId: string, client: Redis = redis): Promise<{ id: string; channelCount: number }[]> {
  const list = (await client.client('LIST')) as string;
  return list
    .split('\n')
    .filter((line) => line.includes(`name=${serverId}:subscriber`))
    .map((line) => ({
      id: /\bid=(\d+)/.exec(line)?.[1] ?? '',
      channelCount: Number(/\bsub=(\d+)/.exec(line)?.[1] ?? 0),
    }));
}

describe('the bus', () => {
  it('brings room messages to the nodes that have linked the room, and tells how many', async () => {
    const [a, b, c] = (await startNodes('a', 'b', 'c')) as [Node, Node, Node];
    await Promise.all([a.bus.link('live://1'), b.bus.link('live://1'), c.bus.link('live://2')]);
    expect(await a.bus.publishRoom('live://1', message('hi'))).toBe(2);
    expect(await a.bus.publishRoom('live://{2}%', message('nobody'))).toBe(0);
    await eventually(() => a.ears.heard.length > 0 && b.ears.heard.length > 0);
    expect([a.ears.take(), b.ears.take(), c.ears.take()]).toEqual([
      ['room live://1 1000 hi #9'],
      ['room live://1 1000 hi #9'],
      [],
    ]);
  });

  it('brings messages to one node, to all, and from any producer, in the order in which one node sent them', async () => {
    const [a, b] = (await startNodes('a', 'b')) as [Node, Node];
    await b.bus.link('live://1');
    const sent = [
      a.bus.publishNode('b', { kind: 'answer', requestId: 1, count: 1 }),
      a.bus.publishRoom('live://1', message('x')),
      a.bus.publishAll({ ...message('y'), kind: 'all', speedPerSec: 7 }),
    ];
    a.bus.closeConnection(owner('b'), advice);
    expect(await Promise.all(sent)).toEqual([1, 1, 2]);
    await eventually(() => b.ears.heard.length === 4);
    expect(b.ears.take()).toEqual(['answer from a', 'room live://1 1000 x #9', 'all y at 7', 'close from a']);
    expect(a.ears.take()).toEqual(['all y at 7']);
    await redis.publish(a.link.keys.pushChannel(), 'anything');
    await eventually(() => a.ears.pushed.length === 1 && b.ears.pushed.length === 1);
    expect(Buffer.from(b.ears.pushed[0] ?? []).toString()).toBe('anything');
  });

  it('hands on what a room with history publishes as it is', async () => {
    const [a] = (await startNodes('a')) as [Node];
    await a.bus.link('live://1');
    await redis.publish(a.link.keys.roomChannel('live://1'), Buffer.from('010203', 'hex'));
    await eventually(() => a.ears.heard.length === 1);
    expect(a.ears.take()).toEqual(['history live://1 010203']);
  });

  it('counts what is no envelope and goes on', async () => {
    const [a] = (await startNodes('a')) as [Node];
    await redis.publish(a.link.keys.allChannel(), 'garbage');
    await redis.publish(a.link.keys.nodeChannel('a'), Buffer.from([0x91, 0x01]));
    await a.bus.publishAll({ ...message('y'), kind: 'all', speedPerSec: 0 });
    await eventually(() => a.ears.heard.length === 1);
    expect(a.bus.gauges().malformedCount).toBe(2);
  });

  it('sees a hole in the numbers of a producer, none where the producer is a new one, and passes over what comes late', async () => {
    const [a] = (await startNodes('a')) as [Node];
    await a.bus.link('live://1');
    const publish = (incarnation: number, counter: number) =>
      redis.publish(
        a.link.keys.roomChannel('live://1'),
        Buffer.from(encodeBusEnvelope({ serverId: 'p', incarnation, counter }, message(`${incarnation}.${counter}`))),
      );
    for (const [incarnation, counter] of [
      [1, 5],
      [1, 6],
      [1, 8],
      [2, 4],
      [2, 5],
      [2, 1],
      [2, 5],
      [2, 6],
    ] as const) {
      await publish(incarnation, counter);
    }
    await eventually(() => a.ears.heard.length === 7);
    expect(a.ears.take().map((text) => text.replace('room live://1 1000 ', ''))).toEqual([
      '1.5 #9',
      '1.6 #9',
      'missed room live://1',
      '1.8 #9',
      '2.4 #9',
      '2.5 #9',
      '2.6 #9',
    ]);
    expect(a.bus.gauges().holeCount).toBe(1);
  });
});

describe('rooms of the bus', () => {
  it('are subscribed with one command per turn, and ten thousands of them hear', async () => {
    const [a] = (await startNodes('a')) as [Node];
    await redis.config('RESETSTAT');
    const rooms = Array.from({ length: 20_000 }, (_, index) => `live://${index}`);
    await Promise.all(rooms.slice(0, 500).map((room) => a.bus.link(room)));
    expect(await redis.info('commandstats')).toMatch(/cmdstat_subscribe:calls=1,/);
    await Promise.all(rooms.map((room) => a.bus.link(room)));
    expect((await subscribersOf('a'))[0]?.channelCount).toBe(20_003);
    expect(await a.bus.publishRoom('live://19999', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.length === 1);
    for (const room of rooms) a.bus.unlink(room);
    await eventually(async () => (await subscribersOf('a'))[0]?.channelCount === 3);
    expect(a.bus.gauges().linkedRoomCount).toBe(0);
  });

  it('answer at once when they are linked already, and the same wait to all who come meanwhile', async () => {
    const [a] = (await startNodes('a')) as [Node];
    const first = a.bus.link('live://1');
    expect(first).toBeInstanceOf(Promise);
    expect(a.bus.link('live://1')).toBe(first);
    await first;
    expect(a.bus.link('live://1')).toBeUndefined();
  });

  it('linger: a link that comes back meanwhile costs nothing, and what arrives meanwhile is nobody’s', async () => {
    prefixSerial += 1;
    const a = await startNode('a', { roomLingerMs: 200 });
    await Promise.all([a.bus.link('live://1'), a.bus.link('live://2')]);
    a.bus.unlink('live://1');
    a.bus.unlink('live://2');
    expect(a.bus.link('live://1')).toBeUndefined();
    expect(await a.bus.publishRoom('live://2', message('late'))).toBe(1);
    await eventually(async () => (await subscribersOf('a'))[0]?.channelCount === 4);
    expect(await a.bus.publishRoom('live://1', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.length > 0);
    expect(a.ears.take()).toEqual(['room live://1 1000 x #9']);
  });

  it('that are left and joined in one turn end up subscribed, and the registry hears both', async () => {
    prefixSerial += 1;
    const registered: string[] = [];
    const registry = {
      add: (room: string) => void registered.push(`add ${room}`),
      remove: (room: string) => void registered.push(`remove ${room}`),
    };
    const a = await startNode('a', { registry });
    await a.bus.link('live://1');
    for (let round = 0; round < 50; round++) {
      a.bus.unlink('live://1');
      const linked = a.bus.link('live://1');
      if (round % 3 === 0) await linked;
    }
    await a.bus.link('live://1');
    expect(await a.bus.publishRoom('live://1', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.length === 1);
    expect(registered.length).toBe(101);
    expect(registered.slice(-2)).toEqual(['remove live://1', 'add live://1']);
  });
});

describe('a break of the subscriptions', () => {
  const missed = (ears: Ears) => ears.heard.filter((text) => text.startsWith('missed')).sort();

  it('is followed by all subscriptions again, and then by a Gap for everything that could be missed', async () => {
    prefixSerial += 1;
    const a = await startNode('a', { hasHistory: (room) => room.startsWith('hist'), probeMs: 60_000 });
    await Promise.all(['live://1', 'live://2', 'hist://1', 'live://gone'].map((room) => a.bus.link(room)));
    a.bus.unlink('live://gone');
    const [before] = await subscribersOf('a');
    await redis.client('KILL', 'ID', before?.id ?? '');
    await eventually(() => a.bus.gauges().restoredCount === 1);
    expect(missed(a.ears)).toEqual(['missed all', 'missed direct', 'missed room live://1', 'missed room live://2']);
    expect(a.ears.missedRooms).toEqual(['hist://1']);
    a.ears.take();
    expect(await a.bus.publishRoom('live://1', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.length === 1);
    expect(a.ears.take()).toEqual(['room live://1 1000 x #9']);
  });

  it('answers joins at once while it lasts, and subscribes them on return', async () => {
    prefixSerial += 1;
    const own = await startRedis();
    cleanups.push(() => own.remove());
    const a = await startNode('a', { url: own.url });
    await a.bus.link('live://1');
    await own.stop('SIGKILL');
    await eventually(() => !a.bus.isSubscribed && !a.bus.isUp);
    expect(a.bus.link('live://2')).toBeUndefined();
    await expect(a.bus.publishRoom('live://1', message('x'))).rejects.toMatchObject({ code: 'BUS_AWAY' });
    const again = await startRedis({ port: own.port, dir: own.dir });
    cleanups.push(() => again.remove());
    await eventually(() => a.bus.isSubscribed && a.bus.isUp);
    expect(missed(a.ears)).toContain('missed room live://2');
    a.ears.take();
    expect(await a.bus.publishRoom('live://2', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.includes('room live://2 1000 x #9'));
  });

  it('in the middle of a wait for SUBSCRIBE ends the wait', async () => {
    const [a] = (await startNodes('a')) as [Node];
    const [before] = await subscribersOf('a');
    const linking = Array.from({ length: 200 }, (_, index) => a.bus.link(`live://${index}`));
    await redis.client('KILL', 'ID', before?.id ?? '');
    await Promise.all(linking);
    await eventually(async () => (await subscribersOf('a'))[0]?.channelCount === 203);
  });
});

/** A TCP proxy to Redis that can be told to swallow what comes from the server. */
async function startProxy(): Promise<{
  readonly url: string;
  swallow(isOn: boolean): void;
  connectionCount(): number;
}> {
  let isSwallowing = false;
  const sockets = new Set<Socket>();
  let count = 0;
  const port = await freePort();
  const proxy = createServer((client) => {
    count += 1;
    const upstream = connect(server.port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
    // Only what is on its way when it begins to swallow is lost: a connection made later works.
    let isDead = false;
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk: Buffer) => {
      // Of subscribers only: the connection for commands goes on, so that Redis looks well.
      if (isSwallowing && chunk.toString('latin1').includes(':ch:')) isDead = true;
      if (!isDead) client.write(chunk);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    swallow: (isOn) => {
      isSwallowing = isOn;
    },
    connectionCount: () => count,
  };
}

describe('a subscription that looks alive and is not', () => {
  it('behind a proxy that swallows is found by the probe and replaced', async () => {
    prefixSerial += 1;
    const proxy = await startProxy();
    const a = await startNode('a', { url: proxy.url });
    await a.bus.link('live://1');
    expect(proxy.connectionCount()).toBe(2);
    proxy.swallow(true);
    await eventually(() => a.bus.gauges().probeMissCount >= 2);
    proxy.swallow(false);
    await eventually(() => a.bus.gauges().restoredCount === 1);
    expect(a.ears.take().sort()).toEqual(['missed all', 'missed direct', 'missed room live://1']);
    expect(await a.bus.publishRoom('live://1', message('x'))).toBe(1);
    await eventually(() => a.ears.heard.length === 1);
  });

  it('because somebody unsubscribed the node’s channel is found and replaced', async () => {
    const [a] = (await startNodes('a')) as [Node];
    await unsubscribeBehind(a, a.link.keys.nodeChannel('a'));
    await eventually(() => a.bus.gauges().restoredCount === 1);
    expect(a.bus.gauges().probeMissCount).toBe(2);
    expect(a.ears.take()).toEqual(['missed direct', 'missed all']);
  });

  it('because somebody unsubscribed one of many rooms is found in rotation', async () => {
    prefixSerial += 1;
    const a = await startNode('a', { probeMs: 20 });
    const rooms = Array.from({ length: 10 }, (_, index) => `live://${index}`);
    await Promise.all(rooms.map((room) => a.bus.link(room)));
    await unsubscribeBehind(a, a.link.keys.roomChannel('live://7'));
    await eventually(() => a.bus.gauges().restoredCount === 1);
    expect(await a.bus.publishRoom('live://7', message('x'))).toBe(1);
  });

  it('is found at once by a publish to a room of this node that nobody hears', async () => {
    prefixSerial += 1;
    const a = await startNode('a', { probeMs: 60_000 });
    await a.bus.link('live://1');
    await unsubscribeBehind(a, a.link.keys.roomChannel('live://1'));
    expect(await a.bus.publishRoom('live://1', message('lost'))).toBe(0);
    await eventually(() => a.bus.gauges().restoredCount === 1);
    expect(a.ears.take().sort()).toEqual(['missed all', 'missed direct', 'missed room live://1']);
  });

  it('is not seen where there is none, even while many rooms come and go', async () => {
    prefixSerial += 1;
    const a = await startNode('a', { probeMs: 10 });
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => a.bus.link(`live://${round}-${index}`)));
      await redis.ping();
      for (let index = 0; index < 50; index++) a.bus.unlink(`live://${round}-${index}`);
    }
    expect(a.bus.gauges().restoredCount).toBe(0);
  });

  /** As if it had come over the node's own connection. */
  async function unsubscribeBehind(node: Node, channel: string): Promise<void> {
    const { clients } = subscriberClients;
    const client = clients.get(node.link);
    if (client === undefined) throw new Error('no subscriber was opened');
    await client.unsubscribe(channel);
  }
});

/** The subscriber of each link, caught where it is opened. */
const subscriberClients = (() => {
  const clients = new Map<RedisLink, Redis>();
  const open = RedisLink.prototype.openSubscriber;
  RedisLink.prototype.openSubscriber = async function (this: RedisLink) {
    const client = await open.call(this);
    clients.set(this, client as Redis);
    return client;
  };
  return { clients };
})();
