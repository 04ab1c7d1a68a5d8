/**
 * What becomes of an actor that threw.
 */
import { HalleyError } from '../errors/index.js';

/**
 * `restart`: a new instance after a backoff, the mailbox is kept; more than `maxRestarts` within `withinMs` and it stops.
 * `stop`: it ends, its mailbox becomes dead letters. `escalate`: it ends and its parent fails with the same error; without
 * a parent the thread does.
 */
export interface Supervision {
  readonly strategy?: 'restart' | 'stop' | 'escalate';
  /** Before the first restart; doubles with each further one. Default 50. */
  readonly backoffMinMs?: number;
  /** Default 10,000. */
  readonly backoffMaxMs?: number;
  /** Default 10. */
  readonly maxRestarts?: number;
  /** Restarts older than this are forgotten. Default 60,000. */
  readonly withinMs?: number;
}

export type SupervisionPolicy = Required<Supervision>;

export const DEFAULT_SUPERVISION: SupervisionPolicy = {
  strategy: 'restart',
  backoffMinMs: 50,
  backoffMaxMs: 10_000,
  maxRestarts: 10,
  withinMs: 60_000,
};

/** Fill in the defaults. @throws HalleyError SUPERVISION_RANGE */
export function completeSupervision(supervision: Supervision = {}): SupervisionPolicy {
  const policy = { ...DEFAULT_SUPERVISION, ...supervision };
  if (!(policy.backoffMinMs >= 0 && policy.backoffMaxMs >= policy.backoffMinMs && policy.maxRestarts >= 0)) {
    throw new HalleyError('SUPERVISION_RANGE', 'backoff runs from min to max, and restarts are 0 or more', {
      backoff_min_ms: policy.backoffMinMs,
      backoff_max_ms: policy.backoffMaxMs,
      max_restarts: policy.maxRestarts,
    });
  }
  return policy;
}

/** The restarts of one actor. */
export class RestartHistory {
  readonly #policy: SupervisionPolicy;
  #restartsAtMs: number[];

  constructor(policy: SupervisionPolicy) {
    this.#policy = policy;
    this.#restartsAtMs = [];
  }

  /** Record a failure at `nowMs`. Returns the backoff before the restart, or undefined: it has been too often. */
  nextBackoffMs(nowMs: number): number | undefined {
    const { backoffMinMs, backoffMaxMs, maxRestarts, withinMs } = this.#policy;
    this.#restartsAtMs = this.#restartsAtMs.filter((atMs) => nowMs - atMs < withinMs);
    if (this.#restartsAtMs.length >= maxRestarts) return undefined;
    const backoffMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#restartsAtMs.length);
    this.#restartsAtMs.push(nowMs);
    return backoffMs;
  }
}
