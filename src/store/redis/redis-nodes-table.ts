/**
 * redis-nodes-table: what this node remembers of the others between two looks into Redis: who lives, and up to which epoch a
 * server id was ever seen.
 *
 * Threads: control thread only. Answers at once.
 * Guarantees: an incarnation that was seen and is not live now is `gone`; each is told to onLost once. After Redis lost its
 *   data, those who were alive have one lease to come back before they count as lost; after it was away, `keepMs`: nobody
 *   could renew meanwhile, so a lease that ended says nothing of its node.
 */
import type { Clock } from '../../clock/index.js';
import type { NodeRecord } from '../../push/index.js';

type LostListener = (serverId: string, nodeEpoch: number) => void;

export class RedisNodesTable {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #live = new Map<string, NodeRecord>();
  /** Largest epoch ever seen, by server id: a restart under a new id each time is rare enough to keep them all. */
  readonly #seenEpochs = new Map<string, number>();
  readonly #listeners = new Set<LostListener>();
  #graceEndMs = Number.NEGATIVE_INFINITY;
  #keepEndMs = Number.NEGATIVE_INFINITY;
  readonly #kept = new Set<string>();
  #records: readonly NodeRecord[] = [];

  constructor(clock: Clock, graceMs: number) {
    this.#clock = clock;
    this.#graceMs = graceMs;
  }

  records(): readonly NodeRecord[] {
    return this.#records;
  }

  fateOf(serverId: string, nodeEpoch: number): 'live' | 'gone' | 'unknown' {
    if (this.#live.get(serverId)?.nodeEpoch === nodeEpoch) return 'live';
    return nodeEpoch <= (this.#seenEpochs.get(serverId) ?? 0) ? 'gone' : 'unknown';
  }

  markGone(serverId: string, nodeEpoch: number): void {
    if (nodeEpoch > (this.#seenEpochs.get(serverId) ?? 0)) this.#seenEpochs.set(serverId, nodeEpoch);
  }

  onLost(listener: LostListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Epochs may begin anew, and the list fills up again one renewal at a time. */
  startGrace(): void {
    this.#graceEndMs = this.#clock.monotonicMs() + this.#graceMs;
    this.#seenEpochs.clear();
    for (const { serverId, nodeEpoch } of this.#live.values()) this.#seenEpochs.set(serverId, nodeEpoch);
  }

  /** Redis answers again: who does not renew at once may still be on its way back. */
  startKeeping(keepMs: number): void {
    this.#keepEndMs = this.#clock.monotonicMs() + keepMs;
  }

  /** True: some count as live only because they have not had their time to come back. */
  get isKeeping(): boolean {
    return this.#kept.size > 0;
  }

  /** Their server ids. */
  get kept(): ReadonlySet<string> {
    return this.#kept;
  }

  isInGrace(): boolean {
    return this.#clock.monotonicMs() < this.#graceEndMs;
  }

  /** Who lives now. */
  replace(records: readonly NodeRecord[]): void {
    const lost: NodeRecord[] = [];
    const found = new Map(records.map((record) => [record.serverId, record]));
    const mayReturn = this.isInGrace() || this.#clock.monotonicMs() < this.#keepEndMs;
    this.#kept.clear();
    for (const before of this.#live.values()) {
      const now = found.get(before.serverId);
      if (now === undefined && mayReturn) {
        found.set(before.serverId, before);
        this.#kept.add(before.serverId);
      } else if (now?.nodeEpoch !== before.nodeEpoch) lost.push(before);
    }
    this.#live.clear();
    for (const [serverId, record] of found) {
      this.#live.set(serverId, record);
      this.markGone(serverId, record.nodeEpoch);
    }
    this.#records = [...found.values()];
    for (const { serverId, nodeEpoch } of lost) for (const listener of this.#listeners) listener(serverId, nodeEpoch);
  }
}
