/** How a channel ends on every door: taken over from any other door, idle, sent away; and what keeps it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { DOORS, type DoorClient, eventually, onlineCount, post } from '../kit/index.js';
import { APP_OP, FORMS, fresh, join, PUSH_OP, push, startDoorNode, type TestNode, whereTold } from './door-node.js';

const BEAT_MS = 250;

let node: TestNode;
beforeAll(async () => {
  node = await startDoorNode({ HALLEY_HEARTBEAT_MAX_MISSES: '1' });
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

const PAIRS = DOORS.flatMap((from) => DOORS.map((to) => [from.name, to.name, from, to] as const));

describe('a key', () => {
  it.each(PAIRS)(
    'of a client on %s is taken over through %s, and the old one is told',
    async (_from, _to, from, to) => {
      for (const form of FORMS) {
        const key = fresh('taken');
        const auth = { mid: 5, key, room_id: 'live://taken', accepts: [PUSH_OP] };
        const old = await join(node, from, form, auth);
        const successor = await join(node, to, form, auth);
        expect(await old.closing()).toMatchObject({
          code: old.toldOf(CLOSE.TAKEN_OVER.code),
          ...whereTold(old, { reconnect: false }),
        });
        await push(node, 'keys', `keys=${key}`, 'to whoever has the key');
        await successor.messageCount(1);
        expect([old.texts, successor.texts]).toEqual([[], ['to whoever has the key']]);
        await successor.close();
      }
    },
  );

  it('passes through all doors in turn, and the last one has it', async () => {
    const key = fresh('round');
    const clients: DoorClient[] = [];
    for (const door of [...DOORS, ...DOORS]) {
      clients.push(await join(node, door, 'extended', { mid: 5, key, accepts: [PUSH_OP] }));
    }
    const last = clients.pop()!;
    for (const client of clients) expect((await client.closing()).code).toBe(CLOSE.TAKEN_OVER.code);
    await push(node, 'keys', `keys=${key}`, 'here');
    await last.messageCount(1);
    await last.close();
  });
});

describe('the idle deadline', () => {
  it.concurrent.each(DOORS)('ends a client on $name that says nothing', async (door) => {
    const room = fresh('idle');
    const startMs = performance.now();
    const client = await join(node, door, 'extended', { heartbeat_s: 1, room_id: `live://${room}` });
    // Polls would say that the client is there.
    if (door.isKeptByReading) client.pause();
    await eventually(
      async () => (await onlineCount(node.httpUrl, `live://${room}`)) === 0,
      10_000,
      'the room to empty',
    );
    expect(performance.now() - startMs).toBeGreaterThan(900);
    client.resume();
    expect(await client.closing()).toMatchObject({ code: CLOSE.IDLE.code, reason: 'idle', reconnect: true });
  });

  it.concurrent.each(DOORS)('does not end a client on $name that sends heartbeats, or polls', async (door) => {
    const client = await join(node, door, 'extended', { heartbeat_s: 1 });
    // Its deadline passes twice meanwhile.
    for (let passed = 0; passed < 2; passed++) {
      const silent = await join(node, DOORS[0]!, 'extended', { heartbeat_s: 1 });
      while (silent.closed === undefined) {
        if (!door.isKeptByReading) await client.request(2, '', 3);
        await sleep(BEAT_MS);
      }
      expect(silent.closed.code).toBe(CLOSE.IDLE.code);
    }
    expect(client.closed).toBeUndefined();
    expect((await client.request(APP_OP.ECHO, 'alive')).body.toString()).toBe('alive');
    await client.close();
  });
});

describe.each(DOORS)('a client on $name that the backend sends away', (door) => {
  it.each(FORMS)('has the last words (%s), the code, and the advice where its form has it', async (form) => {
    const key = fresh('kicked');
    const client = await join(node, door, form, { key, accepts: [PUSH_OP] });
    await push(node, 'keys', `keys=${key}`, 'last words');
    const advice = { code: 4001, reason: 'maintenance', reconnect: true, retry_after_ms: 1_500 };
    const answer = await post(`${node.httpUrl}/halley/disconnect`, { keys: [key, 'nobody'], ...advice });
    expect(answer.data).toEqual({ count: 1 });
    const end = await client.closing();
    expect(end.code).toBe(client.toldOf(4001));
    if (client.isExtended) {
      expect(end).toMatchObject({ reason: 'maintenance', reconnect: true, retryAfterMs: 1_500 });
      // A poll that is answered with the end says all that op 6 would.
      if (!door.isKeptByReading) expect(client.packets.at(-1)?.op).toBe(6);
    }
    expect(client.texts).toEqual(['last words']);
  });
});
