import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { type Clock, systemClock } from '../../clock/index.js';
import { OUTCOME } from '../../errors/index.js';
import { allocateSnowflake, decodeSnowflake, issueLimitMs, Snowflake, setIssueLimitMs } from '../../id/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink } from './redis-link.js';
import { declareFirstLease, LeasedMachineIds, type MachineIdLoss, type MachineIdOptions } from './redis-machine-ids.js';

const EPOCH_MS = 1_700_000_000_000;
const LEASE_MS = 1_000;
const MAX_SKEW_MS = 100;
const TOKEN = 'a'.repeat(32);
const OTHER_TOKEN = 'b'.repeat(32);
const code = (errorCode: string): unknown => expect.objectContaining({ code: errorCode });

let server: RedisServer;
let prefixCount = 0;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function openLink(url = server.url): Promise<RedisLink> {
  prefixCount += 1;
  const options = { url, prefix: `ids${prefixCount}`, tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 500 };
  const link = await RedisLink.open({ ...options, clientName: 'test' }, memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** A Redis that knows for long which blocks are leased. */
async function matureLink(): Promise<RedisLink> {
  const link = await openLink();
  await declareFirstLease(link);
  return link;
}

interface TestNode {
  readonly memory: SharedArrayBuffer;
  readonly options: MachineIdOptions;
  readonly waits: string[];
}

function node(link: RedisLink, serverId: string, extra: Partial<MachineIdOptions> = {}): TestNode {
  const slotCount = extra.slotCount ?? 2;
  const memory = allocateSnowflake({ epochMs: EPOCH_MS, machineBase: 0, slotCount });
  const waits: string[] = [];
  return {
    memory,
    waits,
    options: {
      link,
      serverId,
      nodeEpoch: () => 1,
      token: TOKEN,
      memory,
      slotCount,
      setLimitMs: (limitMs) => setIssueLimitMs(memory, limitMs),
      leaseMs: LEASE_MS,
      maxSkewMs: MAX_SKEW_MS,
      log: memoryLog().logger,
      onWaiting: (_, why) => waits.push(why),
      ...extra,
    },
  };
}

async function take(options: MachineIdOptions): Promise<LeasedMachineIds> {
  const ids = await LeasedMachineIds.take(options);
  cleanups.push(() => ids.release());
  return ids;
}

/** Every block but these is leased for a minute by another server. */
async function leaveFree(link: RedisLink, blocks: readonly number[], endMs = Date.now() + 60_000): Promise<void> {
  for (let block = 0; block < 56; block++) {
    if (blocks.includes(block)) continue;
    await link.commands.hset(
      link.keys.machineBlocks(),
      String(block),
      `${endMs} ${endMs - MAX_SKEW_MS} 0 1 ${OTHER_TOKEN} other-${block % 5}`,
    );
  }
}

function clockOff(offsetMs: number): Clock {
  return { nowMs: () => systemClock.nowMs() + offsetMs, monotonicMs: () => systemClock.monotonicMs() };
}

describe('a lease of machine ids', () => {
  it('gives an aligned block, and lets ids be drawn up to its end less the skew bound', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    expect(ids.machineBase % 16).toBe(0);
    expect(issueLimitMs(memory)).toBe(ids.leaseEndMs - MAX_SKEW_MS);
    expect(ids.leaseEndMs - Date.now()).toBeGreaterThan(LEASE_MS - 300);
    const id = new Snowflake(memory, 1).next();
    expect(decodeSnowflake(id, EPOCH_MS).machineId).toBe(ids.machineBase + 1);
    expect(ids.notReady()).toEqual([]);
  });

  it('is for one node only: as many nodes as blocks get different ones, the next is told how many there are', async () => {
    const link = await matureLink();
    const bases = await Promise.all(
      Array.from({ length: 56 }, async (_, index) => (await take(node(link, `n${index}`).options)).machineBase),
    );
    expect(new Set(bases).size).toBe(56);
    const one = LeasedMachineIds.take(node(link, 'one-more').options);
    await expect(one).rejects.toThrow(code('NO_MACHINE_BLOCK'));
    await expect(one).rejects.toThrow(/nodes=56/);
  });

  it('is for two adjacent blocks, the first one even, where a node has more than 16 slots', async () => {
    const link = await matureLink();
    await leaveFree(link, [3, 4, 7, 8, 9]);
    const { options, memory } = node(link, 'wide', { slotCount: 17 });
    const ids = await take(options);
    expect(ids.machineBase).toBe(8 * 16);
    expect(new Snowflake(memory, 16).machineId).toBe(9 * 16);
    const second = LeasedMachineIds.take(node(link, 'wide-too', { slotCount: 20 }).options);
    await expect(second).rejects.toThrow(code('NO_MACHINE_BLOCK'));
  });

  it('is taken by the hash of the server id, and again so after the others have come and gone', async () => {
    const link = await matureLink();
    const first = await LeasedMachineIds.take(node(link, 'stable').options);
    await first.release();
    const elsewhere = await matureLink();
    expect((await take(node(elsewhere, 'stable').options)).machineBase).toBe(first.machineBase);
  });

  it('leaves the block of a dead node to it as long as others are free', async () => {
    const link = await matureLink();
    const before = await LeasedMachineIds.take(node(link, 'dead').options);
    const block = before.machineBase / 16;
    await leaveFree(link, [block, (block + 7) % 56]);
    await before.release();
    // Searches from the dead node's block on, since it has the same hash.
    const { options } = node(link, 'dead', { nodeEpoch: () => 2 });
    const newcomer = await take(node(link, 'newcomer').options);
    expect(newcomer.machineBase).toBe(((block + 7) % 56) * 16);
    expect((await take(options)).machineBase).toBe(before.machineBase);
  });

  it('is refused where the clocks differ by more than the bound, before a block is taken', async () => {
    const link = await matureLink();
    for (const offsetMs of [-5_000, 5_000]) {
      const { options } = node(link, 'a', { clock: clockOff(offsetMs) });
      const taking = LeasedMachineIds.take(options);
      await expect(taking).rejects.toThrow(code('ID_CLOCK_SKEW'));
      await expect(taking).rejects.toThrow(/maxSkewMs=100/);
    }
    expect(await link.commands.hlen(link.keys.machineBlocks())).toBe(1);
  });

  it('refuses bounds that cannot work', async () => {
    const link = await matureLink();
    await expect(LeasedMachineIds.take(node(link, 'a', { maxSkewMs: 400 }).options)).rejects.toThrow(
      code('ID_BAD_OPTION'),
    );
    await expect(LeasedMachineIds.take(node(link, 'a', { slotCount: 33 }).options)).rejects.toThrow(
      code('ID_BAD_OPTION'),
    );
  });

  it('reports Redis that goes away during the start', async () => {
    const lonely = await startRedis();
    const link = await openLink(lonely.url);
    await lonely.remove();
    await eventually(() => !link.isUp);
    await expect(LeasedMachineIds.take(node(link, 'a').options)).rejects.toThrow(code('REDIS_AWAY'));
  });
});

describe('a renewal', () => {
  it('moves the limit; without one ids stop by themselves and /ready says so, and go on after the next', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    const snowflake = new Snowflake(memory, 0);
    const bytes = new Uint8Array(8);
    let lastMs = 0;
    await eventually(() => {
      const outcome = snowflake.tryWriteTo(bytes, 0);
      if (outcome === OUTCOME.OK) lastMs = snowflake.lastTimestampMs;
      return outcome !== OUTCOME.OK;
    });
    expect(lastMs).toBeLessThan(ids.leaseEndMs - MAX_SKEW_MS);
    expect(ids.notReady()).toEqual([{ reason: 'ids_stopped', detail: expect.stringContaining('was not renewed') }]);
    const base = ids.machineBase;
    await ids.renew();
    expect(ids.notReady()).toEqual([]);
    expect([ids.machineBase, snowflake.tryWriteTo(bytes, 0)]).toEqual([base, OUTCOME.OK]);
  });

  it('goes on by itself for longer than a lease', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    ids.keepRenewing();
    const endMs = ids.leaseEndMs + LEASE_MS;
    const snowflake = new Snowflake(memory, 0);
    await eventually(() => {
      snowflake.next();
      return Date.now() > endMs;
    });
  });

  it('takes another block where this one went to another node; ids of a slot rise over the change', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    const losses: MachineIdLoss[] = [];
    ids.onLost((loss) => losses.push(loss));
    const snowflake = new Snowflake(memory, 0);
    const before = snowflake.next();
    const base = ids.machineBase;
    await leaveFree(link, [(base / 16 + 55) % 56]);
    await ids.renew();
    expect(losses).toEqual([{ reason: 'taken', byServerId: expect.stringMatching(/^other-/) }]);
    expect(ids.machineBase).toBe(((base / 16 + 55) % 56) * 16);
    const after = snowflake.next();
    expect(after).toBeGreaterThan(before);
    expect(decodeSnowflake(after, EPOCH_MS).machineId).toBe(ids.machineBase);
  });

  it('stops ids where no other block is free, and goes on as soon as one is', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    await leaveFree(link, []);
    ids.keepRenewing();
    await eventually(() => ids.notReady()[0]?.detail.includes('all 56 blocks') === true);
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
    await link.commands.hdel(link.keys.machineBlocks(), '5');
    await eventually(() => ids.notReady().length === 0);
    expect(ids.machineBase).toBe(5 * 16);
  });

  it('ends for good where a later incarnation of the server id has come', async () => {
    const link = await matureLink();
    const old = node(link, 'a');
    const ids = await take(old.options);
    const losses: MachineIdLoss[] = [];
    ids.onLost((loss) => losses.push(loss));
    const later = await take(node(link, 'a', { nodeEpoch: () => 2 }).options);
    expect(later.machineBase).toBe(ids.machineBase);
    await ids.renew();
    await ids.renew();
    expect(losses).toEqual([{ reason: 'superseded', byServerId: 'a' }]);
    expect(issueLimitMs(old.memory)).toBe(Number.NEGATIVE_INFINITY);
    expect(ids.notReady()[0]?.detail).toContain('own server_id');
    await ids.release();
    await later.renew();
    expect(later.notReady()).toEqual([]);
    await expect(LeasedMachineIds.take(node(link, 'a').options)).rejects.toThrow(code('ID_SUPERSEDED'));
  });

  it('tells Redis that came back empty of a lease that still runs, and keeps the block', async () => {
    const link = await matureLink();
    const { options } = node(link, 'a');
    const ids = await take(options);
    await link.commands.del(link.keys.machineBlocks());
    const base = ids.machineBase;
    await ids.renew();
    expect([ids.machineBase, ids.notReady()]).toEqual([base, []]);
    const record = await link.commands.hget(link.keys.machineBlocks(), String(base / 16));
    expect(record).toContain(' a');
  });

  it('does not claim a lease that has ended back from Redis that came back empty: a stranger may have had the block', async () => {
    const link = await matureLink();
    const { options, memory } = node(link, 'a');
    const ids = await take(options);
    const losses: MachineIdLoss[] = [];
    ids.onLost((loss) => losses.push(loss));
    await eventually(() => Date.now() > ids.leaseEndMs);
    await link.commands.del(link.keys.machineBlocks());
    await ids.renew();
    expect(losses).toEqual([{ reason: 'taken', byServerId: '' }]);
    expect(issueLimitMs(memory)).toBe(Number.NEGATIVE_INFINITY);
    ids.keepRenewing();
    await eventually(() => ids.notReady().length === 0);
  });
});

