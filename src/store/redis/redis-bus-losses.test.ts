import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type RedisServer, startRedis } from '../../../test/kit/index.js';
import type { BusListener } from '../../push/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { RedisBus } from './redis-bus.js';
import { BusLosses, LOSS } from './redis-bus-losses.js';
import { RedisLink } from './redis-link.js';

const cleanups: (() => unknown)[] = [];
let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});
afterAll(async () => {
  await server.remove();
});

async function startNode(serverId: string, prefix: string) {
  const heard: string[] = [];
  const { logger } = memoryLog();
  const link = await RedisLink.open(
    { url: server.url, prefix, tlsCaFile: '', connectTimeoutMs: 2_000, commandTimeoutMs: 300, clientName: serverId },
    logger,
  );
  // No probe while the test runs: what tells the loss is not that the subscriptions were restored.
  const options = { serverId, roomLingerMs: 0, probeMs: 60_000, commandTimeoutMs: 300, messageMaxBytes: 1_000 };
  const bus = new RedisBus(link, options, logger);
  cleanups.push(() => {
    bus.close();
    link.close();
  });
  await bus.start({
    onRoom: (room, { body }) => void heard.push(`${room} ${Buffer.from(body)}`),
    onMissed: (scope) => void heard.push(`missed ${scope.kind === 'room' ? scope.room : scope.kind}`),
    onHistory: () => {},
    onAll: ({ body }) => void heard.push(`all ${Buffer.from(body)}`),
    onNode: ({ kind }) => void heard.push(kind),
    onPush: () => {},
    onRoomsMissed: () => {},
  } satisfies BusListener);
  return { bus, link, heard };
}

const payload = (text: string) => ({ op: 1, body: Buffer.from(text), messageId: new Uint8Array(8) });

describe('what a node could not publish', () => {
  it('is told to whom it was for when a frozen Redis answers again, though no message follows and no subscription broke', async () => {
    const [a, b] = await Promise.all([startNode('a', 'frozen'), startNode('b', 'frozen')]);
    await b.bus.link('live://1');
    await b.bus.link('live://2');
    await a.bus.publishRoom('live://2', { kind: 'room', ...payload('before') });
    await eventually(() => b.heard.includes('live://2 before'));
    process.kill(server.pid, 'SIGSTOP');
    const sent = [
      a.bus.publishRoom('live://1', { kind: 'room', ...payload('x') }),
      a.bus.publishNode('b', { kind: 'keys', keys: ['k'], ignoresWatchSet: false, ...payload('x') }),
      a.bus.publishAll({ kind: 'all', speedPerSec: 0, ...payload('x') }),
    ];
    const results = await Promise.allSettled(sent);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(a.bus.gauges()).toMatchObject({ unansweredCount: 3, untoldCount: 3 });
    process.kill(server.pid, 'SIGCONT');
    await eventually(() => a.bus.gauges().untoldCount === 0, 5_000);
    const gaps = () => b.heard.filter((text) => text.startsWith('missed')).sort();
    await eventually(() => gaps().length >= 3);
    expect(gaps()).toEqual(['missed all', 'missed direct', 'missed live://1']);
    expect(b.bus.gauges().restoredCount).toBe(0);
    // The next message shows no further hole.
    await a.bus.publishRoom('live://1', { kind: 'room', ...payload('after') });
    await eventually(() => b.heard.includes('live://1 after'));
    expect(gaps()).toHaveLength(3);
    a.bus.mayBeLost({ kind: 'room', room: 'live://2' });
    a.bus.mayBeLost({ kind: 'direct' });
    await eventually(() => gaps().length === 5);
    expect(gaps()).toEqual(['missed all', 'missed direct', 'missed direct', 'missed live://1', 'missed live://2']);
  });

  it('is told to everyone where it is more than a node remembers, and kept while it cannot be told', async () => {
    const told: string[] = [];
    let isUp = false;
    const losses = new BusLosses({
      isUp: () => isUp,
      allChannel: 'all',
      tell: async (kind, channel, serial) => {
        if (told.length === 0) {
          told.push('failed');
          throw new Error('away again');
        }
        told.push(`${kind} ${channel} ${serial}`);
      },
    });
    cleanups.push(() => losses.close());
    for (let no = 0; no < 9_000; no++) losses.note('sharded', `room ${no}`);
    losses.note('sharded', 'room 1');
    expect(losses.gauges()).toMatchObject({ notedCount: 9_001, toldCount: 0, waitingCount: 8_194 });
    isUp = true;
    await eventually(() => losses.gauges().waitingCount === 0, 20_000);
    expect(told).toHaveLength(8_195);
    expect(new Set(told).size).toBe(8_195);
    expect(told).toContain(`ordinary all ${LOSS.DIRECT}`);
    expect(told).toContain(`ordinary all ${LOSS.EVERY_ROOM}`);
    expect(told).toContain('sharded room 0 0');
  }, 30_000);
});
