import { describe, expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { OUTCOME } from '../errors/index.js';
import { drawId, drawIds, RuleGenerator, type RuleOptions, type SegmentStore } from '../id/index.js';
import { MemorySegmentStore } from './memory-segment-store.js';

const MIDNIGHT_MS = Date.UTC(2026, 0, 31);
const TEMPLATE = 'ORD-{tag}-{date:yyyyMMdd}-{seq:6}{mod97}';

function ruleOf(clock: ManualClock, overrides: Partial<RuleOptions> = {}): RuleGenerator {
  return new RuleGenerator({
    template: TEMPLATE,
    tag: 'EU1',
    store: new MemorySegmentStore(),
    minStepCount: 10,
    maxStepCount: 10,
    clock,
    ...overrides,
  });
}

describe('rule-made ids', () => {
  it('are prefix, tag, date, sequence and check, the same as text and as bytes, and can be taken apart', async () => {
    const rule = ruleOf(new ManualClock(MIDNIGHT_MS + 1));
    expect(await drawId(rule)).toBe('ORD-EU1-20260131-00000141');
    const bytes = new Uint8Array(rule.idBytes + 2).fill(46);
    expect(rule.tryWriteTo(bytes, 1)).toBe(OUTCOME.OK);
    const text = Buffer.from(bytes).toString();
    expect(text).toMatch(/^\.ORD-EU1-20260131-000002\d\d\.$/);
    expect(rule.decode(text.slice(1, -1))).toEqual({ timestampMs: MIDNIGHT_MS, sequence: 2 });
    expect(rule.decode(bytes.subarray(1, -1))).toEqual({ timestampMs: MIDNIGHT_MS, sequence: 2 });
  });

  it('begin anew with each day of their offset from UTC', async () => {
    const clock = new ManualClock(Date.UTC(2026, 0, 30, 15, 59, 59, 999));
    const rule = ruleOf(clock, { template: '{date:yyMMdd}{seq:4}', tag: '', utcOffsetMinutes: 480 });
    expect(await drawIds(rule, 2)).toEqual(['2601300001', '2601300002']);
    clock.advance(1);
    expect(await drawIds(rule, 2)).toEqual(['2601310001', '2601310002']);
    expect(rule.decode('2601310001').timestampMs).toBe(Date.UTC(2026, 0, 30, 16));
  });

  it('have the next day\u2019s first range before it begins, where ids are drawn in the minute before', async () => {
    const clock = new ManualClock(MIDNIGHT_MS - 30_000);
    const rule = ruleOf(clock);
    await drawId(rule);
    await Promise.resolve();
    clock.advance(30_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rule.next()).toMatch(/-20260131-000001/);
  });

  it.each([
    ['second', '{date:yyyyMMddHHmmss}-{seq:6}', 'day'],
    ['month', '{date:yyyyMM}-{seq:6}', 'month'],
    ['year', '{date:yyyy}-{seq:6}', 'year'],
    ['nothing', 'A{seq:6}', 'never'],
  ])('with a date as fine as a %s are unique for ever', async (_, template, period) => {
    const clock = new ManualClock(MIDNIGHT_MS - 3 * 3_600_000);
    const rule = ruleOf(clock, { template, tag: '' });
    const ids = new Set<string>();
    // Four times over midnight of the last of January and of a year, with ever so many in each second.
    for (const stepMs of [3_600_000, 3_600_000, 3_599_999, 1, 1, 86_400_000, 365 * 86_400_000, 86_400_000]) {
      clock.advance(stepMs);
      for (const id of await drawIds(rule, 15)) ids.add(id);
    }
    expect(ids.size).toBe(8 * 15);
    const numbers = [...ids].map((id) => rule.decode(id).sequence);
    expect(Math.max(...numbers)).toBe(period === 'never' ? 120 : Math.max(...numbers));
    expect(numbers.filter((number) => number === 1).length).toBe({ day: 5, month: 3, year: 2, never: 1 }[period]);
  });

  it.each([1, 1_000, 3_600_000])(
    'keep the later date where the clock is stepped back over midnight by %i ms, and never repeat',
    async (stepMs) => {
      const clock = new ManualClock(MIDNIGHT_MS);
      const rule = ruleOf(clock);
      const before = await drawIds(rule, 25);
      clock.stepWall(-stepMs);
      const during = await drawIds(rule, 25);
      clock.advance(stepMs);
      const after = await drawIds(rule, 25);
      const all = [...before, ...during, ...after];
      expect(all.every((id) => id.startsWith('ORD-EU1-20260131-'))).toBe(true);
      expect(all.map((id) => rule.decode(id).sequence)).toEqual(Array.from({ length: 75 }, (_, index) => index + 1));
    },
  );

  it('follow the clock back by a day, into the counter of that day, and forward again', async () => {
    const store = new MemorySegmentStore();
    const clock = new ManualClock(MIDNIGHT_MS - 1);
    const rule = ruleOf(clock, { store });
    const ids = await drawIds(rule, 5);
    clock.advance(1);
    ids.push(...(await drawIds(rule, 5)));
    clock.stepWall(-86_400_000);
    ids.push(...(await drawIds(rule, 5)));
    expect(ids.at(-1)).toContain('-20260130-');
    clock.stepWall(86_400_000);
    ids.push(...(await drawIds(rule, 5)));
    expect(new Set(ids).size).toBe(20);
  });

  it('of servers whose clocks disagree about the day are different', async () => {
    const store = new MemorySegmentStore();
    const rules = [-2_000, -1, 0, 5_000].map((offMs) => ruleOf(new ManualClock(MIDNIGHT_MS + offMs), { store }));
    const ids = (await Promise.all(rules.map((rule) => drawIds(rule, 50)))).flat();
    expect(new Set(ids).size).toBe(200);
  });

  it('are refused where the sequence of the day is used up, and go on the day after', async () => {
    const clock = new ManualClock(MIDNIGHT_MS);
    const rule = ruleOf(clock, { template: '{date:yyyyMMdd}{seq:1}', tag: '' });
    expect((await drawIds(rule, 9)).at(-1)).toBe('202601319');
    await expect(drawId(rule)).rejects.toMatchObject({ code: 'ID_COUNTER_ENDED' });
    expect(() => rule.next()).toThrow(expect.objectContaining({ code: 'ID_RANGE_EMPTY' }));
    clock.advance(86_400_000);
    expect(await drawId(rule)).toBe('202602011');
  });

  it('are served from the buffer to its end while the store is away', async () => {
    const store = new MemorySegmentStore();
    let isAway = false;
    const flaky: SegmentStore = {
      mayForget: false,
      take: (tag, count) => (isAway ? Promise.reject(new Error('away')) : store.take(tag, count)),
      read: (tag) => store.read(tag),
      replace: (tag, content, version) => store.replace(tag, content, version),
      close: async () => {},
    };
    const rule = ruleOf(new ManualClock(MIDNIGHT_MS), { store: flaky });
    await rule.ready();
    isAway = true;
    expect(rule.nextMany(10)).toHaveLength(10);
    await expect(rule.ready()).rejects.toMatchObject({ code: 'ID_SOURCE_FAILED' });
    expect(rule.tryNext()).toBeUndefined();
  });

  it('that were changed in one character are malformed', async () => {
    const rule = ruleOf(new ManualClock(MIDNIGHT_MS));
    const id = await drawId(rule);
    for (let index = 0; index < id.length; index++) {
      for (const other of ['0', '7', 'A', '-']) {
        if (other === id[index]) continue;
        const changed = id.slice(0, index) + other + id.slice(index + 1);
        expect(() => rule.decode(changed)).toThrow(expect.objectContaining({ code: 'ID_MALFORMED' }));
      }
    }
    expect(() => rule.decode(`${id}0`)).toThrow(/25 characters/);
  });
});
