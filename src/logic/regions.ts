/**
 * regions: which region a client belongs to, by its address or its place, and where the regions lie.
 *
 * Threads: control thread. Made once at start; never changes.
 */
import { type CidrRule, CidrTable } from '../address/index.js';
import { type GeoPoint, greatCircleKm } from './great-circle.js';

export class Regions {
  readonly #table: CidrTable;
  readonly #placeByRegion: ReadonlyMap<string, GeoPoint>;

  /**
   * @param rules value = region, of one or several sources
   * @throws HalleyError CIDR_CONFLICT
   */
  constructor(rules: readonly CidrRule[], placeByRegion: ReadonlyMap<string, GeoPoint>) {
    this.#table = new CidrTable(rules);
    this.#placeByRegion = placeByRegion;
  }

  /** The region of the longest prefix that holds the address; empty: no rule does. */
  ofAddress(address: string): string {
    return this.#table.find(address) ?? '';
  }

  /** The region that lies nearest; empty: no region has a place. */
  ofPlace(place: GeoPoint): string {
    let nearest = '';
    let nearestKm = Number.POSITIVE_INFINITY;
    for (const [region, regionPlace] of this.#placeByRegion) {
      const distanceKm = greatCircleKm(place, regionPlace);
      if (distanceKm >= nearestKm) continue;
      nearest = region;
      nearestKm = distanceKm;
    }
    return nearest;
  }

  placeOf(region: string): GeoPoint | undefined {
    return this.#placeByRegion.get(region);
  }
}
