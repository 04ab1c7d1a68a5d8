/**
 * `halley cluster local` with real nodes and a real redis-server: what is pushed at one node arrives at the clients of all, and
 * no process is left, however it ends.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ClusterNode,
  eventually,
  type HalleyCluster,
  type HalleyClusterOptions,
  runHalley,
  startHalleyCluster,
  startRedis,
  WireClient,
} from '../kit/index.js';

const running: HalleyCluster[] = [];
const clients: WireClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  for (const cluster of running.splice(0)) await cluster.stop();
});

async function start(options: HalleyClusterOptions = {}): Promise<HalleyCluster> {
  const cluster = await startHalleyCluster({ ...options, args: ['--nodes', '2', ...(options.args ?? [])] });
  running.push(cluster);
  return cluster;
}

async function connect({ wsUrl }: ClusterNode, key: string, mid: number): Promise<WireClient> {
  const client = await WireClient.connect(wsUrl, { key, mid, roomId: 'live://1', platform: 'web', accepts: [1000] });
  clients.push(client);
  return client;
}

function nodesOf({ nodes }: HalleyCluster): readonly [ClusterNode, ClusterNode] {
  const [first, second] = nodes;
  if (first === undefined || second === undefined || nodes.length !== 2) throw new Error(`nodes=${nodes.length}`);
  return [first, second];
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function expectNobodyLeft({ nodes, redisPid, pid }: HalleyCluster): Promise<void> {
  const pids = [pid, ...nodes.map((node) => node.pid), ...(redisPid === 0 ? [] : [redisPid])];
  await eventually(() => !pids.some(isAlive), 5_000, `the end of ${pids.filter(isAlive)}`);
}

async function halley(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHalley(args);
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

describe('halley cluster local', () => {
  it('is one cluster: what is asked of one node concerns the clients of both', async () => {
    const cluster = await start();
    const [first, second] = nodesOf(cluster);
    const here = await connect(first, 'phone', 7);
    const there = await connect(second, 'laptop', 7);
    const api = ['--url', first.httpUrl];

    expect(await halley('push', '--room', 'live://1', '--op', '1000', '{"a":1}', ...api)).toContain('pushed to');
    for (const client of [here, there]) {
      expect((await client.messageCount(1)).map(({ op, text }) => [op, text])).toEqual([[1000, '{"a":1}']]);
    }
    for (const target of [['--mid', '7'], ['--all'], ['--key', 'phone', '--key', 'laptop']]) {
      await halley('push', ...target, '--op', '1000', `by ${target[0]}`, ...api);
    }
    for (const attempt of ['first', 'again']) {
      await halley('push', '--room', 'live://1', '--op', '1000', '--durable', '--id', 'once', attempt, ...api);
    }
    await halley('push', '--room', 'live://1', '--op', '1000', '--durable', 'last', ...api);
    for (const client of [here, there]) {
      const texts = (await client.messageCount(6)).map(({ text }) => text);
      expect(texts.toSorted()).toEqual(['{"a":1}', 'by --mid', 'by --all', 'by --key', 'first', 'last'].toSorted());
    }

    const sessions = JSON.parse(await halley('sessions', '7', '--json', ...api)) as {
      key: string;
      server_id: string;
    }[];
    expect(sessions.map(({ key, server_id }) => `${key} ${server_id}`).toSorted()).toEqual([
      'laptop local-2',
      'phone local-1',
    ]);
    const nodes = await halley('nodes', ...api);
    expect(nodes).toMatch(new RegExp(`^local-1 +${first.wsUrl} .* no$`, 'm'));
    expect(nodes).toMatch(new RegExp(`^local-2 +${second.wsUrl} .* no$`, 'm'));
    await eventually(async () => /total: connections=2/.test(await halley('online', ...api)), 10_000, 'both counted');

    expect(await halley('kick', 'laptop', '--reason', 'maintenance', ...api)).toBe('closed: channels=1\n');
    expect(await there.closing()).toEqual({ code: 3501, reason: 'maintenance' });
    expect(here.closed).toBeUndefined();

    expect(await cluster.stop()).toBe(0);
    await expectNobodyLeft(cluster);
  });

  it('is ready at its first start without a wait for leases that nobody can hold; where there was a cluster before, it waits', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'halley-first-'));
    const env = { HALLEY_ID_LEASE_MS: '2000' };
    const first = await start({ dataDir, env });
    expect(first.output()).not.toContain('waiting');
    expect(await first.stop()).toBe(0);
    await rm(join(dataDir, 'redis'), { recursive: true });
    const again = await start({ dataDir, env });
    expect(again.output()).toMatch(/waiting \d\.\d s: Redis is new or lost its data/);
    expect(await again.stop()).toBe(0);
    await rm(dataDir, { recursive: true });
  });

  it('says where the nodes are and what to try, and names the node in front of every line of its log', async () => {
    const cluster = await start({ args: ['--buckets', '1'] });
    const output = cluster.output();
    for (const { serverId, httpUrl } of nodesOf(cluster)) {
      expect(output).toContain(`${serverId} | halley is ready`);
      expect(output).toMatch(new RegExp(`^${serverId} \\| \\{"level":.*"msg":"Redis answers"\\}$`, 'm'));
      expect(output).toContain(`${httpUrl}\n`);
    }
    const line = /^try: halley (push .*)$/m.exec(output)?.[1] ?? '';
    expect(line).toContain(nodesOf(cluster)[0].httpUrl);
    const words = line.split(' ').map((word) => word.replace(/^'(.*)'$/, '$1'));
    expect(await halley(...words)).toContain('pushed to room live://1');
  });

  it.each(['SIGTERM', 'SIGHUP'] as const)('ends the nodes before their Redis on %s', async (signal) => {
    const cluster = await start();
    expect(await cluster.stop(signal)).toBe(0);
    const output = cluster.output();
    for (const { serverId } of cluster.nodes) expect(output).toContain(`${serverId} | halley has stopped`);
    expect(output).toMatch(/halley cluster has stopped\n$/);
    // A node whose Redis goes first says that it is away.
    expect(output).not.toMatch(/"level":"(?:warn|error|fatal)"/);
    await expectNobodyLeft(cluster);
  });

  it.each([
    ['a node', (cluster: HalleyCluster) => nodesOf(cluster)[1].pid, 'local-2 ended: signal SIGKILL'],
    ['Redis', (cluster: HalleyCluster) => cluster.redisPid, 'redis-server ended: signal SIGKILL'],
  ])('says so when %s dies, stops the others and ends with 1', async (_, pidOf, sentence) => {
    const cluster = await start();
    process.kill(pidOf(cluster), 'SIGKILL');
    expect(await cluster.exited).toBe(1);
    expect(cluster.output()).toContain(`halley cluster: ${sentence}`);
    expect(cluster.output()).toContain('stopping the others');
    expect(cluster.output()).toContain('local-1 | halley has stopped');
    await expectNobodyLeft(cluster);
  });

  it('ends everything at once at the second signal', async () => {
    const cluster = await start({ env: { HALLEY_SHUTDOWN_TIMEOUT_MS: '60000', HALLEY_SHUTDOWN_DRAIN_MS: '30000' } });
    await connect(nodesOf(cluster)[0], 'phone', 7);
    process.kill(cluster.pid, 'SIGINT');
    await eventually(() => cluster.output().includes('local-1 | halley is stopping'), 5_000, 'the first signal');
    expect(await cluster.stop('SIGINT')).toBe(1);
    expect(cluster.output()).toContain('local-1 did not stop in order: signal SIGKILL');
    await expectNobodyLeft(cluster);
  });
});

describe('halley cluster local --redis', () => {
  it('starts no Redis, leaves the given one alone, and says 503 while it is away', async () => {
    const redis = await startRedis();
    const cluster = await start({ args: ['--redis', redis.url] });
    const [first] = nodesOf(cluster);
    expect(cluster.redisPid).toBe(0);
    await connect(first, 'phone', 7);
    expect(await halley('sessions', '7', '--url', first.httpUrl)).toMatch(/^phone +7 +local-1 /m);
    process.kill(redis.pid, 'SIGSTOP');
    const away = await runHalley(['sessions', '7', '--url', first.httpUrl]);
    expect([away.code, away.stdout]).toEqual([1, '']);
    expect(away.stderr).toMatch(/\[REDIS_AWAY\] \(try again in 1 s\): .*code=-503/);
    process.kill(redis.pid, 'SIGCONT');
    await eventually(
      async () => (await runHalley(['sessions', '7', '--url', first.httpUrl])).code === 0,
      15_000,
      'Redis',
    );
    expect(await cluster.stop()).toBe(0);
    expect(isAlive(redis.pid)).toBe(true);
    await redis.remove();
  });
});

describe('a cluster that cannot start', () => {
  it('without redis-server in PATH names the package and the other way', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'halley-no-redis-'));
    const { code, stderr } = await runHalley(['cluster', 'local', '--data-dir', dataDir], { PATH: dataDir });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^halley cluster: redis-server was not found in PATH: .*apt-get install redis-server.*--redis/,
    );
    expect(stderr).not.toContain('local-1');
    await rm(dataDir, { recursive: true });
  });

  it('on files that another Redis has is refused, and that one goes on', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'halley-two-'));
    const cluster = await start({ dataDir });
    const { code, stderr } = await runHalley(['cluster', 'local', '--data-dir', dataDir]);
    expect(code).toBe(1);
    expect(stderr).toContain(`a redis-server runs on this directory already`);
    expect(stderr).toContain(`pid=${cluster.redisPid}`);
    expect(isAlive(cluster.redisPid)).toBe(true);
    expect(await cluster.stop()).toBe(0);
    expect(existsSync(join(dataDir, 'redis', 'redis.pid'))).toBe(false);
    // What Redis kept is there for the next start: the same leases of ids, so nobody waits for them to pass.
    const again = await start({ dataDir });
    expect(again.output()).not.toContain('Redis is new or lost its data');
    expect(await again.stop()).toBe(0);
    await rm(dataDir, { recursive: true });
  });

  it('because a node cannot tells what the node said, and leaves nothing', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'halley-taken-'));
    const first = await start();
    const port = new URL(nodesOf(first)[0].wsUrl).port;
    const args = ['cluster', 'local', '--nodes', '1', '--ws-port', port, '--http-port', '0', '--data-dir', dataDir];
    const { code, stderr } = await runHalley(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^local-1 \| halley: another process listens here, choose another port: option="ws_port"/m);
    expect(stderr).toContain('halley cluster: local-1 ended: exit code 1');
    expect(existsSync(join(dataDir, 'redis', 'redis.pid'))).toBe(false);
    await rm(dataDir, { recursive: true });
  });

  it.each([
    [[], 'there is one kind: halley cluster local'],
    [['lokal'], 'given="lokal"'],
    [['local', '--nodes', '0'], '--nodes must be an integer of 1 to 32: nodes="0"'],
    [['local', '--nodes', '3', '--ws-port', '65530'], 'the last port must be at most 65535: last=65550'],
    [['local', '--ws-port', '3101', '--http-port', '3111'], 'must not meet in steps of 10: port=3111'],
    [['local', '--node', '3'], "Unknown option '--node'"],
    [['local', '--nodes', '1', '--nodes', '2'], 'the flag is given twice: flag="--nodes"'],
  ])('for a command line such as %j is told before anything starts', async (args, sentence) => {
    const { code, stdout, stderr } = await runHalley(['cluster', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(sentence);
  });

  it('for a bad HALLEY_* is told once', async () => {
    const { code, stderr } = await runHalley(['cluster', 'local'], { HALLEY_SLOW_CLOSE_AFTER_MS: 'soon' });
    expect(code).toBe(2);
    expect(stderr.match(/slow\.close_after_ms must be/g)?.length).toBe(1);
  });
});
