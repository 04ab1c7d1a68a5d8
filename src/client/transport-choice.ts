/**
 * Which transport to try: the first that the address and the host allow, in the order given. One that brought no answer twice is
 * passed over for the rest of the session (a proxy eats WebSockets, or buffers streams); one that worked is taken first.
 *
 * Where all have failed the nodes are away, not the transports: everything is forgiven.
 */
import type { Transport } from './transport.port.js';

const MAX_STRIKES_COUNT = 2;

export class TransportChoice {
  readonly #transports: readonly Transport[];
  readonly #strikes = new Map<Transport, number>();
  #worked: Transport | undefined;

  constructor(transports: readonly Transport[]) {
    this.#transports = transports;
  }

  /** undefined: none can connect to this address. */
  pick(address: string): Transport | undefined {
    const scheme = address.slice(0, Math.max(0, address.indexOf('://')));
    const able = this.#transports.filter((transport) => transport.takes(scheme));
    if (this.#worked !== undefined && able.includes(this.#worked)) return this.#worked;
    const fresh = able.find((transport) => (this.#strikes.get(transport) ?? 0) < MAX_STRIKES_COUNT);
    if (fresh === undefined) this.#strikes.clear();
    return fresh ?? able[0];
  }

  /** Op 8 came over it. */
  worked(transport: Transport): void {
    this.#worked = transport;
    this.#strikes.clear();
  }

  /** Neither op 8 nor any other word of a node came over it. */
  failed(transport: Transport): void {
    if (transport !== this.#worked) this.#strikes.set(transport, (this.#strikes.get(transport) ?? 0) + 1);
  }
}
