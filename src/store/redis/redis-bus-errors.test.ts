import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { ManualClock } from '../../clock/index.js';
import { type MemoryLog, memoryLog } from '../../telemetry/index.js';
import { RedisBusErrors } from './redis-bus-errors.js';
import { RedisLink } from './redis-link.js';

let server: RedisServer;
let subscriber: Redis;
const heard: string[] = [];
const links: RedisLink[] = [];

beforeAll(async () => {
  server = await startRedis();
  subscriber = new Redis(server.port);
  await subscriber.psubscribe('*:push:errors');
  subscriber.on('pmessage', (_pattern: string, channel: string, message: string) =>
    heard.push(`${channel} ${message}`),
  );
});
afterAll(async () => {
  for (const link of links) link.close();
  subscriber.disconnect();
  await server.remove();
});

async function reporter(prefix: string): Promise<{ readonly errors: RedisBusErrors; readonly log: MemoryLog }> {
  const link = await RedisLink.open(
    { url: server.url, prefix, tlsCaFile: '', connectTimeoutMs: 1_000, commandTimeoutMs: 500, clientName: 'test' },
    memoryLog().logger,
  );
  links.push(link);
  const log = memoryLog();
  return { errors: new RedisBusErrors(link, log.logger, new ManualClock(1_234)), log };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const heardOf = (prefix: string) =>
  heard.filter((text) => text.startsWith(`${prefix}:`)).map((text) => JSON.parse(text.slice(text.indexOf(' ')))) as {
    sample: string;
  }[];

describe('reports of bad pushes', () => {
  it('come once per cluster, however many nodes find the fault, and say what, who, a sample and when', async () => {
    const nodes = await Promise.all([reporter('one'), reporter('one'), reporter('one')]);
    const bad = bytes(`{"producer":"billing","op":0,"x":"${'y'.repeat(1_000)}"}`);
    for (const { errors } of nodes) {
      errors.report(bad, 'op must not be 0');
      errors.report(bad, 'op must not be 0');
    }
    nodes[0]?.errors.report(bytes('other'), 'the body is not JSON');
    await eventually(() => heardOf('one').length === 2);
    expect(heardOf('one').find(({ sample }) => sample !== 'other')).toEqual({
      error: 'op must not be 0',
      producer: 'billing',
      sample: new TextDecoder().decode(bad.subarray(0, 256)),
      at: 1_234,
    });
    // Who logs is who was first; one node logs faults that are alike once per window.
    const logged = nodes.flatMap(({ log }) => log.records.map(({ fields }) => fields['sample']));
    expect(logged.length).toBeGreaterThan(0);
    expect(new Set(logged).size).toBe(logged.length);
  });

  it('are bounded per second; the rest is counted', async () => {
    const { errors, log } = await reporter('two');
    for (let index = 0; index < 200; index++) errors.report(bytes(`bad ${index}`), 'the body is not JSON');
    await eventually(() => heardOf('two').length === 50);
    expect(errors.suppressedCount).toBe(150);
    expect(log.records).toHaveLength(1);
  });

  it('go to the log when Redis is away', async () => {
    const { errors, log } = await reporter('three');
    links.at(-1)?.close();
    errors.report(bytes('bad'), 'the body is not JSON');
    await eventually(() => log.records.length === 1);
    expect(log.records[0]?.fields).toMatchObject({ error: 'the body is not JSON', sample: 'bad' });
    expect(errors.discards.counts()).toEqual({ 'report of a bad push': 1 });
  });
});
