import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../test/kit/index.js';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../id/index.js';
import type { ClusterSessions, CometPort, GapScope, PushCommand, Session } from '../push/index.js';
import { RedisBus, RedisBusErrors, RedisLink } from '../store/redis/index.js';
import { memoryLog } from '../telemetry/index.js';
import { BusDispatcher } from './bus-dispatcher.js';
import { BusInlet } from './bus-inlet.js';
import { ClusterAdmin } from './cluster-admin.js';
import { ClusterPusher } from './cluster-pusher.js';
import { JobQueue } from './job-queue.js';
import { PushIntake } from './push-intake.js';

const LIMITS = { maxCount: 10_000, maxBytes: 10_000_000, messageMaxBytes: 10_000 };
const COMMAND_TIMEOUT_MS = 500;
let server: RedisServer;
let serial = 0;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startRedis();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => server.remove());

/** Everything of one node but its buckets: what would go to them is kept. */
async function startNode(serverId: string, sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'>, url = server.url) {
  const { logger: log } = memoryLog();
  const link = await RedisLink.open(
    {
      url,
      prefix: `p${serial}`,
      tlsCaFile: '',
      connectTimeoutMs: 1_000,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      clientName: serverId,
    },
    log,
  );
  const options = {
    serverId,
    roomLingerMs: 0,
    probeMs: 200,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    messageMaxBytes: 10_000,
  };
  const bus = new RedisBus(link, options, log);
  const delivered: string[] = [];
  const ids: string[] = [];
  const gaps: GapScope[] = [];
  const calls: string[] = [];
  const count = (name: string) => (channels: { readonly keys: readonly string[] }) => {
    calls.push(`${name} ${channels.keys.join()}`);
    return channels.keys.length;
  };
  const comet = {
    deliver: ({ target, body, messageId }: PushCommand) => {
      const names = target.kind === 'rooms' ? target.rooms : target.kind === 'keys' ? target.keys : [];
      delivered.push(`${target.kind} ${names.join()} ${Buffer.from(body)}`);
      ids.push(Buffer.from(messageId ?? []).toString('hex'));
      return 'ok' as const;
    },
    tellGap: (scope: GapScope) => {
      gaps.push(scope);
      return 'ok' as const;
    },
    disconnect: count('disconnect'),
    joinRooms: count('join'),
    leaveRooms: count('leave'),
  } satisfies Partial<CometPort>;
  const queue = new JobQueue(comet, LIMITS);
  const inlet = new BusInlet(LIMITS, { queue, comet, log });
  const admin = new ClusterAdmin({ bus, sessions, comet, deadlineMs: 2_000 });
  const dispatcher = new BusDispatcher({
    bus,
    inlet,
    intake: new PushIntake(10_000, { inlet, errors: new RedisBusErrors(link, log), liveNodeCount: () => 2 }),
    admin,
    comet,
    closeConnection: (owner) => void calls.push(`close ${owner.key}`),
    onHistory: () => {},
    onRoomsMissed: () => {},
    log,
  });
  const memory = allocateSnowflake({ epochMs: 1_700_000_000_000, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(memory, Number.POSITIVE_INFINITY);
  const pusher = new ClusterPusher(LIMITS, {
    bus,
    sessions,
    ids: new Snowflake(memory, 0),
    liveNodeCount: () => 2,
    log,
  });
  cleanups.push(() => {
    pusher.close();
    inlet.close();
    queue.close();
    bus.close();
    link.close();
  });
  await bus.start(dispatcher);
  return { bus, link, pusher, admin, delivered, ids, gaps, calls };
}

function sessionsOf(...entries: readonly (readonly [key: string, serverId: string])[]) {
  const all = entries.map(
    ([key, serverId], index): Session => ({
      key,
      mid: index + 1,
      serverId,
      nodeEpoch: 1,
      bucket: 1,
      connId: 1,
      platform: '',
      remoteIp: '',
      sinceMs: 0,
    }),
  );
  return {
    byKeys: async (keys: readonly string[]) => keys.map((key) => all.find((one) => one.key === key)),
    byMids: async (mids: readonly number[]) => all.filter(({ mid }) => mids.includes(mid)),
  };
}

const command = (target: PushCommand['target'], text: string): PushCommand => ({
  target,
  op: 1_000,
  body: Buffer.from(text),
});

describe('pushes over a real Redis', () => {
  it('reach the nodes concerned in the order of the calls, with the same id everywhere', async () => {
    serial += 1;
    const sessions = sessionsOf(['ka', 'a'], ['kb', 'b']);
    const a = await startNode('a', sessions);
    const b = await startNode('b', sessions);
    await Promise.all([a.bus.link('r'), b.bus.link('r')]);
    const expected: string[] = [];
    for (let index = 0; index < 500; index++) {
      a.pusher.push(command({ kind: 'rooms', rooms: ['r'] }, `${index}`));
      a.pusher.push(command({ kind: 'keys', keys: ['kb', 'nobody'] }, `${index}`));
      a.pusher.push(command({ kind: 'all', speedPerSec: 0 }, `${index}`));
      expected.push(`rooms r ${index}`, `keys kb ${index}`, `all  ${index}`);
    }
    expect(await a.pusher.drain(10_000)).toBe(true);
    await eventually(() => b.delivered.length === 1_500 && a.delivered.length === 1_000);
    expect(b.delivered).toEqual(expected);
    expect(a.delivered).toEqual(expected.filter((text) => !text.startsWith('keys')));
    expect(a.ids).toEqual(b.ids.filter((_, index) => index % 3 !== 1));
    expect(new Set(b.ids).size).toBe(1_500);
    expect([a.gaps, b.gaps, a.pusher.gauges().lostCount]).toEqual([[], [], 0]);
  });

  it('are refused as full while Redis is away, and go on when it is back, with Gaps for what may be missed', async () => {
    serial += 1;
    const own = await startRedis();
    cleanups.push(() => own.remove());
    const sessions = sessionsOf(['kb', 'b']);
    const a = await startNode('a', sessions, own.url);
    const b = await startNode('b', sessions, own.url);
    await b.bus.link('r');
    await own.stop('SIGKILL');
    const room = { kind: 'rooms', rooms: ['r'] } as const;
    await eventually(() => a.pusher.push(command(room, 'x')) === 'full');
    const again = await startRedis({ port: own.port, dir: own.dir });
    cleanups.push(() => again.remove());
    await eventually(() => a.pusher.push(command(room, 'back')) === 'ok' && b.delivered.includes('rooms r back'));
    expect(b.gaps).toEqual(expect.arrayContaining([{ kind: 'direct' }, { kind: 'all' }, { kind: 'room', room: 'r' }]));
    expect(await a.pusher.drain(5_000)).toBe(true);
  });

  it('that any producer publishes are delivered by every node to its own channels', async () => {
    serial += 1;
    const a = await startNode('a', sessionsOf());
    const b = await startNode('b', sessionsOf());
    const channel = a.link.keys.pushChannel();
    await a.link.commands.publish(channel, '{"keys":["k"],"op":5,"body":"hi"}');
    await a.link.commands.publish(channel, '{"rooms":["r"],"op":5,"body":"hi"}');
    await eventually(() => a.delivered.length === 2 && b.delivered.length === 2);
    expect(b.delivered).toEqual(['keys k hi', 'rooms r hi']);
  });

  it('and administrative calls find channels of other nodes', async () => {
    serial += 1;
    const sessions = sessionsOf(['ka', 'a'], ['kb', 'b']);
    const a = await startNode('a', sessions);
    const b = await startNode('b', sessions);
    const advice = { code: 3501, reason: 'bye', reconnect: false, retryAfterMs: 0 };
    expect(await a.admin.disconnect({ keys: ['kb'], mids: [] }, advice)).toBe(2);
    expect(await a.admin.joinRooms({ keys: ['kb'], mids: [] }, ['r'])).toBe(2);
    expect([a.calls, b.calls]).toEqual([
      ['disconnect kb', 'join kb'],
      ['disconnect kb', 'join kb'],
    ]);
  });
});
