/**
 * The crash rule on the whole program: an application that throws, exits, spins or forgets a rejection costs a channel where
 * it can be attributed and a bucket where it cannot, never the process and never another bucket.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ASK_BUCKET_OP,
  connectToBucket,
  eventually,
  get,
  type HalleyProcess,
  nodeStats,
  onlineCount,
  post,
  pushRoom,
  readiness,
  startHalley,
  WireClient,
} from '../kit/index.js';

const APP = fileURLToPath(new URL('../fixtures/misbehaving.mjs', import.meta.url));
/** Half of it is gone after a dozen pushes of 4,000 bytes. */
const SMALL_RING = {
  HALLEY_RING_CONTROL_BYTES: '131072',
  HALLEY_RING_MAX_RECORD_BYTES: '32768',
  HALLEY_LIMITS_PUSH_BODY_BYTES: '16384',
};

const OP = {
  THROW: 2001,
  REJECT: 2002,
  DETACHED_THROW: 2003,
  DETACHED_REJECTION: 2004,
  EXIT: 2005,
  NO_BYTES: 2007,
  NO_BYTES_LATER: 2008,
  SPIN: 2006,
  PUBLISH_AND_SPIN: 2010,
} as const;
const RESTART_DEADLINE_MS = 10_000;

let directory: string;
let halley: HalleyProcess;

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  halley = await startHalley({
    args: ['--app', APP],
    env: { TEST_EVENTS_FILE: join(directory, 'events'), ...env },
  });
}

