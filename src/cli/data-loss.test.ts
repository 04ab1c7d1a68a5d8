import { describe, expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { memoryLog } from '../telemetry/index.js';
import { DataLoss } from './data-loss.js';

describe('DataLoss', () => {
  it('counts and logs each loss, and says all that were lost within the last minute', () => {
    const clock = new ManualClock(1_000);
    const log = memoryLog();
    const loss = new DataLoss(log.logger, clock);
    expect([loss.count, loss.notReady()]).toEqual([0, []]);
    loss.note('sessions');
    clock.advance(30_000);
    loss.note('durable pushes of shard 0');
    expect(loss.notReady()).toEqual([
      { reason: 'redis_lost_data', detail: 'Redis has lost sessions, and durable pushes of shard 0' },
    ]);
    clock.advance(30_000);
    expect(loss.notReady()[0]?.detail).toBe('Redis has lost durable pushes of shard 0');
    clock.advance(30_000);
    expect([loss.count, loss.notReady()]).toEqual([2, []]);
    expect(log.records.map(({ level, message }) => [level, message])).toEqual([
      ['error', 'Redis has lost data'],
      ['error', 'Redis has lost data'],
    ]);
  });
});
