/** A Redis Cluster of masters without replicas, on loopback. */
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

const SLOT_COUNT = 16_384;

export interface RedisClusterServers {
  /** `redis+cluster://...` with every node. */
  readonly url: string;
  readonly servers: readonly RedisServer[];
  /** Stop all and remove their directories. */
  remove(): Promise<void>;
}

/** Start `masterCount` masters that share the slots evenly, and wait until each of them calls the cluster sound. */
export async function startRedisCluster(masterCount = 3): Promise<RedisClusterServers> {
  const servers: RedisServer[] = [];
  const busPorts: number[] = [];
  for (let index = 0; index < masterCount; index++) {
    const busPort = await freePort();
    busPorts.push(busPort);
    servers.push(
      await startRedis({
        args: ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '2000'],
      }),
    );
  }
  const clients = servers.map(({ port }) => new Redis(port, '127.0.0.1', { protocol: 2 }));
  try {
    for (const [index, client] of clients.entries()) {
      const first = Math.floor((index * SLOT_COUNT) / masterCount);
      const last = Math.floor(((index + 1) * SLOT_COUNT) / masterCount) - 1;
      await client.call('CLUSTER', 'ADDSLOTSRANGE', first, last);
      // Epochs that differ from the start: no round of conflict resolution before the cluster settles.
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
    }
    const [first] = clients;
    for (const [index, { port }] of servers.entries()) {
      if (index > 0) await first?.call('CLUSTER', 'MEET', '127.0.0.1', port, String(busPorts[index]));
    }
    await eventually(
      async () => {
        const infos = await Promise.all(clients.map((client) => client.call('CLUSTER', 'INFO') as Promise<string>));
        return infos.every(
          (info) => info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${masterCount}`),
        );
      },
      20_000,
      'a cluster in state ok',
    );
  } finally {
    for (const client of clients) client.disconnect();
  }
  return {
    url: `redis+cluster://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    servers,
    remove: async () => {
      await Promise.all(servers.map((server) => server.remove()));
    },
  };
}
