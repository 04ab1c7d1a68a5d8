/**
 * node-lookup: everything that a request for nodes needs, as one object: who asks, from which region, which nodes there are.
 *
 * Threads: control thread. Wired by `cli/`, used by `http/node-routes.ts`.
 */
import { type CidrRule, ClientAddress, type ForwardedHeader } from '../address/index.js';
import type { NodeDirectory, NodeRecord } from '../push/index.js';
import { Balancer, type NodeSource } from './balancer.js';
import type { DrainSwitch } from './drain-switch.js';
import type { GeoPoint } from './great-circle.js';
import { Regions } from './regions.js';

export interface NodeLookup {
  readonly balancer: Balancer;
  readonly regions: Regions;
  readonly clients: ClientAddress;
  readonly drain: DrainSwitch;
  /** All nodes of the cluster, this one as it is now; undefined where this node is alone. */
  readonly cluster: NodeSource | undefined;
  /** How many IPs `/halley/httpdns` answers unless it is asked for another number. */
  readonly httpdnsIpCount: number;
  /** How long a client may keep that answer. */
  readonly httpdnsTtlS: number;
}

export interface NodeLookupOptions {
  readonly regionWeight: number;
  readonly nearBandKm: number;
  readonly regionRules: readonly CidrRule[];
  readonly placeByRegion: ReadonlyMap<string, GeoPoint>;
  readonly trustedProxies: readonly string[];
  /** Which header they tell the client's address in. */
  readonly forwardedHeader: ForwardedHeader;
  readonly httpdnsIpCount: number;
  readonly httpdnsTtlS: number;
}

/** Defaults of the options, for a node that was given none. */
export const DEFAULT_LOOKUP: NodeLookupOptions = {
  regionWeight: 1.6,
  nearBandKm: 100,
  regionRules: [],
  placeByRegion: new Map(),
  trustedProxies: [],
  forwardedHeader: 'x-forwarded-for',
  httpdnsIpCount: 3,
  httpdnsTtlS: 10,
};

export interface NodeLookupParts {
  readonly drain: DrainSwitch;
  /** undefined: this node is alone. */
  readonly directory: Pick<NodeDirectory, 'serverId' | 'live'> | undefined;
  /** This node as it is now; asked where it is alone. */
  readonly self: () => NodeRecord;
}

/** The directory's list, in which this node drains from the very moment it was told to, not from its next renewal. */
function withOwnDrain(directory: Pick<NodeDirectory, 'serverId' | 'live'>, drain: DrainSwitch): NodeSource {
  return {
    live: () => {
      const records = directory.live();
      if (!drain.isDraining) return records;
      return records.map((record) =>
        record.serverId === directory.serverId && !record.isDraining ? { ...record, isDraining: true } : record,
      );
    },
  };
}

/** @throws HalleyError CIDR_CONFLICT, TRUSTED_PROXY_INVALID */
export function createNodeLookup(parts: NodeLookupParts, options: NodeLookupOptions = DEFAULT_LOOKUP): NodeLookup {
  const { drain, directory, self } = parts;
  const regions = new Regions(options.regionRules, options.placeByRegion);
  const cluster = directory === undefined ? undefined : withOwnDrain(directory, drain);
  const source = cluster ?? { live: () => [self()] };
  return {
    balancer: new Balancer(source, {
      regionWeight: options.regionWeight,
      nearBandKm: options.nearBandKm,
      placeOfRegion: (region) => regions.placeOf(region),
    }),
    regions,
    clients: new ClientAddress(options.trustedProxies, options.forwardedHeader),
    drain,
    cluster,
    httpdnsIpCount: options.httpdnsIpCount,
    httpdnsTtlS: options.httpdnsTtlS,
  };
}
