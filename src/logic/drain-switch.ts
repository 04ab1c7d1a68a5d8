/**
 * drain-switch: an operator takes this node out of the list for new clients, and puts it back.
 *
 * Threads: control thread.
 * Guarantees: from the call on `/ready` says `draining` and this node's own balancer leaves it out; channels stay connected
 *   and are served. The cluster is told by the callback and again with every renewal of the node's record. Nothing is stored:
 *   a restarted node takes clients.
 */
import type { MaybePromise, NotReadyReason, ReadinessProbe } from '../push/index.js';

const DRAINING: readonly NotReadyReason[] = [
  { reason: 'draining', detail: 'an operator drains this node: it serves its channels and takes no new clients' },
];

export class DrainSwitch implements ReadinessProbe {
  readonly #tellCluster: (isDraining: boolean) => MaybePromise<void>;
  #isDraining = false;

  /** @param tellCluster resolves when the other nodes can know; may reject, the switch is set all the same */
  constructor(tellCluster: (isDraining: boolean) => MaybePromise<void> = () => {}) {
    this.#tellCluster = tellCluster;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Told again where nothing changes: an earlier call may not have reached the cluster. */
  set(isDraining: boolean): MaybePromise<void> {
    this.#isDraining = isDraining;
    return this.#tellCluster(isDraining);
  }

  /** ReadinessProbe. */
  notReady(): readonly NotReadyReason[] {
    return this.#isDraining ? DRAINING : [];
  }
}
