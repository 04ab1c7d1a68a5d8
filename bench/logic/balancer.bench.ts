/**
 * Question: how many clients a second can one node place, and what does the table of regions add to it?
 * Topology: the control thread alone, in process, no HTTP: 100 nodes of a directory, an answer of five; 100,000 rules for
 *   blocks of addresses, half IPv4 (/8 to /30, nested), half IPv6 (/20 to /64). Needs 1 core. Competitor: BlockList of node:net,
 *   which answers yes or no only, over the first 1,000 of the same rules (its lookup is linear).
 */
import { BlockList } from 'node:net';
import { CidrTable } from '../../src/address/index.js';
import { MemoryNodes, nodeRecord } from '../../src/logic/fixtures/node-records.js';
import { Balancer, NODE_ORDERS } from '../../src/logic/index.js';
import { parseRegionFile } from '../../src/logic/regions-rules.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow, measureRounds } from '../bench.js';

const NODE_COUNT = 100;
const RULE_COUNT = 100_000;
const PEER_RULE_COUNT = 1000;

/** A generator of 32-bit numbers that gives every run the same rules. */
function numbers(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function ipv4(bits: number): string {
  return [bits >>> 24, (bits >>> 16) & 255, (bits >>> 8) & 255, bits & 255].join('.');
}

interface Rules {
  readonly text: string;
  /** Addresses inside the rules, IPv4 and IPv6 in turn. */
  readonly addresses: readonly string[];
}

function makeRules(): Rules {
  const next = numbers();
  const lines: string[] = [];
  const addresses: string[] = [];
  const seen = new Set<string>();
  while (lines.length < RULE_COUNT) {
    const isIpv4 = lines.length % 2 === 0;
    const bits = isIpv4 ? 8 + (next() % 23) : 20 + (next() % 45);
    const high = isIpv4 || bits >= 32 ? next() : (next() >>> (32 - bits)) << (32 - bits);
    const first = isIpv4 ? ((high >>> (32 - bits)) << (32 - bits)) >>> 0 : high >>> 0;
    const low = bits > 32 ? ((next() >>> (64 - bits)) << (64 - bits)) >>> 0 : 0;
    const groups = [first >>> 16, first & 0xffff, low >>> 16, low & 0xffff].map((group) => group.toString(16));
    const start = isIpv4 ? ipv4(first) : `${groups.join(':')}::`;
    const block = `${start}/${bits}`;
    if (seen.has(block)) continue;
    seen.add(block);
    lines.push(`${block}=region-${next() % 50}`);
    addresses.push(isIpv4 ? start : `${groups.join(':')}::${(next() & 0xffff).toString(16)}`);
  }
  return { text: lines.join('\n'), addresses };
}

async function pickRows(quick: boolean): Promise<BenchRow[]> {
  const next = numbers();
  const records = Array.from({ length: NODE_COUNT }, (_, index) =>
    nodeRecord(`node-${index}`, {
      region: `region-${index % 10}`,
      weight: 1 + (next() % 100),
      connCount: next() % 100_000,
      latitude: (next() % 180) - 90,
      longitude: (next() % 360) - 180,
    }),
  );
  const pickCount = quick ? 2000 : 20_000;
  const rows: BenchRow[] = [];
  for (const order of NODE_ORDERS) {
    const balancer = new Balancer(new MemoryNodes('node-0', records), {
      regionWeight: 1.6,
      nearBandKm: 100,
      placeOfRegion: () => undefined,
    });
    const request = {
      order,
      region: 'region-3',
      place: { latitude: 39.9, longitude: 116.4 },
      limitCount: 5,
      isReachable: () => true,
    };
    let answered = 0;
    let expected = 0;
    const work = () => {
      for (let pick = 0; pick < pickCount; pick++) answered += balancer.pick(request).length;
      expected += 5 * pickCount;
    };
    work();
    rows.push(await measureRounds(`pick of ${NODE_COUNT} nodes, ${order}`, pickCount, quick ? 3 : 7, work));
    assertResult(answered === expected, `${order}: five nodes an answer`);
  }
  return rows;
}

async function regionRows(quick: boolean): Promise<BenchRow[]> {
  const { text, addresses } = makeRules();
  const rounds = quick ? 3 : 7;
  let table = new CidrTable([]);
  const load = () => {
    table = new CidrTable(parseRegionFile(text, 'bench'));
  };
  load();
  const loadRow = await measureRounds(`load of ${RULE_COUNT} rules`, 1, rounds, load);
  const rows: BenchRow[] = [{ ...loadRow, note: 'text to table' }];
  for (const family of [4, 6] as const) {
    const asked = addresses.filter((_, index) => index % 2 === (family === 4 ? 0 : 1));
    const lookUp = () => {
      let foundCount = 0;
      for (const address of asked) if (table.find(address) !== undefined) foundCount++;
      assertResult(foundCount === asked.length, `every IPv${family} address has a region`);
    };
    lookUp();
    rows.push(await measureRounds(`region of an IPv${family} address`, asked.length, rounds, lookUp));
  }
  const blocks = new BlockList();
  for (const line of text.split('\n').slice(0, PEER_RULE_COUNT)) {
    const [start = '', bits = ''] = (line.split('=')[0] ?? '').split('/');
    blocks.addSubnet(start, Number(bits), start.includes(':') ? 'ipv6' : 'ipv4');
  }
  const asked = addresses.slice(0, PEER_RULE_COUNT).filter((_, index) => index % 2 === 0);
  const check = () => {
    for (const address of asked) assertResult(blocks.check(address), 'BlockList knows the address');
  };
  check();
  const peer = await measureRounds(`node:net BlockList, ${PEER_RULE_COUNT} rules, IPv4`, asked.length, rounds, check);
  return [...rows, peer];
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  return {
    title: 'logic: placing clients',
    topology: `one thread, no HTTP; ${NODE_COUNT} nodes; ${RULE_COUNT} rules, IPv4 and IPv6 by half`,
    rows: [...(await pickRows(quick)), ...(await regionRows(quick))],
  };
}
