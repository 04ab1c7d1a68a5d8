/** A Redis Cluster on loopback: masters, and replicas where a test wants one to take over. */
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { type RedisProxy, startRedisProxy } from './redis-proxy.js';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

const SLOT_COUNT = 16_384;
const NODE_TIMEOUT_MS = 2_000;
const READY_MS = 20_000;

export interface RedisClusterOptions {
  /** Of each master; default 0. With one a master that dies is replaced. */
  readonly replicaCount?: number;
  /** Under which port clients are to know the server at `port`: of a proxy in front of it, say. */
  readonly announcedPort?: (port: number) => Promise<number>;
}

export interface RedisClusterServers {
  /** `redis+cluster://...` with every master of the start. */
  readonly url: string;
  /** The masters of the start. */
  readonly servers: readonly RedisServer[];
  /** As many per master as were asked for: those of the first master, of the second and so on. */
  readonly replicas: readonly RedisServer[];
  /** Stop all and remove their directories. */
  remove(): Promise<void>;
}

async function infosSay(clients: readonly Redis[], ...lines: readonly string[]): Promise<boolean> {
  const infos = await Promise.all(clients.map((client) => client.call('CLUSTER', 'INFO') as Promise<string>));
  return infos.every((info) => lines.every((line) => info.includes(line)));
}

/** Start `masterCount` masters that share the slots evenly, and wait until every server calls the cluster sound. */
export async function startRedisCluster(
  masterCount = 3,
  { replicaCount = 0, announcedPort }: RedisClusterOptions = {},
): Promise<RedisClusterServers> {
  const all: RedisServer[] = [];
  const busPorts: number[] = [];
  for (let index = 0; index < masterCount * (1 + replicaCount); index++) {
    const busPort = await freePort();
    busPorts.push(busPort);
    const own = ['--cluster-port', String(busPort), '--cluster-node-timeout', String(NODE_TIMEOUT_MS)];
    const port = await freePort();
    const announced = announcedPort && ['--cluster-announce-port', String(await announcedPort(port))];
    all.push(await startRedis({ port, args: ['--cluster-enabled', 'yes', ...own, ...(announced ?? [])] }));
  }
  const clients = all.map(({ port }) => new Redis(port, '127.0.0.1', { protocol: 2 }));
  const masters = clients.slice(0, masterCount);
  try {
    for (const [index, client] of masters.entries()) {
      const first = Math.floor((index * SLOT_COUNT) / masterCount);
      const last = Math.floor(((index + 1) * SLOT_COUNT) / masterCount) - 1;
      await client.call('CLUSTER', 'ADDSLOTSRANGE', first, last);
    }
    // Epochs that differ from the start: no round of conflict resolution before the cluster settles.
    for (const [index, client] of clients.entries()) await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    const [first] = clients;
    for (const [index, { port }] of all.entries()) {
      if (index > 0) await first?.call('CLUSTER', 'MEET', '127.0.0.1', port, String(busPorts[index]));
    }
    await eventually(
      () => infosSay(clients, 'cluster_state:ok', `cluster_known_nodes:${all.length}`),
      READY_MS,
      'a cluster in state ok',
    );
    for (const [index, replica] of clients.slice(masterCount).entries()) {
      const master = masters[Math.floor(index / replicaCount)];
      await replica.call('CLUSTER', 'REPLICATE', String(await master?.call('CLUSTER', 'MYID')));
    }
    await eventually(
      async () => {
        const infos = await Promise.all(clients.slice(masterCount).map((replica) => replica.info('replication')));
        if (!infos.every((info) => info.includes('role:slave') && info.includes('master_link_status:up'))) return false;
        // The others must have heard of it: only they can elect.
        const tables = await Promise.all(
          masters.map((master) => master.call('CLUSTER', 'SLOTS') as Promise<unknown[][]>),
        );
        return tables.every((rows) => rows.every((row) => row.length === 3 + replicaCount));
      },
      READY_MS,
      'replicas in sync',
    );
  } finally {
    for (const client of clients) client.disconnect();
  }
  const servers = all.slice(0, masterCount);
  return {
    url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    servers,
    replicas: all.slice(masterCount),
    remove: async () => {
      await Promise.all(all.map((server) => server.remove()));
    },
  };
}

export interface ProxiedRedisCluster extends RedisClusterServers {
  /** In front of the masters, in their order; clients know no other way. */
  readonly proxies: readonly RedisProxy[];
}

/** Three masters behind a proxy each: `url` leads to the proxies, and so does what the masters say of one another. */
export async function startProxiedRedisCluster(): Promise<ProxiedRedisCluster> {
  const proxies: RedisProxy[] = [];
  const cluster = await startRedisCluster(3, {
    announcedPort: async (port) => {
      const proxy = await startRedisProxy(port);
      proxies.push(proxy);
      return proxy.port;
    },
  });
  return {
    ...cluster,
    proxies,
    url: `redis+cluster://${proxies.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    remove: async () => {
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await cluster.remove();
    },
  };
}
