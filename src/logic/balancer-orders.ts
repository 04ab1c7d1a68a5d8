/**
 * balancer-orders: the orders that goim does not have: by least connections, and by distance.
 *
 * **Load** is what a node's load would be with this client: (connections + 1) / capacity where every node of the list states
 * a capacity, otherwise (connections + 1) / weight for all of them: a list that mixed the two would compare shares with counts.
 * Guarantees: by least connections, clients spread in the proportion of capacities (or weights), exactly but for one client
 *   a node. By distance, the first node is at most the band's width farther away than the nearest one; with a band of 0 the
 *   order is that of the distances. Ties keep the order in which the nodes were given.
 */
import type { BalancerNode } from './balancer-rule.js';
import { bestOf } from './best-of.js';
import { type GeoPoint, greatCircleKm } from './great-circle.js';

export interface OrderedNode extends BalancerNode {
  /** Most channels it takes; 0: not stated. */
  readonly capacity: number;
  /** undefined: nobody said where it is. */
  readonly place: GeoPoint | undefined;
}

interface Row<Node> {
  readonly node: Node;
  readonly load: number;
  readonly isOwnRegion: boolean;
  /** Infinity where a place is unknown: behind all others. */
  readonly distanceKm: number;
}

function rowsOf<Node extends OrderedNode>(
  nodes: readonly Node[],
  clientRegion: string,
  clientPlace: GeoPoint | undefined,
): Row<Node>[] {
  const isByCapacity = nodes.every((node) => node.capacity > 0);
  return nodes.map((node) => ({
    node,
    load: (node.connCount + 1) / (isByCapacity ? node.capacity : node.weight),
    isOwnRegion: clientRegion !== '' && node.region === clientRegion,
    distanceKm:
      clientPlace === undefined || node.place === undefined
        ? Number.POSITIVE_INFINITY
        : greatCircleKm(clientPlace, node.place),
  }));
}

/** The least loaded `limitCount` first; of equally loaded ones those of the client's region. */
export function byLeastConnections<Node extends OrderedNode>(
  nodes: readonly Node[],
  clientRegion: string,
  limitCount: number,
): Node[] {
  const rows = rowsOf(nodes, clientRegion, undefined);
  const compare = (a: Row<Node>, b: Row<Node>) => a.load - b.load || Number(b.isOwnRegion) - Number(a.isOwnRegion);
  return bestOf(rows, limitCount, compare).map((row) => row.node);
}

/**
 * The nearest first. Nodes that are at most `bandKm` farther away than the nearest one of them count as equally near: among
 * those the client's own region comes first, then the least loaded. So a city with two nodes does not send everybody to the
 * one that is a street closer. Nodes without a place come last; where the client has none, region and load decide alone.
 */
export function byDistance<Node extends OrderedNode>(
  nodes: readonly Node[],
  clientRegion: string,
  clientPlace: GeoPoint | undefined,
  bandKm: number,
): { readonly node: Node; readonly distanceKm: number }[] {
  const rows = rowsOf(nodes, clientRegion, clientPlace);
  rows.sort((a, b) => (a.distanceKm === b.distanceKm ? 0 : a.distanceKm - b.distanceKm));
  const ordered: Row<Node>[] = [];
  let start = 0;
  while (start < rows.length) {
    const bandEndKm = (rows[start] as Row<Node>).distanceKm + bandKm;
    let end = start + 1;
    while (end < rows.length && (rows[end] as Row<Node>).distanceKm <= bandEndKm) end++;
    const band = rows.slice(start, end);
    // A band of width 0 holds only nodes at the very same distance, so the order stays that of the distances.
    band.sort((a, b) => Number(b.isOwnRegion) - Number(a.isOwnRegion) || a.load - b.load);
    ordered.push(...band);
    start = end;
  }
  return ordered;
}
