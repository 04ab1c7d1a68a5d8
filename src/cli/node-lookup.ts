/**
 * From the configuration to the balancer: reads the file of region rules, parses what the table of options cannot check.
 */
import { readFile } from 'node:fs/promises';
import type { Config } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import {
  createNodeLookup,
  type NodeLookup,
  type NodeLookupParts,
  parseRegionFile,
  parseRegionList,
  parseRegionPlaces,
} from '../logic/index.js';
import { forwardedHeaderOf } from './node-options.js';

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new HalleyError('REGIONS_FILE_UNREADABLE', 'cannot read the file of balancer.regions_file', { path }, error);
  }
}

/**
 * @throws HalleyError REGIONS_FILE_UNREADABLE, REGION_RULE_INVALID, CIDR_CONFLICT, TRUSTED_PROXY_INVALID; those of rules name
 *   file and line, or option and place in its list
 */
export async function loadNodeLookup(config: Config, parts: NodeLookupParts): Promise<NodeLookup> {
  const { balancer, http } = config;
  const path = balancer.regions_file;
  const fromFile = path === '' ? [] : parseRegionFile(await textOf(path), path);
  return createNodeLookup(parts, {
    regionWeight: balancer.region_weight,
    nearBandKm: balancer.near_band_km,
    regionRules: [...parseRegionList(balancer.regions, 'balancer.regions'), ...fromFile],
    placeByRegion: parseRegionPlaces(balancer.region_places, 'balancer.region_places'),
    trustedProxies: http.trusted_proxies,
    forwardedHeader: forwardedHeaderOf(config),
    httpdnsIpCount: balancer.httpdns_ips,
    httpdnsTtlS: balancer.httpdns_ttl_s,
  });
}
