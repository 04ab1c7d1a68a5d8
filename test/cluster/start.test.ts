/** A Redis that will not do ends the program: exit code 1, one clear sentence, soon. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, freePort, type RedisServer, runHalley, startRedis } from '../kit/index.js';

/** Deadlines of a connection and a command, and the start of a process on a loaded machine. */
const SOON_MS = 15_000;
const PASSWORD = 'open-sesame-but-secret';
let dataDir: string;
let redis: RedisServer;
let locked: RedisServer;
let replica: RedisServer;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'halley-start-'));
  redis = await startRedis();
  locked = await startRedis({ args: ['--requirepass', PASSWORD] });
  replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(redis.port)] });
  const admin = new Redis(redis.port, '127.0.0.1', { protocol: 2 });
  await admin.call(
    'ACL',
    'SETUSER',
    'small',
    'on',
    '>small-pass',
    '~halley:*',
    '&halley:*',
    '+@all',
    '-xadd',
    '-publish',
  );
  admin.disconnect();
  const probe = new Redis(replica.port, '127.0.0.1', { protocol: 2 });
  await eventually(
    async () => (await probe.info('replication')).includes('master_link_status:up'),
    10_000,
    'a replica in sync',
  );
  probe.disconnect();
});
afterAll(async () => {
  await Promise.all([redis, locked, replica].map((server) => server.remove()));
  await rm(dataDir, { recursive: true, force: true });
});

/** Ends with 1, in time, says `sentence` in one line, and nothing of a stack or of `secret`. */
async function refuses(url: string, sentence: RegExp, env: Record<string, string> = {}): Promise<void> {
  const startedMs = performance.now();
  const { code, stdout, stderr } = await runHalley(
    ['--redis', url, '--ws-port', '0', '--tcp-port', '0', '--http-port', '0', '--buckets', '1', '--data-dir', dataDir],
    { HALLEY_LOG_LEVEL: 'warn', ...env },
  );
  const said = stderr + stdout;
  expect(said).toMatch(sentence);
  expect(code).toBe(1);
  expect(performance.now() - startedMs).toBeLessThan(SOON_MS);
  // The sentence, and what caused it; never a stack.
  expect(said).not.toMatch(/^\s+at /m);
  expect(stderr.trim().split('\n').length, stderr).toBeLessThanOrEqual(2);
  for (const secret of [PASSWORD, 'wrong-pass', 'small-pass']) expect(said).not.toContain(secret);
}

it('names a URL that is none', async () => {
  await refuses('http://127.0.0.1:6379', /halley: .*redis.*\[/);
  await refuses('redis:/nowhere', /halley: .*redis.*\[/);
});

it('names a server that does not answer', async () => {
  await refuses(`redis://127.0.0.1:${await freePort()}`, /Redis does not answer .*ECONNREFUSED.*\[REDIS_UNREACHABLE\]/);
});

it('names a host that nobody knows', async () => {
  await refuses('redis://no-such-host.invalid:6379', /Redis does not answer .*\[REDIS_UNREACHABLE\]/);
});

it('names a missing and a wrong password, and shows neither', async () => {
  const { port } = locked;
  await refuses(`redis://127.0.0.1:${port}`, /Redis asks for a password .*\[REDIS_WRONG_LOGIN\]/);
  await refuses(`redis://:wrong-pass@127.0.0.1:${port}`, /Redis refuses user name or password .*\[REDIS_WRONG_LOGIN\]/);
  await refuses(`redis://127.0.0.1:${port}`, /Redis refuses user name or password/, {
    HALLEY_CLUSTER_REDIS_PASSWORD: 'wrong-pass',
  });
});

it('names a read-only replica and its master', async () => {
  await refuses(
    `redis://127.0.0.1:${replica.port}`,
    new RegExp(`read-only replica.*${redis.port}.*\\[REDIS_READ_ONLY\\]`),
  );
});

it('names the commands that the user of Redis may not run', async () => {
  await refuses(
    `redis://small:small-pass@127.0.0.1:${redis.port}`,
    /missing=.*(xadd|publish).*\[REDIS_NO_PERMISSION\]/,
  );
});

it('names rights to keys that are too small', async () => {
  await refuses(`redis://small:small-pass@127.0.0.1:${redis.port}`, /\[REDIS_NO_PERMISSION\]/, {
    HALLEY_CLUSTER_PREFIX: 'other',
  });
});

it('says that a server is, or is not, part of a Redis Cluster', async () => {
  await refuses(`redis+cluster://127.0.0.1:${redis.port}`, /not part of a Redis Cluster.*\[REDIS_NOT_CLUSTER\]/);
});
