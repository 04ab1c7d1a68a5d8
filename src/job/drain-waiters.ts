/**
 * Who waits until a queue is empty, each for so long.
 *
 * Threads: the queue's own.
 */
export class DrainWaiters {
  readonly #settles = new Set<(isDrained: boolean) => void>();

  /**
   * Resolves with what settleAll() says.
   * @param timeoutMs 0 or less: false at once
   * @returns false when `timeoutMs` passed before
   */
  wait(timeoutMs: number): Promise<boolean> {
    if (timeoutMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (isDrained: boolean) => {
        clearTimeout(deadline);
        this.#settles.delete(settle);
        resolve(isDrained);
      };
      // This timer is ref'd on purpose: whoever drains wants the process to stay until the end.
      const deadline = setTimeout(() => settle(false), timeoutMs);
      this.#settles.add(settle);
    });
  }

  settleAll(isDrained: boolean): void {
    for (const settle of [...this.#settles]) settle(isDrained);
  }
}
