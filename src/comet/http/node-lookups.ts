/**
 * Where other nodes are, asked of the control thread, which has the directory. Answers are kept for a moment, so that a client
 * that polls through the wrong node does not cost a question each time.
 *
 * Threads: its bucket.
 * Guarantees: every question ends: with the answer, or unanswered after a deadline (the ring may have lost it).
 */
import type { Clock } from '../../clock/index.js';
import { type FindNodeMessage, MESSAGE, type NodeFoundMessage } from '../thread-messages.js';

export interface NodeAddress {
  readonly host: string;
  readonly port: number;
  /** The port speaks TLS. */
  readonly isTls: boolean;
}

/** `gone`: no node of this tag is alive. `unknown`: nobody answered in time. */
export type FoundNode = NodeAddress | 'gone' | 'unknown';

const KEEP_MS = 1_000;
const DEADLINE_MS = 2_000;
/** Tags come from clients: so many are kept at most. */
const MAX_KEPT = 1_024;

export class NodeLookups {
  readonly #send: (message: FindNodeMessage) => void;
  readonly #clock: Clock;
  readonly #kept = new Map<string, { readonly found: FoundNode; readonly untilMs: number }>();
  readonly #asked = new Map<number, (found: FoundNode) => void>();
  #request = 0;

  constructor(send: (message: FindNodeMessage) => void, clock: Clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** Never rejects. */
  async find(nodeTag: string): Promise<FoundNode> {
    const kept = this.#kept.get(nodeTag);
    if (kept !== undefined && this.#clock.monotonicMs() < kept.untilMs) return kept.found;
    this.#request += 1;
    const request = this.#request;
    const found = await new Promise<FoundNode>((resolve) => {
      const timer = setTimeout(() => {
        this.#asked.delete(request);
        resolve('unknown');
      }, DEADLINE_MS);
      this.#asked.set(request, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#send([MESSAGE.FIND_NODE, request, nodeTag]);
    });
    if (found === 'unknown') return found;
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#kept.set(nodeTag, { found, untilMs: this.#clock.monotonicMs() + KEEP_MS });
    return found;
  }

  onNodeFound([, request, host, port, isTls]: NodeFoundMessage): void {
    const answer = this.#asked.get(request);
    this.#asked.delete(request);
    answer?.(port === 0 ? 'gone' : { host, port, isTls });
  }
}
