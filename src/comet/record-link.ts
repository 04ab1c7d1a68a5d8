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
  targetMask: number;
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

  /** Send a message to the threads in the mask. @throws HalleyError CONTROL_RECORD_TOO_LARGE; nothing is sent then */
  send(targetMask: number, message: readonly unknown[]): void {
    const bytes: Uint8Array = this.#packr.pack(message);
    const outcome = this.#writer.claim(bytes.length);
    // Also where it would have to wait: in the retry nobody is left to catch this.
    if (outcome === OUTCOME.TOO_LARGE) {
      throw new HalleyError('CONTROL_RECORD_TOO_LARGE', 'a message between threads must fit the ring', {
        bytes: bytes.length,
      });
    }
    if (outcome === OUTCOME.OK && this.#waiting.length === 0) {
      this.#commit(targetMask, bytes);
      return;
    }
    this.#writer.abort();
    // pack() reuses its buffer: what waits needs bytes of its own.
    this.#waiting.push({ targetMask, bytes: bytes.slice() });
    this.#armRetry();
  }

  /** A thread died: what still waits for it is not meant for its successor, which counts its requests from 1 again. */
  forgetThread(thread: number): void {
    for (const message of this.#waiting) message.targetMask &= ~(1 << thread);
    this.#waiting = this.#waiting.filter(({ targetMask }) => targetMask !== 0);
  }

  /** Decode a CONTROL record. The result shares no memory with the ring. */
  decode(bytes: Uint8Array, offset: number, lengthBytes: number): unknown {
    return this.#packr.unpack(bytes.slice(offset, offset + lengthBytes));
  }

  close(): void {
    clearTimeout(this.#retryTimer);
    this.#waiting = [];
  }

  /** Into the claim just made. */
  #commit(targetMask: number, bytes: Uint8Array): void {
    this.#writer.bytes.set(bytes, this.#writer.offset);
    this.#writer.commit(RAW_KIND.CONTROL, targetMask, bytes.length);
    this.#signal();
  }

  #armRetry(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      let sent = 0;
      for (const { targetMask, bytes } of this.#waiting) {
        if (this.#writer.claim(bytes.length) !== OUTCOME.OK) break;
        this.#commit(targetMask, bytes);
        sent++;
      }
      this.#waiting.splice(0, sent);
      if (this.#waiting.length > 0) this.#armRetry();
    }, RETRY_MS);
  }
}
