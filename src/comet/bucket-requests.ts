/**
 * Calls that wait for the answers of several buckets: each bucket concerned is asked once, their counts are added.
 *
 * Threads: control thread only.
 * Guarantees: a call ends when all have answered, when those that have not are lost, at its deadline, or with close().
 */
import type { Logger } from '../telemetry/index.js';

interface PendingRequest {
  readonly resolve: (count: number) => void;
  waitingMask: number;
  count: number;
  readonly timer: NodeJS.Timeout;
}

export class BucketRequests {
  readonly #timeoutMs: number;
  readonly #log: Logger;
  readonly #requests = new Map<number, PendingRequest>();
  #request = 0;

  constructor(timeoutMs: number, log: Logger) {
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** @param send tells the buckets, under the number it is given; answers name that number */
  ask(targetMask: number, send: (request: number) => void): Promise<number> {
    this.#request += 1;
    const request = this.#request;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        const pending = this.#requests.get(request);
        this.#requests.delete(request);
        this.#log.warn({ request, waitingMask: pending?.waitingMask ?? 0 }, 'a bucket did not answer in time');
        resolve(pending?.count ?? 0);
      }, this.#timeoutMs);
      this.#requests.set(request, { resolve, waitingMask: targetMask, count: 0, timer });
      send(request);
    });
  }

  answer(request: number, thread: number, count: number): void {
    const pending = this.#requests.get(request);
    if (pending === undefined || (pending.waitingMask & (1 << thread)) === 0) return;
    pending.waitingMask &= ~(1 << thread);
    pending.count += count;
    if (pending.waitingMask !== 0) return;
    clearTimeout(pending.timer);
    this.#requests.delete(request);
    pending.resolve(pending.count);
  }

  /** The thread will not answer what it was asked. */
  forgetThread(thread: number): void {
    for (const request of this.#requests.keys()) this.answer(request, thread, 0);
  }

  close(): void {
    for (const pending of this.#requests.values()) {
      clearTimeout(pending.timer);
      pending.resolve(pending.count);
    }
    this.#requests.clear();
  }
}
