import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../config/index.js';
import { DrainSwitch } from '../logic/index.js';
import { loadNodeLookup } from './node-lookup.js';
import { nodeRecordOf } from './node-options.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-regions-'));
});
afterAll(() => rm(directory, { recursive: true }));

function load(toml: string, env: Record<string, string> = {}) {
  const { config } = loadConfig({ argvFlags: { config: 'a.toml' }, env, readFile: () => toml });
  const counts = {
    nodeEpoch: 1,
    version: '1',
    tcpPort: 0,
    wsPort: 1,
    wssPort: 0,
    httpPort: 2,
    connCount: 0,
    ipCount: 0,
  };
  const self = () => nodeRecordOf(config, { ...counts, isDraining: false, updatedMs: 0 });
  return loadNodeLookup(config, { drain: new DrainSwitch(), directory: undefined, self });
}

describe('the balancer of a configuration', () => {
  it('knows regions from option and file together, their places, and its proxies', async () => {
    const path = join(directory, 'regions.txt');
    await writeFile(path, '# from the registry\n203.0.113.0/24=sh\n');
    const lookup = await load(
      `
      [http]
      trusted_proxies = ["10.0.0.0/8"]
      [balancer]
      regions = ["198.51.100.0/24=bj", "203.0.113.128/25=bj"]
      regions_file = "${path}"
      httpdns_ips = 2
      httpdns_ttl_s = 30
    `,
      { HALLEY_BALANCER_REGION_PLACES: 'bj=39.9,116.4,sh=31.2,121.5' },
    );
    const addresses = ['198.51.100.1', '203.0.113.1', '203.0.113.200', '192.0.2.1'];
    expect(addresses.map((address) => lookup.regions.ofAddress(address))).toEqual(['bj', 'sh', 'bj', '']);
    expect(lookup.regions.placeOf('sh')).toEqual({ latitude: 31.2, longitude: 121.5 });
    const headers = { 'x-forwarded-for': '203.0.113.1' };
    expect(lookup.clients.of({ socket: { remoteAddress: '10.1.1.1' }, headers })).toBe('203.0.113.1');
    expect([lookup.httpdnsIpCount, lookup.httpdnsTtlS, lookup.cluster]).toEqual([2, 30, undefined]);
  });

  it('names file and line of a bad rule, and of two that disagree', async () => {
    const path = join(directory, 'bad.txt');
    await writeFile(path, '203.0.113.0/24=sh\n203.0.113.0/33=bj\n');
    await expect(load(`[balancer]\nregions_file = "${path}"`)).rejects.toMatchObject({
      code: 'REGION_RULE_INVALID',
      details: { source: path, line: 2 },
    });
    await writeFile(path, '203.0.113.0/24=sh\n');
    const toml = `[balancer]\nregions = ["203.0.113.0/24=bj"]\nregions_file = "${path}"`;
    await expect(load(toml)).rejects.toMatchObject({
      code: 'CIDR_CONFLICT',
      details: { source: path, line: 1, otherSource: 'balancer.regions', otherLine: 1 },
    });
  });

  it('does not start without the file that it names', async () => {
    await expect(load('[balancer]\nregions_file = "/nowhere/regions.txt"')).rejects.toMatchObject({
      code: 'REGIONS_FILE_UNREADABLE',
      details: { path: '/nowhere/regions.txt' },
    });
  });

  it('has of a node that is alone the node itself', async () => {
    const lookup = await load('server_id = "node-a"');
    const request = {
      order: 'weighted',
      region: '',
      place: undefined,
      limitCount: 5,
      isReachable: () => true,
    } as const;
    expect(lookup.balancer.pick(request).map(({ record }) => record.serverId)).toEqual(['node-a']);
  });
});
