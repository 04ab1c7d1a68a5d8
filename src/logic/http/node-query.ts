/**
 * node-query: the query of `/halley/nodes` and `/halley/httpdns`, read strictly: a bad value is an error that states the bound,
 * never a default. The first problem is kept and told at the end, as in json-members.ts.
 *
 * Who the client is: `region` and `lat`, `lon` say it outright; otherwise its region follows from its place (the nearest of
 * balancer.region_places), otherwise from its address: `ip`, which a backend sends that asks for its client (as HTTPDNS
 * services take it), otherwise the address that the request came from. Without `lat` and `lon` the place is the region's.
 */
import { isIP } from 'node:net';
import { type GeoPoint, MAX_LATITUDE, MAX_LONGITUDE, parseDegrees } from '../great-circle.js';
import type { NodeLookup } from '../node-lookup.js';
import { regionProblem } from '../regions-rules.js';
import type { ApiRequest } from './route.js';

/** The largest `limit`. */
export const LIMIT_MAX_COUNT = 64;

export interface ClientPlace {
  /** Empty: unknown. */
  readonly region: string;
  readonly place: GeoPoint | undefined;
}

function shown(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
}

export class NodeQuery {
  readonly #request: ApiRequest;
  readonly #lookup: NodeLookup;
  #problem: string | undefined;

  constructor(request: ApiRequest, lookup: NodeLookup) {
    this.#request = request;
    this.#lookup = lookup;
  }

  /** What was wrong first; undefined where nothing was. */
  get problem(): string | undefined {
    return this.#problem;
  }

  text(name: string): string {
    return this.#request.query.first(name) ?? '';
  }

  limitCount(defaultCount: number): number {
    const value = this.#request.query.first('limit');
    if (value === undefined) return defaultCount;
    const count = /^\d{1,4}$/.test(value) ? Number(value) : 0;
    if (count >= 1 && count <= LIMIT_MAX_COUNT) return count;
    this.#fail(`limit must be an integer of 1 to ${LIMIT_MAX_COUNT}: limit=${shown(value)}`);
    return defaultCount;
  }

  choice<const Choice extends string>(name: string, choices: readonly Choice[], standard: NoInfer<Choice>): Choice {
    const value = this.#request.query.first(name);
    if (value === undefined) return standard;
    const found = choices.find((candidate) => candidate === value);
    if (found === undefined) this.#fail(`${name} must be one of ${choices.join(', ')}: ${name}=${shown(value)}`);
    return found ?? standard;
  }

  client(): ClientPlace {
    const { regions } = this.#lookup;
    const given = this.#place();
    const address = this.#address();
    const region = this.#region() ?? (given === undefined ? '' : regions.ofPlace(given));
    const known = region === '' && !this.#isRegionGiven() ? regions.ofAddress(address) : region;
    return { region: known, place: given ?? regions.placeOf(known) };
  }

  #isRegionGiven(): boolean {
    return this.#request.query.first('region') !== undefined;
  }

  /** Given empty: the client belongs to no region, whatever its address says. */
  #region(): string | undefined {
    const region = this.#request.query.first('region');
    const problem = region === undefined || region === '' ? undefined : regionProblem(region);
    if (problem !== undefined) this.#fail(`region ${problem}: region=${shown(region ?? '')}`);
    return region;
  }

  #place(): GeoPoint | undefined {
    const latitude = this.#degrees('lat', MAX_LATITUDE);
    const longitude = this.#degrees('lon', MAX_LONGITUDE);
    if (latitude !== undefined && longitude !== undefined) return { latitude, longitude };
    if (latitude !== longitude) this.#fail('lat and lon belong together: give both or none');
    return undefined;
  }

  #degrees(name: string, max: number): number | undefined {
    const value = this.#request.query.first(name);
    const degrees = value === undefined ? undefined : parseDegrees(value, max);
    if (value !== undefined && degrees === undefined) {
      this.#fail(`${name} must be a decimal number of -${max} to ${max}: ${name}=${shown(value)}`);
    }
    return degrees;
  }

  #address(): string {
    const address = this.#request.query.first('ip');
    if (address === undefined) return this.#lookup.clients.of(this.#request.peer);
    if (isIP(address) === 0) this.#fail(`ip must be an IPv4 or IPv6 address: ip=${shown(address)}`);
    return address;
  }

  #fail(problem: string): void {
    this.#problem ??= problem;
  }
}
