/**
 * Which transport to try: the first that the address and the host allow, in the order given. One that brought no answer twice is
 * passed over (a proxy eats WebSockets, or buffers streams); one that worked is kept, but not for ever: a better one is tried
 * again after a while, since whatever was in its way may be gone.
 *
 * What a failure says. Alone nothing: the node may have been down. Where all transports have failed, or the one that had worked,
 * the nodes are away, and everything is forgiven. Only a better transport that fails on a node where a slower one was open just
 * before, and is again just after, has a strike; each makes the wait for its next turn four times as long.
 */
import type { Transport } from './transport.port.js';

const MAX_FAILURES_COUNT = 2;
/** Until a better transport has another turn, without a strike against it; and at most. */
const RETRY_MS = 30_000;
const MAX_RETRY_MS = 3_600_000;

interface Failures {
  count: number;
  /** Where the last one was. */
  address: string;
}

interface Rest {
  readonly strikeCount: number;
  readonly untilMs: number;
}

export class TransportChoice {
  readonly #transports: readonly Transport[];
  /** Since the last time that anything worked. */
  readonly #failures = new Map<Transport, Failures>();
  /** Better ones than the one that works. */
  readonly #rests = new Map<Transport, Rest>();
  #worked: Transport | undefined;

  constructor(transports: readonly Transport[]) {
    this.#transports = transports;
  }

  /** undefined: none can connect to this address. */
  pick(address: string, nowMs: number): Transport | undefined {
    const able = this.#able(address);
    const found = able.find((transport) => {
      const rest = this.#rests.get(transport);
      const failureCount = this.#failures.get(transport)?.count ?? 0;
      // One that has rested has one try: something works, and is not kept waiting for long.
      const maxCount = rest === undefined ? MAX_FAILURES_COUNT : 1;
      return transport === this.#worked || (failureCount < maxCount && nowMs >= (rest?.untilMs ?? 0));
    });
    if (found === undefined) this.#failures.clear();
    return found ?? able[0];
  }

  /** Op 8 came over it. @returns after how long a better one is to be tried; undefined: there is none */
  worked(transport: Transport, address: string, nowMs: number): number | undefined {
    const able = this.#able(address);
    let retryMs: number | undefined;
    for (const better of able.slice(0, able.indexOf(transport))) {
      const failures = this.#failures.get(better);
      let rest = this.#rests.get(better);
      if (rest === undefined || failures !== undefined) {
        const isStrike = rest !== undefined && failures?.address === address;
        const strikeCount = (rest?.strikeCount ?? 0) + (isStrike ? 1 : 0);
        rest = { strikeCount, untilMs: nowMs + Math.min(MAX_RETRY_MS, RETRY_MS * 4 ** strikeCount) };
        this.#rests.set(better, rest);
      }
      retryMs = Math.min(retryMs ?? MAX_RETRY_MS, Math.max(0, rest.untilMs - nowMs));
    }
    this.#worked = transport;
    this.#failures.clear();
    this.#rests.delete(transport);
    return retryMs;
  }

  /**
   * Neither op 8 nor any other word of a node came over it.
   * @returns true where the same node is to be tried by what worked before: this one has only had its turn
   */
  failed(transport: Transport, address: string): boolean {
    if (transport === this.#worked) {
      this.#failures.clear();
      return false;
    }
    this.#failures.set(transport, { count: (this.#failures.get(transport)?.count ?? 0) + 1, address });
    return this.#rests.has(transport);
  }

  /** Another network: nothing of what was found holds. */
  forget(): void {
    this.#failures.clear();
    this.#rests.clear();
    this.#worked = undefined;
  }

  #able(address: string): Transport[] {
    const scheme = address.slice(0, Math.max(0, address.indexOf('://')));
    return this.#transports.filter((transport) => transport.takes(scheme));
  }
}
