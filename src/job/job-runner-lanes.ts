/**
 * What a shard's owner has read and not yet handed over: one lane per node, in the order of the shard. A node whose inbox
 * is full keeps its lane waiting and no other; an entry is finished when its last lane has let it go.
 *
 * Threads: control thread only.
 * Guarantees: order per node. Nothing changes until a call has succeeded (`commit`), so a failed one is simply built again.
 * Bound: the caller stops reading at its window (`openCount`, `openBytes`).
 */
import type { InboxDelivery, InboxParcel, NodeRef } from '../push/index.js';
import { nodeName } from './job-runner-nodes.js';
import type { RoutedPart } from './job-runner-router.js';

/** An entry that is read and not finished. */
export interface OpenEntry {
  readonly entryId: string;
  readonly bytes: number;
  /** Lanes and rooms that still have to take it. */
  remainingCount: number;
  failureCount: number;
}

interface HeldDelivery {
  readonly entry: OpenEntry;
  readonly delivery: InboxDelivery;
}

/** Taken out of the lane of a node that is gone. */
export interface DeadDelivery extends HeldDelivery {
  readonly node: NodeRef;
}

interface Lane {
  readonly node: NodeRef;
  waiting: HeldDelivery[];
  /** The inbox was full when it was last seen. */
  isSlow: boolean;
  probeAtMs: number;
}

export interface LaneLimits {
  readonly inboxMaxCount: number;
  /** Deliveries of one call. */
  readonly callMaxCount: number;
  readonly callMaxBytes: number;
  /** How often a full inbox is asked for its length. */
  readonly probeMs: number;
}

/** One round trip: what goes where, and what is finished with it. */
export interface LaneCall {
  readonly parcels: readonly InboxParcel[];
  readonly doneIds: readonly string[];
  readonly deliveryCount: number;
  readonly lanes: readonly Lane[];
  /** The only delivery of the call, for the blame; undefined where there are several. */
  readonly onlyEntry: OpenEntry | undefined;
}

export class InboxLanes {
  readonly #limits: LaneLimits;
  readonly #lanes = new Map<string, Lane>();
  readonly #open = new Map<string, OpenEntry>();
  #finishedIds: string[] = [];
  #openBytes = 0;

  constructor(limits: LaneLimits) {
    this.#limits = limits;
  }

  get openCount(): number {
    return this.#open.size;
  }

  get openBytes(): number {
    return this.#openBytes;
  }

  get slowCount(): number {
    let count = 0;
    for (const lane of this.#lanes.values()) if (lane.isSlow) count++;
    return count;
  }

  openIds(): string[] {
    return [...this.#open.keys()];
  }

  /** @param elsewhereCount how often `settle` will be called for it besides */
  add(entryId: string, bytes: number, parts: readonly RoutedPart[], elsewhereCount: number): OpenEntry {
    const entry: OpenEntry = { entryId, bytes, remainingCount: parts.length + elsewhereCount, failureCount: 0 };
    this.#open.set(entryId, entry);
    this.#openBytes += bytes;
    for (const { node, delivery } of parts) this.#laneOf(node).waiting.push({ entry, delivery });
    if (entry.remainingCount === 0) this.#finishedIds.push(entryId);
    return entry;
  }

  /** More lanes for an entry that is open. */
  extend(entry: OpenEntry, parts: readonly RoutedPart[]): void {
    entry.remainingCount += parts.length;
    for (const { node, delivery } of parts) this.#laneOf(node).waiting.push({ entry, delivery });
  }

  /** One of the entry's `elsewhereCount` is done. */
  settle(entry: OpenEntry): void {
    entry.remainingCount--;
    if (entry.remainingCount === 0 && this.#open.has(entry.entryId)) this.#finishedIds.push(entry.entryId);
  }

  /** It went to the dead letters. */
  forget(entry: OpenEntry): void {
    this.#close(entry);
    for (const lane of this.#lanes.values()) lane.waiting = lane.waiting.filter((held) => held.entry !== entry);
  }

  /** Take out what waits for nodes that are gone. `settle` each entry when its part is placed elsewhere. */
  takeDead(isDead: (node: NodeRef) => boolean): readonly DeadDelivery[] {
    const taken: DeadDelivery[] = [];
    for (const [name, lane] of this.#lanes) {
      if (!isDead(lane.node)) continue;
      for (const held of lane.waiting) taken.push({ ...held, node: lane.node });
      this.#lanes.delete(name);
    }
    return taken;
  }

  /** The next round trip; undefined where there is nothing to say now. */
  nextCall(nowMs: number, callMaxCount = this.#limits.callMaxCount): LaneCall | undefined {
    const parcels: InboxParcel[] = [];
    const lanes: Lane[] = [];
    const takenByEntry = new Map<OpenEntry, number>();
    const doneIds = [...this.#finishedIds];
    let deliveryCount = 0;
    let bytes = 0;
    let onlyEntry: OpenEntry | undefined;
    for (const lane of this.#lanes.values()) {
      if (lane.isSlow ? nowMs < lane.probeAtMs : lane.waiting.length === 0) continue;
      const deliveries: InboxDelivery[] = [];
      for (const { entry, delivery } of lane.isSlow ? [] : lane.waiting) {
        const isOver = deliveryCount >= callMaxCount || bytes + entry.bytes > this.#limits.callMaxBytes;
        if (isOver && deliveryCount > 0) break;
        deliveries.push(delivery);
        deliveryCount++;
        bytes += entry.bytes;
        onlyEntry = entry;
        const takenCount = (takenByEntry.get(entry) ?? 0) + 1;
        takenByEntry.set(entry, takenCount);
        if (takenCount === entry.remainingCount) doneIds.push(entry.entryId);
      }
      if (deliveries.length === 0 && !lane.isSlow) continue;
      parcels.push({ node: lane.node, deliveries });
      lanes.push(lane);
    }
    if (parcels.length === 0 && doneIds.length === 0) return undefined;
    return { parcels, doneIds, deliveryCount, lanes, onlyEntry: deliveryCount === 1 ? onlyEntry : undefined };
  }

  /** The call has succeeded. */
  commit(call: LaneCall, lengths: readonly number[], nowMs: number): void {
    for (const [index, lane] of call.lanes.entries()) {
      for (const { entry } of lane.waiting.splice(0, call.parcels[index]?.deliveries.length ?? 0))
        entry.remainingCount--;
      lane.isSlow = (lengths[index] ?? 0) >= this.#limits.inboxMaxCount;
      lane.probeAtMs = nowMs + this.#limits.probeMs;
      if (!lane.isSlow && lane.waiting.length === 0) this.#lanes.delete(nodeName(lane.node));
    }
    if (call.doneIds.length === 0) return;
    const done = new Set(call.doneIds);
    this.#finishedIds = this.#finishedIds.filter((id) => !done.has(id));
    for (const id of done) {
      const entry = this.#open.get(id);
      if (entry !== undefined) this.#close(entry);
    }
  }

  #close(entry: OpenEntry): void {
    if (this.#open.delete(entry.entryId)) this.#openBytes -= entry.bytes;
  }

  #laneOf(node: NodeRef): Lane {
    const name = nodeName(node);
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const lane: Lane = { node, waiting: [], isSlow: false, probeAtMs: 0 };
    this.#lanes.set(name, lane);
    return lane;
  }
}
