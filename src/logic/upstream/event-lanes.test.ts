import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../clock/index.js';
import type { SendVerdict } from '../../push/index.js';
import { type MemoryLog, memoryLog } from '../../telemetry/index.js';
import { EventLanes, type EventLanesOptions } from './event-lanes.js';
import { eventOf, TestDeadLetters, TestSink } from './fixtures/upstream-parts.js';

const OPTIONS: EventLanesOptions = {
  laneCount: 2,
  batchMaxEvents: 3,
  batchMaxBytes: 10_000,
  batchDelayMs: 20,
  maxWaitingEvents: 10,
  maxWaitingBytes: 100_000,
  retryBaseMs: 100,
  retryMaxMs: 1_000,
  giveUpMs: 10_000,
};
const RETRY: SendVerdict = { kind: 'retry', afterMs: 0, cause: 'ECONNREFUSED' };

let sink: TestSink;
let dead: TestDeadLetters;
let log: MemoryLog;
let fullness: boolean[];

function lanesOf(overrides: Partial<EventLanesOptions> = {}, random = () => 0.5): EventLanes {
  const lanes: EventLanes = new EventLanes(
    { ...OPTIONS, ...overrides },
    { sink, dead, clock: systemClock, log: log.logger, onChange: () => fullness.push(lanes.isFull), random },
  );
  return lanes;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  sink = new TestSink();
  dead = new TestDeadLetters();
  log = memoryLog();
  fullness = [];
});
afterEach(() => {
  vi.useRealTimers();
});

describe('batches', () => {
  it('leave when they are full, and otherwise when their oldest event has waited', async () => {
    const lanes = lanesOf();
    for (let id = 1; id <= 4; id++) lanes.append(eventOf(id), 0, true);
    await vi.advanceTimersByTimeAsync(0);
    expect(sink.sent.map(({ events }) => events.length)).toEqual([3]);
    await vi.advanceTimersByTimeAsync(19);
    expect(sink.ids()).toEqual(['1', '2', '3']);
    await vi.advanceTimersByTimeAsync(1);
    expect(sink.ids()).toEqual(['1', '2', '3', '4']);
    expect(sink.sent.map(({ batchNo, deliveryId, attempt }) => [batchNo, deliveryId, attempt])).toEqual([
      [1, '1', 1],
      [2, '4', 1],
    ]);
  });

  it('hold no more bytes than allowed, unless one event alone does', async () => {
    const lanes = lanesOf({ batchMaxBytes: 1_000 });
    lanes.append(eventOf(1, 'message', 600), 0, true);
    lanes.append(eventOf(2, 'message', 600), 0, true);
    lanes.append(eventOf(3, 'message', 5_000), 0, true);
    lanes.append(eventOf(4), 0, true);
    await vi.advanceTimersByTimeAsync(100);
    expect(sink.sent.map(({ events }) => events.map(({ id }) => id))).toEqual([['1'], ['2'], ['3'], ['4']]);
    expect(lanes.gauges()).toMatchObject({ waitingCount: 0, waitingBytes: 0, sentCount: 4 });
  });

  it('of one lane go out one at a time; a lane that hangs holds the other up in nothing', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 });
    sink.verdict = ({ lane }) => (lane === 0 ? new Promise(() => {}) : { kind: 'sent' });
    for (let id = 1; id <= 4; id++) lanes.append(eventOf(id), id % 2, true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sink.ids()).toEqual(['1', '3']);
    expect(sink.attemptCount).toBe(3);
  });
});

