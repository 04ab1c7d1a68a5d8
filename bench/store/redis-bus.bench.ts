/**
 * Question: how many pushes per second go from one node to another by pub/sub, and what do they cost each side?
 * Topology: ClusterPusher and RedisBus in this process -> redis-server of its own -> RedisBus, BusDispatcher, BusInlet and
 *   JobQueue in a child process, all on one machine. 100 rooms in turn, or one key whose session is found in memory.
 *   Bodies of 64 bytes and 1 KiB. The clock stops when the child has counted the last one; it checks the order per room.
 *   CPU is each process's own (user and system). Needs 3 cores to be free of waiting; with fewer the three share them.
 *   Competitors: `@socket.io/redis-adapter` between the same two processes (no sockets on either side), and ioredis alone, the same
 *   bytes published one by one by `publish` with its automatic pipelining.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../../src/id/index.js';
import { BusDispatcher, BusInlet, ClusterAdmin, ClusterPusher, JobQueue, PushIntake } from '../../src/job/index.js';
import type { ClusterSessions, CometPort, PushCommand, PushTarget, Session } from '../../src/push/index.js';
import { RedisBus } from '../../src/store/redis/redis-bus.js';
import { RedisLink } from '../../src/store/redis/redis-link.js';
import { memoryLog } from '../../src/telemetry/index.js';
import { startRedis } from '../../test/kit/redis-server.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';
import { openSocketIo } from './socketio-adapter.peer.js';

const RECEIVER_FLAG = '--halley-bus-receiver';
const ROOMS = Array.from({ length: 100 }, (_, index) => `live://room-${index}`);
const KEY = 'device-1';

/** What the child says when a round has arrived. */
interface RoundReport {
  readonly count: number;
  readonly outOfOrderCount: number;
  readonly cpuUs: number;
}

