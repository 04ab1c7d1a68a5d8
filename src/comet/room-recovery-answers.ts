/**
 * Encoded answers to recoveries, so that a crowd that was cut off at once costs one encoding, over however many turns and
 * buckets it comes back. In one life of a room an offset is one message for ever, so an answer from one offset to another never
 * changes; whether it may still be given is the caller's business.
 *
 * Threads: control thread only.
 * Guarantees: bounded by `MAX_COUNT` and `MAX_BYTES`, the oldest go; nothing is kept longer than `KEEP_MS`.
 */
const MAX_COUNT = 64;
const MAX_BYTES = 8 * 1024 * 1024;
const KEEP_MS = 1_000;

export class AnswerCache {
  readonly #byKey = new Map<string, Uint8Array>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  get(room: string, epoch: number, fromOffset: number, toOffset: number): Uint8Array | undefined {
    return this.#byKey.get(keyOf(room, epoch, fromOffset, toOffset));
  }

  /** Only what is not kept already. `bytes` must not be written to any more. */
  put(room: string, epoch: number, fromOffset: number, toOffset: number, bytes: Uint8Array): void {
    if (bytes.length > MAX_BYTES) return;
    this.#byKey.set(keyOf(room, epoch, fromOffset, toOffset), bytes);
    this.#bytes += bytes.length;
    for (const [key, old] of this.#byKey) {
      if (this.#byKey.size <= MAX_COUNT && this.#bytes <= MAX_BYTES) break;
      this.#byKey.delete(key);
      this.#bytes -= old.length;
    }
    this.#timer ??= setTimeout(() => this.clear(), KEEP_MS).unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#byKey.clear();
    this.#bytes = 0;
  }
}

function keyOf(room: string, epoch: number, fromOffset: number, toOffset: number): string {
  return `${epoch}:${fromOffset}:${toOffset}:${room}`;
}
