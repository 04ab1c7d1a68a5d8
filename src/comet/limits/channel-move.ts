/**
 * Asks all channels that a node has now to go elsewhere, spread over a time, so that the other nodes take them one by one.
 * Those that connect meanwhile are not asked.
 *
 * Threads: control thread.
 * Guarantees: every channel that is still there is asked once; the last one when the time is over. A second move replaces the
 *   first. Costs one timer while it runs.
 */
import type { Clock } from '../../clock/index.js';
import type { Session } from '../../push/index.js';

const TICK_MS = 50;

export interface ChannelMoveLinks {
  readonly clock: Clock;
  /** Close the channel, if it still is this one. */
  readonly close: (session: Session) => void;
}

export class ChannelMove {
  readonly #links: ChannelMoveLinks;
  #timer: NodeJS.Timeout | undefined;

  constructor(links: ChannelMoveLinks) {
    this.#links = links;
  }

  /** @param overMs 0: all at once */
  start(sessions: readonly Session[], overMs: number): void {
    this.stop();
    const startedMs = this.#links.clock.monotonicMs();
    let next = 0;
    const closeDue = () => {
      const share = overMs <= 0 ? 1 : Math.min(1, (this.#links.clock.monotonicMs() - startedMs) / overMs);
      const due = Math.floor(sessions.length * share);
      while (next < due) {
        this.#links.close(sessions[next]!);
        next += 1;
      }
      if (next === sessions.length) this.stop();
    };
    this.#timer = setInterval(closeDue, TICK_MS);
    closeDue();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