describe('a take-over', () => {
  it('of the same data directory gets the block back at once after a kill', async () => {
    const link = await matureLink();
    const killed = await LeasedMachineIds.take(node(link, 'a').options);
    const { options, waits } = node(link, 'a', { nodeEpoch: () => 2 });
    const ids = await take(options);
    expect([ids.machineBase, waits]).toEqual([killed.machineBase, []]);
  });

  it('by a server id whose data directory was lost goes to a block whose ids are past, at once', async () => {
    const link = await matureLink();
    const killed = await LeasedMachineIds.take(node(link, 'a').options);
    const { options, waits } = node(link, 'a', { nodeEpoch: () => 2, token: OTHER_TOKEN });
    const ids = await take(options);
    expect(waits).toEqual([]);
    expect(ids.machineBase).not.toBe(killed.machineBase);
  });

  it('by a server id whose data directory was lost waits for its old ids where no other block is free', async () => {
    const link = await matureLink();
    const killed = await LeasedMachineIds.take(node(link, 'a').options);
    await leaveFree(link, [killed.machineBase / 16]);
    const { options, memory, waits } = node(link, 'a', { nodeEpoch: () => 2, token: OTHER_TOKEN });
    const ids = await take(options);
    expect(ids.machineBase).toBe(killed.machineBase);
    expect(waits).toEqual([expect.stringContaining('earlier holder')]);
    const snowflake = new Snowflake(memory, 0);
    snowflake.next();
    expect(snowflake.lastTimestampMs).toBeGreaterThanOrEqual(killed.leaseEndMs - MAX_SKEW_MS);
  });

  it('of a dead node comes after its lease, and issues nothing below what that one might have issued', async () => {
    const link = await matureLink();
    const dead = await LeasedMachineIds.take(node(link, 'dead').options);
    await leaveFree(link, [dead.machineBase / 16]);
    const slow = node(link, 'heir', { clock: clockOff(-90) });
    await expect(LeasedMachineIds.take(slow.options)).rejects.toThrow(code('NO_MACHINE_BLOCK'));
    const ids = await eventually(() => take(slow.options).catch(() => undefined));
    expect(ids.machineBase).toBe(dead.machineBase);
    const snowflake = new Snowflake(slow.memory, 0, clockOff(-90));
    snowflake.next();
    expect(snowflake.lastTimestampMs).toBeGreaterThanOrEqual(dead.leaseEndMs - MAX_SKEW_MS);
    // The dead one was only frozen: its draws still end below the same line.
    expect(issueLimitMs(slow.memory)).toBeGreaterThan(dead.leaseEndMs);
  });

  it('of a block that was given back needs no wait', async () => {
    const link = await matureLink();
    const before = await LeasedMachineIds.take(node(link, 'before').options);
    await leaveFree(link, [before.machineBase / 16]);
    await before.release();
    await before.release();
    const { options } = node(link, 'after');
    expect((await take(options)).machineBase).toBe(before.machineBase);
    await before.renew();
    expect(before.notReady()[0]?.detail).toContain('stopping');
  });

  it('waits all the same where somebody says that nobody was there before, and Redis knows better', async () => {
    const link = await openLink();
    await link.commands.hset(link.keys.machineBlocks(), 'bornMs', String(Date.now()));
    await declareFirstLease(link);
    const { options, waits } = node(link, 'late');
    await take(options);
    expect(waits).toEqual([expect.stringContaining('lost its data')]);
  });

  it('waits for one lease where Redis is new, since it may have lost its data; living nodes keep theirs meanwhile', async () => {
    const link = await openLink();
    const startedMs = Date.now();
    const { options, waits } = node(link, 'first');
    const ids = await take(options);
    expect(waits).toEqual([expect.stringContaining('lost its data')]);
    expect(Date.now() - startedMs).toBeGreaterThanOrEqual(LEASE_MS - 5);
    const again = node(link, 'second');
    await take(again.options);
    expect(again.waits).toEqual([]);
    expect(ids.notReady()).toEqual([]);
  });
});
