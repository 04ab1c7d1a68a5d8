import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { BusPublisher } from './redis-bus-publisher.js';
import { RedisLink } from './redis-link.js';

let redis: RedisServer;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function rig() {
  const times = { connectTimeoutMs: 2_000, commandTimeoutMs: 2_000 };
  const link = await RedisLink.open(
    { url: redis.url, prefix: 'pub', tlsCaFile: '', clientName: 'test', ...times },
    memoryLog().logger,
  );
  cleanups.push(() => link.close());
  const subscriber = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
  cleanups.push(() => subscriber.disconnect());
  const heard: { readonly channel: string; readonly bytes: Buffer }[] = [];
  subscriber.on(
    'messageBuffer',
    (channel: Buffer, bytes: Buffer) => void heard.push({ channel: String(channel), bytes }),
  );
  await subscriber.subscribe('a', 'b');
  const publisher = new BusPublisher(link);
  const publish = (channel: string, text: string | Buffer) =>
    publisher.publish('ordinary', channel, new Uint8Array(Buffer.from(text)));
  /** How often clients have asked for a script so far. */
  const evalCount = async () =>
    Number(/cmdstat_eval:calls=(\d+)/.exec(await link.commands.info('commandstats'))?.[1] ?? 0);
  return { link, heard, publisher, publish, evalCount };
}

describe('what one turn publishes', () => {
  it('arrives in the order of the calls, over all channels, and leaves with a few commands', async () => {
    const { heard, publish, evalCount } = await rig();
    const before = await evalCount();
    const calls = Array.from({ length: 1_000 }, (_, index) => publish(index % 3 === 0 ? 'b' : 'a', String(index)));
    expect(new Set(await Promise.all(calls))).toEqual(new Set([1]));
    await eventually(() => heard.length === 1_000);
    expect(heard.map(({ bytes }) => Number(bytes))).toEqual(Array.from({ length: 1_000 }, (_, index) => index));
    expect(heard.every(({ channel, bytes }) => (channel === 'b') === (Number(bytes) % 3 === 0))).toBe(true);
    expect((await evalCount()) - before).toBe(4);
  });

  it('stays behind what turns before it published, whether it was one message or many', async () => {
    const { heard, publish } = await rig();
    const calls: Promise<number>[] = [];
    let serial = 0;
    for (const count of [1, 5, 2, 1, 1, 300, 1]) {
      for (let index = 0; index < count; index++) calls.push(publish('a', String(serial++)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(calls);
    await eventually(() => heard.length === serial);
    expect(heard.map(({ bytes }) => Number(bytes))).toEqual(Array.from({ length: serial }, (_, index) => index));
  });

  it('is answered call by call, with its own number of subscribers, and comes byte for byte', async () => {
    const { heard, publish } = await rig();
    const odd = Buffer.from([0, 13, 10, 255, 36, 42]);
    const counts = await Promise.all([
      publish('nobody', 'x'),
      publish('a', odd),
      publish('nobody', ''),
      publish('b', ''),
    ]);
    expect(counts).toEqual([0, 1, 0, 1]);
    await eventually(() => heard.length === 2);
    expect(heard).toEqual([
      { channel: 'a', bytes: odd },
      { channel: 'b', bytes: Buffer.alloc(0) },
    ]);
  });

  it('leaves at once where it is flushed, in front of what Redis is asked for next', async () => {
    const { link, heard, publisher, publish } = await rig();
    const calls: Promise<unknown>[] = [publish('a', '1'), publish('a', '2'), publish('b', '3')];
    publisher.flush();
    calls.push(link.commands.eval("return redis.call('PUBLISH', 'a', '4')", 0), publish('b', '5'), publish('a', '6'));
    await Promise.all(calls);
    await eventually(() => heard.length === 6);
    expect(heard.map(({ bytes }) => String(bytes))).toEqual(['1', '2', '3', '4', '5', '6']);
  });

  it('is a plain PUBLISH where it is one message', async () => {
    const { publish, evalCount } = await rig();
    const before = await evalCount();
    for (let index = 0; index < 5; index++) expect(await publish('a', 'alone')).toBe(1);
    expect(await evalCount()).toBe(before);
  });

  it('leaves in scripts of bounded size where bodies are large', async () => {
    const { heard, publish, evalCount } = await rig();
    const before = await evalCount();
    const body = Buffer.alloc(400 * 1024, 'x');
    await Promise.all(Array.from({ length: 7 }, () => publish('a', body)));
    await eventually(() => heard.length === 7);
    expect((await evalCount()) - before).toBe(2);
  });

  it('leaves where Redis takes no writes any more, as a plain PUBLISH does', async () => {
    const { link, heard, publish } = await rig();
    await link.commands.config('SET', 'maxmemory', '1');
    try {
      await expect(link.commands.set('full', '1')).rejects.toThrow('OOM');
      expect(await Promise.all([publish('a', '1'), publish('a', '2'), publish('a', '3')])).toEqual([1, 1, 1]);
    } finally {
      await link.commands.config('SET', 'maxmemory', '0');
    }
    await eventually(() => heard.length === 3);
  });

  it('fails call by call where Redis is away', async () => {
    const { link, publish } = await rig();
    link.close();
    const outcomes = await Promise.allSettled([publish('a', '1'), publish('a', '2'), publish('a', '3')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });
});
