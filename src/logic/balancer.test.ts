import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../push/index.js';
import { Balancer, type PickRequest } from './balancer.js';
import { MemoryNodes, nodeRecord } from './fixtures/node-records.js';

const OPTIONS = { regionWeight: 1.6, nearBandKm: 100, placeOfRegion: () => undefined };
const ANYBODY: PickRequest = {
  order: 'weighted',
  region: '',
  place: undefined,
  limitCount: 5,
  isReachable: () => true,
};

function setUp(records: readonly NodeRecord[]) {
  const nodes = new MemoryNodes('a', records);
  const balancer = new Balancer(nodes, OPTIONS);
  const ids = (request: Partial<PickRequest> = {}) =>
    balancer.pick({ ...ANYBODY, ...request }).map(({ record }) => record.serverId);
  /** The first of each of `count` answers, counted by node. */
  const shares = (count: number, request: Partial<PickRequest> = {}) => {
    const countById = new Map<string, number>();
    for (let client = 0; client < count; client++) {
      const [id = 'nobody'] = ids(request);
      countById.set(id, (countById.get(id) ?? 0) + 1);
    }
    return Object.fromEntries(countById);
  };
  return { nodes, ids, shares };
}

/** The nodes of goim's measured vectors. */
const GOIM = [
  nodeRecord('01', { region: 'bj', connCount: 240_590 }),
  nodeRecord('02', { region: 'sh', connCount: 375_420 }),
  nodeRecord('03', { region: 'gz', connCount: 293_430 }),
];

describe("goim's rule over a directory", () => {
  it("gives goim's measured orders, request after request", () => {
    const { ids } = setUp(GOIM);
    expect([ids(), ids({ region: 'sh' }), ids({ region: 'bj' })]).toEqual([
      ['01', '03', '02'],
      ['02', '01', '03'],
      ['01', '03', '02'],
    ]);
  });

  it('counts the clients it sent to a node until that node renews', () => {
    const records = [nodeRecord('a', { connCount: 100 }), nodeRecord('b', { connCount: 103 })];
    const { nodes, ids, shares } = setUp(records);
    expect(shares(6)).toEqual({ a: 5, b: 1 });
    // A renewal of b alone, with nobody more: a keeps its count, b starts again.
    nodes.renew('b', { connCount: 103 });
    expect(ids()[0]).toBe('b');
    // The same records in new objects, as a directory makes them with every refresh, are no renewal.
    nodes.records = nodes.records.map((record) => ({ ...record }));
    expect(shares(2)).toEqual({ a: 1, b: 1 });
    nodes.renew('a', { connCount: 0 });
    expect(ids()[0]).toBe('a');
  });

  it('starts at nothing for a later incarnation', () => {
    const { nodes, shares, ids } = setUp([nodeRecord('a', { capacity: 3 }), nodeRecord('b')]);
    expect(shares(3, { order: 'least_conn' })).toEqual({ a: 2, b: 1 });
    nodes.records = [nodeRecord('a', { capacity: 2, nodeEpoch: 2 }), nodeRecord('b')];
    expect(ids({ order: 'least_conn' })).toEqual(['a', 'b']);
  });

  it('shares clients as 2w - 1/n, which its factor 0.5 makes of the weights', () => {
    const { shares } = setUp([
      nodeRecord('a', { weight: 4 }),
      nodeRecord('b', { weight: 3 }),
      nodeRecord('c', { weight: 3 }),
    ]);
    const { a = 0, b = 0, c = 0 } = shares(30_000);
    const expected = [0.8 - 1 / 3, 0.6 - 1 / 3, 0.6 - 1 / 3];
    for (const [index, share] of [a, b, c].entries()) {
      expect(Math.abs(share / 30_000 - (expected[index] as number))).toBeLessThan(0.001);
    }
  });
});

describe('the order by least connections', () => {
  it('shares clients as the weights say, to one client', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }), (weights) => {
        const { shares } = setUp(weights.map((weight, index) => nodeRecord(String(index), { weight })));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const rounds = 3;
        const counts = shares(rounds * total, { order: 'least_conn' });
        expect(weights.map((_, index) => counts[index] ?? 0)).toEqual(weights.map((weight) => rounds * weight));
      }),
      { numRuns: 50 },
    );
  });

  it('shares clients as the capacities say, and fills every node before it has none', () => {
    const { shares } = setUp([nodeRecord('a', { capacity: 30 }), nodeRecord('b', { capacity: 10 })]);
    expect(shares(20, { order: 'least_conn' })).toEqual({ a: 15, b: 5 });
    expect(shares(21, { order: 'least_conn' })).toEqual({ a: 15, b: 5, nobody: 1 });
  });
});

