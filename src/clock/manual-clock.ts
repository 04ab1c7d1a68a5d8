/**
 * A clock for tests: time passes only when the test says so, and the wall clock can be stepped apart from the
 * monotonic one, as a correction of the host's time does.
 */
import { HalleyError } from '../errors/index.js';
import type { Clock } from './clock.port.js';

export class ManualClock implements Clock {
  #nowMs: number;
  #monotonicMs = 0;

  /** @param nowMs the wall clock's first reading, whole milliseconds since 1970; the monotonic one starts at 0 */
  constructor(nowMs: number) {
    requireWholeMs(nowMs, 'nowMs');
    this.#nowMs = nowMs;
  }

  /** Let `durationMs` (whole, 0 or more) pass on both clocks. */
  advance(durationMs: number): void {
    requireWholeMs(durationMs, 'durationMs');
    if (durationMs < 0) {
      throw new HalleyError('CLOCK_BAD_TIME', 'time passes forward only; stepWall takes a negative step', {
        durationMs,
      });
    }
    this.#nowMs += durationMs;
    this.#monotonicMs += durationMs;
  }

  /** Move the wall clock alone by `stepMs` (whole, negative: back), as a correction of the host's time does. */
  stepWall(stepMs: number): void {
    requireWholeMs(stepMs, 'stepMs');
    this.#nowMs += stepMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }
}

/** The port promises whole milliseconds of wall time; a fraction let in here would surface far away. */
function requireWholeMs(value: number, name: string): void {
  if (!Number.isSafeInteger(value)) {
    throw new HalleyError('CLOCK_BAD_TIME', 'a manual clock takes whole milliseconds', { [name]: value });
  }
}
