import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byDistance, byLeastConnections, type OrderedNode } from './balancer-orders.js';
import { type GeoPoint, greatCircleKm } from './great-circle.js';

function node(id: string, overrides: Partial<OrderedNode> = {}): OrderedNode {
  return { id, weight: 10, region: '', connCount: 0, capacity: 0, place: undefined, ...overrides };
}

const ids = (nodes: readonly OrderedNode[]) => nodes.map((one) => one.id);
const BEIJING = { latitude: 39.9042, longitude: 116.4074 };
const TIANJIN = { latitude: 39.3434, longitude: 117.3616 };
const SHANGHAI = { latitude: 31.2304, longitude: 121.4737 };
const PLACE = fc.record({
  latitude: fc.double({ min: -90, max: 90, noNaN: true }),
  longitude: fc.double({ min: -180, max: 180, noNaN: true }),
});

describe('the order by least connections', () => {
  it('goes by connections in proportion to weights', () => {
    const nodes = [
      node('a', { connCount: 100 }),
      node('b', { connCount: 150, weight: 20 }),
      node('c', { connCount: 99 }),
    ];
    expect(ids(byLeastConnections(nodes, '', 5))).toEqual(['b', 'c', 'a']);
  });

  it('goes by the share of the capacity where every node states one, and by weights where one does not', () => {
    const big = node('big', { connCount: 600, capacity: 1000 });
    const small = node('small', { connCount: 90, capacity: 100 });
    const open = node('open', { connCount: 300 });
    expect(ids(byLeastConnections([small, big], '', 5))).toEqual(['big', 'small']);
    expect(ids(byLeastConnections([small, big, open], '', 5))).toEqual(['small', 'open', 'big']);
  });

  it("prefers the client's region among equally loaded nodes only", () => {
    const nodes = [node('a'), node('b', { region: 'sh' }), node('c', { region: 'sh', connCount: 1 })];
    expect(ids(byLeastConnections(nodes, 'sh', 5))).toEqual(['b', 'a', 'c']);
    expect(ids(byLeastConnections(nodes, '', 5))).toEqual(['a', 'b', 'c']);
  });
});

describe('the order by distance', () => {
  const far = node('sh', { place: SHANGHAI, region: 'sh' });
  const near = node('bj', { place: BEIJING, region: 'bj', connCount: 900 });
  const close = node('tj', { place: TIANJIN, region: 'tj' });
  const nowhere = node('nowhere');

  it('is that of the distances where the band has no width, unknown places last', () => {
    const ordered = byDistance([nowhere, far, close, near], '', BEIJING, 0);
    expect(ordered.map((one) => [one.node.id, Math.round(one.distanceKm)])).toEqual([
      ['bj', 0],
      ['tj', 103],
      ['sh', 1067],
      ['nowhere', Number.POSITIVE_INFINITY],
    ]);
  });

  it('goes by load, and before that by region, among nodes that are equally near', () => {
    const order = (region: string, bandKm: number) =>
      byDistance([far, near, close], region, BEIJING, bandKm).map((one) => one.node.id);
    expect(order('', 150)).toEqual(['tj', 'bj', 'sh']);
    expect(order('bj', 150)).toEqual(['bj', 'tj', 'sh']);
    expect(order('sh', 150)).toEqual(['tj', 'bj', 'sh']);
  });

  it('goes by region and load where the client has no place', () => {
    const order = byDistance([near, far, close], 'bj', undefined, 100).map((one) => one.node.id);
    expect(order).toEqual(['bj', 'sh', 'tj']);
  });

  it('begins with a node that is really among the nearest', () => {
    const some = fc.array(fc.record({ place: PLACE, connCount: fc.nat({ max: 1000 }) }), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(some, PLACE, fc.nat({ max: 500 }), (places, client, bandKm) => {
        const nodes = places.map((one, index) => node(String(index), one));
        const distanceOf = (one: OrderedNode) => greatCircleKm(client, one.place as GeoPoint);
        const nearestKm = Math.min(...nodes.map(distanceOf));
        const ordered = byDistance(nodes, '', client, bandKm);
        expect(new Set(ordered.map((one) => one.node)).size).toBe(nodes.length);
        const first = ordered[0]!.node;
        expect(distanceOf(first)).toBeLessThanOrEqual(nearestKm + bandKm);
        const asNear = nodes.filter((one) => distanceOf(one) <= nearestKm + bandKm);
        expect(first.connCount).toBe(Math.min(...asNear.map((one) => one.connCount)));
        const exact = byDistance(nodes, '', client, 0).map((one) => distanceOf(one.node));
        expect(exact).toEqual(nodes.map(distanceOf).sort((a, b) => a - b));
      }),
    );
  });
});
