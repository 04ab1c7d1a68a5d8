/**
 * How long to wait before the next attempt, so that many thousand clients that lost one node at the same moment do not come back at
 * the same moment. Every delay is uniformly random between 0 and a bound.
 *
 * The first bound after a loss is the window that the server gave; later ones double from the base, but do not fall below the
 * window: whoever finds the node still away spreads out again over the same time.
 *
 * Source: "Exponential Backoff And Jitter" (AWS architecture blog), full jitter; the window is Halley's.
 */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Doubling stops mattering long before this. */
const MAX_DOUBLINGS = 20;

export class ReconnectDelay {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failureCount = 0;
  #windowMs = 0;
  #isWindowNext = false;

  constructor(options: BackoffOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
  }

  /** @param windowMs what the server asked for; 0: nothing */
  useWindow(windowMs: number): void {
    this.#windowMs = windowMs;
    this.#isWindowNext = windowMs > 0;
  }

  /** Milliseconds until the next attempt. The bound grows with every call. */
  nextMs(): number {
    const { baseMs, capMs } = this.#options;
    let boundMs = this.#windowMs;
    if (!this.#isWindowNext) {
      boundMs = Math.max(boundMs, Math.min(capMs, baseMs * 2 ** Math.min(this.#failureCount, MAX_DOUBLINGS)));
      this.#failureCount += 1;
    }
    this.#isWindowNext = false;
    return Math.floor(this.#random() * boundMs);
  }

  /** The trouble is over: a connection was stable, or the network is back. */
  reset(): void {
    this.#failureCount = 0;
    this.#windowMs = 0;
    this.#isWindowNext = false;
  }
}