async function openBus(url: string, serverId: string): Promise<{ readonly bus: RedisBus; readonly link: RedisLink }> {
  const { logger } = memoryLog();
  const link = await RedisLink.open(
    { url, prefix: 'bench', tlsCaFile: '', connectTimeoutMs: 5_000, commandTimeoutMs: 10_000, clientName: serverId },
    logger,
  );
  const options = { serverId, roomLingerMs: 1_000, probeMs: 2_000, commandTimeoutMs: 10_000, messageMaxBytes: 65_536 };
  return { bus: new RedisBus(link, options, logger), link };
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The child: counts what comes; a message to `announce` says how many make a round. */
async function receive(url: string): Promise<void> {
  const { bus } = await openBus(url, 'b');
  const { logger: log } = memoryLog();
  let expectedCount = 0;
  let count = 0;
  let outOfOrderCount = 0;
  let startedUs = 0;
  const lastByRoom = new Map<string, number>();
  const tally = (name: string, body: Uint8Array): void => {
    const serial = (body[0] ?? 0) * 2 ** 24 + (body[1] ?? 0) * 2 ** 16 + (body[2] ?? 0) * 256 + (body[3] ?? 0);
    if (serial <= (lastByRoom.get(name) ?? -1)) outOfOrderCount += 1;
    lastByRoom.set(name, serial);
    count += 1;
    if (count === expectedCount) {
      process.send?.({ count, outOfOrderCount, cpuUs: cpuUs() - startedUs } satisfies RoundReport);
    }
  };
  const comet = {
    deliver: ({ target, body }: PushCommand) => {
      const name = target.kind === 'rooms' ? (target.rooms[0] ?? '') : target.kind;
      tally(name, body);
      return 'ok' as const;
    },
    tellGap: () => 'ok' as const,
    disconnect: () => 0,
    joinRooms: () => 0,
    leaveRooms: () => 0,
  } satisfies Partial<CometPort>;
  const queue = new JobQueue(comet, { maxCount: 65_536, maxBytes: 2 ** 26, messageMaxBytes: 65_536 });
  const inlet = new BusInlet({ maxCount: 65_536, maxBytes: 2 ** 26 }, { queue, comet, log });
  const sessions = { byKeys: async () => [], byMids: async () => [] };
  const dispatcher = new BusDispatcher({
    bus,
    inlet,
    intake: new PushIntake(65_536, { inlet, errors: { report: () => {} }, liveNodeCount: () => 1 }),
    admin: new ClusterAdmin({ bus, sessions, comet, deadlineMs: 1_000 }),
    comet,
    closeConnection: () => {},
    onHistory: () => {},
    onRoomsMissed: () => {},
    log,
  });
  await bus.start(dispatcher);
  await Promise.all(ROOMS.map((room) => bus.link(room)));
  await openSocketIo(url, ROOMS, tally);
  process.on('message', (announced: number) => {
    expectedCount = announced;
    count = 0;
    outOfOrderCount = 0;
    lastByRoom.clear();
    startedUs = cpuUs();
    process.send?.('announced');
  });
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
}

const SESSION: Session = {
  key: KEY,
  mid: 1,
  serverId: 'b',
  nodeEpoch: 1,
  bucket: 1,
  connId: 1,
  platform: '',
  remoteIp: '',
  sinceMs: 0,
};

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const server = await startRedis();
  const child = fork(fileURLToPath(import.meta.url), [RECEIVER_FLAG, server.url]);
  await once(child, 'message');
  const { bus, link } = await openBus(server.url, 'a');
  const idMemory = allocateSnowflake({ epochMs: 1_700_000_000_000, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(idMemory, Number.POSITIVE_INFINITY);
  const sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'> = {
    byKeys: async (keys) => keys.map((key) => (key === KEY ? SESSION : undefined)),
    byMids: async () => [],
  };
  const pusher = new ClusterPusher(
    { maxCount: 8_192, maxBytes: 2 ** 26, messageMaxBytes: 65_536 },
    { bus, sessions, ids: new Snowflake(idMemory, 0), liveNodeCount: () => 1, log: memoryLog().logger },
  );
  const messageCount = quick ? 5_000 : 100_000;
  const rounds = quick ? 1 : 5;

  const bodyOf = (serial: number, bodyBytes: number): Uint8Array => {
    const body = new Uint8Array(bodyBytes);
    new DataView(body.buffer).setUint32(0, serial);
    return body;
  };
  const sendAll = async (targetOf: (serial: number) => PushTarget, bodyBytes: number): Promise<void> => {
    for (let serial = 0; serial < messageCount; ) {
      const outcome = pusher.push({ target: targetOf(serial), op: 1_000, body: bodyOf(serial, bodyBytes) });
      if (outcome === 'ok') serial += 1;
      // Full is what a bound looks like: the answers of Redis make room.
      else await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const measure = async (name: string, send: () => Promise<void>, isCounted = true): Promise<BenchRow> => {
    const nsPerOps: number[] = [];
    let ownUs = 0;
    let otherUs = 0;
    // One more to warm up.
    for (let round = -1; round < rounds; round++) {
      child.send(isCounted ? messageCount : -1);
      await once(child, 'message');
      const reported = isCounted ? once(child, 'message') : undefined;
      const startedUs = cpuUs();
      const startedNs = process.hrtime.bigint();
      await send();
      const [report] = ((await reported) ?? [undefined]) as [RoundReport | undefined];
      const ns = Number(process.hrtime.bigint() - startedNs);
      if (report !== undefined) {
        assertResult(report.count === messageCount, `${name}: arrived=${report.count} of ${messageCount}`);
        assertResult(report.outOfOrderCount === 0, `${name}: outOfOrder=${report.outOfOrderCount}`);
      }
      if (round < 0) continue;
      nsPerOps.push(ns / messageCount);
      ownUs += cpuUs() - startedUs;
      otherUs += report?.cpuUs ?? 0;
    }
    const nsPerOp = nsPerOps.sort((a, b) => a - b)[nsPerOps.length >>> 1] ?? 0;
    const perOp = (us: number) => (us / rounds / messageCount).toFixed(1);
    const receiver = isCounted ? `, receiver ${perOp(otherUs)} us` : '';
    return { name, nsPerOp, opsPerSec: 1e9 / nsPerOp, note: `CPU per message: sender ${perOp(ownUs)} us${receiver}` };
  };

  const toRoom = (serial: number): PushTarget => ({ kind: 'rooms', rooms: [ROOMS[serial % ROOMS.length] ?? ''] });
  const rows: BenchRow[] = [];
  for (const bodyBytes of [64, 1_024]) {
    rows.push(await measure(`rooms, ${bodyBytes} B`, () => sendAll(toRoom, bodyBytes)));
  }
  rows.push(await measure('a key, 64 B', () => sendAll(() => ({ kind: 'keys', keys: [KEY] }), 64)));
  const socketIo = await openSocketIo(server.url, ROOMS, undefined);
  for (const bodyBytes of [64, 1_024]) {
    rows.push(
      await measure(`@socket.io/redis-adapter, rooms, ${bodyBytes} B`, async () => {
        for (let serial = 0; serial < messageCount; serial++) {
          socketIo.emit(ROOMS[serial % ROOMS.length] ?? '', bodyOf(serial, bodyBytes));
          if (serial % 8_192 === 8_191) await socketIo.flushed();
        }
      }),
    );
  }
  socketIo.close();
  const bare = Buffer.alloc(128);
  rows.push(
    await measure(
      'ioredis alone, 128 B, nobody subscribed',
      async () => {
        let sent: Promise<unknown>[] = [];
        for (let serial = 0; serial < messageCount; serial++) {
          sent.push(link.commands.publish('bench:nobody', bare));
          if (sent.length < 8_192) continue;
          await Promise.all(sent);
          sent = [];
        }
        await Promise.all(sent);
      },
      false,
    ),
  );
  assertResult(pusher.gauges().lostCount === 0, `lost=${pusher.gauges().lostCount}`);
  child.kill();
  link.close();
  await server.remove();
  return {
    title: 'The bus: pushes from node to node over Redis',
    topology: '2 processes and a redis-server on one machine; 100 rooms; at most 8,192 pushes without an answer',
    rows,
  };
}

const flagIndex = process.argv.indexOf(RECEIVER_FLAG);
if (flagIndex > 0) await receive(process.argv[flagIndex + 1] ?? '');
