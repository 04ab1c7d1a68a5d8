import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressCounts, allocateAddressCounts, COUNT_REFUSED } from './address-counts.js';
import { COUNT_WINDOW_SLOTS } from './address-counts.layout.js';
import type { AddressStressData } from './fixtures/address-stress.worker.js';

const SEED = 0x1234_5678;
/** Compiled, since a thread of its own cannot load TypeScript. */
const DIST = new URL('../../../dist/comet/limits/fixtures/', import.meta.url);

describe('connections per address', () => {
  it('are counted over all buckets up to the limit, and free a place when one leaves', () => {
    const memory = allocateAddressCounts(3, 100, 64, SEED);
    const buckets = [new AddressCounts(memory, 1), new AddressCounts(memory, 2)] as const;
    const first = buckets[0].enter('192.0.2.1', 2);
    const second = buckets[1].enter('192.0.2.1', 2);
    expect([first >= 0, second >= 0]).toEqual([true, true]);
    expect(buckets.map((bucket) => bucket.enter('192.0.2.1', 2))).toEqual([COUNT_REFUSED.LIMIT, COUNT_REFUSED.LIMIT]);
    expect([buckets[0].countOf('192.0.2.1'), buckets[0].countOf('192.0.2.2')]).toEqual([2, 0]);
    buckets[0].leave(first);
    expect(buckets[1].enter('192.0.2.1', 2) >= 0).toBe(true);
  });

  it.each([
    ['IPv4 in both its forms', 64, '192.0.2.1', '::ffff:192.0.2.1', true],
    ['IPv4 as uWS writes it', 64, '192.0.2.1', '0000:0000:0000:0000:0000:ffff:c000:0201', true],
    ['two IPv4 addresses', 64, '192.0.2.1', '192.0.2.2', false],
    ['one /64', 64, '2001:db8:1:2::1', '2001:db8:1:2:ffff::9', true],
    ['two /64', 64, '2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['one /48', 48, '2001:db8:1:2::1', '2001:db8:1:3::1', true],
    ['two /48', 48, '2001:db8:1:2::1', '2001:db8:2:2::1', false],
    ['one /32', 32, '2001:db8:1::', '2001:db8:2::', true],
    ['two /32', 32, '2001:db8::', '2001:db9::', false],
    ['one /20', 20, '2001:0d01::', '2001:0fff::', true],
    ['two /20', 20, '2001:0fff::', '2001:1000::', false],
    ['an IPv4 address and the IPv6 one of the same bits', 64, '0.0.0.1', '::1', false],
  ])('%s', (_, prefixBits, one, other, together) => {
    const counts = new AddressCounts(allocateAddressCounts(2, 10, prefixBits, SEED), 1);
    expect(counts.enter(one, 1) >= 0).toBe(true);
    expect(counts.enter(other, 1) >= 0).toBe(!together);
  });

  it('what a dead bucket held is free again, and nothing else', () => {
    const memory = allocateAddressCounts(3, 100, 64, SEED);
    const dead = new AddressCounts(memory, 1);
    const living = new AddressCounts(memory, 2);
    for (let index = 0; index < 50; index++) dead.enter(`198.51.100.${index % 10}`, 100);
    living.enter('198.51.100.1', 100);
    new AddressCounts(memory, 0).forgetThread(1);
    const left = Array.from({ length: 10 }, (_, index) => living.countOf(`198.51.100.${index}`));
    expect(left).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(new AddressCounts(memory, 1).enter('198.51.100.1', 2) >= 0).toBe(true);
  });

  it('says FULL and counts nothing where the window of an address holds others only', () => {
    // 64 slots and windows of 32: some window is full before the table is.
    const counts = new AddressCounts(allocateAddressCounts(2, 1, 64, SEED), 1);
    const addresses = Array.from({ length: 2 * COUNT_WINDOW_SLOTS + 1 }, (_, index) => `203.0.113.${index}`);
    const slots = addresses.map((address) => counts.enter(address, 5));
    expect(slots).toContain(COUNT_REFUSED.FULL);
    for (const [index, address] of addresses.entries())
      expect(counts.countOf(address)).toBe(slots[index]! >= 0 ? 1 : 0);
    expect(new Set(slots.filter((slot) => slot >= 0)).size).toBe(slots.filter((slot) => slot >= 0).length);
  });

  it('holds a full bucket of distinct addresses', () => {
    const counts = new AddressCounts(allocateAddressCounts(2, 20_000, 64, SEED), 1);
    let refused = 0;
    for (let index = 0; index < 20_000; index++)
      if (counts.enter(`10.7.${index >> 8}.${index & 255}`, 1) < 0) refused += 1;
    expect(refused).toBe(0);
  });

  it('agree with a plain count in any order of entering, leaving and dying', () => {
    const step = fc.record({
      kind: fc.constantFrom('enter', 'enter', 'enter', 'leave', 'die'),
      bucket: fc.integer({ min: 1, max: 3 }),
      host: fc.integer({ min: 0, max: 5 }),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer(),
        (steps, limit, seed) => {
          const memory = allocateAddressCounts(4, 16, 64, seed);
          const buckets = [0, 1, 2, 3].map((thread) => new AddressCounts(memory, thread));
          const held = new Map<string, number[]>();
          const keyOf = (bucket: number, host: number) => `${bucket} ${host}`;
          const countOf = (host: number) =>
            [1, 2, 3].reduce((sum, bucket) => sum + (held.get(keyOf(bucket, host))?.length ?? 0), 0);
          for (const { kind, bucket, host } of steps) {
            const address = `192.0.2.${host}`;
            const slots = held.get(keyOf(bucket, host)) ?? [];
            held.set(keyOf(bucket, host), slots);
            if (kind === 'enter') {
              const slot = buckets[bucket]!.enter(address, limit);
              expect(slot >= 0).toBe(countOf(host) < limit);
              if (slot >= 0) slots.push(slot);
            } else if (kind === 'leave') {
              const slot = slots.pop();
              if (slot !== undefined) buckets[bucket]!.leave(slot);
            } else {
              buckets[0]!.forgetThread(bucket);
              for (let each = 0; each <= 5; each++) held.set(keyOf(bucket, each), []);
            }
            for (let each = 0; each <= 5; each++) expect(buckets[0]!.countOf(`192.0.2.${each}`)).toBe(countOf(each));
          }
        },
      ),
    );
  });

  it('never exceed the limit while threads race, use every place, and end at nothing', async () => {
    const threadCount = 4;
    const memory = allocateAddressCounts(threadCount + 1, 256, 64, SEED);
    // Per address: how many hold a place by their own account, and the most there ever were.
    const truth = new SharedArrayBuffer(2 * 3 * Int32Array.BYTES_PER_ELEMENT);
    const start = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const limit = 3;
    const workers = Array.from({ length: threadCount }, (_, index) => {
      const workerData: AddressStressData = {
        memory,
        truth,
        start,
        thread: index + 1,
        limit,
        rounds: 40_000,
        seed: index,
      };
      return new Worker(new URL('address-stress.worker.js', DIST), { workerData });
    });
    const exits = await Promise.all(workers.map((worker) => once(worker, 'exit')));
    expect(exits.map(([code]) => code)).toEqual([0, 0, 0, 0]);
    const words = new Int32Array(truth);
    expect([...words.subarray(0, 3)]).toEqual([0, 0, 0]);
    // Exactly the limit: not more, and the repeats let the last place be taken.
    expect([...words.subarray(3)]).toEqual([limit, limit, limit]);
    const counts = new AddressCounts(memory, 0);
    expect([0, 1, 2].map((host) => counts.countOf(`192.0.2.${host}`))).toEqual([0, 0, 0]);
  }, 60_000);
});
