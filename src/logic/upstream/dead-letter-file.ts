/**
 * Dead letters without Redis: lines of JSON in the data directory, in two files that replace each other.
 *
 * `upstream-dead.jsonl` grows to half of the bound; then it becomes `upstream-dead.1.jsonl` and the older one goes. A line is
 * `{at_ms, cause, delivery_id, events: [...]}`; what is given up once in a while need not be fast, but must be on disk.
 *
 * Threads: control thread only. Writes one after the other.
 * Guarantees: at most `maxBytes` and one batch on disk; the newest half of the bound is always kept.
 */
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock/index.js';
import type { DeadLetters, EventBatch } from '../../push/index.js';

export const DEAD_LETTER_FILE = 'upstream-dead.jsonl';
export const OLDER_DEAD_LETTER_FILE = 'upstream-dead.1.jsonl';

export class DeadLetterFile implements DeadLetters {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  #last: Promise<void> = Promise.resolve();

  constructor(directory: string, maxBytes: number, clock: Clock) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
  }

  store(batch: EventBatch, cause: string): Promise<void> {
    const line = deadLetterLine(batch, cause, this.#clock.nowMs());
    // Its own failure is its caller's; the next one starts afresh.
    const stored = this.#last.then(
      () => this.#append(line),
      () => this.#append(line),
    );
    this.#last = stored;
    return stored;
  }

  async #append(line: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    const path = join(this.#directory, DEAD_LETTER_FILE);
    if ((await sizeOf(path)) + Buffer.byteLength(line) > this.#maxBytes / 2) {
      if ((await sizeOf(path)) > 0) await rename(path, join(this.#directory, OLDER_DEAD_LETTER_FILE));
    }
    const file = await open(path, 'a', 0o600);
    try {
      await file.writeFile(line);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** `{at_ms, cause, delivery_id, events}` and a line break. */
export function deadLetterLine(batch: EventBatch, cause: string, atMs: number): string {
  const head = JSON.stringify({ at_ms: atMs, cause, delivery_id: batch.deliveryId });
  return `${head.slice(0, -1)},"events":[${batch.events.map(({ json }) => json).join(',')}]}\n`;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
