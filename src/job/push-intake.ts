/**
 * PushIntake: `PUBLISH halley:push`, open to any producer in any language. Every node reads every command and delivers it to its
 * own channels only; nothing is routed. What goes to a room with history is appended to it by one of the nodes and comes to
 * all of them by the room's channel, with its place (history-intake.ts).
 *
 * Threads: control thread only.
 * Guarantees: order of arrival. At most once: pub/sub repeats nothing, and a node that is just reconnecting misses it (its
 *   channels are told a Gap). A bad command is delivered nowhere and reported.
 */
import { createHash } from 'node:crypto';
import { PUSH_LIMITS, type PushLimits, parsePushCommand } from '../protocol/index.js';
import type { PushErrorReporter, PushTarget } from '../push/index.js';
import type { BusInlet } from './bus-inlet.js';
import type { HistoryIntake } from './history-intake.js';

export interface PushIntakeParts {
  readonly inlet: Pick<BusInlet, 'push'>;
  readonly errors: PushErrorReporter;
  /** Nodes that take clients, this one included: `speed` is meant for all of them together. */
  readonly liveNodeCount: () => number;
  /** For rooms with history; without it no room has any. */
  readonly history?: Pick<HistoryIntake, 'take' | 'missed'> & { readonly hasHistory: (room: string) => boolean };
}

const HASH_BYTES = 8;

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
    if (target.kind === 'rooms') this.#toRooms(bytes, target.rooms, op, body);
    else this.#parts.inlet.push({ target: target.kind === 'all' ? this.#all(speed) : target, op, body });
  }

  /** Commands may have been missed. */
  missed(): void {
    this.#parts.history?.missed();
  }

  gauges(): { readonly acceptedCount: number; readonly refusedCount: number } {
    return { acceptedCount: this.#acceptedCount, refusedCount: this.#refusedCount };
  }

  #toRooms(bytes: Uint8Array, rooms: readonly string[], op: number, body: Uint8Array): void {
    const { inlet, history } = this.#parts;
    const kept = history === undefined ? [] : rooms.filter((room) => history.hasHistory(room));
    if (history === undefined || kept.length === 0) {
      inlet.push({ target: { kind: 'rooms', rooms }, op, body });
      return;
    }
    const others = rooms.filter((room) => !kept.includes(room));
    if (others.length > 0) inlet.push({ target: { kind: 'rooms', rooms: others }, op, body });
    const hash = createHash('sha1').update(bytes).digest().toString('latin1', 0, HASH_BYTES);
    for (const room of new Set(kept)) history.take(room, op, body, hash);
  }

  #all(speedPerSec: number): PushTarget {
    return { kind: 'all', speedPerSec: shareOf(speedPerSec, this.#parts.liveNodeCount()) };
  }
}

/** A node's share of a speed for the whole cluster; 0 stays 0 (at once), anything else is 1 or more. */
export function shareOf(speedPerSec: number, nodeCount: number): number {
  return speedPerSec <= 0 ? 0 : Math.max(1, Math.round(speedPerSec / Math.max(1, nodeCount)));
}
