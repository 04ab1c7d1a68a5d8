/**
 * balancer-rule: goim's rule for which comets a new client should try, best first.
 *
 * Source: goim v2's weighted node scheduling (internal/logic/balancer.go). Kept because clients and operators know its
 * numbers; its vectors are the tests. Ours differs in two points: it is a pure function, and nodes of equal weight keep the
 * order in which they were given (goim's sort is not stable).
 * Guarantees: with the rule's factor 0.5 shares tend to 2 * w - 1/n, not to w (weights 1:3 from cold give 1:3999 of 4000).
 *   Whoever wants shares like the weights asks for the order `least_conn` (balancer-orders.ts).
 */
import { bestOf } from './best-of.js';

export interface BalancerNode {
  readonly id: string;
  /** Fixed weight from the node's configuration, 1 or more. */
  readonly weight: number;
  readonly region: string;
  /** Connections it reported, plus the clients sent to it since. */
  readonly connCount: number;
}

export interface RankedNode<Node extends BalancerNode = BalancerNode> {
  readonly node: Node;
  /** What the rule computed for this request; 0 for all while nobody is connected. */
  readonly currentWeight: number;
}

/** goim returns at most so many. */
export const MAX_RANKED_COUNT = 5;

const MIN_WEIGHT = 1;
const MAX_WEIGHT = 1 << 20;
const CONN_SHARE = 0.5;

/** The rule for one node. `totalWeight` and `totalConnCount` are sums over all nodes, this one included. */
export function currentWeight(
  node: BalancerNode,
  totalWeight: number,
  totalConnCount: number,
  regionGain: number,
): number {
  if (totalConnCount === 0) return 0;
  const fixed = node.weight * regionGain;
  const weightShare = fixed / (totalWeight + Math.trunc(fixed) - node.weight);
  const diff = weightShare - CONN_SHARE * (node.connCount / totalConnCount);
  const missing = diff * totalConnCount;
  const floor = Math.floor(missing);
  const current = Math.trunc(fixed + (missing - floor <= 0.5 ? floor : Math.ceil(missing)));
  return diff < 0 ? Math.max(MIN_WEIGHT, current) : Math.min(MAX_WEIGHT, current);
}

/**
 * Order the nodes for one client.
 * @param clientRegion empty: unknown, no node gains
 * @param regionWeight factor for nodes of the client's own region, 1 or more; goim's example has 1.6
 * @returns at most `limitCount`; the caller adds one connection to the first
 */
export function rankNodes<Node extends BalancerNode>(
  nodes: readonly Node[],
  clientRegion: string,
  regionWeight: number,
  limitCount = MAX_RANKED_COUNT,
): RankedNode<Node>[] {
  let totalWeight = 0;
  let totalConnCount = 0;
  for (const node of nodes) {
    totalWeight += node.weight;
    totalConnCount += node.connCount;
  }
  const ranked = nodes.map((node) => {
    const gain = clientRegion !== '' && node.region === clientRegion ? regionWeight : 1;
    return { node, currentWeight: currentWeight(node, totalWeight, totalConnCount, gain) };
  });
  return bestOf(ranked, limitCount, (a, b) => b.currentWeight - a.currentWeight);
}
