import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  ownerOf,
  type RedisClusterServers,
  type RedisServer,
  SlotMove,
  slotOf,
  startProxiedRedisCluster,
  startRedis,
  startRedisCluster,
  startRedisProxy,
  startRedisSentinel,
  startRedisTls,
} from '../../../test/kit/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisLink, type RedisLinkOptions } from './redis-link.js';
import { checkInfo, evictionWarning, parseInfo } from './redis-link-checks.js';
import { parseRedisUrl } from './redis-link-url.js';

const PASSWORD = 's3cret-of-redis';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let shared: RedisServer;
beforeAll(async () => {
  shared = await startRedis();
});
afterAll(() => shared.remove());

async function started(...args: string[]): Promise<RedisServer> {
  const server = await startRedis({ args });
  cleanups.push(() => server.remove());
  return server;
}

function optionsOf(url: string, more: Partial<RedisLinkOptions> = {}): RedisLinkOptions {
  return {
    url,
    prefix: 'halley',
    tlsCaFile: '',
    connectTimeoutMs: 1000,
    commandTimeoutMs: 500,
    clientName: 'test',
    ...more,
  };
}

async function opened(url: string, more: Partial<RedisLinkOptions> = {}): Promise<RedisLink> {
  const link = await RedisLink.open(optionsOf(url, more), memoryLog().logger);
  cleanups.push(() => link.close());
  return link;
}

/** The error of a start that must fail, with everything that would be printed of it. */
async function refused(url: string, more: Partial<RedisLinkOptions> = {}): Promise<{ code: string; text: string }> {
  const log = memoryLog();
  const error = await RedisLink.open(optionsOf(url, more), log.logger).then(
    (link) => {
      link.close();
      throw new Error('the link opened');
    },
    (reason: Error & { code: string; cause?: unknown }) => reason,
  );
  const text = `${error.message} ${JSON.stringify({ ...error })} ${String(error.cause)} ${error.stack} ${JSON.stringify(log.records)}`;
  return { code: error.code, text };
}

