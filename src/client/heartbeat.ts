/**
 * Op 2 in the adaptive interval, and the deadline of its answer.
 *
 * Guarantees: a dead line is noticed within the interval and the deadline. The body of op 2 says how long the server has to wait
 * for the next one at most.
 */
import { encodeHeartbeatBody } from '../protocol/index.js';
import type { AdaptiveInterval } from './adaptive-interval.js';
import type { TimerPort } from './ports.js';

/** An interval counts as quiet where nothing was on the line for so much of it: the answers to an open come at its beginning. */
const QUIET_RATIO = 0.9;

export interface HeartbeatLinks {
  send(body: Uint8Array): void;
  /** The deadline passed without a sign of life. */
  dead(): void;
}

export class Heartbeat {
  readonly #timers: TimerPort;
  readonly #interval: AdaptiveInterval;
  readonly #deadlineMs: number;
  readonly #links: HeartbeatLinks;
  #cancel: (() => void) | undefined;
  #isWaiting = false;
  /** The interval before the heartbeat that waits was a quiet one. */
  #wasQuiet = false;
  #lastTrafficMs = 0;

  constructor(timers: TimerPort, interval: AdaptiveInterval, deadlineMs: number, links: HeartbeatLinks) {
    this.#timers = timers;
    this.#interval = interval;
    this.#deadlineMs = deadlineMs;
    this.#links = links;
  }

  /** The connection is open. Its auth body or a heartbeat has told the server the interval. */
  start(): void {
    this.#isWaiting = false;
    this.traffic();
    this.#scheduleNext();
  }

  /** @param isDead the line broke; with a heartbeat under way that is this interval's failure */
  stop(isDead: boolean): void {
    if (this.#cancel === undefined) return;
    this.#cancel();
    this.#cancel = undefined;
    if (isDead && this.#isWaiting && this.#wasQuiet) this.#interval.failed();
    this.#isWaiting = false;
  }

  /** Ask at once: the network may have changed. */
  beatNow(): void {
    if (this.#cancel === undefined || this.#isWaiting) return;
    this.#cancel();
    this.traffic();
    this.#beat();
  }

  /** Something other than a heartbeat went over the line. */
  traffic(): void {
    this.#lastTrafficMs = this.#timers.nowMs();
  }

  /** Anything arrived: the line is alive. */
  alive(): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#cancel?.();
    this.#interval.succeeded(this.#wasQuiet);
    this.#scheduleNext();
  }

  #beat(): void {
    this.#isWaiting = true;
    const quietMs = this.#timers.nowMs() - this.#lastTrafficMs;
    this.#wasQuiet = quietMs >= this.#interval.intervalS * 1000 * QUIET_RATIO;
    this.#lastTrafficMs = this.#timers.nowMs();
    this.#cancel = this.#timers.schedule(this.#deadlineMs, () => this.#links.dead());
    this.#links.send(encodeHeartbeatBody(this.#wasQuiet ? this.#interval.nextS : this.#interval.intervalS));
  }

  #scheduleNext(): void {
    this.#cancel = this.#timers.schedule(this.#interval.intervalS * 1000, () => this.#beat());
  }
}
