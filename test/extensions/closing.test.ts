/** Op 6 (Disconnect) before every close by the server, idle deadlines that a client chooses, and a stop of the node. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeHeartbeatBody } from '../../src/protocol/index.js';
import { eventually, type HalleyProcess, post, startHalley, WireClient } from '../kit/index.js';
import { adviceOf } from './replies.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_HEARTBEAT_INTERVAL_S: '60', HALLEY_HEARTBEAT_MAX_MISSES: '1' } });
});
afterAll(() => halley.stop());

function extended(key: string, auth: Parameters<typeof WireClient.connect>[1] = {}): Promise<WireClient> {
  return WireClient.connect(halley.wsUrl, { mid: 1, key, extended: true, ...auth });
}

function disconnect(body: object): ReturnType<typeof post> {
  return post(`${halley.httpUrl}/halley/disconnect`, body);
}

describe('op 6', () => {
  it('tells a channel whose key connected again, whatever bucket the new one is in', async () => {
    for (let round = 0; round < 8; round++) {
      const old = await extended('again', { codec: 'msgpack' });
      const fresh = await extended('again');
      expect(await old.closing()).toEqual({ code: 3500, reason: 'taken over' });
      expect(adviceOf(old, 'msgpack')).toMatchObject({ code: 3500, reason: 'taken over', reconnect: false });
      await fresh.request(2, '', 3);
      await fresh.close();
    }
  });

  it('carries what the backend said when it closed the channels, and goim channels get the close frame', async () => {
    const one = await extended('kick-1', { accepts: [1000] });
    const two = await extended('kick-2', { mid: 2 });
    const plain = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'kick-3' });
    const stays = await extended('stays');
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=kick-1`, 'last words');
    const advice = { code: 4001, reason: 'maintenance', reconnect: true, retry_after_ms: 1500 };
    expect((await disconnect({ keys: ['kick-1', 'nobody'], mids: [2], ...advice })).data).toEqual({ count: 3 });
    for (const client of [one, two, plain])
      expect(await client.closing()).toEqual({ code: 4001, reason: 'maintenance' });
    for (const client of [one, two]) {
      expect(adviceOf(client)).toEqual({
        code: 4001,
        reason: 'maintenance',
        reconnect: true,
        retryAfterMs: 1500,
        nodes: [],
      });
    }
    // What was pushed before the disconnect came before it.
    expect(one.messages.map(({ text }) => text)).toEqual(['last words']);
    expect(one.packets.at(-1)?.op).toBe(6);
    expect(plain.packets.map(({ op }) => op)).toEqual([8]);
    await stays.request(2, '', 3);
    await stays.close();
  });

  it.each([
    [{}, 3501, false],
    [{ reconnect: true }, 3000, true],
    [{ code: 3506 }, 3506, false],
    [{ code: 3100 }, 3100, true],
  ])('says in its code whether to come back: %j', async (given, code, reconnect) => {
    const client = await extended('advised');
    await disconnect({ keys: ['advised'], ...given });
    expect((await client.closing()).code).toBe(code);
    expect(adviceOf(client)).toMatchObject({ code, reconnect });
  });

  it('comes before the close of a malformed packet too', async () => {
    const client = await extended('malformed');
    client.sendRaw(Buffer.alloc(16, 0xff));
    expect((await client.closing()).code).toBe(3502);
    expect(adviceOf(client)).toMatchObject({ code: 3502, reconnect: false });
  });
});

describe('the idle deadline of an extended channel', () => {
  it('follows the interval in the auth body', async () => {
    const brief = await extended('brief', { heartbeatS: 1 });
    expect(await brief.closing()).toEqual({ code: 3003, reason: 'idle' });
    expect(adviceOf(brief)).toMatchObject({ code: 3003, reconnect: true });
  });

  it('follows an int32 in op 2, in both directions, and an empty op 2 leaves it', async () => {
    const shortened = await extended('shortened');
    const lengthened = await extended('lengthened', { heartbeatS: 1 });
    const same = await extended('same');
    await lengthened.request(2, encodeHeartbeatBody(60), 3);
    await same.request(2, '', 3);
    await shortened.request(2, encodeHeartbeatBody(1), 3);
    expect((await shortened.closing()).code).toBe(3003);
    // Their deadlines began before the one that has passed.
    for (const client of [lengthened, same]) {
      await client.request(2, '', 3);
      await client.close();
    }
  });

  it.each([0, -1, 86_401])('is not changed by op 2 with %i', async (intervalS) => {
    const odd = await extended(`odd-${intervalS}`, { heartbeatS: 1 });
    await odd.request(2, encodeHeartbeatBody(intervalS), 3);
    expect((await odd.closing()).code).toBe(3003);
  });

  it('of a goim channel is the configured one, whatever its op 2 carries', async () => {
    const plain = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'goim-beat' });
    await plain.request(2, encodeHeartbeatBody(1), 3);
    const brief = await extended('brief-too', { heartbeatS: 1 });
    await brief.closing();
    await plain.request(2, '', 3);
    await plain.close();
  });
});

it('a stop tells every channel of every bucket, and the process ends by itself', async () => {
  const clients = await Promise.all(Array.from({ length: 10 }, (_, index) => extended(`stop-${index}`)));
  const exit = halley.stop();
  for (const client of clients) {
    expect(await client.closing()).toEqual({ code: 3000, reason: 'shutdown' });
    expect(adviceOf(client)).toMatchObject({ code: 3000, reconnect: true });
  }
  expect(await exit).toBe(0);
  await eventually(() => halley.output().includes('halley has stopped'));
});
