/**
 * A promise about ids that is kept by renewing it ahead of need: one renewal at a time, on a timer, until it is stopped.
 *
 * Threads: the control thread.
 */
import type { HalleyError } from '../errors/index.js';

export class Renewal {
  readonly #renew: () => Promise<void>;
  readonly #stoppedError: () => HalleyError;
  #underWay: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** @param renew never called while one of its calls is under way @param stoppedError what `now` rejects with after `stop` */
  constructor(renew: () => Promise<void>, stoppedError: () => HalleyError) {
    this.#renew = renew;
    this.#stoppedError = stoppedError;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Renew. Calls while one is under way share it. */
  now(): Promise<void> {
    if (this.#isStopped) return Promise.reject(this.#stoppedError());
    this.#underWay ??= this.#renew().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** Renew every `intervalMs` until `stop`. The timer holds no process open. @param onFailed gets each failed renewal */
  keep(intervalMs: number, onFailed: (error: unknown) => void): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = setInterval(() => this.now().catch(onFailed), intervalMs);
    this.#timer.unref();
  }

  /** No renewal begins from now on. Resolves when the one under way has ended; its failure went to whoever called `now`. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#underWay?.catch(() => undefined);
  }
}
