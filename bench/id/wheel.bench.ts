/**
 * What does a connection's deadline cost per packet (re-arm) and per expiry?
 *
 * Topology: one thread, 50,000 slots, 100 ms ticks, 4,096 buckets. No messages; cores required: 1. Competitor: one Node
 * timer per connection, re-armed with `refresh()`, in the same run.
 */
import { TimingWheel } from '../../src/clock/index.js';
import { assertResult, type BenchOptions, type BenchResult, measureRounds } from '../bench.js';

const SLOT_COUNT = 50_000;
const IDLE_MS = 480_000;

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 5 : 31;
  const wheel = new TimingWheel({ tickMs: 100, bucketCount: 4_096, initialSlots: SLOT_COUNT });
  let nowMs = 1_000;
  wheel.advance(nowMs, () => {});

  const rearm = await measureRounds('wheel: re-arm for later', SLOT_COUNT, rounds, () => {
    nowMs += 1;
    for (let slot = 0; slot < SLOT_COUNT; slot++) wheel.schedule(slot, nowMs + IDLE_MS);
  });
  assertResult(wheel.size === SLOT_COUNT, 'every slot is scheduled once');

  const cancel = await measureRounds('wheel: cancel and schedule', SLOT_COUNT, rounds, () => {
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      wheel.cancel(slot);
      wheel.schedule(slot, nowMs + IDLE_MS + (slot % 1_000) * 100);
    }
  });
  assertResult(wheel.size === SLOT_COUNT, 'every slot is scheduled again');

  let expiredCount = 0;
  const expire = await measureRounds('wheel: schedule over 100 s, then expire tick by tick', SLOT_COUNT, rounds, () => {
    for (let slot = 0; slot < SLOT_COUNT; slot++) wheel.schedule(slot, nowMs + (slot % 1_000) * 100);
    const endMs = nowMs + 101_000;
    for (; nowMs < endMs; nowMs += 100) {
      wheel.advance(nowMs, () => {
        expiredCount++;
      });
    }
  });
  assertResult(expiredCount === rounds * SLOT_COUNT && !wheel.has(0), 'every slot expired once per round');

  const timers = Array.from({ length: SLOT_COUNT }, () => setTimeout(() => {}, IDLE_MS));
  const refresh = await measureRounds('one Node timer each: refresh', SLOT_COUNT, rounds, () => {
    for (const timer of timers) timer.refresh();
  });
  for (const timer of timers) clearTimeout(timer);

  const ratio = (refresh.nsPerOp / rearm.nsPerOp).toFixed(1);
  return {
    title: 'id: deadlines of 50,000 connections on one timing wheel',
    topology: 'one thread, 100 ms ticks, 4,096 buckets, 480 s idle; 1 core',
    rows: [{ ...rearm, note: `${ratio}x cheaper than refresh` }, cancel, expire, refresh],
  };
}
