/**
 * What the main thread hands a worker in one turn: frames, encoded once, in one buffer that is transferred, and their
 * targets. Structured clone costs per object, so a turn is one message of one array and one buffer.
 */
const START_BYTES = 8_192;

export interface ShardBatch {
  readonly targets: readonly string[];
  /** Where each frame ends in `bytes`. */
  readonly ends: readonly number[];
  readonly bytes: ArrayBuffer;
}

export class ShardBatchWriter {
  #targets: string[] = [];
  #ends: number[] = [];
  #bytes = new Uint8Array(START_BYTES);
  #usedBytes = 0;

  get isEmpty(): boolean {
    return this.#targets.length === 0;
  }

  /** Copies the frame. */
  add(target: string, frame: Uint8Array): void {
    const end = this.#usedBytes + frame.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#usedBytes));
      this.#bytes = grown;
    }
    this.#bytes.set(frame, this.#usedBytes);
    this.#usedBytes = end;
    this.#targets.push(target);
    this.#ends.push(end);
  }

  /** The batch, owned by the caller (its buffer is there to be transferred); the writer starts anew. */
  take(): ShardBatch {
    const bytes = this.#bytes.buffer.slice(0, this.#usedBytes);
    const batch = { targets: this.#targets, ends: this.#ends, bytes };
    this.#targets = [];
    this.#ends = [];
    this.#usedBytes = 0;
    return batch;
  }
}

/** Call `visit` for each frame; it is a view into the batch. */
export function visitBatch(batch: ShardBatch, visit: (target: string, frame: Uint8Array) => void): void {
  let start = 0;
  for (let index = 0; index < batch.targets.length; index++) {
    const end = batch.ends[index]!;
    visit(batch.targets[index]!, new Uint8Array(batch.bytes, start, end - start));
    start = end;
  }
}
