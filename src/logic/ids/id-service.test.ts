import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { growMasters } from '../../id/index.js';
import { incrSource, openIds, SwitchedStore } from './fixtures/id-services.js';
import type { IdService } from './id-service.js';

const code = (name: string) => expect.objectContaining({ code: name });
const next = async (ids: IdService, scheme: string, count = 1, biz = 'order') =>
  (await ids.next({ scheme, biz, count })).ids;
const range = (first: number, count: number) => Array.from({ length: count }, (_, index) => String(first + index));

describe('the id service', () => {
  it('counts each tag of each scheme apart', async () => {
    const ids = await openIds({}, { incrSource: incrSource() });
    expect(await next(ids, 'segment', 3)).toEqual(['1', '2', '3']);
    expect(await next(ids, 'segment', 2, 'user')).toEqual(['1', '2']);
    expect(await next(ids, 'segment', 2)).toEqual(['4', '5']);
    expect(await next(ids, 'redis-incr', 2)).toEqual(['1', '2']);
    expect((await next(ids, 'rule'))[0]).toMatch(/^ORD-\d{8}-000001\d{2}$/);
    expect(ids.tagCount).toBe(4);
  });

  it('gives ids of every scheme that its own decode reads back', async () => {
    const store = new SwitchedStore();
    await growMasters([store], 'order');
    const ids = await openIds({ master: 1 }, { store, incrSource: incrSource() });
    const beforeMs = Date.now();
    for (const scheme of ids.schemes) {
      const [id = ''] = await next(ids, scheme);
      const [reading] = ids.decode(id, scheme);
      expect(reading?.scheme).toBe(scheme);
      if (scheme === 'snowflake' || scheme === 'sonyflake' || scheme === 'uuid-v7') {
        expect(reading?.timestampMs).toBeGreaterThan(beforeMs - 20);
        expect(reading?.timestampMs).toBeLessThanOrEqual(Date.now());
        expect(ids.decode(id)).toContainEqual(reading);
      }
      if (scheme === 'segment' || scheme === 'offset' || scheme === 'redis-incr') expect(reading?.value).toBe(id);
      if (scheme === 'rule') expect(reading).toMatchObject({ sequence: 1, biz: 'order' });
      if (scheme === 'rule') expect(ids.decode(id)).toEqual([reading]);
    }
    expect(ids.schemes).toHaveLength(8);
    expect(() => ids.decode('no id')).toThrow(code('ID_MALFORMED'));
    expect(() => ids.decode('1', 'nothing')).toThrow(code('ID_SCHEME_UNKNOWN'));
    await ids.close();
  });

  it('reads a small number as a count only, not as a snowflake of the epoch', async () => {
    const ids = await openIds();
    expect(ids.decode('17')).toEqual([{ scheme: 'segment', value: '17' }]);
  });

  it('refuses what it does not know, and counts out of range', async () => {
    const ids = await openIds({ tags: [{ tag: 'order', stepCount: 10, maxId: 0 }], maxCount: 50 });
    await expect(next(ids, 'segmnt')).rejects.toThrow(code('ID_SCHEME_UNKNOWN'));
    await expect(next(ids, 'redis-incr')).rejects.toThrow(code('ID_SCHEME_UNKNOWN'));
    await expect(next(ids, 'offset')).rejects.toThrow(code('ID_SCHEME_UNKNOWN'));
    await expect(next(ids, 'segment', 1, 'other')).rejects.toThrow(code('ID_TAG_UNKNOWN'));
    await expect(next(ids, 'segment', 1, 'a b')).rejects.toThrow(code('ID_BAD_TAG'));
    await expect(next(ids, 'rule', 1, 'other')).rejects.toThrow(code('ID_TAG_UNKNOWN'));
    for (const count of [0, 51, 1.5, Number.NaN]) {
      await expect(next(ids, 'segment', count)).rejects.toThrow(/1 to 50 ids/);
    }
    expect(await next(ids, 'segment', 50)).toEqual(range(1, 50));
  });

  it('refuses schemes that are not enabled, and at the start one that is named and cannot be given out', async () => {
    const ids = await openIds({ schemes: ['segment'] });
    await expect(next(ids, 'uuid-v4')).rejects.toThrow(code('ID_SCHEME_UNKNOWN'));
    await expect(openIds({ schemes: ['redis-incr'] })).rejects.toThrow(/needs redis/);
  });

  it('refuses a template that is wrong at the start', async () => {
    await expect(openIds({ templates: new Map([['order', 'ORD-{sq:6}']]) })).rejects.toThrow(code('ID_BAD_TEMPLATE'));
  });

  it('keeps at most as many generators as it may, and a store that is away uses up no place', async () => {
    const store = new SwitchedStore();
    const ids = await openIds({ maxTagCount: 2 }, { store });
    store.isAway = true;
    for (const biz of ['a', 'b', 'c']) {
      await expect(next(ids, 'segment', 1, biz)).rejects.toThrow(code('ID_STORE_UNAVAILABLE'));
    }
    store.isAway = false;
    expect(await next(ids, 'segment', 1, 'a')).toEqual(['1']);
    expect(await next(ids, 'segment', 1, 'b')).toEqual(['1']);
    await expect(next(ids, 'segment', 1, 'c')).rejects.toThrow(code('ID_TOO_MANY_TAGS'));
    expect(await next(ids, 'segment', 1, 'a')).toEqual(['2']);
  });
});

