/** The TCP door when things go wrong: slow readers, a bucket that dies, a flood of half packets. On the running program. */
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import {
  eventually,
  GoimTcpSocket,
  type HalleyOptions,
  type HalleyProcess,
  nodeStats,
  pushRoom,
  residentBytes,
  startHalley,
} from '../kit/index.js';
import { packet, packetSaying } from './packets.js';

const APP = fileURLToPath(new URL('../fixtures/misbehaving.mjs', import.meta.url));
const DETACHED_THROW_OP = 2003;
const GAP_OP = 22;
const BATCH_OP = 26;

let halley: HalleyProcess;
afterEach(async () => {
  expect(await halley.stop()).toBe(0);
});

async function start(options: HalleyOptions): Promise<void> {
  halley = await startHalley(options);
}

/** Push to the room until the node calls so many channels slow. */
async function pushUntilSlow(room: string, slowCount: number): Promise<void> {
  const body = 'x'.repeat(32_000);
  await eventually(async () => {
    for (let count = 0; count < 20; count++) await pushRoom(halley.httpUrl, room, body);
    return (await nodeStats(halley.httpUrl)).totals['slow_marked'] === slowCount;
  }, 20_000);
}

it('tells a slow extended client of its gap when it has caught up, and keeps serving the others', async () => {
  await start({ env: { HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: '65536' } });
  const room = 'tcp-slow://1';
  const slow = await GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: 'slow', halley: 1, room_id: room });
  const quick = await GoimTcpSocket.login(halley.tcpPort, { mid: 2, key: 'quick', room_id: room });
  slow.socket.pause();
  await pushUntilSlow(room, 1);
  slow.socket.resume();
  await eventually(() => slow.packets().some(({ op }) => op === GAP_OP));
  await pushRoom(halley.httpUrl, room, 'after the gap');
  await eventually(() => slow.packets().at(-1)?.body.toString().endsWith('after the gap'));
  await eventually(() => quick.packets().at(-1)?.body.toString() === 'after the gap');
  const ops = slow.packets().map(({ op }) => op);
  expect(new Set(ops)).toEqual(new Set([8, BATCH_OP, GAP_OP]));
  expect(ops.filter((op) => op === GAP_OP)).toHaveLength(3);
  slow.destroy();
  quick.destroy();
});

it('closes a slow goim client after slow.close_after_ms: it cannot be told what it misses', async () => {
  await start({ env: { HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: '65536', HALLEY_SLOW_CLOSE_AFTER_MS: '1000' } });
  const room = 'tcp-slow://2';
  const slow = await GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: 'slow', room_id: room });
  slow.socket.pause();
  await pushUntilSlow(room, 1);
  await eventually(async () => (await nodeStats(halley.httpUrl)).totals.channels === 0, 10_000);
  slow.destroy();
});

it('is there again after the bucket that holds it has died', async () => {
  await start({ args: ['--app', APP] });
  const victim = await GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: 'victim' });
  victim.write(packet(DETACHED_THROW_OP, 1));
  await victim.ended();
  await eventually(async () => (await nodeStats(halley.httpUrl)).totals['bucket_restarts'] === 1, 10_000);
  const back = await eventually(
    () => GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: 'victim' }).catch(() => false),
    10_000,
  );
  if (!(back instanceof GoimTcpSocket)) throw new Error('no TCP port');
  back.write(packet(4, 5));
  expect((await back.packetAt(1)).seq).toBe(5);
  back.destroy();
  victim.destroy();
});

it('holds no more of an announced packet than has arrived', async () => {
  await start({});
  const before = await residentBytes(halley.pid);
  const announced = packetSaying(65_000, 30, 1);
  const clients = await Promise.all(
    Array.from({ length: 500 }, async (_, index) => {
      const client = await GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: `announcer-${index}` });
      client.write(announced);
      return client;
    }),
  );
  const witness = await GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: 'witness' });
  // 500 times 65 KB would be 32 MB.
  expect((await residentBytes(halley.pid)) - before).toBeLessThan(20_000_000);
  expect(clients.filter(({ isEnded }) => isEnded)).toEqual([]);
  for (const client of [...clients, witness]) client.destroy();
});

it('lets nobody announce more than limits.body_bytes before auth, whatever the operation', async () => {
  await start({ env: { HALLEY_LIMITS_BODY_BYTES: '4096' } });
  for (const op of [7, 30, 1000]) {
    const client = await GoimTcpSocket.open(halley.tcpPort);
    client.write(packetSaying(16 + 4_097, op, 1));
    await client.ended();
    client.destroy();
  }
  const within = await GoimTcpSocket.open(halley.tcpPort);
  const auth = JSON.stringify({ mid: 1, key: 'within', pad: 'x'.repeat(4_000) }).padEnd(4_096);
  // Behind auth, in the same read, an operation may have its own limit.
  within.write(Buffer.concat([packet(7, 1, auth), packet(30, 2, 'x'.repeat(5_000)), packet(4, 3)]));
  await within.packetAt(2);
  expect(within.packets().map(({ op, seq }) => [op, seq])).toEqual([
    [8, 1],
    [30, 2],
    [4, 3],
  ]);
  within.destroy();
});
