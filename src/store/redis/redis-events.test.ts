import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import type { EncodedEvent, EventBatch } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisDeadLetters, RedisEventStream } from './redis-events.js';
import { RedisUserMarks } from './redis-events-marks.js';
import { RedisLink } from './redis-link.js';

let server: RedisServer;
let link: RedisLink;
let testCount = 0;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.remove());
afterEach(() => link.close());

/** A link whose keys no other test has. */
async function open(url = server.url): Promise<RedisLink> {
  testCount += 1;
  const times = { connectTimeoutMs: 1_000, commandTimeoutMs: 300 };
  link = await RedisLink.open(
    { url, prefix: `t${testCount}`, tlsCaFile: '', clientName: 'test', ...times },
    memoryLog().logger,
  );
  return link;
}

const eventOf = (id: number): EncodedEvent => ({ id: String(id), type: 'message', json: `{"id":"${id}"}` });
const batchOf = (batchNo: number, ...ids: number[]): EventBatch => ({
  ...{ deliveryId: String(ids[0]), batchNo, lane: 0, attempt: 1 },
  events: ids.map(eventOf),
});
const entries = async () => (await link.commands.xrange(link.keys.events(), '-', '+')).map(([, fields]) => fields);

describe('the stream of events', () => {
  it('has one entry per event, in order, with its id, type and JSON', async () => {
    const stream = new RedisEventStream(await open(), { serverId: 'node-a', maxEvents: 1_000 });
    expect(await stream.send(batchOf(1, 1, 2))).toEqual({ kind: 'sent' });
    expect(await stream.send(batchOf(2, 3))).toEqual({ kind: 'sent' });
    expect(await entries()).toEqual(
      [1, 2, 3].map((id) => ['id', String(id), 'type', 'message', 'event', `{"id":"${id}"}`]),
    );
  });

  it('takes a batch whose answer was lost once, and the batches of another run of the same node anew', async () => {
    const stream = new RedisEventStream(await open(), { serverId: 'node-a', maxEvents: 1_000 });
    await stream.send(batchOf(1, 1));
    expect(await stream.send(batchOf(1, 1))).toEqual({ kind: 'sent' });
    await stream.send(batchOf(2, 2));
    expect(await entries()).toHaveLength(2);
    const nextRun = new RedisEventStream(link, { serverId: 'node-a', maxEvents: 1_000 });
    await nextRun.send(batchOf(1, 3));
    expect(await entries()).toHaveLength(3);
  });

  it('keeps about as many events as it may', async () => {
    const stream = new RedisEventStream(await open(), { serverId: 'node-a', maxEvents: 1_000 });
    for (let batchNo = 1; batchNo <= 50; batchNo++) {
      await stream.send(batchOf(batchNo, ...Array.from({ length: 100 }, (_, index) => batchNo * 100 + index)));
    }
    const length = await link.commands.xlen(link.keys.events());
    expect(length).toBeGreaterThanOrEqual(1_000);
    expect(length).toBeLessThan(1_500);
  });

  it('asks for another attempt while Redis is away or has no memory, and goes on when it is back', async () => {
    const own = await startRedis();
    try {
      const stream = new RedisEventStream(await open(own.url), { serverId: 'node-a', maxEvents: 1_000 });
      await link.commands.config('SET', 'maxmemory', '1');
      expect(await stream.send(batchOf(1, 1))).toMatchObject({ kind: 'retry', cause: expect.stringContaining('OOM') });
      await link.commands.config('SET', 'maxmemory', '0');
      await own.stop('SIGKILL');
      expect(await stream.send(batchOf(1, 1))).toMatchObject({ kind: 'retry' });
      const back = await startRedis({ port: own.port, dir: own.dir });
      try {
        await eventually(async () => (await stream.send(batchOf(1, 1))).kind === 'sent');
        expect(await entries()).toHaveLength(1);
      } finally {
        await back.stop();
      }
    } finally {
      await own.remove();
    }
  });

  it('answers within the deadline of a command where Redis stands still', async () => {
    const stream = new RedisEventStream(await open(), { serverId: 'node-a', maxEvents: 1_000 });
    const other = new Redis(server.url);
    try {
      await other.call('CLIENT', 'PAUSE', '1000', 'WRITE');
      expect(await stream.send(batchOf(1, 1))).toMatchObject({ kind: 'retry' });
      await other.call('CLIENT', 'UNPAUSE');
      await eventually(async () => (await stream.send(batchOf(1, 1))).kind === 'sent');
      // The attempt that timed out may have been carried out on UNPAUSE: the batch stands once all the same.
      expect(await entries()).toHaveLength(1);
    } finally {
      other.disconnect();
    }
  });
});

it('dead letters are kept per batch, with their cause', async () => {
  await open();
  await new RedisDeadLetters(link, 100, () => 5_000).store(batchOf(9, 1, 2), 'status 400');
  const [[, fields] = []] = await link.commands.xrange(link.keys.events(':dead'), '-', '+');
  expect(fields).toEqual([
    ...['at_ms', '5000', 'cause', 'status 400', 'delivery_id', '1', 'events', '[{"id":"1"},{"id":"2"}]'],
  ]);
});

describe('the marks of users', () => {
  const one = { mid: 7, token: 'a' };

  it('say who is new, and the same when asked again', async () => {
    const marks = new RedisUserMarks(await open());
    expect(await marks.arrived([one, { mid: 8, token: 'b' }])).toEqual([true, true]);
    expect(await marks.arrived([one])).toEqual([true]);
    expect(await marks.arrived([{ mid: 7, token: 'c' }])).toEqual([false]);
    expect(await marks.arrived([{ mid: 7, token: 'c' }])).toEqual([false]);
    // Also after others have arrived: the first one's answer may have been lost for long.
    expect(await marks.arrived([one])).toEqual([true]);
  });

  it('give one of two claims that saw the same, and the same answer when asked again', async () => {
    const marks = new RedisUserMarks(await open());
    await marks.arrived([one]);
    const [seenMark = ''] = await marks.read([7]);
    const claim = (token: string) => marks.departed([{ mid: 7, token, seenMark }]);
    expect([await claim('x'), await claim('y'), await claim('x')]).toEqual([[true], [false], [true]]);
    expect(await marks.departed([{ mid: 7, token: 'y', seenMark: (await marks.read([7]))[0] ?? '' }])).toEqual([false]);
    expect(await marks.arrived([{ mid: 7, token: 'z' }])).toEqual([true]);
  });

  it('refuse a claim after somebody has arrived', async () => {
    const marks = new RedisUserMarks(await open());
    await marks.arrived([one]);
    const [seenMark = ''] = await marks.read([7]);
    await marks.arrived([{ mid: 7, token: 'elsewhere' }]);
    expect(await marks.departed([{ mid: 7, token: 'x', seenMark }])).toEqual([false]);
  });

  it('let one claim through where Redis has lost its data', async () => {
    const marks = new RedisUserMarks(await open());
    const [seenMark = ''] = await marks.read([7]);
    expect(await marks.departed([{ mid: 7, token: 'x', seenMark }])).toEqual([true]);
    expect(await marks.departed([{ mid: 7, token: 'y', seenMark }])).toEqual([false]);
  });
});
