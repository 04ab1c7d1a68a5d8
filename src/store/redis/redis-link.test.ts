import { afterEach, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { parseRedisUrl, RedisLink } from './redis-link.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function started(): Promise<RedisServer> {
  const server = await startRedis();
  cleanups.push(() => server.remove());
  return server;
}

function optionsOf(url: string) {
  return { url, prefix: 'halley', tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 500, clientName: 'test' };
}

describe('RedisLink', () => {
  it('opens, goes down with the server and comes up again with it', async () => {
    const server = await started();
    const link = await RedisLink.open(optionsOf(server.url), memoryLog().logger);
    cleanups.push(() => link.close());
    expect(link.isUp).toBe(true);
    await link.commands.set('a', 'b');
    await server.stop();
    await eventually(() => !link.isUp, 2000);
    await expect(link.commands.get('a')).rejects.toThrow();
    const again = await startRedis({ port: server.port, dir: server.dir });
    cleanups.push(() => again.remove());
    await eventually(() => link.isUp, 5000);
    expect(await link.commands.get('a')).toBeNull();
  });

  it('names a server that does not answer', async () => {
    await expect(RedisLink.open(optionsOf('redis://127.0.0.1:1'), memoryLog().logger)).rejects.toMatchObject({
      code: 'REDIS_UNREACHABLE',
    });
  });
});

describe('parseRedisUrl', () => {
  it('reads the three forms', () => {
    expect(parseRedisUrl('rediss://u:p%40@h:1/2')).toMatchObject({
      kind: 'single',
      isTls: true,
      username: 'u',
      password: 'p@',
      db: 2,
    });
    expect(parseRedisUrl('redis+sentinel://a:1,b/main')).toMatchObject({
      kind: 'sentinel',
      masterName: 'main',
      hosts: [
        { host: 'a', port: 1 },
        { host: 'b', port: 26_379 },
      ],
    });
    expect(parseRedisUrl('redis+cluster://a:1,b:2')).toMatchObject({ kind: 'cluster' });
  });

  it.each(['http://a', 'redis://a,b', 'redis+sentinel://a', 'redis+cluster://a/1', 'redis://a:0'])(
    'refuses %s',
    (url) => {
      expect(() => parseRedisUrl(url)).toThrow(expect.objectContaining({ code: 'BAD_REDIS_URL' }));
    },
  );
});
