/**
 * PushIntake: `PUBLISH halley:push`, open to any producer in any language. Every node reads every command and delivers it to its
 * own channels only; nothing is routed.
 *
 * Threads: control thread only.
 * Guarantees: order of arrival. At most once: pub/sub repeats nothing, and a node that is just reconnecting misses it (its
 *   channels are told a Gap). A bad command is delivered nowhere and reported. To a room with history it is delivered outside of
 *   the room's sequence: with offset 0, kept nowhere, not recovered. Who wants a place pushes by HTTP.
 */
import { PUSH_LIMITS, type PushLimits, parsePushCommand } from '../protocol/index.js';
import type { PushErrorReporter, PushTarget } from '../push/index.js';
import type { BusInlet } from './bus-inlet.js';

export interface PushIntakeParts {
  readonly inlet: Pick<BusInlet, 'push'>;
  readonly errors: PushErrorReporter;
  /** Nodes that take clients, this one included: `speed` is meant for all of them together. */
  readonly liveNodeCount: () => number;
}

export class PushIntake {
  readonly #parts: PushIntakeParts;
  readonly #limits: PushLimits;
  #acceptedCount = 0;
  #refusedCount = 0;

  /** @param messageMaxBytes largest body, `limits.push_body_bytes` */
  constructor(messageMaxBytes: number, parts: PushIntakeParts) {
    this.#parts = parts;
    // Base64 takes 4 bytes for 3; the rest of an envelope is what the default bounds leave for it.
    const maxEnvelopeBytes = Math.ceil(messageMaxBytes / 3) * 4 + PUSH_LIMITS.maxEnvelopeBytes;
    this.#limits = { ...PUSH_LIMITS, maxBodyBytes: messageMaxBytes, maxEnvelopeBytes };
  }

  /** One message of the push channel. */
  take(bytes: Uint8Array): void {
    const parsed = parsePushCommand(bytes, this.#limits);
    if (!parsed.ok) {
      this.#refusedCount += 1;
      this.#parts.errors.report(bytes, parsed.error);
      return;
    }
    this.#acceptedCount += 1;
    const { target, op, body, speed } = parsed.value;
    this.#parts.inlet.push({ target: target.kind === 'all' ? this.#all(speed) : target, op, body });
  }

  gauges(): { readonly acceptedCount: number; readonly refusedCount: number } {
    return { acceptedCount: this.#acceptedCount, refusedCount: this.#refusedCount };
  }

  #all(speedPerSec: number): PushTarget {
    return { kind: 'all', speedPerSec: shareOf(speedPerSec, this.#parts.liveNodeCount()) };
  }
}

/** A node's share of a speed for the whole cluster; 0 stays 0 (at once), anything else is 1 or more. */
export function shareOf(speedPerSec: number, nodeCount: number): number {
  return speedPerSec <= 0 ? 0 : Math.max(1, Math.round(speedPerSec / Math.max(1, nodeCount)));
}
