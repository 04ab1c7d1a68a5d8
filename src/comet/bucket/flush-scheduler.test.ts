import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import { BufferPool } from '../../ring/index.js';
import { FanoutGroup } from './fanout-group.js';
import { FlushScheduler } from './flush-scheduler.js';
import { Pacer } from './pacer.js';

const OPTIONS = { dutyThreshold: 0.5, dutyTarget: 0.25, maxDelayMs: 60 };
/** Message id, op-9 header, a packet of 16 bytes: what a push record holds from its id on. */
const RECORD = new Uint8Array(8 + 16 + 16);

let clock: ManualClock;
let published: { readonly topic: string; readonly atMs: number }[];
/** What one publish costs, in milliseconds of the clock. */
let publishCostMs: number;
let scheduler: FlushScheduler;
let pacer: Pacer;

function group(topic: string, memberCount: number): FanoutGroup {
  const made = new FanoutGroup(
    {
      publish: (name) => {
        published.push({ topic: name, atMs: clock.monotonicMs() });
        clock.advance(publishCostMs);
      },
      pool: new BufferPool({ maxRetainedBytes: 1 << 20 }),
      limits: { maxMessages: 1000, maxBytes: 1 << 20 },
      onPending: (pending) => scheduler.add(pending),
      onPublished: () => {},
    },
    topic,
    new Uint8Array(0),
  );
  made.plainCount = memberCount;
  return made;
}

let offset = 0;
function append(target: FanoutGroup): void {
  offset += 1;
  target.append(RECORD, 0, 8, 24, 16, offset);
}

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  clock = new ManualClock(1_000_000);
  published = [];
  publishCostMs = 0;
  pacer = new Pacer(OPTIONS);
  scheduler = new FlushScheduler(pacer, clock, (fn) => fn());
});

describe('the flush scheduler', () => {
  it('flushes a quiet group at the end of the turn that brought its message', () => {
    const room = group('r', 10);
    append(room);
    expect(published).toEqual([]);
    scheduler.turnEnd();
    expect(published.map(({ topic }) => topic)).toEqual(['pr']);
    expect(room.pendingCount).toBe(0);
  });

  it('does not flush again before a large flush has been measured, and then at once', async () => {
    const room = group('r', 2_000);
    append(room);
    scheduler.turnEnd();
    append(room);
    scheduler.turnEnd();
    expect(published.length).toBe(1);
    await immediate();
    expect(published.length).toBe(2);
    await immediate();
  });

  it('does not hold a small flush up for a measurement', () => {
    const room = group('r', 10);
    for (let i = 0; i < 20; i++) {
      append(room);
      scheduler.turnEnd();
      clock.advance(10);
    }
    expect(published.length).toBe(20);
  });

  it('spaces the flushes of a busy large room', async () => {
    const room = group('r', 2_000);
    publishCostMs = 8;
    for (let i = 0; i < 60; i++) {
      append(room);
      scheduler.turnEnd();
      await immediate();
      clock.advance(3);
    }
    expect(pacer.pauseMs).toBeGreaterThan(10);
    expect(pacer.pauseMs).toBeLessThanOrEqual(60);
    scheduler.close();
  });

  it('is not talked into spacing by flushes that were interrupted now and then', async () => {
    const room = group('r', 2_000);
    // 4 ms every 25 ms is demand 0.16; one flush in four is stretched to 40 ms by somebody else's work.
    for (let i = 0; i < 400; i++) {
      publishCostMs = i % 4 === 3 ? 40 : 4;
      append(room);
      scheduler.turnEnd();
      await immediate();
      clock.advance(25);
      expect(pacer.pauseMs).toBe(0);
    }
    expect(published.length).toBe(400);
  });

  it('flushes everything at once when the bucket stops, and nothing after it was closed', () => {
    const rooms = [group('a', 10), group('b', 10)];
    for (const room of rooms) append(room);
    scheduler.flushNow();
    expect(published.length).toBe(2);
    for (const room of rooms) append(room);
    scheduler.close();
    scheduler.turnEnd();
    expect(published.length).toBe(2);
  });

  it('stops a round at once for the end of the bucket, and flushes nothing twice', async () => {
    scheduler = new FlushScheduler(pacer, clock, (fn) => fn(), 100);
    for (const topic of ['a', 'b', 'c']) append(group(topic, 100));
    scheduler.turnEnd();
    scheduler.flushNow();
    await immediate();
    await immediate();
    expect(published.map(({ topic }) => topic)).toEqual(['pa', 'pb', 'pc']);
  });

  it('flushes what comes after that, too', async () => {
    const room = group('r', 2_000);
    append(room);
    scheduler.turnEnd();
    scheduler.flushNow();
    append(room);
    scheduler.turnEnd();
    await immediate();
    expect(published.length).toBe(2);
  });
});

