import { beforeEach, describe, expect, it } from 'vitest';
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
});
