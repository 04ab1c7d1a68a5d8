/**
 * Deadlines on goim's wire (facts/goim.md 2.2 and 2.5): the handshake ends by a close, and silence does. Where goim counts
 * op 2 only, any packet keeps a connection here.
 *
 * No test measures time: each compares what happened to a connection with what happened to one that stayed silent since the
 * same moment.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, type HalleyProcess, nodeEmpty, RawSocket, startHalley, WireClient } from '../kit/index.js';
import { packet } from './packets.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley({
    env: {
      HALLEY_HEARTBEAT_INTERVAL_S: '1',
      HALLEY_HEARTBEAT_MAX_MISSES: '1',
      HALLEY_AUTH_HANDSHAKE_TIMEOUT_MS: '400',
    },
  });
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

it.each([
  ['nothing at all', []],
  ['packets, but no auth', [packet(2, 1), packet(4, 2, 'hello'), packet(12, 3, 'live://1')]],
])('a client that sends %s is closed when the handshake deadline passes', async (_, packets) => {
  const client = await WireClient.open(halley.wsUrl);
  for (const bytes of packets) client.sendRaw(bytes);
  expect(await client.closing()).toEqual({ code: 3005, reason: 'handshake timeout' });
  expect(client.packets).toHaveLength(0);
});

it('a client that passed auth in time outlives the handshake deadline', async () => {
  const ready = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'in-time' });
  const late = await WireClient.open(halley.wsUrl);
  await late.closing();
  await ready.request(2, '', 3);
  await ready.close();
});

it('silence closes, and any packet keeps: heartbeats, messages, room changes, even several small ones', async () => {
  const silent = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'silent' });
  const beating = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'beating' });
  const talking = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'talking' });
  const moving = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'moving' });
  // Twice over, so that the others have outlived two whole deadlines.
  for (const idler of [silent, await WireClient.connect(halley.wsUrl, { mid: 2, key: 'silent-too' })]) {
    await eventually(async () => {
      await Promise.all([
        beating.request(2, '', 3),
        talking.request(4, 'still here'),
        moving.request(12, 'any://room', 13),
      ]);
      return idler.closed !== undefined;
    });
  }
  expect(silent.closed).toEqual({ code: 3003, reason: 'idle' });
  for (const client of [beating, talking, moving]) {
    expect(client.closed).toBeUndefined();
    await client.close();
  }
});

it('nothing is left of the closed ones', async () => {
  const raw = await RawSocket.upgrade(halley.wsPort);
  await raw.ended();
  await nodeEmpty(halley.httpUrl);
});