describe("a tag's step and maximum", () => {
  const rule = (stepCount: number, maxId: number) => ({ tags: [{ tag: 'order', stepCount, maxId }] });

  it.each(['segment', 'redis-incr'])(
    'end %s at the maximum: the rest is given, then the error says so',
    async (scheme) => {
      const ids = await openIds(rule(4, 10), { incrSource: incrSource() });
      expect(await next(ids, scheme, 7)).toEqual(range(1, 7));
      expect(await next(ids, scheme, 7)).toEqual(['8', '9', '10']);
      await expect(next(ids, scheme)).rejects.toThrow(/its maximum is reached/);
      await expect(next(ids, scheme)).rejects.toThrow(code('ID_COUNTER_ENDED'));
    },
  );

  it('stand in the store: a server without rules counts in the same way', async () => {
    const store = new SwitchedStore();
    const first = await openIds(rule(5, 12), { store });
    // Below half of its range: it fetches nothing ahead.
    expect(await next(first, 'segment', 2)).toEqual(range(1, 2));
    const second = await openIds({}, { store });
    expect(await next(second, 'segment', 20)).toEqual(range(6, 7));
    await expect(next(second, 'segment')).rejects.toThrow(code('ID_COUNTER_ENDED'));
  });

  it('change for running servers too: a raised maximum goes on behind the old one', async () => {
    const store = new SwitchedStore();
    const old = await openIds(rule(5, 5), { store });
    expect(await next(old, 'segment', 9)).toEqual(range(1, 5));
    await expect(next(old, 'segment')).rejects.toThrow(code('ID_COUNTER_ENDED'));
    const raised = await openIds(rule(5, 20), { store });
    expect(await next(raised, 'segment', 2)).toEqual(range(6, 2));
    await expect.poll(() => next(old, 'segment').catch(() => ['none'])).toEqual(['11']);
  });

  it('below what was given end the counter and take nothing back', async () => {
    const store = new SwitchedStore();
    await next(await openIds(rule(10, 0), { store }), 'segment', 10);
    const lowered = await openIds(rule(10, 3), { store });
    await expect(next(lowered, 'segment')).rejects.toThrow(code('ID_COUNTER_ENDED'));
  });
});

