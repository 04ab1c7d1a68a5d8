/**
 * Auth (op 7) and device keys on goim's wire (facts/goim.md 1.5, 2.4 and 2.12): what bodies are taken, who is who, and what a
 * second connection with the same key means.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeAuthBody } from '../../src/protocol/index.js';
import {
  eventually,
  get,
  type HalleyProcess,
  nodeEmpty,
  post,
  pushRoom,
  startHalley,
  WireClient,
} from '../kit/index.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

async function sendAuth(body: string | Uint8Array): Promise<WireClient> {
  const client = await WireClient.open(halley.wsUrl);
  client.send(7, body, 42, 7);
  return client;
}

function pushKey(key: string, body: string, op = 1000): Promise<unknown> {
  return post(`${halley.httpUrl}/goim/push/keys?operation=${op}&keys=${encodeURIComponent(key)}`, body);
}

function pushMid(mid: number, body: string): Promise<unknown> {
  return post(`${halley.httpUrl}/goim/push/mids?operation=1000&mids=${mid}`, body);
}

describe('auth bodies that goim takes', () => {
  it.each([
    ['an empty object', '{}'],
    ['null', 'null'],
    ['null for every member', '{"mid":null,"key":null,"room_id":null,"platform":null,"accepts":null}'],
    ['unknown members', '{"mid":1,"foo":{"bar":[1,2]},"version":"2"}'],
    ['the largest mid that is exact', '{"mid":9007199254740991}'],
    ['a negative mid', '{"mid":-5}'],
    ['white space', ' {\n\t"mid" : 1 } '],
    [
      "Halley's members with wrong types, as unknown ones",
      '{"mid":1,"token":5,"rooms":"x","codec":7,"heartbeat_s":"a"}',
    ],
    ['halley: 0', '{"mid":1,"halley":0}'],
  ])('%s: answered with an empty op 8', async (_, body) => {
    const client = await sendAuth(body);
    const reply = await client.expect(8);
    expect(reply).toMatchObject({ seq: 42, ver: 7 });
    expect(reply.body).toHaveLength(0);
    await client.close();
  });

  it('member names match whatever their case', async () => {
    const client = await sendAuth('{"MID":1,"Key":"cased","ROOM_ID":"case://1","Accepts":[1000]}');
    await client.expect(8);
    await pushRoom(halley.httpUrl, 'case://1', 'by room');
    await client.messageCount(1);
    await pushKey('cased', 'by key');
    expect((await client.messageCount(2)).map((message) => message.text)).toEqual(['by room', 'by key']);
    await client.close();
  });
});

describe('auth bodies that end the connection with 3504 and without op 8', () => {
  it.each([
    ['an empty body', ''],
    ['no JSON', 'hello'],
    ['JSON that is cut off', '{"mid":1'],
    ['an array', '[]'],
    ['a number', '5'],
    ['a string', '"mid"'],
    ['mid as text', '{"mid":"1"}'],
    ['a mid with a fraction', '{"mid":1.5}'],
    ['a mid with an exponent', '{"mid":1e3}'],
    ['a mid beyond 2^53-1, which would be rounded', '{"mid":9007199254740993}'],
    ['a mid below -(2^53-1)', '{"mid":-9007199254740993}'],
    ['key as a number', '{"key":1}'],
    ['room_id as a number', '{"room_id":1}'],
    ['platform as a number', '{"platform":1}'],
    ['accepts as texts', '{"accepts":["1000"]}'],
    ['accepts as one number', '{"accepts":1000}'],
    ['accepts beyond 32 bits', '{"accepts":[2147483648]}'],
    ['accepts with a fraction', '{"accepts":[1.5]}'],
    ['more operations than a watch set holds', JSON.stringify({ accepts: Array.from({ length: 257 }, (_, op) => op) })],
    ['a key of 257 bytes', JSON.stringify({ key: 'k'.repeat(257) })],
    ['a room id of 257 bytes', JSON.stringify({ room_id: 'r'.repeat(257) })],
    ['a version of the extensions that nobody knows', '{"halley":2}'],
  ])('%s', async (_, body) => {
    const client = await sendAuth(body);
    const { code, reason } = await client.closing();
    expect(code).toBe(3504);
    expect(reason.length).toBeGreaterThan(10);
    expect(client.packets).toHaveLength(0);
  });

  it('and leave no channel, session or room behind', async () => {
    await nodeEmpty(halley.httpUrl);
  });
});

describe('device keys', () => {
  it('are drawn by the server where the client names none: every keyless device has its own', async () => {
    const keys = new Set<string>();
    for (let index = 0; index < 3; index++) {
      const client = await WireClient.connect(halley.wsUrl, { mid: 11, accepts: [1000], extended: true });
      const { key } = JSON.parse((await client.expect(8)).body.toString()) as { key: string };
      expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      keys.add(key);
      await pushKey(key, 'to the drawn key');
      expect((await client.messageCount(1))[0]?.text).toBe('to the drawn key');
      await client.close();
    }
    expect(keys.size).toBe(3);
    const plain = [];
    for (let index = 0; index < 3; index++)
      plain.push(await WireClient.connect(halley.wsUrl, { mid: 12, accepts: [1000] }));
    await pushMid(12, 'to all three');
    for (const client of plain) expect((await client.messageCount(1))[0]?.text).toBe('to all three');
    for (const client of plain) await client.close();
  });

  it('that connect again take the channel over: the old connection is closed and hears nothing more', async () => {
    // Several rounds, so that both connections are in one bucket and in two.
    for (let round = 0; round < 8; round++) {
      const auth = { mid: 13, key: 'again', accepts: [1000], roomId: 'again://1' };
      const first = await WireClient.connect(halley.wsUrl, auth);
      const second = await WireClient.connect(halley.wsUrl, auth);
      expect(await first.closing()).toEqual({ code: 3500, reason: 'taken over' });
      await pushKey('again', 'by key');
      await pushMid(13, 'by mid');
      expect((await second.messageCount(2)).map((message) => message.text)).toEqual(['by key', 'by mid']);
      expect(first.messages).toHaveLength(0);
      const online = await get(`${halley.httpUrl}/goim/online/room?type=again&rooms=1`);
      expect(online.data).toEqual({ 1: 1 });
      await second.close();
      await eventually(async () => (await get(`${halley.httpUrl}/goim/online/total`)).data.conn_count === 0);
    }
  });

  it('belong to their mid: another user is refused and the owner stays', async () => {
    const owner = await WireClient.connect(halley.wsUrl, { mid: 14, key: 'owned', accepts: [1000] });
    const thief = await sendAuth(encodeAuthBody({ mid: 15, key: 'owned', accepts: [1000] }));
    expect(await thief.closing()).toEqual({ code: 3506, reason: 'the key belongs to another user' });
    await pushKey('owned', 'still mine');
    expect((await owner.messageCount(1))[0]?.text).toBe('still mine');
    await owner.close();
  });

  it('of one mid may be many, over all buckets: each device gets a push to the user once', async () => {
    const devices = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        WireClient.connect(halley.wsUrl, { mid: 16, key: `device-${index}`, accepts: [1000] }),
      ),
    );
    await pushMid(16, 'one');
    await devices[0]?.close();
    await pushMid(16, 'two');
    for (const device of devices.slice(1)) {
      expect((await device.messageCount(2)).map((message) => message.text)).toEqual(['one', 'two']);
    }
    for (const device of devices.slice(1)) await device.close();
  });

  it.each([0, -5])('without a user (mid %i) are reached by key, and no push to a user finds them', async (mid) => {
    const client = await WireClient.connect(halley.wsUrl, { mid, key: 'nobody', accepts: [1000] });
    await pushMid(mid, 'to nobody');
    await pushKey('nobody', 'by key');
    expect((await client.messageCount(1)).map((message) => message.text)).toEqual(['by key']);
    await client.close();
  });
});
