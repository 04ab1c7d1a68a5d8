/**
 * balancer: which comets of the cluster a new client should try, best first, and how many clients were sent where.
 *
 * Nodes say how many connections they hold only when they renew their record (every third of a lease). In between every
 * answer counts one client for the node it names first, as goim does, or a burst would meet one node; the count starts again
 * at 0 when the node's record is a new one, since that holds who has arrived. Several logic nodes count their own answers only.
 *
 * goim ignores a list of nodes that is less than half as long as the last one, to survive a discovery service that loses its
 * data. We do not: here a node is missing because its lease ended, so those clients would be sent to dead nodes, for ever where
 * the nodes do not come back. To keep its list while Redis is away is the directory's business.
 *
 * Threads: control thread.
 * Guarantees: a node that is not in `live()`, drains, is at its capacity or is no comet gets no client from the next pick on.
 *   Memory: one entry per live node.
 */
import type { NodeRecord } from '../push/index.js';
import { byDistance, byLeastConnections, type OrderedNode } from './balancer-orders.js';
import { rankNodes } from './balancer-rule.js';
import type { GeoPoint } from './great-circle.js';

/** `weighted` is goim's rule. */
export const NODE_ORDERS = ['weighted', 'least_conn', 'nearest'] as const;
export type NodeOrder = (typeof NODE_ORDERS)[number];

/** The nodes there are: a cluster's `NodeDirectory`, or this node alone. */
export interface NodeSource {
  live(): readonly NodeRecord[];
}

export interface BalancerOptions {
  /** What a node of the client's own region gains under `weighted`, 1 or more. */
  readonly regionWeight: number;
  /** Nodes whose distances differ by no more count as equally near, in km. */
  readonly nearBandKm: number;
  /** Where a node is that says only its region. */
  readonly placeOfRegion: (region: string) => GeoPoint | undefined;
}

export interface PickRequest {
  readonly order: NodeOrder;
  /** Region of the client; empty: unknown. */
  readonly region: string;
  /** Place of the client; undefined: unknown. */
  readonly place: GeoPoint | undefined;
  readonly limitCount: number;
  /** False for a node that has no address the client could use. */
  readonly isReachable: (node: NodeRecord) => boolean;
}

export interface PickedNode {
  readonly record: NodeRecord;
  /** Under `nearest`, where both places are known. */
  readonly distanceKm: number | undefined;
}

class Entry implements OrderedNode {
  readonly id: string;
  record: NodeRecord;
  weight: number;
  region: string;
  capacity: number;
  connCount: number;
  place: GeoPoint | undefined;
  /** The last refresh in which it was alive. */
  round = 0;

  constructor(record: NodeRecord, place: GeoPoint | undefined) {
    this.id = record.serverId;
    this.record = record;
    this.weight = record.weight;
    this.region = record.region;
    this.capacity = record.capacity;
    this.connCount = record.connCount;
    this.place = place;
  }

  /** Take a newer form of the record; the clients sent there stay counted while it is of the same renewal. */
  renew(record: NodeRecord, place: GeoPoint | undefined): void {
    const isSameRenewal = record.updatedMs === this.record.updatedMs && record.nodeEpoch === this.record.nodeEpoch;
    const sentCount = isSameRenewal ? this.connCount - this.record.connCount : 0;
    this.record = record;
    this.weight = record.weight;
    this.region = record.region;
    this.capacity = record.capacity;
    this.connCount = record.connCount + sentCount;
    this.place = place;
  }
}

/** Whether a node may be told to new clients, by what it says of itself. `connCount`: with those sent since. */
export function takesClients(record: NodeRecord, connCount = record.connCount): boolean {
  const hasRoom = record.capacity === 0 || connCount < record.capacity;
  return hasRoom && !record.isDraining && record.roles.includes('comet');
}

export class Balancer {
  readonly #source: NodeSource;
  readonly #options: BalancerOptions;
  readonly #entryById = new Map<string, Entry>();
  #round = 0;

  constructor(source: NodeSource, options: BalancerOptions) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * The nodes for one client, best first; it is counted for the first of them.
   * @returns at most `limitCount`, empty where no node takes clients
   */
  pick({ order, region, place, limitCount, isReachable }: PickRequest): PickedNode[] {
    const nodes = this.#refresh().filter(
      (entry) => takesClients(entry.record, entry.connCount) && isReachable(entry.record),
    );
    const picked = this.#order(nodes, order, region, place, limitCount);
    const [first] = picked;
    if (first !== undefined) first.node.connCount++;
    return picked.map(({ node, distanceKm }) => ({
      record: node.record,
      distanceKm: Number.isFinite(distanceKm) ? distanceKm : undefined,
    }));
  }

  #order(
    nodes: readonly Entry[],
    order: NodeOrder,
    region: string,
    place: GeoPoint | undefined,
    limitCount: number,
  ): { readonly node: Entry; readonly distanceKm?: number }[] {
    switch (order) {
      case 'weighted':
        return rankNodes(nodes, region, this.#options.regionWeight, limitCount);
      case 'least_conn':
        return byLeastConnections(nodes, region, limitCount).map((node) => ({ node }));
      case 'nearest':
        return byDistance(nodes, region, place, this.#options.nearBandKm).slice(0, limitCount);
    }
  }

  /** The entries of the nodes that are alive now, in the order of the source; all others are forgotten. */
  #refresh(): Entry[] {
    const round = ++this.#round;
    const entries = this.#source.live().map((record) => {
      let entry = this.#entryById.get(record.serverId);
      if (entry === undefined) {
        entry = new Entry(record, this.#placeOf(record));
        this.#entryById.set(record.serverId, entry);
      } else if (entry.record !== record) entry.renew(record, this.#placeOf(record));
      entry.round = round;
      return entry;
    });
    if (this.#entryById.size !== entries.length) {
      for (const [id, entry] of this.#entryById) if (entry.round !== round) this.#entryById.delete(id);
    }
    return entries;
  }

  #placeOf({ latitude, longitude, region }: NodeRecord): GeoPoint | undefined {
    if (latitude !== undefined && longitude !== undefined) return { latitude, longitude };
    return this.#options.placeOfRegion(region);
  }
}
