import { describe, expect, it } from 'vitest';
import { type BalancerNode, rankNodes } from './balancer-rule.js';

const REGION_WEIGHT = 1.6;

/** Rank and send the client to the first, as the caller does. */
function pick(nodes: BalancerNode[], region: string): { ids: string[]; weights: number[] } {
  const ranked = rankNodes(nodes, region, REGION_WEIGHT);
  const first = ranked[0]?.node;
  const index = first === undefined ? -1 : nodes.indexOf(first);
  if (first !== undefined) nodes[index] = { ...first, connCount: first.connCount + 1 };
  return { ids: ranked.map((one) => one.node.id), weights: ranked.map((one) => one.currentWeight) };
}

describe('rankNodes', () => {
  it("gives goim's measured weights and order, request after request", () => {
    const nodes: BalancerNode[] = [
      { id: '01', region: 'bj', weight: 10, connCount: 240_590 },
      { id: '02', region: 'sh', weight: 10, connCount: 375_420 },
      { id: '03', region: 'gz', weight: 10, connCount: 293_430 },
    ];
    expect(pick(nodes, '')).toEqual({ ids: ['01', '03', '02'], weights: [182_862, 156_442, 115_447] });
    expect(pick(nodes, 'sh')).toEqual({ ids: ['02', '01', '03'], weights: [216_502, 182_861, 156_442] });
    expect(pick(nodes, 'bj')).toEqual({ ids: ['01', '03', '02'], weights: [283_917, 156_442, 115_447] });
  });

  it("shares 4000 cold clients as goim does at weights 1:3: nearly all to the heavier, its factor 0.5's doing", () => {
    const nodes: BalancerNode[] = [
      { id: 'light', region: '', weight: 1, connCount: 0 },
      { id: 'heavy', region: '', weight: 3, connCount: 0 },
    ];
    const picks = { light: 0, heavy: 0 };
    for (let client = 0; client < 4000; client++) picks[pick(nodes, '').ids[0] as 'light' | 'heavy']++;
    expect(picks).toEqual({ light: 1, heavy: 3999 });
  });

  it('keeps the given order while nobody is connected, and returns at most five', () => {
    const nodes = ['a', 'b', 'c', 'd', 'e', 'f'].map((id) => ({ id, region: '', weight: 1, connCount: 0 }));
    const ranked = rankNodes(nodes, '', REGION_WEIGHT);
    expect(ranked.map((one) => one.node.id)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(ranked.every((one) => one.currentWeight === 0)).toBe(true);
    expect(rankNodes([], '', REGION_WEIGHT)).toEqual([]);
  });

  it('keeps weights between 1 and 2^20', () => {
    const [full, empty] = rankNodes(
      [
        { id: 'empty', region: '', weight: 1000, connCount: 0 },
        { id: 'full', region: '', weight: 1, connCount: 100_000_000 },
      ],
      '',
      REGION_WEIGHT,
    )
      .map((one) => one.currentWeight)
      .reverse();
    expect(empty).toBe(1 << 20);
    expect(full).toBe(1);
  });
});