describe('RedisLink', () => {
  it('goes down with the server and comes up again with it', async () => {
    const server = await started();
    const link = await opened(server.url);
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

  it('notices a server that accepts and does not answer, fails at once then, and is up again when it answers', async () => {
    const server = await started();
    const link = await opened(server.url, { commandTimeoutMs: 200 });
    const echo = link.script('echo', 'return ARGV[1]', 1);
    process.kill(server.pid, 'SIGSTOP');
    try {
      const asked = performance.now();
      await expect(echo(['k'], ['x'])).rejects.toMatchObject({ code: 'REDIS_AWAY' });
      expect(performance.now() - asked).toBeLessThan(1000);
      await eventually(() => !link.isUp, 3000);
      const again = performance.now();
      await expect(echo(['k'], ['x'])).rejects.toMatchObject({ code: 'REDIS_AWAY' });
      expect(performance.now() - again).toBeLessThan(50);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await eventually(() => link.isUp, 5000);
    expect(await echo(['k'], ['x'])).toBe('x');
  });

  it('sends the scripts of one turn in one write', async () => {
    const proxy = await startRedisProxy(shared.port);
    cleanups.push(() => proxy.close());
    const link = await opened(proxy.url);
    const echo = link.script('echo', 'return ARGV[1]', 1);
    await echo(['k'], ['first']);
    const before = proxy.burstCount;
    const replies = await Promise.all(Array.from({ length: 100 }, (_, index) => echo(['k'], [index])));
    expect(replies).toEqual(Array.from({ length: 100 }, (_, index) => String(index)));
    // One for the scripts, and the pulse may have beaten meanwhile.
    expect(proxy.burstCount - before).toBeLessThanOrEqual(2);
  });

  it('runs a script also after the server has forgotten it', async () => {
    const link = await opened(shared.url);
    const echo = link.script('echo', 'return ARGV[1]', 1);
    await echo(['k'], ['x']);
    await link.commands.script('FLUSH');
    expect(await Promise.all([echo(['k'], ['y']), echo(['k'], ['z'])])).toEqual(['y', 'z']);
  });

  it('takes the password from its own option where the URL holds none', async () => {
    const server = await started('--requirepass', PASSWORD);
    const link = await opened(server.url, { password: PASSWORD });
    expect(await link.commands.ping()).toBe('PONG');
  });

  it('warns where Redis may throw keys away', async () => {
    const server = await started('--maxmemory-policy', 'allkeys-lru');
    const log = memoryLog();
    const link = await RedisLink.open(optionsOf(server.url), log.logger);
    cleanups.push(() => link.close());
    expect(log.records.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
      expect.stringContaining('allkeys-lru'),
    ]);
  });
});

describe('RedisLink over TLS', () => {
  it('opens with the authority of its option, and names a certificate it cannot trust', async () => {
    const server = await startRedisTls();
    cleanups.push(() => server.remove());
    const link = await opened(server.url, { tlsCaFile: server.caFile });
    expect(await link.commands.ping()).toBe('PONG');
    expect((await refused(server.url)).code).toBe('REDIS_TLS_UNTRUSTED');
    expect((await refused(server.url, { tlsCaFile: '/nowhere/ca.pem' })).code).toBe('REDIS_CA_UNREADABLE');
  });

  it('says that TLS may be the reason where only one side speaks it', async () => {
    const server = await startRedisTls();
    cleanups.push(() => server.remove());
    for (const url of [shared.url.replace('redis:', 'rediss:'), server.url.replace('rediss:', 'redis:')]) {
      const { code, text } = await refused(url);
      expect([code, text.includes('TLS')]).toEqual(['REDIS_UNREACHABLE', true]);
    }
  });
});

describe('RedisLink with Sentinel', () => {
  it('follows a failover to the new master', async () => {
    const servers = await startRedisSentinel();
    cleanups.push(() => servers.remove());
    const link = await opened(servers.url);
    await link.commands.set('a', 'b');
    expect(link.masters()[0]?.stream).toBeDefined();
    await servers.master.stop('SIGKILL');
    await eventually(() => !link.isUp, 5000);
    await eventually(() => link.isUp, 20_000, 'a new master');
    await eventually(() => link.commands.set('a', 'c').catch(() => undefined), 5000);
    expect((await link.commands.role())[0]).toBe('master');
  });

  it('follows a failover also where the old master only fell silent', async () => {
    const servers = await startRedisSentinel();
    cleanups.push(() => servers.remove());
    const link = await opened(servers.url);
    process.kill(servers.master.pid, 'SIGSTOP');
    try {
      await eventually(() => !link.isUp, 5000);
      await eventually(() => link.isUp, 20_000, 'a new master');
      expect(await link.commands.set('a', 'c')).toBe('OK');
    } finally {
      process.kill(servers.master.pid, 'SIGCONT');
    }
  });
});

describe('RedisLink with Cluster', () => {
  let cluster: RedisClusterServers;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.remove());

  it('runs scripts on every master, those of one turn in one pipeline per master', async () => {
    const link = await opened(cluster.url);
    const put = link.script('put', "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]", 1);
    const numbers = Array.from({ length: 50 }, (_, index) => index);
    expect(await Promise.all(numbers.map((n) => put([`k${n}`], [n])))).toEqual(numbers.map(String));
    expect(link.masters().length).toBe(3);
    for (const master of link.masters()) expect(await master.dbsize()).toBeGreaterThan(0);
  });

  it('follows slots that move, at the first try, whatever else stands in the pipeline', async () => {
    const link = await opened(cluster.url);
    const put = link.script('put', "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]", 1);
    const keys = Array.from({ length: 200 }, (_, index) => `moving-${index}`);
    const everywhere = async (value: string) => {
      const written = await Promise.all(keys.map((key) => put([key], [value])));
      const read = await Promise.all(keys.map((key) => link.bounded(() => link.commands.get(key))));
      const raw = await Promise.all(keys.map((key) => link.bounded(() => link.commands.getBuffer(key))));
      expect(new Set([...written, ...read, ...raw.map(String)])).toEqual(new Set([value]));
    };
    await everywhere('before');
    const [first] = cluster.servers as [RedisServer];
    for (const key of keys.slice(0, 3)) {
      const slot = await slotOf(first, key);
      const owner = await ownerOf(cluster.servers, slot);
      const to = cluster.servers.find((server) => server !== owner) as RedisServer;
      const move = await SlotMove.begin(cluster.servers, slot, to);
      await everywhere(`${key} is announced`);
      await move.moveKeys();
      // What is gone is asked for at the other master, and there the script is unknown.
      const masters = link.masters();
      for (const master of masters) await master.script('FLUSH');
      await everywhere(`${key} is on its way`);
      await move.finish();
      await everywhere(`${key} has moved`);
    }
  });

  it('counts as away while one master is silent', async () => {
    const link = await opened(cluster.url, { commandTimeoutMs: 200 });
    const pid = cluster.servers[1]?.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    try {
      await eventually(() => !link.isUp, 5000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(() => link.isUp, 15_000);
  });

  it('sends nothing again that was under way when a connection broke', async () => {
    const { url, proxies, remove } = await startProxiedRedisCluster();
    cleanups.push(remove);
    const link = await opened(url);
    const append = (text: string) => link.bounded(() => link.commands.rpush('list', text));
    await append('before');
    for (const proxy of proxies) proxy.hold();
    const failed = append('under way');
    // Long before its deadline, and after it was written.
    setTimeout(() => {
      for (const proxy of proxies) proxy.cut();
      for (const proxy of proxies) proxy.release();
    }, 50);
    await expect(failed).rejects.toThrow('Connection is closed');
    await eventually(
      () =>
        append('after').then(
          () => true,
          () => false,
        ),
      10_000,
    );
    expect(await link.bounded(() => link.commands.lrange('list', 0, -1))).toEqual(['before', 'after']);
  });

  it('refuses a cluster URL for a single server, and the reverse', async () => {
    expect((await refused(shared.url.replace('redis:', 'redis+cluster:'))).code).toBe('REDIS_NOT_CLUSTER');
    expect((await refused(`redis://127.0.0.1:${cluster.servers[0]?.port}`)).code).toBe('REDIS_IS_CLUSTER');
  });
});

describe('a start that cannot work says why, without the password', () => {
  it('nobody listens', async () => {
    for (const form of ['redis', 'redis+cluster']) {
      const { code, text } = await refused(`${form}://user:${PASSWORD}@127.0.0.1:1`);
      expect([code, text.includes(PASSWORD)]).toEqual(['REDIS_UNREACHABLE', false]);
      expect(text).toContain('127.0.0.1:1');
    }
    expect((await refused('redis+sentinel://127.0.0.1:1/main')).code).toBe('REDIS_UNREACHABLE');
  });

  it('the server accepts and does not answer', async () => {
    const server = await started();
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect((await refused(server.url)).code).toBe('REDIS_UNREACHABLE');
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });

  it('user name or password are wrong, or missing', async () => {
    const server = await started('--requirepass', 'right');
    const host = `127.0.0.1:${server.port}`;
    for (const url of [`redis://:${PASSWORD}@${host}`, `redis://nobody:${PASSWORD}@${host}`, `redis://${host}`]) {
      const { code, text } = await refused(url, { password: url.includes('@') ? '' : PASSWORD });
      expect([code, text.includes(PASSWORD)]).toEqual(['REDIS_WRONG_LOGIN', false]);
    }
    expect((await refused(`redis://${host}`)).code).toBe('REDIS_WRONG_LOGIN');
    const login = await refused(`redis://:${PASSWORD}@${host}`);
    expect(login.text).toContain('cluster.redis_password');
  });

  it('the user lacks a command, a family of keys or a channel', async () => {
    const admin = new Redis(shared.port, '127.0.0.1');
    cleanups.push(() => admin.disconnect());
    const login = `redis://app:${PASSWORD}@127.0.0.1:${shared.port}`;
    const grant = (...rules: string[]) => admin.call('ACL', 'SETUSER', 'app', 'reset', 'on', `>${PASSWORD}`, ...rules);
    await grant('+@all', '~halley:*', '&halley:*');
    await opened(login);
    for (const [rules, missing] of [
      [['+@all', '-xadd', '~halley:*', '&halley:*'], 'xadd halley:q:{0}'],
      [['+@all', '~halley:s:*', '&halley:*'], 'hset halley:u:{0}'],
      [['+@all', '~halley:*', '&halley:ch:*'], 'publish halley:push'],
      [['+@all', '-eval', '~halley:*', '&halley:*'], 'eval'],
      [['+@all', '-info', '~halley:*', '&halley:*'], 'info'],
    ] as const) {
      await grant(...rules);
      const { code, text } = await refused(login);
      expect([code, text.includes(PASSWORD)]).toEqual(['REDIS_NO_PERMISSION', false]);
      expect(text).toContain(missing);
    }
  });

  it('the server is a read-only replica', async () => {
    const replica = await started('--replicaof', '127.0.0.1', String(shared.port));
    expect(await refused(replica.url)).toMatchObject({ code: 'REDIS_READ_ONLY' });
  });

  it('Redis is too old', () => {
    const check = (version: string) => () =>
      checkInfo(
        parseInfo(`# Server\r\nredis_version:${version}\r\nredis_mode:standalone\r\nrole:master\r\n`),
        'single',
        'h:1',
      );
    expect(check('7.0.0')).not.toThrow();
    expect(check('8.2.1')).not.toThrow();
    for (const version of ['6.2.14', '2.8.0', '']) {
      expect(check(version)).toThrow(expect.objectContaining({ code: 'REDIS_TOO_OLD' }));
    }
  });
});

it('only a policy that refuses writes passes without a warning', () => {
  expect(evictionWarning(parseInfo('maxmemory_policy:noeviction\r\n'))).toBeUndefined();
  expect(evictionWarning(parseInfo('maxmemory_policy:volatile-ttl\r\n'))).toContain('volatile-ttl');
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

  it.each(['http://a', 'redis://a,b', 'redis+sentinel://a', 'redis+cluster://a/1', 'redis://a:0', 'redis://u:%zz@h'])(
    'refuses %s',
    (url) => {
      expect(() => parseRedisUrl(url)).toThrow(expect.objectContaining({ code: 'BAD_REDIS_URL' }));
    },
  );

  // A password with a raw @ or / reads as part of the host or the path: what is refused must not be shown.
  it.each(['redis://u:se@cret@h:1', 'redis://u:se/cret@h:1', 'redis://u:secret@h:0', 'redis://u:secret@h:x', 'secret'])(
    'never shows a part of the login: %s',
    (url) => {
      const read = () => parseRedisUrl(url);
      expect(read).toThrow(expect.objectContaining({ code: 'BAD_REDIS_URL' }));
      try {
        read();
      } catch (error) {
        expect(`${(error as Error).message} ${JSON.stringify(error)}`).not.toMatch(/se.?cret|cret/);
      }
    },
  );
});
