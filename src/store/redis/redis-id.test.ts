import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePort, type RedisServer, startRedis } from '../../../test/kit/index.js';
import {
  COUNTED_ID_END,
  drawId,
  MachineClaim,
  RangeGenerator,
  SegmentSource,
  type SegmentStore,
  SONYFLAKE_MACHINES,
} from '../../id/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { segmentStoreContract } from '../segment-store.contract.js';
import { RedisIncrSource } from './redis-id-incr.js';
import { RedisIdSegmentStore } from './redis-id-segments.js';
import { RedisLink } from './redis-link.js';

let server: RedisServer;
const links: RedisLink[] = [];
let prefixCount = 0;

beforeAll(async () => {
  server = await startRedis();
});
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});
afterAll(() => server.remove());

function uniquePrefix(): string {
  return `id${prefixCount++}`;
}

async function openLink(prefix: string, url = server.url): Promise<RedisLink> {
  const link = await RedisLink.open(
    { url, prefix, tlsCaFile: '', connectTimeoutMs: 1_000, commandTimeoutMs: 500, clientName: 'test' },
    memoryLog().logger,
  );
  links.push(link);
  return link;
}

segmentStoreContract('Redis', async () => {
  const prefix = uniquePrefix();
  return {
    open: async (): Promise<SegmentStore> => new RedisIdSegmentStore(await openLink(prefix)),
    remove: async () => {},
  };
});

describe('ids by INCR', () => {
  it('are the numbers of a plain counter, in blocks or singly, with other producers counting on it', async () => {
    const link = await openLink(uniquePrefix());
    const source = (): RedisIncrSource => new RedisIncrSource({ link, tag: 'orders' });
    const blocks = new RangeGenerator({ scheme: 'redis-incr', source: source(), minStepCount: 10 });
    const single = new RangeGenerator({ scheme: 'redis-incr', source: source(), isSingle: true });
    expect(await drawId(blocks)).toBe(1n);
    expect(await drawId(single)).toBe(11n);
    expect(await link.commands.incr(link.keys.idCounter('orders'))).toBe(12);
    expect(await drawId(single)).toBe(13n);
    expect(blocks.next()).toBe(2n);
  });

  it('drawn singly by many at once share calls, come in order, and leave nothing buffered', async () => {
    const link = await openLink(uniquePrefix());
    const source = new RedisIncrSource({ link, tag: 'orders' });
    let callCount = 0;
    const counted = {
      reserve: (idCount: number) => {
        callCount++;
        return source.reserve(idCount);
      },
    };
    const single = new RangeGenerator({ scheme: 'redis-incr', source: counted, isSingle: true });
    const ids = await Promise.all(Array.from({ length: 500 }, () => drawId(single)));
    expect(ids).toEqual(Array.from({ length: 500 }, (_, index) => BigInt(index + 1)));
    expect(callCount).toBe(1);
    expect(single.bufferedCount).toBe(0);
    expect(single.tryNext()).toBeUndefined();
  });

  it('are refused for good where Redis lost the counter, also after it has caught up', async () => {
    const link = await openLink(uniquePrefix());
    const source = new RedisIncrSource({ link, tag: 'orders' });
    await source.reserve(100);
    await link.commands.del(link.keys.idCounter('orders'));
    await expect(source.reserve(10)).rejects.toMatchObject({ code: 'ID_STORE_WENT_BACK' });
    await link.commands.set(link.keys.idCounter('orders'), 1_000);
    await expect(source.reserve(10)).rejects.toMatchObject({ code: 'ID_STORE_WENT_BACK' });
    expect(await new RedisIncrSource({ link, tag: 'orders' }).reserve(10)).toMatchObject({ firstId: 1_001 });
  });

  it('end before 2^53', async () => {
    const link = await openLink(uniquePrefix());
    await link.commands.set(link.keys.idCounter('orders'), String(COUNTED_ID_END - 5));
    const source = new RedisIncrSource({ link, tag: 'orders' });
    expect(await source.reserve(4)).toMatchObject({ firstId: COUNTED_ID_END - 4, idCount: 4 });
    await expect(source.reserve(1)).rejects.toMatchObject({ code: 'ID_COUNTER_ENDED' });
  });
});

describe('with Redis away', () => {
  it.each(['segment', 'redis-incr'] as const)(
    '%s serves its buffer to the end, then says why, and goes on when it is back',
    async (scheme) => {
      const own = await startRedis({
        port: await freePort(),
        args: ['--appendonly', 'yes', '--appendfsync', 'always'],
      });
      const link = await openLink(uniquePrefix(), own.url);
      const store = new RedisIdSegmentStore(link);
      const source =
        scheme === 'segment'
          ? new SegmentSource({ store, tag: 'orders' })
          : new RedisIncrSource({ link, tag: 'orders' });
      const generator = new RangeGenerator({ scheme, source, minStepCount: 100, maxStepCount: 100, retryMs: 20 });
      await generator.ready();
      await own.stop('SIGKILL');
      const served: bigint[] = [];
      for (let id = generator.tryNext(); id !== undefined; id = generator.tryNext()) served.push(id);
      expect(served).toEqual(Array.from({ length: 100 }, (_, index) => BigInt(index + 1)));
      await expect(generator.ready()).rejects.toMatchObject({ code: 'ID_STORE_UNAVAILABLE' });
      expect(() => generator.next()).toThrow(expect.objectContaining({ code: 'ID_RANGE_EMPTY' }));
      const again = await startRedis({
        port: own.port,
        dir: own.dir,
        args: ['--appendonly', 'yes', '--appendfsync', 'always'],
      });
      try {
        await expect
          .poll(() => drawId(generator).catch(() => 0n), { timeout: 10_000, interval: 10 })
          .toBeGreaterThan(100n);
      } finally {
        await again.remove();
      }
    },
  );
});

describe('machine ids leased in Redis', () => {
  it('come back with their floor where Redis lost the claim of a living owner: no shared id time', async () => {
    const link = await openLink(uniquePrefix());
    const store = new RedisIdSegmentStore(link);
    const options = { store, scheme: 'sonyflake', machineId: 7, machines: SONYFLAKE_MACHINES, leaseMs: 300 } as const;
    const old = await MachineClaim.open(options);
    await link.commands.del(link.keys.idSegment('machine/sonyflake/7'));
    const taken = await MachineClaim.open(options);
    const limits: number[] = [];
    let floorMs = 0;
    taken.attach({
      raiseFloorMs: (ms) => {
        floorMs = ms;
      },
      setLimitMs: (ms) => limits.push(ms),
      highestIssuedMs: () => floorMs,
    });
    expect(floorMs).toBeGreaterThan(old.endMs);
    await expect(old.renew()).rejects.toMatchObject({ code: 'ID_MACHINE_CLASH' });
    await taken.renew();
    expect(limits.at(-1)).toBeGreaterThan(floorMs);
    await taken.close();
  });
});