describe('a round in slices', () => {
  beforeEach(() => {
    scheduler = new FlushScheduler(pacer, clock, (fn) => fn(), 1_000);
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('lets the loop turn after each thousand members', async () => {
    for (const [topic, memberCount] of [
      ['a', 600],
      ['b', 400],
      ['c', 1],
      ['d', 1_500],
    ] as const) {
      append(group(topic, memberCount));
    }
    const seen: string[] = [];
    scheduler.turnEnd();
    for (let slice = 0; slice < 4; slice++) {
      seen.push(published.map(({ topic }) => topic).join());
      await immediate();
    }
    expect(seen).toEqual(['pa,pb', 'pa,pb,pc,pd', 'pa,pb,pc,pd', 'pa,pb,pc,pd']);
  });

  it('takes what comes during a round in the next, in order of arrival', async () => {
    const rooms = ['a', 'b', 'c'].map((topic) => group(topic, 1_000));
    for (const room of rooms) append(room);
    scheduler.turnEnd();
    append(rooms[0]!);
    append(group('late', 1));
    append(rooms[2]!);
    for (let slice = 0; slice < 6; slice++) await immediate();
    expect(published.map(({ topic }) => topic)).toEqual(['pa', 'pb', 'pc', 'pa', 'plate']);
  });

  it('does not take the slices of one quiet large room for demand', async () => {
    const cohorts = Array.from({ length: 15 }, (_, index) => group(`r#${index}`, 1_000));
    publishCostMs = 8;
    for (let message = 0; message < 20; message++) {
      for (const cohort of cohorts) append(cohort);
      scheduler.turnEnd();
      for (let slice = 0; slice < 15; slice++) await immediate();
      expect(published.length).toBe((message + 1) * 15);
      // 120 ms in 600: a demand of 0.2.
      clock.advance(480);
      expect(pacer.pauseMs).toBe(0);
    }
  });

  it('spreads the pause over the slices while spacing', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const pass = (ms: number): void => {
      clock.advance(ms);
      vi.advanceTimersByTime(ms);
    };
    for (let flush = 0; flush < 30; flush++) {
      const startMs = clock.monotonicMs();
      clock.advance(20);
      pacer.flushed(startMs, clock.monotonicMs(), 20, 10);
    }
    expect(pacer.pauseMs).toBeCloseTo(60, 5);
    const cohorts = Array.from({ length: 4 }, (_, index) => group(`r#${index}`, 1_000));
    for (const cohort of cohorts) append(cohort);
    scheduler.turnEnd();
    const startMs = clock.monotonicMs();
    for (let ms = 1; ms <= 120; ms++) {
      pass(1);
      await immediate();
    }
    expect(published.map(({ topic }) => topic)).toEqual(['pr#0', 'pr#1', 'pr#2', 'pr#3']);
    expect(published.map(({ atMs }) => Math.round(atMs - startMs))).toEqual([60, 75, 90, 105]);
    // After the last slice its own part of the pause is due, not all of it.
    expect(pacer.waitMs(startMs + 105)).toBeCloseTo(pacer.pauseMs / 4, 5);
    scheduler.close();
  });
});
