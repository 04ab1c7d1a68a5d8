import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../../id/index.js';
import type { DurablePush } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink } from './redis-link.js';
import { RedisQueue, type RedisQueueOptions } from './redis-queue.js';
import { decodeEntry, type RawEntry } from './redis-queue-entry.js';
import { RedisRoomNodes } from './redis-room-nodes.js';

const DEADLINE_MS = 10_000;
let redis: RedisServer;
let prefixNumber = 0;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const OPTIONS: RedisQueueOptions = {
  shardCount: 1,
  maxMessagesCount: 1_000_000,
  maxInFlightCount: 100_000,
  onceWindowMs: 60_000,
  replicaCount: 0,
  commandTimeoutMs: 1000,
  bodyMaxBytes: 1024 * 1024,
};

function newIds(): Snowflake {
  const memory = allocateSnowflake({ epochMs: 1_704_067_200_000, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  return new Snowflake(memory, 0);
}

async function rig(settings: Partial<RedisQueueOptions> = {}, url = redis.url) {
  const prefix = `q${++prefixNumber}`;
  const times = { connectTimeoutMs: 1000, commandTimeoutMs: 1000 };
  const link = await RedisLink.open({ url, prefix, tlsCaFile: '', clientName: 'test', ...times }, memoryLog().logger);
  cleanups.push(() => link.close());
  const queue = await RedisQueue.open(link, newIds(), 'producer', { ...OPTIONS, ...settings }, memoryLog().logger);
  cleanups.push(() => queue.close());
  const entries = async (shard = 0) => {
    const raw = await link.commands.xrangeBuffer(link.keys.queue(shard), '-', '+');
    return (raw as RawEntry[]).map(decodeEntry);
  };
  return { link, queue, entries };
}

function push(text: string, room = 'live://1', more: Partial<DurablePush> = {}): DurablePush {
  return { target: { kind: 'rooms', rooms: [room] }, op: 1000, body: Buffer.from(text), ...more };
}

describe('RedisQueue', () => {
  it('keeps pushes in the order of the calls, whole, with rising message ids, in few round trips', async () => {
    const { link, queue, entries } = await rig();
    const callCount = async () =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await link.commands.info('commandstats'))?.[1] ?? 0);
    await queue.append([push('first')]);
    const before = await callCount();
    const outcomes = await Promise.all(Array.from({ length: 1000 }, (_, index) => queue.append([push(String(index))])));
    expect(outcomes.flat().every((outcome) => outcome === 'ok')).toBe(true);
    expect((await callCount()) - before).toBeLessThanOrEqual(4);
    const kept = await entries();
    const texts = kept.map(({ command }) => Buffer.from(command?.body ?? []).toString());
    expect(texts).toEqual(['first', ...Array.from({ length: 1000 }, (_, index) => String(index))]);
    const ids = kept.map(({ command }) => Buffer.from(command?.messageId ?? []).readBigUInt64BE());
    expect(ids.every((id, index) => index === 0 || id > (ids[index - 1] ?? 0n))).toBe(true);
  });

  it('keeps the id a message has, and bytes as they are', async () => {
    const { queue, entries } = await rig();
    const messageId = Buffer.from('0102030405ff0708', 'hex');
    const target = { kind: 'all', speedPerSec: 9 } as const;
    await queue.append([{ target, op: -1, body: Buffer.from([0, 13, 10, 255]), messageId }]);
    expect((await entries())[0]?.command).toEqual({ target, op: -1, body: Buffer.from([0, 13, 10, 255]), messageId });
  });

  it('answers full at the bound of a shard and trims nothing, and takes again when there is room', async () => {
    const { link, queue, entries } = await rig({ maxMessagesCount: 2 });
    expect(await queue.append([push('1'), push('2'), push('3')])).toEqual(['ok', 'ok', 'full']);
    expect(await queue.append([push('4')])).toEqual(['full']);
    const [first] = await entries();
    await link.commands.xdel(link.keys.queue(0), first?.entryId ?? '');
    expect(await queue.append([push('5')])).toEqual(['ok']);
    expect((await entries()).map(({ command }) => Buffer.from(command?.body ?? []).toString())).toEqual(['2', '5']);
  });

  it('keeps a push with a known idempotency id once, also inside one call, and forgets a refused one', async () => {
    const { queue, entries } = await rig({ maxMessagesCount: 2 });
    const once = (text: string, idempotencyId: string) => push(text, 'live://1', { idempotencyId });
    expect(await queue.append([once('1', 'x'), once('1', 'x')])).toEqual(['ok', 'ok']);
    expect(await queue.append([once('1', 'x'), once('2', 'y'), once('3', 'z')])).toEqual(['ok', 'ok', 'full']);
    expect(await entries()).toHaveLength(2);
    expect(queue.gauges()).toMatchObject({ appendedCount: 2, repeatedCount: 2, refusedCount: 1, inFlightCount: 0 });
    expect(await queue.append([once('3', 'z')])).toEqual(['full']);
    expect(() => queue.append([once('4', 'a b')])).toThrow(expect.objectContaining({ code: 'BAD_IDEMPOTENCY_ID' }));
  });

  it('spreads targets over shards, one target always to the same', async () => {
    const { queue, entries } = await rig({ shardCount: 4 });
    await queue.append(Array.from({ length: 400 }, (_, index) => push(String(index), `live://${index % 40}`)));
    const perShard = await Promise.all([0, 1, 2, 3].map((shard) => entries(shard)));
    expect(perShard.reduce((sum, shard) => sum + shard.length, 0)).toBe(400);
    for (const shard of perShard) expect(shard.length).toBeGreaterThan(0);
    for (const shard of perShard) {
      const rooms = new Set(shard.map(({ command }) => JSON.stringify(command?.target)));
      expect(shard.length).toBe(rooms.size * 10);
    }
  });

  it('answers full while Redis is away or has no memory, too_large for a large body, closed after close', async () => {
    const server = await startRedis();
    cleanups.push(() => server.remove());
    const { link, queue } = await rig({}, server.url);
    expect(await queue.append([push('x'.repeat(1024 * 1024 + 1))])).toEqual(['too_large']);
    await link.commands.config('SET', 'maxmemory', '1');
    expect(await queue.append([push('1')])).toEqual(['full']);
    await link.commands.config('SET', 'maxmemory', '0');
    expect(await queue.append([push('2')])).toEqual(['ok']);
    await server.stop('SIGKILL');
    await eventually(() => !link.isUp, DEADLINE_MS);
    expect(await queue.append([push('3')])).toEqual(['full']);
    queue.close();
    expect(await queue.append([push('4')])).toEqual(['closed']);
  });

  it('answers ok only when as many replicas as asked have the push', async () => {
    const { queue } = await rig({ replicaCount: 1 });
    expect(await queue.append([push('alone')])).toEqual(['full']);
    const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] });
    cleanups.push(() => replica.remove());
    await eventually(async () => (await queue.append([push('with')]))[0] === 'ok', DEADLINE_MS);
  });

  it('draws no id past the limit of the ids, and answers full', async () => {
    const { link } = await rig();
    const stopped = { tryWriteTo: () => 2 as const };
    const queue = await RedisQueue.open(link, stopped, 'p', OPTIONS, memoryLog().logger);
    expect(await queue.append([push('1')])).toEqual(['full']);
    const going = await RedisQueue.open(link, newIds(), 'p', OPTIONS, memoryLog().logger);
    expect(await going.append([push('1')])).toEqual(['ok']);
  });
});

