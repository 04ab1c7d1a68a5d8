/**
 * The host's clock. A reading costs 33 ns on the machine of `bench/id/id.bench.ts`; code
 * that needs the time more than once per loop turn reads a `CachedClock` instead.
 *
 * Threads: any; it has no state.
 */
import type { Clock } from './clock.port.js';

export const systemClock: Clock = {
  nowMs(): number {
    return Date.now();
  },
  monotonicMs(): number {
    return performance.now();
  },
};
