/**
 * Question: how many durable pushes per second go through Redis Streams from append to the comet's pusher, and what does an append
 *   alone take until Redis has acknowledged?
 * Topology: producer, job and inbox reader in this process on one link, one redis-server of its own without a file, one
 *   shard, one comet, room pushes of 64 bytes. `window` pushes are under way. Needs 2 cores: Redis has one. The sessions and the
 *   directory are doubles in memory, rooms are looked up in Redis.
 * Competitor: bare ioredis XADD with auto-pipelining, the same window, which promises nothing about delivery.
 */

import { startRedis } from '../../test/kit/redis-server.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

declare const HALLEY_ROOT: string;

type QueueCluster = typeof import('../../src/job/fixtures/queue-cluster.js');
type Store = typeof import('../../src/store/redis/index.js');

const BODY = Buffer.alloc(64, 'x');
const WINDOW_COUNT = 2000;
const ROOM_COUNT = 100;

function rowOf(name: string, count: number, startedNs: bigint, latenciesNs: number[], note: string): BenchRow {
  const totalNs = Number(process.hrtime.bigint() - startedNs);
  const sorted = latenciesNs.toSorted((a, b) => a - b);
  const at = (ratio: number) => sorted[Math.floor(sorted.length * ratio)] as number;
  const row = { name, nsPerOp: totalNs / count, opsPerSec: (count * 1e9) / totalNs, note };
  return sorted.length === 0 ? row : { ...row, p50Ns: at(0.5), p99Ns: at(0.99) };
}

/** Keep `windowCount` calls under way until `count` have settled. */
async function drive(count: number, windowCount: number, call: (index: number) => Promise<void>): Promise<number[]> {
  const latenciesNs: number[] = [];
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next++;
      const startedMs = performance.now();
      await call(index);
      latenciesNs.push((performance.now() - startedMs) * 1e6);
    }
  };
  await Promise.all(Array.from({ length: windowCount }, lane));
  return latenciesNs;
}

async function eventually(condition: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 60_000;
  while (!condition()) {
    assertResult(Date.now() < deadlineMs, 'the pushes arrive within a minute');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const count = quick ? 5000 : 100_000;
  // From dist/: the Lua of the adapters stands beside them there.
  const { MapDirectory, newJob, newReader, openLink, openQueue, TakingPusher }: QueueCluster = await import(
    new URL('dist/job/fixtures/queue-cluster.js', HALLEY_ROOT).href
  );
  const { RedisRoomNodes }: Store = await import(new URL('dist/store/redis/index.js', HALLEY_ROOT).href);
  const redis = await startRedis();
  const link = await openLink(redis.url, 'bench');
  const rows: BenchRow[] = [];
  try {
    const bareStartedNs = process.hrtime.bigint();
    const bare = await drive(count, WINDOW_COUNT, async () => {
      await link.commands.xadd('bare', '*', 'body', BODY);
    });
    rows.push(rowOf('ioredis XADD, acknowledged', count, bareStartedNs, bare, 'peer: no routing, no delivery'));
    assertResult((await link.commands.xlen('bare')) === count, 'every XADD is in the stream');
    await link.commands.del('bare');

    const comet = new MapDirectory('comet');
    const roomNodes = new RedisRoomNodes(link, comet);
    for (let room = 0; room < ROOM_COUNT; room++) await roomNodes.add(`live://${room}`);
    const queue = await openQueue(link);
    const append = async (index: number) => {
      const rooms = [`live://${index % ROOM_COUNT}`];
      const [outcome] = await queue.append([{ target: { kind: 'rooms', rooms }, op: 1000, body: BODY }]);
      assertResult(outcome === 'ok', 'every append is acknowledged');
    };
    const appendStartedNs = process.hrtime.bigint();
    const alone = await drive(count, WINDOW_COUNT, append);
    rows.push(rowOf('append, acknowledged, nobody drains', count, appendStartedNs, alone, ''));

    const pusher = new TakingPusher();
    const reader = newReader(link, comet, pusher);
    await reader.start();
    const directory = new MapDirectory('job').add('job', ['job']).add('comet', ['comet']);
    const job = newJob(link, directory, { leaseMs: 10_000 });
    const drainStartedNs = process.hrtime.bigint();
    job.start();
    await eventually(() => pusher.taken.length === count);
    rows.push(rowOf('drain of a backlog to the pusher', count, drainStartedNs, [], ''));

    pusher.taken.length = 0;
    const wholeStartedNs = process.hrtime.bigint();
    const whole = await drive(count, WINDOW_COUNT, append);
    await eventually(() => pusher.taken.length === count);
    rows.push(rowOf('append to pusher, both at once', count, wholeStartedNs, whole, 'percentiles: until acknowledged'));

    pusher.taken.length = 0;
    const singleCount = quick ? 200 : 2000;
    const singleStartedNs = process.hrtime.bigint();
    const single = await drive(singleCount, 1, async (index) => {
      await append(index);
      while (pusher.taken.length <= index) await new Promise((resolve) => setImmediate(resolve));
    });
    rows.push(rowOf('one at a time, append to pusher', singleCount, singleStartedNs, single, 'percentiles: delivered'));
    assertResult(reader.gauges().repeatedCount === 0 && job.gauges().buriedCount === 0, 'nothing repeated or buried');
    await job.stop();
    await reader.stop();
    queue.close();
  } finally {
    link.close();
    await redis.remove();
  }
  return {
    title: 'durable queue on Redis Streams',
    topology: `1 redis-server, 1 shard, 1 job, 1 comet, ${BODY.length} B to ${ROOM_COUNT} rooms, ${WINDOW_COUNT} under way, ${count} pushes`,
    rows,
  };
}
