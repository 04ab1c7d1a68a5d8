import { describe, expect, it } from 'vitest';
import { eventually } from '../../test/kit/index.js';
import { ManualClock } from '../clock/index.js';
import {
  allocateSonyflake,
  MachineClaim,
  type MachineClaimOptions,
  type SegmentStore,
  Sonyflake,
  sonyflakeGate,
} from '../id/index.js';
import { MemorySegmentStore } from './memory-segment-store.js';

const EPOCH_MS = 1_700_000_000_000;
const NOW_MS = EPOCH_MS + 86_400_000;

function optionsOf(store: SegmentStore, overrides: Partial<MachineClaimOptions> = {}): MachineClaimOptions {
  return {
    store,
    scheme: 'sonyflake',
    machineId: 7,
    machines: { firstId: 0, count: 65_536 },
    leaseMs: 200,
    ...overrides,
  };
}

/** A generator that issues under `claim`. */
function generatorOf(claim: MachineClaim, clock?: ManualClock): Sonyflake {
  const memory = allocateSonyflake({ epochMs: EPOCH_MS, machineId: claim.machineId });
  claim.attach(sonyflakeGate(memory));
  return clock === undefined ? new Sonyflake(memory) : new Sonyflake(memory, clock);
}

describe('a claim on a machine id', () => {
  it('refuses a second owner while the first lives, and lets it in without a wait once the first has left', async () => {
    const store = new MemorySegmentStore();
    const first = await MachineClaim.open(optionsOf(store));
    first.keepRenewing(() => undefined);
    await expect(MachineClaim.open(optionsOf(store))).rejects.toMatchObject({ code: 'ID_MACHINE_CLASH' });
    await first.close();
    const startedMs = performance.now();
    await MachineClaim.open(optionsOf(store, { leaseMs: 10_000 }));
    expect(performance.now() - startedMs).toBeLessThan(1_000);
  });

  it('goes to the next owner one lease after its owner died', async () => {
    const store = new MemorySegmentStore();
    await MachineClaim.open(optionsOf(store));
    const startedMs = performance.now();
    await MachineClaim.open(optionsOf(store));
    expect(performance.now() - startedMs).toBeGreaterThan(180);
  });

  it('stops the ids of an owner that was frozen while another took over, and the two share no id', async () => {
    const store = new MemorySegmentStore();
    const frozen = await MachineClaim.open(optionsOf(store));
    const frozenIds = generatorOf(frozen);
    const before = [frozenIds.next(), frozenIds.next()];
    const next = await MachineClaim.open(optionsOf(store));
    const nextIds = generatorOf(next);
    // Thawed, before it finds out: whatever it still draws lies below the other's first id.
    const late = frozenIds.tryNext();
    const first = nextIds.next();
    for (const id of [...before, ...(late === undefined ? [] : [late])]) expect(id).toBeLessThan(first);
    await expect(frozen.renew()).rejects.toMatchObject({ code: 'ID_MACHINE_CLASH' });
    expect(() => frozenIds.next()).toThrow(expect.objectContaining({ code: 'ID_LIMIT_REACHED' }));
    expect(nextIds.next()).toBeGreaterThan(first);
  });

  it.each([1, 1_000, 3_600_000])(
    'keeps ids rising over a restart with the clock stepped back by %i ms',
    async (stepMs) => {
      const store = new MemorySegmentStore();
      const clock = new ManualClock(NOW_MS);
      const first = await MachineClaim.open(optionsOf(store, { clock }));
      const last = generatorOf(first, clock).next();
      clock.stepWall(-stepMs);
      const second = await MachineClaim.open(optionsOf(store, { clock }));
      expect(generatorOf(second, clock).next()).toBeGreaterThan(last);
    },
  );

  it('keeps ids rising over a close in order too, without skipping ahead of the clock', async () => {
    const store = new MemorySegmentStore();
    const clock = new ManualClock(NOW_MS);
    const first = await MachineClaim.open(optionsOf(store, { clock, leaseMs: 60_000 }));
    const firstIds = generatorOf(first, clock);
    const last = firstIds.next();
    await first.close();
    const nextIds = generatorOf(await MachineClaim.open(optionsOf(store, { clock })), clock);
    const next = nextIds.next();
    expect(next).toBeGreaterThan(last);
    expect(nextIds.decode(next).timestampMs - NOW_MS).toBeLessThanOrEqual(30);
  });

  it('lets ids go on to its end while the store fails, no further, and on again when it is back', async () => {
    const store = new MemorySegmentStore();
    const clock = new ManualClock(NOW_MS);
    let isAway = false;
    const flaky: SegmentStore = {
      mayForget: false,
      take: (tag, count) => store.take(tag, count),
      read: (tag) => (isAway ? Promise.reject(new Error('away')) : store.read(tag)),
      replace: (tag, content, version) =>
        isAway ? Promise.reject(new Error('away')) : store.replace(tag, content, version),
      close: () => store.close(),
    };
    const claim = await MachineClaim.open(optionsOf(flaky, { clock }));
    const ids = generatorOf(claim, clock);
    isAway = true;
    clock.advance(100);
    await expect(claim.renew()).rejects.toThrow('away');
    ids.next();
    clock.advance(100);
    expect(() => ids.next()).toThrow(expect.objectContaining({ code: 'ID_LIMIT_REACHED' }));
    isAway = false;
    await claim.renew();
    ids.next();
  });

  it('knows its own renewal again whose answer was lost', async () => {
    const store = new MemorySegmentStore();
    const clock = new ManualClock(NOW_MS);
    let losesAnswer = false;
    const lossy: SegmentStore = {
      mayForget: false,
      take: (tag, count) => store.take(tag, count),
      read: (tag) => store.read(tag),
      replace: async (tag, content, version) => {
        const isDone = await store.replace(tag, content, version);
        if (losesAnswer) throw new Error('no answer');
        return isDone;
      },
      close: () => store.close(),
    };
    const claim = await MachineClaim.open(optionsOf(lossy, { clock }));
    losesAnswer = true;
    clock.advance(50);
    await expect(claim.renew()).rejects.toThrow('no answer');
    losesAnswer = false;
    clock.advance(50);
    await claim.renew();
    expect(claim.endMs).toBe(NOW_MS + 300);
  });

  it('leases different ids to owners that ask for any, and says when none is free', async () => {
    const store = new MemorySegmentStore();
    const any = optionsOf(store, { machineId: 'any', machines: { firstId: 8, count: 8 }, leaseMs: 60_000 });
    const claims = [];
    for (let count = 0; count < 8; count++) claims.push(await MachineClaim.open(any));
    expect(claims.map((claim) => claim.machineId).toSorted((a, b) => a - b)).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    await expect(MachineClaim.open(any)).rejects.toMatchObject({ code: 'ID_MACHINE_NONE_FREE' });
    await claims[3]!.close();
    expect((await MachineClaim.open(any)).machineId).toBe(claims[3]!.machineId);
  });

  it('is one of those that open it at the same moment', async () => {
    const store = new MemorySegmentStore();
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => MachineClaim.open(optionsOf(store))));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });

  it('renews by itself', async () => {
    const claim = await MachineClaim.open(optionsOf(new MemorySegmentStore(), { leaseMs: 100 }));
    const endMs = claim.endMs;
    claim.keepRenewing((error) => expect.fail(String(error)));
    await eventually(() => claim.endMs > endMs + 100);
    await claim.close();
    await expect(claim.renew()).rejects.toMatchObject({ code: 'ID_MACHINE_CLOSED' });
  });

  it('refuses ids and leases out of range', async () => {
    const store = new MemorySegmentStore();
    await expect(MachineClaim.open(optionsOf(store, { machineId: 65_536 }))).rejects.toMatchObject({
      code: 'ID_MACHINE_RANGE',
    });
    await expect(MachineClaim.open(optionsOf(store, { leaseMs: 5 }))).rejects.toMatchObject({ code: 'ID_BAD_OPTION' });
  });
});
