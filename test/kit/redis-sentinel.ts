/** A master with one replica, watched by one Sentinel with a quorum of one: enough for a failover. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { freePort, type RedisServer, startRedis } from './redis-server.js';

export interface RedisSentinelServers {
  /** `redis+sentinel://.../main` */
  readonly url: string;
  readonly master: RedisServer;
  readonly replica: RedisServer;
  remove(): Promise<void>;
}

const DOWN_AFTER_MS = 500;

export async function startRedisSentinel(): Promise<RedisSentinelServers> {
  const master = await startRedis();
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] });
  const port = await freePort();
  const configFile = join(master.dir, 'sentinel.conf');
  await writeFile(
    configFile,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${master.dir}`,
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds main ${DOWN_AFTER_MS}`,
      'sentinel failover-timeout main 3000',
      '',
    ].join('\n'),
  );
  const sentinel = await startRedis({ port, dir: master.dir, configFile });
  const client = new Redis(port, '127.0.0.1', { protocol: 2, enableReadyCheck: false });
  try {
    await eventually(
      async () => {
        const replicas = (await client.call('SENTINEL', 'REPLICAS', 'main')) as string[][];
        return replicas.some((fields) => fields[fields.indexOf('master-link-status') + 1] === 'ok');
      },
      20_000,
      'a replica that the sentinel knows to be in sync',
    );
  } finally {
    client.disconnect();
  }
  return {
    url: `redis+sentinel://127.0.0.1:${port}/main`,
    master,
    replica,
    remove: async () => {
      await sentinel.remove();
      await Promise.all([master.remove(), replica.remove()]);
    },
  };
}
