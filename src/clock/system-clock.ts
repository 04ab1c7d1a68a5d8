/**
 * The host's clock. A reading costs 33 ns on the machine of `bench/id/id.bench.ts`; code
 * that needs the time more than once per loop turn reads a `CachedClock` instead.
 *
 * Threads: any; it has no state.
 * Hot path: the global `performance` is taken once, since in Node it is a getter (1 % of a bucket's time, bench:e2e keys).
 */
import type { Clock } from './clock.port.js';

const { performance: hostClock } = globalThis;

export const systemClock: Clock = {
  nowMs(): number {
    return Date.now();
  },
  monotonicMs(): number {
    return hostClock.now();
  },
};