describe('an attempt that fails', () => {
  it('is repeated after a random wait whose bound doubles up to a limit, with the same id and events', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 }, () => 0.999_999);
    const attempts: [number, string, number][] = [];
    const startMs = performance.now();
    sink.verdict = ({ attempt, deliveryId }) => {
      attempts.push([attempt, deliveryId, Math.round(performance.now() - startMs)]);
      return attempt < 6 ? RETRY : { kind: 'sent' };
    };
    lanes.append(eventOf(1), 0, true);
    lanes.append(eventOf(2), 0, true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(attempts.slice(0, 6)).toEqual([
      [1, '1', 0],
      [2, '1', 100],
      [3, '1', 300],
      [4, '1', 700],
      [5, '1', 1_500],
      [6, '1', 2_500],
    ]);
    expect(sink.ids()).toEqual(['1', '2']);
    expect(lanes.gauges().failedCount).toBe(10);
  });

  it('waits as long as the other side asked for', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 });
    sink.verdict = ({ attempt }) => (attempt === 1 ? { ...RETRY, afterMs: 5_000 } : { kind: 'sent' });
    lanes.append(eventOf(1), 0, true);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(sink.sent).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(sink.sent).toHaveLength(1);
  });

  it('is repeated at once where somebody knows that the other side is back', async () => {
    const lanes = lanesOf({ batchDelayMs: 0, retryBaseMs: 1_000 });
    sink.verdict = ({ attempt }) => (attempt === 1 ? RETRY : { kind: 'sent' });
    lanes.append(eventOf(1), 0, true);
    await vi.advanceTimersByTimeAsync(0);
    lanes.retryNow();
    await vi.advanceTimersByTimeAsync(0);
    expect(sink.sent).toHaveLength(1);
  });

  it('ends in a dead letter when its batch is too old, and the lane goes on behind it', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 });
    sink.verdict = ({ batchNo }) => (batchNo === 1 ? RETRY : { kind: 'sent' });
    lanes.append(eventOf(1), 0, true);
    lanes.append(eventOf(2), 0, true);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(dead.ids()).toEqual(['1']);
    expect(dead.letters[0]?.cause).toMatch(/^given up after \d+ attempts: ECONNREFUSED$/);
    expect(sink.ids()).toEqual(['2']);
    expect(lanes.gauges()).toMatchObject({ deadCount: 1, sentCount: 1, waitingCount: 0, lostCount: 0 });
  });

  it('ends in a dead letter at once where no attempt can succeed', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 });
    sink.verdict = () => ({ kind: 'dead', cause: 'status 400' });
    lanes.append(eventOf(1), 0, true);
    await vi.advanceTimersByTimeAsync(0);
    expect([sink.attemptCount, dead.ids()]).toEqual([1, ['1']]);
  });

  it('counts and logs as lost what cannot be kept as a dead letter either', async () => {
    const lanes = lanesOf({ batchDelayMs: 0 });
    sink.verdict = () => ({ kind: 'dead', cause: 'status 400' });
    dead.error = new Error('disk full');
    lanes.append(eventOf(1), 0, true);
    await vi.advanceTimersByTimeAsync(0);
    expect(lanes.gauges()).toMatchObject({ deadCount: 0, lostCount: 1, waitingCount: 0 });
    expect(log.records.map(({ message }) => message)).toContain('upstream did not take a batch');
  });
});

describe('the bound', () => {
  it('asks for no more messages at 0.8, loses other events at 1, and takes what was accepted beyond it', async () => {
    const lanes = lanesOf();
    sink.verdict = () => new Promise(() => {});
    for (let id = 1; id <= 7; id++) lanes.append(eventOf(id), 0, true);
    expect([lanes.isFull, fullness]).toEqual([false, []]);
    lanes.append(eventOf(8), 0, true);
    expect([lanes.isFull, fullness]).toEqual([true, [true]]);
    lanes.append(eventOf(9), 0, false);
    lanes.append(eventOf(10), 0, false);
    lanes.append(eventOf(11), 0, false);
    expect(lanes.gauges()).toMatchObject({ waitingCount: 10, lostCount: 1 });
    lanes.append(eventOf(12), 0, true);
    expect(lanes.gauges()).toMatchObject({ waitingCount: 11, lostCount: 1 });
    expect(log.records.map(({ message }) => message)).toEqual(['upstream events are lost']);
  });

  it('holds for bytes too, and opens again only at 0.6', async () => {
    const lanes = lanesOf({ maxWaitingBytes: 4_000, maxWaitingEvents: 1_000, batchMaxEvents: 1, laneCount: 1 });
    const letGo: (() => void)[] = [];
    sink.verdict = () => new Promise((resolve) => letGo.push(() => resolve({ kind: 'sent' })));
    for (let id = 1; id <= 4; id++) lanes.append(eventOf(id, 'message', 640), 0, true);
    expect(lanes.gauges().waitingBytes).toBeGreaterThan(3_200);
    expect(lanes.isFull).toBe(true);
    for (const expected of [true, false]) {
      for (const go of letGo.splice(0)) go();
      await vi.advanceTimersByTimeAsync(20);
      expect(lanes.isFull).toBe(expected);
    }
  });
});

