import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { systemClock } from '../clock/index.js';
import { CLOSE } from '../errors/index.js';
import type { NodeMail } from '../push/index.js';
import { type NodeReport, RedisLink, RedisNodes, RedisSessionMap, RedisSessions } from '../store/redis/index.js';
import { memoryLog } from '../telemetry/index.js';
import { type ControlNode, startControlNode } from './fixtures/control-node.js';
import { CONNECT_STATUS, MESSAGE } from './thread-messages.js';

const LEASE_MS = 1500;
const REPORT: NodeReport = {
  hostname: 'host',
  addrs: [],
  tcpPort: 0,
  wsPort: 3102,
  wssPort: 0,
  httpPort: 3111,
  region: '',
  zone: '',
  version: '1',
  latitude: undefined,
  longitude: undefined,
  weight: 10,
  capacity: 0,
  connCount: 0,
  ipCount: 0,
  roles: ['comet'],
};

const cleanups: (() => unknown)[] = [];
let server: RedisServer;
let serial = 0;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.remove());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface ClusterNode extends ControlNode {
  readonly nodes: RedisNodes;
  readonly shared: RedisSessions;
  /** The lease is renewed no more, as by a crash. */
  crash(): void;
}

/** A node as the program wires it; mail goes straight to the node it is for. */
async function startNode(prefix: string, serverId: string, mail: NodeMail): Promise<ClusterNode> {
  const log = memoryLog().logger;
  const link = await RedisLink.open(
    { url: server.url, prefix, tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 500, clientName: serverId },
    log,
  );
  const nodes = await RedisNodes.start(
    link,
    {
      serverId,
      leaseMs: LEASE_MS,
      floorEpoch: 0,
      clock: systemClock,
      report: () => REPORT,
      onSuperseded: () => {},
      onNewEpoch: () => shared.rewrite(),
      onDataLost: () => void shared.rewrite(),
    },
    log,
  );
  const map = new RedisSessionMap(link, nodes);
  const shared = new RedisSessions(link, map, nodes, { rewritePerSec: 20_000 }, log);
  const rooms = { link: () => undefined, unlink: () => {} };
  const identity = { serverId, nodeEpoch: nodes.nodeEpoch };
  const node = startControlNode({ sessions: shared, nodes, mail, rooms }, nodes.clock, identity);
  shared.connect(node.comet);
  const crash = () => {
    nodes.close();
    shared.close();
    link.close();
  };
  cleanups.push(() => {
    crash();
    node.close();
  });
  return Object.assign(node, { nodes, shared, crash });
}

async function startTwo(): Promise<[ClusterNode, ClusterNode]> {
  serial += 1;
  const prefix = `t${serial}`;
  const byId = new Map<string, ClusterNode>();
  const mail: NodeMail = {
    closeConnection: (owner, advice) => byId.get(owner.serverId)?.comet.closeConnection(owner, advice),
  };
  const [a, b] = [await startNode(prefix, 'a', mail), await startNode(prefix, 'b', mail)];
  byId.set('a', a).set('b', b);
  await a.nodes.refresh();
  return [a, b];
}

const connected = (connId: number, status: number) => [MESSAGE.CONNECTED, connId, status, []];

it('a key moves from node to node: the old channel is closed, and its late end leaves the new session alone', async () => {
  const [a, b] = await startTwo();
  a.connect(a.buckets[0], 7, 42, 'device');
  expect(await eventually(() => a.buckets[0].take()[0])).toEqual(connected(7, CONNECT_STATUS.STORED));
  b.connect(b.buckets[1], 9, 42, 'device');
  expect(await eventually(() => b.buckets[1].take()[0])).toEqual(connected(9, CONNECT_STATUS.STORED));
  const { code, reason } = CLOSE.TAKEN_OVER;
  expect(await eventually(() => a.buckets[0].take()[0])).toEqual([MESSAGE.CLOSE, 0, [7], code, reason, false, 0]);
  a.say(a.buckets[0], [MESSAGE.DISCONNECT, 7, 'device']);
  await a.shared.rewrite();
  expect(await a.shared.byKeys(['device'])).toMatchObject([{ serverId: 'b', connId: 9 }]);
  b.say(b.buckets[1], [MESSAGE.DISCONNECT, 9, 'device']);
  await eventually(async () => (await a.shared.byKeys(['device']))[0] === undefined, 2000);
});

it("another user's key is refused across nodes, until its node has died", async () => {
  const [a, b] = await startTwo();
  a.connect(a.buckets[0], 7, 42, 'device');
  await eventually(() => a.buckets[0].take()[0]);
  b.connect(b.buckets[0], 1, 43, 'device');
  expect(await eventually(() => b.buckets[0].take()[0])).toEqual(connected(1, CONNECT_STATUS.FOREIGN));
  a.crash();
  await eventually(() => !b.nodes.isLive('a', 1), LEASE_MS * 4);
  b.connect(b.buckets[0], 2, 43, 'device');
  expect(await eventually(() => b.buckets[0].take()[0])).toEqual(connected(2, CONNECT_STATUS.STORED));
});
