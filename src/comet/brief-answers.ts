/**
 * The newest answers to recoveries, so that a crowd that was cut off at once costs one of them, over however many turns it comes
 * back. Whether one may still be given is the caller's business.
 *
 * Threads: its owner's (control thread: encoded answers; a bucket: finished packets).
 * Guarantees: bounded by `MAX_COUNT` and `MAX_BYTES`, the oldest go; nothing is kept longer than `KEEP_MS`.
 */

/** A message may be handed out for so long after the rule of its room would have forgotten it. */
const KEEP_MS = 1_000;
const MAX_COUNT = 64;
const MAX_BYTES = 8 * 1024 * 1024;

export class BriefAnswers<Answer extends { readonly byteLength: number }> {
  readonly #byKey = new Map<string, Answer>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  get(key: string): Answer | undefined {
    return this.#byKey.get(key);
  }

  /** In place of what has this key. The answer must not change its size any more. */
  put(key: string, answer: Answer): void {
    if (answer.byteLength > MAX_BYTES) return;
    this.#remove(key);
    this.#byKey.set(key, answer);
    this.#bytes += answer.byteLength;
    for (const oldKey of this.#byKey.keys()) {
      if (this.#byKey.size <= MAX_COUNT && this.#bytes <= MAX_BYTES) break;
      this.#remove(oldKey);
    }
    // One timer for all: what came later is asked for once more, which costs one answer.
    this.#timer ??= setTimeout(() => this.clear(), KEEP_MS).unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#byKey.clear();
    this.#bytes = 0;
  }

  #remove(key: string): void {
    this.#bytes -= this.#byKey.get(key)?.byteLength ?? 0;
    this.#byKey.delete(key);
  }
}
