/**
 * Deliberate discards. An error that is rightly dropped goes through here, so that it is counted and never silent.
 */

/** Counts of discarded errors by reason, of one thread. */
export class DiscardCounter {
  readonly #countByReason = new Map<string, number>();
  #last: { reason: string; error: unknown } | undefined;

  /** Drop `error` on purpose. `reason` is a short fixed phrase: it is the counter's label. */
  ignore(error: unknown, reason: string): void {
    this.#countByReason.set(reason, (this.#countByReason.get(reason) ?? 0) + 1);
    this.#last = { reason, error };
  }

  /** A copy of the counts. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#countByReason);
  }

  /** The newest discarded error, for a debugger. */
  last(): { reason: string; error: unknown } | undefined {
    return this.#last;
  }
}