describe('a node that takes no clients', () => {
  it.each([
    ['drains', { isDraining: true }],
    ['is at its capacity', { capacity: 50, connCount: 50 }],
    ['is no comet', { roles: ['logic', 'job'] }],
  ] as const)('because it %s leaves every order at once, and comes back', (_, changes) => {
    for (const order of ['weighted', 'least_conn', 'nearest'] as const) {
      const { nodes, ids } = setUp([nodeRecord('a'), nodeRecord('b')]);
      expect(ids({ order }).sort()).toEqual(['a', 'b']);
      nodes.renew('b', changes);
      expect(ids({ order })).toEqual(['a']);
      nodes.renew('b', { isDraining: false, capacity: 0, connCount: 0, roles: ['comet'] });
      expect(ids({ order }).sort()).toEqual(['a', 'b']);
    }
  });

  it('is left out at its capacity with the clients sent since its renewal counted', () => {
    const { nodes, shares, ids } = setUp([nodeRecord('a', { capacity: 3 }), nodeRecord('b', { connCount: 5 })]);
    expect(shares(3, { order: 'nearest' })).toEqual({ a: 3 });
    expect(ids({ order: 'nearest' })).toEqual(['b']);
    nodes.renew('a', { connCount: 2 });
    expect(ids({ order: 'nearest' })).toEqual(['a', 'b']);
  });

  it('is one whose address the client could not use, and it is not counted for it', () => {
    const { ids, shares } = setUp([nodeRecord('a', { addrs: [] }), nodeRecord('b')]);
    expect(shares(9, { isReachable: (record) => record.addrs.length > 0 })).toEqual({ b: 9 });
    expect(ids({ order: 'least_conn' })).toEqual(['a', 'b']);
  });

  it('leaves nobody where all have left, even where most leave at once', () => {
    const { nodes, ids } = setUp(['a', 'b', 'c', 'd', 'e'].map((id) => nodeRecord(id)));
    expect(ids().length).toBe(5);
    // goim would keep the old list: the new one is less than half of it.
    nodes.records = [nodeRecord('e')];
    expect(ids()).toEqual(['e']);
    nodes.records = [];
    expect(ids()).toEqual([]);
  });

  it('gets no client in any course of joins, renewals, drains and deaths', () => {
    const step = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd'),
      kind: fc.constantFrom('join', 'leave', 'drain', 'renew', 'fill', 'pick', 'pick', 'pick'),
      order: fc.constantFrom('weighted', 'least_conn', 'nearest'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { nodes, ids } = setUp([]);
        const sentSinceRenewal = new Map<string, number>();
        for (const { id, kind, order } of steps) {
          const record = nodes.records.find((one) => one.serverId === id);
          if (kind === 'join' && record === undefined) nodes.records.push(nodeRecord(id, { capacity: 4 }));
          else if (kind === 'leave') nodes.remove(id);
          else if (kind === 'drain') nodes.renew(id, { isDraining: true });
          else if (kind === 'renew') nodes.renew(id, { isDraining: false, connCount: 0 });
          else if (kind === 'fill') nodes.renew(id, { connCount: 4 });
          if (kind !== 'pick') {
            if (kind !== 'join' || record === undefined) sentSinceRenewal.set(id, 0);
            // A node that was forgotten is counted anew; the balancer forgets with its next pick.
            if (kind === 'leave') ids({ limitCount: 0 });
            continue;
          }
          const free = nodes.records.filter(
            (one) => !one.isDraining && one.connCount + (sentSinceRenewal.get(one.serverId) ?? 0) < 4,
          );
          const picked = ids({ order });
          expect([...picked].sort()).toEqual(free.map((one) => one.serverId).sort());
          const [first] = picked;
          if (first !== undefined) sentSinceRenewal.set(first, (sentSinceRenewal.get(first) ?? 0) + 1);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('an answer', () => {
  it('holds as many nodes as asked for', () => {
    const { ids } = setUp(['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((id) => nodeRecord(id)));
    expect([1, 5, 7, 64].map((limitCount) => ids({ limitCount }).length)).toEqual([1, 5, 7, 7]);
  });

  it("takes a node's place from its record, or from its region", () => {
    const place = { latitude: 39.9, longitude: 116.4 };
    const nodes = new MemoryNodes('a', [
      nodeRecord('region', { region: 'bj' }),
      nodeRecord('own', { region: 'bj', latitude: 31.2, longitude: 121.5 }),
      nodeRecord('unknown', { region: 'gz' }),
    ]);
    const placeOfRegion = (region: string) => (region === 'bj' ? place : undefined);
    const balancer = new Balancer(nodes, { ...OPTIONS, placeOfRegion });
    const picked = balancer.pick({ ...ANYBODY, order: 'nearest', place });
    expect(picked.map(({ record, distanceKm }) => [record.serverId, distanceKm && Math.round(distanceKm)])).toEqual([
      ['region', 0],
      ['own', 1071],
      ['unknown', undefined],
    ]);
  });
});
