/**
 * clock: what time it is, and whose time is up.
 *
 * Code takes a `Clock` (`clock.port.ts`) instead of calling Date.now. `systemClock` is the host's; `CachedClock` is a
 * thread's own copy of it, refreshed by the thread once per loop turn, for everything that reads the time per message;
 * `ManualClock` is for tests. Wall time is for what others read (ids, `since` fields) and may step back; durations and
 * deadlines use monotonic time.
 *
 * `TimingWheel` holds all deadlines of one thread (tens of thousands of connections, one deadline each) in three typed
 * arrays; the thread advances it from one timer. The hot path starts at `TimingWheel.schedule`, called per packet.
 *
 * Anyone may import this folder. It imports only `errors/` and runs in browsers too.
 */
export { CachedClock } from './cached-clock.js';
export type { Clock } from './clock.port.js';
export { ManualClock } from './manual-clock.js';
export { systemClock } from './system-clock.js';
export { TimingWheel, type TimingWheelOptions } from './timing-wheel.js';
