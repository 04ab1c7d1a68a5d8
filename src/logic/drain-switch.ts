/**
 * drain-switch: an operator takes this node out of the list for new clients, and puts it back.
 *
 * Threads: control thread.
 * Guarantees: from the call on `/ready` says `draining` and this node's own balancer leaves it out; channels stay connected
 *   and are served, unless they are moved. The cluster is told by the callback and again with every renewal of the node's record. Nothing is stored:
 *   a restarted node takes clients.
 */
import type { MaybePromise, NotReadyReason, ReadinessProbe } from '../push/index.js';

const DRAINING: readonly NotReadyReason[] = [
  { reason: 'draining', detail: 'an operator drains this node: it serves its channels and takes no new clients' },
];

export class DrainSwitch implements ReadinessProbe {
  readonly #tellCluster: (isDraining: boolean) => MaybePromise<void>;
  readonly #moveChannels: (overMs: number) => number;
  #isDraining = false;

  /**
   * @param tellCluster resolves when the other nodes can know; may reject, the switch is set all the same
   * @param moveChannels asks the channels of this node to go elsewhere, spread over `overMs`; says how many there are
   */
  constructor(
    tellCluster: (isDraining: boolean) => MaybePromise<void> = () => {},
    moveChannels: (overMs: number) => number = () => 0,
  ) {
    this.#tellCluster = tellCluster;
    this.#moveChannels = moveChannels;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Told again where nothing changes: an earlier call may not have reached the cluster. */
  set(isDraining: boolean): MaybePromise<void> {
    this.#isDraining = isDraining;
    return this.#tellCluster(isDraining);
  }

  /** Also ask the channels to go. Call it when the node drains: they would come back otherwise. */
  move(overMs: number): number {
    return this.#moveChannels(overMs);
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    return this.#isDraining ? DRAINING : [];
  }
}