/** Ids that the state listener was told, in order. */
async function endedIds(): Promise<string[]> {
  const text = await readFile(join(directory, 'events'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-crash-'));
});
afterEach(async () => {
  const code = await halley.stop();
  await rm(directory, { recursive: true, force: true });
  expect([code, halley.output()]).toEqual([0, expect.stringContaining('halley has stopped')]);
});

describe('what can be attributed costs one channel', () => {
  it.each([
    ['throws', OP.THROW],
    ['rejects', OP.REJECT],
    ['returns something that is no body', OP.NO_BYTES],
    ['resolves to something that is no body', OP.NO_BYTES_LATER],
  ])('closes the channel with 3006 where a listener %s, and nobody else notices', async (_, op) => {
    await start();
    const victim = await connectToBucket(halley.wsUrl, 1, { key: 'victim', roomId: 'live://1', extended: true });
    const neighbour = await connectToBucket(halley.wsUrl, 1, { key: 'neighbour', roomId: 'live://1' });
    victim.send(op);
    expect(await victim.closing()).toEqual({ code: 3006, reason: 'listener failed' });
    expect(JSON.parse(victim.packets.at(-1)?.body.toString() ?? '')).toMatchObject({ code: 3006, reconnect: true });
    await pushRoom(halley.httpUrl, 'live://1', 'still here');
    expect((await neighbour.messageCount(1)).map((message) => message.text)).toEqual(['still here']);
    expect((await neighbour.request(ASK_BUCKET_OP)).body.toString()).toBe('1');
    const { totals } = await nodeStats(halley.httpUrl);
    expect(totals).toMatchObject({ channels: 1, sessions: 1, listener_errors: 1, bucket_restarts: 0 });
    expect(victim.packets.filter((packet) => packet.raw.length < 16)).toEqual([]);
    await neighbour.close();
  });

  it('tells the state listener of each accepted channel exactly once, whatever ended it', async () => {
    await start();
    const byClient = await WireClient.connect(halley.wsUrl, { key: 'by-client' });
    const cut = await WireClient.connect(halley.wsUrl, { key: 'cut' });
    const thrown = await WireClient.connect(halley.wsUrl, { key: 'thrown' });
    const kicked = await WireClient.connect(halley.wsUrl, { key: 'kicked' });
    const throwing = await WireClient.connect(halley.wsUrl, { key: 'throws-at-end' });
    const malformed = await WireClient.connect(halley.wsUrl, { key: 'malformed' });
    const takenOver = await WireClient.connect(halley.wsUrl, { key: 'taken-over', mid: 7 });
    const notAccepted = await WireClient.open(halley.wsUrl);
    notAccepted.send(7, '{"mid":"no number"}');
    expect((await notAccepted.closing()).code).toBe(3504);
    await byClient.close();
    cut.terminate();
    thrown.send(OP.THROW);
    await post(`${halley.httpUrl}/halley/disconnect`, { keys: ['kicked'] });
    throwing.terminate();
    malformed.sendRaw(Buffer.from('garbage'));
    const successor = await WireClient.connect(halley.wsUrl, { key: 'taken-over', mid: 7 });
    for (const client of [thrown, kicked, malformed, takenOver]) await client.closing();
    await successor.close();
    await eventually(async () => (await endedIds()).length >= 8, 5_000, 'eight ends');
    const { totals } = await nodeStats(halley.httpUrl);
    expect(totals).toMatchObject({ channels: 0, sessions: 0, channels_accepted: 8, channels_closed: 8 });
    expect((await endedIds()).toSorted()).toEqual(
      ['by-client', 'cut', 'kicked', 'malformed', 'taken-over', 'taken-over', 'thrown', 'throws-at-end'].toSorted(),
    );
  });
});

describe('what cannot be attributed costs one bucket', () => {
  it.each([
    ['a detached throw', OP.DETACHED_THROW, 'thrown in a detached timer'],
    ['a detached rejection', OP.DETACHED_REJECTION, 'rejected and detached'],
    ['process.exit()', OP.EXIT, 'process.exit()'],
  ])('replaces the bucket after %s while the other one loses nothing', async (_, op, reason) => {
    await start();
    const doomed: WireClient[] = [];
    for (let index = 0; index < 3; index++) {
      doomed.push(await connectToBucket(halley.wsUrl, 1, { key: `doomed-${index}`, mid: 1, roomId: 'live://both' }));
    }
    const alone = await connectToBucket(halley.wsUrl, 1, { key: 'alone', mid: 1, roomId: 'live://doomed' });
    const survivor = await connectToBucket(halley.wsUrl, 2, { key: 'survivor', mid: 2, roomId: 'live://both' });
    const halfRequest = await openSocket(halley.wsPort, 'GET /sub HTTP/1.1\r\nHost: x\r\nUpgra');
    const wrongPath = await openSocket(
      halley.wsPort,
      'POST /else HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc',
    );
    const unread = await WireClient.open(halley.wsUrl);

    let sent = 0;
    const push = async () => pushRoom(halley.httpUrl, 'live://both', String(sent++));
    for (let index = 0; index < 20; index++) await push();
    doomed[0]?.send(op);
    await eventually(
      async () => {
        await push();
        return [...doomed, alone].every((client) => client.closed !== undefined);
      },
      5_000,
      'the channels of the bucket to drop',
    );
    await eventually(
      async () => (await nodeStats(halley.httpUrl)).totals.bucket_restarts === 1,
      5_000,
      'the loss noted',
    );
    expect(await onlineCount(halley.httpUrl, 'live://both')).toBe(1);
    expect(await onlineCount(halley.httpUrl, 'live://doomed')).toBe(0);
    expect((await get(`${halley.httpUrl}/goim/online/total`)).data).toMatchObject({ conn_count: 1 });
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ sessions: 1, channels: 1 });
    await pushRoom(halley.httpUrl, 'live://doomed', 'to nobody');
    expect((await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=doomed-1`, 'x')).code).toBe(0);

    await eventually(async () => (await readiness(halley.httpUrl)).ready, RESTART_DEADLINE_MS, 'the bucket to be back');
    const back = await connectToBucket(halley.wsUrl, 1, { key: 'doomed-1', mid: 1, roomId: 'live://both' });
    await push();
    expect((await back.messageCount(1)).at(-1)?.text).toBe(String(sent - 1));
    await survivor.messageCount(sent);
    expect(survivor.messages.map((message) => message.text)).toEqual(Array.from({ length: sent }, (_, n) => String(n)));
    expect(survivor.closed).toBeUndefined();
    expect(halley.output()).toContain(reason);
    for (const client of [back, survivor, unread]) client.terminate();
    halfRequest.destroy();
    wrongPath.destroy();
  });

  it('keeps a bucket down after five crashes in a minute and says so', async () => {
    await start();
    const survivor = await connectToBucket(halley.wsUrl, 2, { key: 'survivor', roomId: 'live://1', extended: true });
    for (let crash = 1; crash <= 5; crash++) {
      const victim = await connectToBucket(halley.wsUrl, 1, { key: `victim-${crash}` });
      victim.send(OP.DETACHED_THROW);
      await victim.closing();
      await eventually(
        async () => (await nodeStats(halley.httpUrl)).totals.bucket_restarts === crash,
        5_000,
        `crash ${crash} noted`,
      );
      if (crash < 5) {
        await eventually(
          async () => (await readiness(halley.httpUrl)).ready,
          RESTART_DEADLINE_MS,
          'the bucket is back',
        );
      }
    }
    const { ready, reasons } = await readiness(halley.httpUrl);
    expect(ready).toBe(false);
    expect(reasons).toEqual([
      { reason: 'bucket_down', detail: expect.stringMatching(/bucket 1 is down.*thrown in a detached timer/) },
    ]);
    // What is left works: new clients reach the other bucket only.
    const newcomers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        WireClient.connect(halley.wsUrl, { key: `new-${index}`, roomId: 'live://1' }),
      ),
    );
    for (const client of newcomers) expect((await client.request(ASK_BUCKET_OP)).body.toString()).toBe('2');
    await pushRoom(halley.httpUrl, 'live://1', 'hello');
    for (const client of [survivor, ...newcomers]) expect((await client.messageCount(1))[0]?.text).toBe('hello');
    for (const client of [survivor, ...newcomers]) client.terminate();
  });

  it.each([
    ['while the ring has room for what it misses', {}],
    ['and holds the ring back', SMALL_RING],
  ])('goes on without a bucket that spins %s, says so, and ends honestly with its channels', async (_, ring) => {
    await start({ HALLEY_RING_STALL_MS: '300', ...ring });
    const holdsBack = Object.keys(ring).length > 0;
    const room = 'live://spin';
    const spinner = await connectToBucket(halley.wsUrl, 1, { key: 'spinner', roomId: room, extended: true });
    const stuck = await connectToBucket(halley.wsUrl, 1, { key: 'stuck', roomId: room, extended: true });
    const free = await connectToBucket(halley.wsUrl, 2, { key: 'free', roomId: room, extended: true });
    let sent = 0;
    const push = async () => pushRoom(halley.httpUrl, room, String(sent++));
    await push();
    for (const client of [spinner, stuck, free]) await client.messageCount(1);
    const monitor = await connectToBucket(halley.wsUrl, 2, { key: 'monitor', accepts: [5] });
    // While the bucket is busy for a moment, requests pile up; it then takes half of them, and spins before their answers come.
    const arriving = await Promise.all(Array.from({ length: 40 }, () => WireClient.open(halley.wsUrl)));
    spinner.send(OP.SPIN, '100');
    for (const [index, client] of arriving.entries()) {
      if (index === arriving.length / 2) stuck.send(OP.PUBLISH_AND_SPIN, '2500');
      client.send(7, JSON.stringify({ key: `arriving-${index}`, room_id: `live://arriving-${index}`, halley: 1 }));
    }
    const stalled = await eventually(
      async () => {
        await push();
        const { ready, reasons } = await readiness(halley.httpUrl);
        return ready ? undefined : reasons;
      },
      5_000,
      'not ready',
    );
    expect(stalled).toEqual([{ reason: 'bucket_stalled', detail: expect.stringContaining('bucket 1 is stalled') }]);
    for (let index = 0; index < 50; index++) {
      await push();
      // An operation that nobody watches: it fills the ring and reaches no one.
      if (holdsBack) await post(`${halley.httpUrl}/goim/push/all?operation=9999`, 'x'.repeat(4_000));
    }
    await free.messageCount(sent);
    expect(free.messages.map((message) => message.text)).toEqual(Array.from({ length: sent }, (_, n) => String(n)));

    await eventually(async () => (await readiness(halley.httpUrl)).ready, RESTART_DEADLINE_MS, 'ready again');
    // The bucket cannot know what became of the push it was waiting for, and says so instead of waiting for ever.
    expect((await monitor.messageCount(1))[0]?.text).toMatch(/^(ok|closed)$/);
    for (const client of arriving) {
      await eventually(
        () => client.closed?.code === 3001 || client.packets.some((packet) => packet.op === 8),
        5_000,
        'an answer to auth, or the end',
      );
    }
    for (const client of [spinner, stuck]) {
      // Either it lost nothing, or it was told to come back.
      const end = await eventually(
        () => client.closed ?? (client.messages.length === sent ? 'whole' : undefined),
        5_000,
        'an honest end',
      );
      expect(end === 'whole' ? 'whole' : end.code).toBe(holdsBack ? 3001 : 'whole');
      if (end !== 'whole') expect(client.packets.at(-1)?.op).toBe(6);
    }
    const back = await connectToBucket(halley.wsUrl, 1, { key: 'back', roomId: room, extended: true });
    await push();
    expect((await back.messageCount(1))[0]?.text).toBe(String(sent - 1));
    for (const client of arriving) client.terminate();
    const roomsLeft = async () => (await nodeStats(halley.httpUrl)).threads.map((thread) => thread.rooms);
    await eventually(async () => `${await roomsLeft()}` === '0,1,1', 5_000, 'only the room that has members');
    for (const client of [spinner, stuck, free, back, monitor]) client.terminate();
    await eventually(async () => (await nodeStats(halley.httpUrl)).totals.rooms === 0, 5_000, 'no room left');
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ channels: 0, sessions: 0 });
    expect(await onlineCount(halley.httpUrl, room)).toBe(0);
  });
});

async function openSocket(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write(text);
  return socket;
}