describe('a drain', () => {
  it('sends what waits without waiting for company', async () => {
    const lanes = lanesOf({ batchDelayMs: 60_000 });
    for (let id = 1; id <= 5; id++) lanes.append(eventOf(id), 0, true);
    expect(await lanes.drain(1_000)).toBe(true);
    expect(sink.ids()).toEqual(['1', '2', '3', '4', '5']);
    expect(sink.isClosed).toBe(true);
  });

  it('keeps as dead letters, in order, what is not gone in time, and refuses what comes after', async () => {
    const lanes = lanesOf({ laneCount: 1 });
    sink.verdict = () => new Promise(() => {});
    for (let id = 1; id <= 5; id++) lanes.append(eventOf(id), 0, true);
    const drained = lanes.drain(500);
    await vi.advanceTimersByTimeAsync(500);
    expect(await drained).toBe(false);
    expect(dead.ids()).toEqual(['1', '2', '3', '4', '5']);
    lanes.append(eventOf(6), 0, true);
    expect(lanes.gauges()).toMatchObject({ waitingCount: 0, deadCount: 5, lostCount: 1 });
  });
});

// The rule of the whole thing: whatever the sink does, in every lane the first arrivals stand in the order of append(), and
// every event is sent, dead or lost.
it('keeps the order of every lane, and every event, under random failures, delays and lost answers', async () => {
  const outcome = fc.record({
    kind: fc.constantFrom('sent', 'sent', 'sent', 'retry', 'answer lost', 'dead'),
    delayMs: fc.integer({ min: 0, max: 50 }),
  });
  const step = fc.record({ lane: fc.integer({ min: 0, max: 4 }), gapMs: fc.integer({ min: 0, max: 15 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 80 }),
      fc.infiniteStream(outcome),
      fc.integer({ min: 1, max: 4 }),
      async (steps, outcomes, laneCount) => {
        sink = new TestSink();
        dead = new TestDeadLetters();
        const arrived: string[] = [];
        const underway = new Set<number>();
        sink.verdict = async ({ lane, events }) => {
          expect(underway.has(lane)).toBe(false);
          underway.add(lane);
          const { kind, delayMs } = outcomes.next().value as { kind: string; delayMs: number };
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          underway.delete(lane);
          if (kind === 'sent' || kind === 'answer lost') arrived.push(...events.map(({ id }) => id));
          if (kind === 'dead') return { kind: 'dead', cause: 'status 400' };
          return kind === 'sent' ? { kind: 'sent' } : RETRY;
        };
        const lanes = lanesOf({ laneCount, maxWaitingEvents: 10_000, giveUpMs: 3_000 }, Math.random);
        for (const [index, { lane, gapMs }] of steps.entries()) {
          lanes.append(eventOf(`${lane}-${index}`), lane, true);
          await vi.advanceTimersByTimeAsync(gapMs);
        }
        const drained = lanes.drain(600_000);
        await vi.advanceTimersByTimeAsync(600_000);
        await drained;
        const seen = [...new Set(arrived)];
        for (let lane = 0; lane <= 4; lane++) {
          const order = seen.filter((id) => id.startsWith(`${lane}-`)).map((id) => Number(id.split('-')[1]));
          expect(order).toEqual(order.toSorted((a, b) => a - b));
        }
        expect(new Set([...seen, ...dead.ids()]).size).toBe(steps.length);
        expect(lanes.gauges()).toMatchObject({ waitingCount: 0, waitingBytes: 0, lostCount: 0 });
      },
    ),
    { numRuns: 60 },
  );
});
