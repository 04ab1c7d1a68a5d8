/**
 * Sends CONTROL records over a thread's own ring, and never loses one: what the ring has no room for waits here, in
 * order, and goes out first.
 *
 * Threads: the owner of the ring only.
 * Guarantees: order of sending per target; while something waits, `backlogCount` is above 0 and the caller must not
 * put pushes into the ring in front of it. What waits is bounded by what exists: one connect, one disconnect and the
 * pending requests per channel.
 */
import { Packr } from 'msgpackr';
import { HalleyError, OUTCOME } from '../errors/index.js';
import type { RingWriter } from '../ring/index.js';
import { RAW_KIND } from './push-record.layout.js';

interface Waiting {
  readonly targetMask: number;
  readonly bytes: Uint8Array;
}

const RETRY_MS = 1;

export class RecordLink {
  readonly #writer: RingWriter;
  readonly #signal: () => void;
  readonly #packr = new Packr({ useRecords: false });
  #waiting: Waiting[] = [];
  #retryTimer: NodeJS.Timeout | undefined;

  /** @param signal wakes the readers of what was committed, soon */
  constructor(writer: RingWriter, signal: () => void) {
    this.#writer = writer;
    this.#signal = signal;
  }

  get backlogCount(): number {
    return this.#waiting.length;
  }

  /** Send a message to the threads in the mask. */
  send(targetMask: number, message: readonly unknown[]): void {
    const bytes: Uint8Array = this.#packr.pack(message);
    if (this.#waiting.length > 0 || !this.#write(targetMask, bytes)) {
      // pack() reuses its buffer: what waits needs bytes of its own.
      this.#waiting.push({ targetMask, bytes: bytes.slice() });
      this.#armRetry();
    }
  }

  /** Decode a CONTROL record. The result shares no memory with the ring. */
  decode(bytes: Uint8Array, offset: number, lengthBytes: number): unknown {
    return this.#packr.unpack(bytes.slice(offset, offset + lengthBytes));
  }

  close(): void {
    clearTimeout(this.#retryTimer);
    this.#waiting = [];
  }

  #write(targetMask: number, bytes: Uint8Array): boolean {
    const outcome = this.#writer.claim(bytes.length);
    if (outcome === OUTCOME.TOO_LARGE) {
      throw new HalleyError('CONTROL_RECORD_TOO_LARGE', 'a message between threads must fit the ring', {
        bytes: bytes.length,
      });
    }
    if (outcome !== OUTCOME.OK) return false;
    this.#writer.bytes.set(bytes, this.#writer.offset);
    this.#writer.commit(RAW_KIND.CONTROL, targetMask, bytes.length);
    this.#signal();
    return true;
  }

  #armRetry(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      let sent = 0;
      for (const { targetMask, bytes } of this.#waiting) {
        if (!this.#write(targetMask, bytes)) break;
        sent++;
      }
      this.#waiting.splice(0, sent);
      if (this.#waiting.length > 0) this.#armRetry();
    }, RETRY_MS);
  }
}
