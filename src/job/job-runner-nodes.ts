/**
 * Which node incarnations are dead, as far as this job can know: its directory is about a second old, so a node it has not
 * heard of may be new. Such a one counts as living for `graceMs` (its inbox keeps what is handed over), then as dead.
 *
 * Threads: control thread only.
 */
import type { Clock } from '../clock/index.js';
import type { NodeDirectory, NodeRef } from '../push/index.js';

const MAX_UNKNOWN_COUNT = 10_000;

/** One text per incarnation. */
export function nodeName({ serverId, nodeEpoch }: NodeRef): string {
  return `${nodeEpoch}@${serverId}`;
}

export class JobNodes {
  readonly #directory: NodeDirectory;
  readonly #clock: Clock;
  readonly #graceMs: number;
  /** Newest incarnation known to be gone, by server id. */
  readonly #lostEpochs = new Map<string, number>();
  readonly #unknownSinceMs = new Map<string, number>();
  readonly #stopListening: () => void;

  constructor(directory: NodeDirectory, clock: Clock, graceMs: number) {
    this.#directory = directory;
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#stopListening = directory.onLost((serverId, nodeEpoch) => {
      this.#lostEpochs.set(serverId, Math.max(nodeEpoch, this.#lostEpochs.get(serverId) ?? 0));
    });
  }

  isDead(node: NodeRef): boolean {
    const { serverId, nodeEpoch } = node;
    if (this.#directory.isLive(serverId, nodeEpoch)) return false;
    if (nodeEpoch <= (this.#lostEpochs.get(serverId) ?? -1)) return true;
    if (this.#directory.live().some((one) => one.serverId === serverId && one.nodeEpoch > nodeEpoch)) return true;
    const nowMs = this.#clock.monotonicMs();
    const name = nodeName(node);
    const sinceMs = this.#unknownSinceMs.get(name);
    if (sinceMs !== undefined) return nowMs - sinceMs >= this.#graceMs;
    if (this.#unknownSinceMs.size >= MAX_UNKNOWN_COUNT) this.#unknownSinceMs.clear();
    this.#unknownSinceMs.set(name, nowMs);
    return false;
  }

  /** The incarnation that lives now of a node that is dead: the same process with a new lease, or one that was started anew. */
  successorOf({ serverId, nodeEpoch }: NodeRef): NodeRef | undefined {
    const live = this.#directory.live().find((one) => one.serverId === serverId && one.nodeEpoch > nodeEpoch);
    return live === undefined ? undefined : { serverId, nodeEpoch: live.nodeEpoch };
  }

  /** Living nodes with this role, one row per server, in the order of their ids. */
  withRole(role: string): readonly NodeRef[] {
    const nodes = this.#directory.live().filter((node) => node.roles.includes(role));
    return nodes.sort((a, b) => (a.serverId < b.serverId ? -1 : 1));
  }

  close(): void {
    this.#stopListening();
  }
}