describe('requests of one turn', () => {
  it('share what one call of the store brought, and none has an id of another', async () => {
    const store = new SwitchedStore();
    const ids = await openIds({ tags: [{ tag: 'order', stepCount: 1_000, maxId: 0 }] }, { store });
    const lists = await Promise.all(Array.from({ length: 100 }, () => next(ids, 'segment', 4)));
    expect(new Set(lists.flat()).size).toBe(400);
    expect(
      lists
        .flat()
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(range(1, 400).map(Number));
    expect(store.takeCount).toBeLessThanOrEqual(2);
  });
});

describe('with the store away', () => {
  it('what is buffered is served to its end, then the reason is told, and ids go on when it is back', async () => {
    const store = new SwitchedStore();
    const ids = await openIds({ tags: [{ tag: 'order', stepCount: 100, maxId: 0 }] }, { store });
    expect(await next(ids, 'segment', 10)).toEqual(range(1, 10));
    store.isAway = true;
    expect(await next(ids, 'segment', 60)).toEqual(range(11, 60));
    expect(await next(ids, 'segment', 60)).toEqual(range(71, 30));
    await expect(next(ids, 'segment')).rejects.toThrow(code('ID_STORE_UNAVAILABLE'));
    store.isAway = false;
    await expect.poll(() => next(ids, 'segment').catch(() => [])).toHaveLength(1);
  });
});

describe('machine ids of the service', () => {
  const source = (machineId: number) => ({ machine: { kind: 'configured', machineId } as const, leaseMs: 400 });

  it('are refused at the start where another server has the configured one', async () => {
    const store = new SwitchedStore();
    const first = await openIds(source(907), { store });
    const [id = ''] = await next(first, 'snowflake');
    expect(first.decode(id, 'snowflake')[0]?.machineId).toBe(907);
    await expect(openIds(source(907), { store })).rejects.toThrow(code('ID_MACHINE_CLASH'));
    await first.close();
    const second = await openIds(source(907), { store });
    const [later = ''] = await next(second, 'snowflake');
    expect(BigInt(later)).toBeGreaterThan(BigInt(id));
    await second.close();
  });

  it('come from a file, and are refused where they do not fit the scheme', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'halley-ids-'));
    try {
      const path = join(directory, 'machine');
      await writeFile(path, '913\n');
      const ids = await openIds({ machine: { kind: 'file', path } });
      const [id = ''] = await next(ids, 'sonyflake');
      expect(ids.decode(id, 'sonyflake')[0]?.machineId).toBe(913);
      await ids.close();
      await expect(openIds(source(5_000))).rejects.toThrow(/from 896 to 1023/);
      const sonyflakes = await openIds({ ...source(5_000), schemes: ['sonyflake'] });
      expect(await next(sonyflakes, 'sonyflake')).toHaveLength(1);
      await sonyflakes.close();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('that are leased differ, are claimed with the first draw, and are given back', async () => {
    const store = new SwitchedStore();
    const servers = await Promise.all([1, 2, 3].map(() => openIds({ leaseMs: 400 }, { store })));
    const machines = await Promise.all(
      servers.map(async (ids) => ids.decode((await next(ids, 'sonyflake'))[0] ?? '', 'sonyflake')[0]?.machineId),
    );
    expect(new Set(machines).size).toBe(3);
    for (const ids of servers) await ids.close();
    for (const machineId of machines) {
      const record = await store.read(`machine/sonyflake/${machineId}`);
      expect(JSON.parse(record?.note ?? '')).toMatchObject({ owner: '' });
    }
    await expect(next(servers[0] as IdService, 'segment')).rejects.toThrow(code('ID_SERVICE_CLOSED'));
  });

  it('stop with the claim while the store is away, and go on with it', async () => {
    const store = new SwitchedStore();
    const ids = await openIds({ leaseMs: 300 }, { store });
    await next(ids, 'snowflake');
    store.isAway = true;
    await expect
      .poll(() =>
        next(ids, 'snowflake').then(
          () => 'drawn',
          ({ code: reason }) => reason,
        ),
      )
      .toBe('ID_LIMIT_REACHED');
    store.isAway = false;
    await expect.poll(() => next(ids, 'snowflake').catch(() => [])).toHaveLength(1);
    await ids.close();
  });
});
