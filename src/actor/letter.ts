/**
 * Who sent a message and who waits for an answer. A tell without a sender has no letter at all.
 */

export interface Letter {
  readonly senderThread: number;
  readonly senderIncarnation: number;
  /** 0: no sender. */
  readonly senderId: number;
  /** 0: nobody waits for an answer. */
  readonly askId: number;
}

/** Why a message reached nobody. */
export type DeadLetterReason =
  | 'no-actor'
  | 'stopped'
  | 'mailbox-full'
  | 'dropped-oldest'
  | 'dropped-newest'
  | 'full'
  | 'too-large'
  | 'thread-down'
  | 'other-node'
  | 'unknown-type'
  | 'too-many-hops'
  | 'undecodable';

export interface DeadLetter {
  readonly reason: DeadLetterReason;
  /** Where it was meant to go: `actor:0/1.1/7` or `type/key`. */
  readonly target: string;
  /** Undefined for messages that could not be decoded. Not copied: do not change it. */
  readonly message: unknown;
}

/** Counts of dead letters, and those who want to see each one. */
export class DeadLetterOffice {
  readonly #countByReason = new Map<DeadLetterReason, number>();
  readonly #observers = new Set<(letter: DeadLetter) => void>();
  #total = 0;

  /** @param target called only when somebody observes */
  post(reason: DeadLetterReason, target: () => string, message: unknown): void {
    this.#total++;
    this.#countByReason.set(reason, (this.#countByReason.get(reason) ?? 0) + 1);
    if (this.#observers.size === 0) return;
    const letter = { reason, target: target(), message };
    for (const observer of this.#observers) observer(letter);
  }

  /**
   * See every dead letter of this thread until the returned function is called. The observer must not
   * throw, and may be called while a ring is being read: note the letter and return.
   */
  observe(observer: (letter: DeadLetter) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  get total(): number {
    return this.#total;
  }

  counts(): Partial<Record<DeadLetterReason, number>> {
    return Object.fromEntries(this.#countByReason);
  }
}