describe('decodeEntry', () => {
  it('names what is wrong and never throws', () => {
    const entry = (fields: Record<string, string>) =>
      decodeEntry([
        Buffer.from('1-0'),
        Object.entries(fields)
          .flat()
          .map((text) => Buffer.from(text)),
      ]).problem;
    const sound = { id: '12345678', to: '{"all":1}', op: '1', body: '' };
    expect(entry(sound)).toBe('');
    expect(entry({ ...sound, id: '1' })).toContain('id');
    expect(entry({ ...sound, op: '1e3' })).toContain('op');
    expect(entry({ ...sound, op: '2147483648' })).toContain('op');
    expect(entry({ ...sound, speed: '-1' })).toContain('speed');
    for (const to of ['', 'null', '[]', '{"rooms":[]}', '{"mids":[0]}', '{"keys":[1]}', '{"all":2}', '{']) {
      expect(entry({ ...sound, to })).toContain('target');
    }
    expect(decodeEntry([Buffer.from('1-0'), null]).problem).not.toBe('');
  });
});

describe('RedisRoomNodes', () => {
  it('adds a burst of rooms in one write, and removes only its own incarnation', async () => {
    const { link } = await rig();
    const first = new RedisRoomNodes(link, { serverId: 'a', nodeEpoch: 1 });
    const second = new RedisRoomNodes(link, { serverId: 'a', nodeEpoch: 2 });
    const other = new RedisRoomNodes(link, { serverId: 'b', nodeEpoch: 5 });
    await Promise.all([first.add('r1'), first.add('r2'), other.add('r1', 3)]);
    await second.add('r1');
    await first.remove('r1');
    await first.remove('r2');
    const lists = await second.nodesOf(['r1', 'r2', 'r3']);
    expect(lists[0]).toEqual(
      expect.arrayContaining([
        { serverId: 'a', nodeEpoch: 2 },
        { serverId: 'b', nodeEpoch: 5 },
      ]),
    );
    expect(lists.slice(1)).toEqual([[], []]);
    second.sweep('r1', [{ serverId: 'b', nodeEpoch: 5 }]);
    await eventually(async () => (await second.nodesOf(['r1']))[0]?.length === 1, DEADLINE_MS);
  });
});
