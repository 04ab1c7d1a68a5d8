/**
 * Publishes on a schedule: message i is due at start + i / rate, whatever became of the earlier ones.
 *
 * Guarantees: no coordinated omission. A publish that is up to 3 ms late is stamped with the moment itself (timers have a
 *   grain of 1 ms), a later one with its due time, so what a busy publisher held up counts as delay. A publisher that
 *   stays behind is stopped one second after its last due time; the rest is reported as refused.
 */
import type { FeedReport } from './feed.js';
import { monotonicNs } from './message.layout.js';

const STAMP_GRACE_NS = 3e6;
const OVERTIME_NS = 1e9;
/** After so long in one turn the loop gets its turn: a server that publishes in-process must also read and write. */
const MAX_TURN_NS = 20e6;
const NS_PER_MS = 1e6;

export interface PacerOptions {
  readonly ratePerSec: number;
  readonly messageCount: number;
  /** Publish message `index`; false or a promise of false: not taken. */
  readonly publish: (index: number, stampNs: number) => boolean | Promise<boolean>;
  /** Called at the end of each turn of the event loop in which something was published. */
  readonly onTurn?: (() => void) | undefined;
}

/** Resolves when every message was published, or the time is over, and every answer is in. */
export async function pace({ ratePerSec, messageCount, publish, onTurn }: PacerOptions): Promise<FeedReport> {
  const intervalNs = 1e9 / ratePerSec;
  const startNs = monotonicNs();
  const endNs = startNs + messageCount * intervalNs + OVERTIME_NS;
  let next = 0;
  let taken = 0;
  let maxLateNs = 0;
  let unanswered = 0;
  const answered = deferred();
  let isDone = false;
  const settle = (isTaken: boolean): void => {
    unanswered -= 1;
    if (isTaken) taken += 1;
    if (isDone && unanswered === 0) answered.resolve();
  };

  await new Promise<void>((resolve) => {
    const turn = (): void => {
      const turnNs = monotonicNs();
      const first = next;
      let nowNs = turnNs;
      while (next < messageCount && nowNs - turnNs < MAX_TURN_NS) {
        const dueNs = startNs + next * intervalNs;
        if (dueNs > nowNs) break;
        const lateNs = nowNs - dueNs;
        if (lateNs > maxLateNs) maxLateNs = lateNs;
        unanswered += 1;
        const outcome = publish(next, lateNs <= STAMP_GRACE_NS ? nowNs : dueNs);
        if (typeof outcome === 'boolean') settle(outcome);
        else outcome.then(settle, () => settle(false));
        next += 1;
        nowNs = monotonicNs();
      }
      if (next > first) onTurn?.();
      if (next >= messageCount || nowNs > endNs) {
        resolve();
        return;
      }
      const waitMs = (startNs + next * intervalNs - nowNs) / NS_PER_MS;
      if (waitMs <= 0) setImmediate(turn);
      else setTimeout(turn, waitMs);
    };
    turn();
  });
  isDone = true;
  if (unanswered > 0) await answered.promise;
  return { acceptedCount: taken, refusedCount: messageCount - taken, maxLateMs: maxLateNs / NS_PER_MS };
}

/** Node 20 has no Promise.withResolvers. */
function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
