/**
 * How long the line may be quiet on this network. The longest interval that a NAT on the way still allows costs a phone the least;
 * it is found by trying, once per network, and remembered.
 *
 * Source: the seeds' rule (goim): between 60 and 300 s, a success adds 30 s, a failure takes 30 s off, and then the last good value
 * holds. Ours differs in two points. A success counts only if the line was really quiet, because traffic keeps a NAT open. And a
 * value that holds gives way only to a second failure in a row: the first may be a tunnel.
 */
import type { StoragePort } from './ports.js';

export interface IntervalLimits {
  readonly minS: number;
  readonly maxS: number;
  readonly stepS: number;
}

export const DEFAULT_INTERVAL_LIMITS: IntervalLimits = { minS: 60, maxS: 300, stepS: 30 };

const KEY_PREFIX = 'halley.heartbeat.';

export class AdaptiveInterval {
  readonly #storage: StoragePort;
  readonly #limits: IntervalLimits;
  #network = '';
  #intervalS: number;
  #isHeld = false;
  #hasFailed = false;

  constructor(storage: StoragePort, limits: IntervalLimits) {
    this.#storage = storage;
    this.#limits = limits;
    this.#intervalS = limits.minS;
  }

  /** Whole seconds from one heartbeat to the next. */
  get intervalS(): number {
    return this.#intervalS;
  }

  /** The last good value holds; no longer one is tried on this network. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** The longest that may follow: what the server is to expect. */
  get nextS(): number {
    return this.#isHeld ? this.#intervalS : Math.min(this.#limits.maxS, this.#intervalS + this.#limits.stepS);
  }

  /** Go on with what is known about this network. @returns false where it is the one already */
  useNetwork(network: string): boolean {
    if (network === this.#network) return false;
    this.#network = network;
    this.#hasFailed = false;
    const { minS, maxS } = this.#limits;
    const [, seconds = '', held = ''] = /^(\d{1,6}):([01])$/.exec(this.#storage.get(KEY_PREFIX + network) ?? '') ?? [];
    this.#intervalS = seconds === '' ? minS : Math.min(maxS, Math.max(minS, Number(seconds)));
    this.#isHeld = held === '1';
    return true;
  }

  /** A heartbeat was answered. @param wasQuiet nothing else had been on the line for the whole interval */
  succeeded(wasQuiet: boolean): void {
    this.#hasFailed = false;
    if (this.#isHeld || !wasQuiet || this.#intervalS === this.#limits.maxS) return;
    this.#set(this.nextS, false);
  }

  /** The line was found dead. */
  failed(): void {
    const isFirstOfHeld = this.#isHeld && !this.#hasFailed;
    this.#hasFailed = true;
    if (!isFirstOfHeld) this.#set(Math.max(this.#limits.minS, this.#intervalS - this.#limits.stepS), true);
  }

  #set(intervalS: number, isHeld: boolean): void {
    this.#intervalS = intervalS;
    this.#isHeld = isHeld;
    this.#storage.set(KEY_PREFIX + this.#network, `${intervalS}:${isHeld ? 1 : 0}`);
  }
}
