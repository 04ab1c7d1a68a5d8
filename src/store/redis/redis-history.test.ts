import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, freePort, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { HistoryRules } from '../../config/index.js';
import { decodeHistoryEnvelope } from '../../protocol/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { CONTRACT_RULES, idOf, roomHistoryContract } from '../history.contract.js';
import { RedisHistory } from './redis-history.js';
import { RedisLink } from './redis-link.js';

let server: RedisServer;
let link: RedisLink;
let history: RedisHistory;
beforeAll(async () => {
  server = await startRedis();
  link = await RedisLink.open(
    { url: server.url, prefix: 'h', tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 2000, clientName: 'test' },
    memoryLog().logger,
  );
  history = new RedisHistory(link, new HistoryRules(CONTRACT_RULES));
});
afterAll(async () => {
  link.close();
  await server.remove();
});

roomHistoryContract('RedisHistory', async () => ({
  history,
  // The age is measured by Redis's own clock: its time must really pass.
  pass: async (ms) => {
    const endMs = Date.now() + ms;
    await eventually(() => Date.now() > endMs);
  },
  lose: async (room) => void (await link.commands.del(link.keys.room(room, 'seq'))),
}));

describe('RedisHistory', () => {
  async function heard(room: string) {
    const subscriber = new Redis(server.url);
    const envelopes: string[] = [];
    subscriber.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => {
      const envelope = decodeHistoryEnvelope(bytes);
      envelopes.push(
        envelope === undefined
          ? 'undecodable'
          : `${envelope.epoch} ${envelope.offset} ${envelope.op} ${Buffer.from(envelope.messageId).toString('hex')} ${Buffer.from(envelope.body).toString()}`,
      );
    });
    await subscriber.subscribe(link.keys.roomChannel(room));
    return { envelopes, close: () => subscriber.disconnect() };
  }

  it('publishes each message with its place, and a repeat not at all', async () => {
    const { envelopes, close } = await heard('wide://pub');
    const { epoch } = await history.append('wide://pub', 1000, Buffer.from('one'), idOf(1));
    await history.append('wide://pub', 1000, Buffer.from('one'), idOf(1));
    await history.append('wide://pub', -5, Buffer.from('two'), idOf(2));
    await eventually(() => envelopes.length >= 2);
    expect(envelopes).toEqual([`${epoch} 1 1000 ${'0'.repeat(15)}1 one`, `${epoch} 2 -5 ${'0'.repeat(15)}2 two`]);
    close();
  });

  it('gives concurrent appenders distinct offsets and publishes in their order', async () => {
    const { envelopes, close } = await heard('wide://many');
    const places = await Promise.all(
      Array.from({ length: 200 }, (_, i) => history.append('wide://many', 1, Buffer.from('x'), idOf(1000 + i))),
    );
    expect(places.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
    await eventually(() => envelopes.length === 200);
    expect(envelopes.map((text) => Number(text.split(' ')[1]))).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    close();
  });

  it('remembers the last 32 message ids and no more', async () => {
    const append = (number: number) => history.append('wide://ids', 1, Buffer.from('x'), idOf(number));
    for (let number = 1; number <= 100; number++) await append(number);
    expect((await append(69)).offset).toBe(69);
    expect((await append(68)).offset).toBe(101);
    expect(await link.commands.hlen(link.keys.room('wide://ids', 'seq'))).toBe(3 + 2 * 32);
  });

  it('lets both keys of a room expire: the messages soon after their age, the numbers later', async () => {
    await history.append('brief://ttl', 1, Buffer.from('x'), idOf(1));
    const [log, seq] = await Promise.all(
      (['log', 'seq'] as const).map((part) => link.commands.pttl(link.keys.room('brief://ttl', part))),
    );
    expect(log).toBeGreaterThan(50_000);
    expect(log).toBeLessThanOrEqual(61_000);
    expect(seq).toBeGreaterThan(6 * 86_400_000);
  });

  it('says that a range is lost where the stream is, and never passes a hole off as contiguous', async () => {
    const room = 'wide://hole';
    for (let number = 1; number <= 5; number++) await history.append(room, 1, Buffer.from('x'), idOf(number));
    const { epoch } = await history.position(room);
    const key = link.keys.room(room, 'log');
    const entries = await link.commands.xrange(key, '3', '3');
    await link.commands.xdel(key, entries[0]![0]);
    const all = { maxMessages: 100, maxBytes: 10_000 };
    expect(await history.range(room, epoch, 1, all)).toMatchObject({ messages: [{ offset: 1 }, { offset: 2 }] });
    expect(await history.range(room, epoch, 3, all)).toMatchObject({ isRecoverable: false, firstOffset: 4 });
    await link.commands.del(key);
    expect(await history.range(room, epoch, 3, all)).toMatchObject({ isRecoverable: false, firstOffset: 6 });
  });

  it('rejects in time, and names the room, while Redis is away', async () => {
    const other = await startRedis();
    const away = await RedisLink.open(
      { url: other.url, prefix: 'h', tlsCaFile: '', connectTimeoutMs: 500, commandTimeoutMs: 500, clientName: 'test' },
      memoryLog().logger,
    );
    const lonely = new RedisHistory(away, new HistoryRules(CONTRACT_RULES));
    await other.remove();
    await eventually(() => !away.isUp);
    const startedMs = performance.now();
    await expect(lonely.append('wide://1', 1, Buffer.from('x'), idOf(1))).rejects.toMatchObject({ code: 'REDIS_AWAY' });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    away.close();
  });
});

describe('RedisHistory on Redis Cluster', () => {
  let cluster: RedisServer;
  let clusterLink: RedisLink;
  let clustered: RedisHistory;
  beforeAll(async () => {
    // One master with every slot: enough for what the scripts must keep to (one slot per call, sharded pub/sub).
    // Its own choice, 10,000 above its port, may be in use.
    const busPort = String(await freePort());
    cluster = await startRedis({
      args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-port', busPort],
    });
    const admin = new Redis(cluster.url);
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await eventually(async () => (await admin.cluster('INFO')).includes('cluster_state:ok'));
    admin.disconnect();
    clusterLink = await RedisLink.open(
      {
        url: `redis+cluster://127.0.0.1:${cluster.port}`,
        prefix: 'h',
        tlsCaFile: '',
        connectTimeoutMs: 1000,
        commandTimeoutMs: 2000,
        clientName: 'test',
      },
      memoryLog().logger,
    );
    clustered = new RedisHistory(clusterLink, new HistoryRules(CONTRACT_RULES));
  });
  afterAll(async () => {
    clusterLink.close();
    await cluster.remove();
  });

  roomHistoryContract('RedisHistory on Cluster', async () => ({
    history: clustered,
    pass: async (ms) => {
      const endMs = Date.now() + ms;
      await eventually(() => Date.now() > endMs);
    },
    lose: async (room) => void (await clusterLink.commands.del(clusterLink.keys.room(room, 'seq'))),
  }));

  it('publishes on the sharded channel of the room', async () => {
    const subscriber = new Redis(cluster.url);
    const offsets: number[] = [];
    subscriber.on('smessageBuffer', (_channel: Buffer, bytes: Buffer) => {
      offsets.push(decodeHistoryEnvelope(bytes)?.offset ?? -1);
    });
    await subscriber.ssubscribe(clusterLink.keys.roomChannel('wide://{odd}%name'));
    for (let number = 1; number <= 3; number++) {
      await clustered.append('wide://{odd}%name', 1, Buffer.from('x'), idOf(number));
    }
    await eventually(() => offsets.length === 3);
    expect(offsets).toEqual([1, 2, 3]);
    subscriber.disconnect();
  });
});
