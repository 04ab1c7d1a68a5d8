/** What every door answers: auth, rooms, the watch set, heartbeats, the application, and packets that are none. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { encodePacket } from '../../src/protocol/index.js';
import { roomRows } from '../extensions/replies.js';
import { DOORS, DoorClient, type DoorEnd, eventually, TOLD_NOTHING } from '../kit/index.js';
import {
  APP_OP,
  FORMS,
  fresh,
  join,
  PUSH_OP,
  PUSHED_BACK_OP,
  push,
  startDoorNode,
  type TestNode,
  whereTold,
} from './door-node.js';

const BODY_BYTES = 4_096;
/** Of refused connects over HTTP. */
const STATUS = new Map<number, number>([
  [CLOSE.AUTH_MALFORMED.code, 400],
  [CLOSE.FORBIDDEN.code, 403],
]);

let node: TestNode;
beforeAll(async () => {
  node = await startDoorNode();
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

describe.each(DOORS)('auth on $name', (door) => {
  /** Nobody gets op 6 before auth: a mute door just ends. */
  const refusal = (code: number): Partial<DoorEnd> => {
    if (door.isMute) return { code: TOLD_NOTHING };
    return door.isHttp ? { code, reconnect: false, status: STATUS.get(code)! } : { code };
  };

  it('is answered with an empty op 8 for a goim client', async () => {
    const client = await join(node, door, 'plain', { room_id: 'live://1', rooms: ['live://ignored'] });
    expect(client.packets.map(({ op, seq, ver, body }) => [op, seq, ver, body.length])).toEqual([[8, 1, 1, 0]]);
    await client.close();
  });

  it('is answered with key, heartbeat, window and rooms for an extended one', async () => {
    const key = fresh('auth');
    const client = await join(node, door, 'extended', { key, room_id: 'chat://stand', rooms: ['kept://stand'] });
    expect(JSON.parse((await client.expect(8)).body.toString())).toEqual({
      key,
      heartbeat_s: 240,
      reconnect_window_ms: 10_000,
      rooms: [
        { room: 'chat://stand', epoch: expect.any(Number), offset: 0 },
        { room: 'kept://stand', epoch: expect.any(Number), offset: 0 },
      ],
    });
    const nameless = await join(node, door, 'extended', { key: '' });
    expect(JSON.parse((await nameless.expect(8)).body.toString()).key).not.toBe('');
    await Promise.all([client.close(), nameless.close()]);
  });

  it.each([
    ['no JSON', 'nonsense'],
    ['empty', ''],
    ['a list', '[]'],
    ['of a wrong type', '{"mid":"x","halley":1}'],
    ['with a key that is too long', JSON.stringify({ key: 'k'.repeat(300) })],
  ])('is refused where the body is %s', async (_, body) => {
    const client = DoorClient.open(door, node, body);
    expect(await client.closing()).toMatchObject(refusal(CLOSE.AUTH_MALFORMED.code));
    expect(client.packets).toEqual([]);
  });

  it.each(FORMS)('is refused to another user with the key of a %s client, who stays', async (form) => {
    const key = fresh('owned');
    const owner = await join(node, door, form, { mid: 7, key });
    const thief = DoorClient.open(door, node, { mid: 8, key });
    expect(await thief.closing()).toMatchObject(refusal(CLOSE.FORBIDDEN.code));
    await owner.request(2, '', 3);
    await owner.close();
  });
});

describe.each(DOORS)('rooms on $name', (door) => {
  it('are joined and left by op 18 and 20, in the order asked, and pushes follow', async () => {
    const [a, b] = [fresh('r'), fresh('r')];
    const client = await join(node, door, 'extended');
    const joined = roomRows((await client.request(18, JSON.stringify([`chat://${a}`, `chat://${b}`, '']), 19)).body);
    expect(joined.map(({ room, offset, error }) => [room, offset, error?.code])).toEqual([
      [`chat://${a}`, 0, undefined],
      [`chat://${b}`, 0, undefined],
      ['', 0, 101],
    ]);
    await push(node, 'room', `type=chat&room=${b}`, 'to b');
    expect(await client.messageCount(1)).toMatchObject([{ room: `chat://${b}`, offset: 1, epoch: joined[1]?.epoch }]);
    const left = roomRows((await client.request(20, JSON.stringify([`chat://${b}`, 'chat://never']), 21)).body);
    expect(left.map(({ offset, error }) => [offset, error?.code])).toEqual([
      [1, undefined],
      [0, 300],
    ]);
    await push(node, 'room', `type=chat&room=${b}`, 'to nobody');
    await push(node, 'room', `type=chat&room=${a}`, 'to a');
    await client.messageCount(2);
    expect(client.texts).toEqual(['to b', 'to a']);
    await client.close();
  });

  it.each(FORMS)('are changed by op 12 of a %s client, and op 3 counts the members', async (form) => {
    const [from, to] = [fresh('r'), fresh('r')];
    const client = await join(node, door, form, { room_id: `live://${from}` });
    const resident = await join(node, door, form, { room_id: `live://${to}` });
    expect((await client.request(2, '', 3)).body).toEqual(Buffer.from([0, 0, 0, 1]));
    expect((await client.request(12, `live://${to}`, 13)).body.toString()).toBe(`live://${to}`);
    expect((await client.request(2, '', 3)).body).toEqual(Buffer.from([0, 0, 0, 2]));
    await push(node, 'room', `type=live&room=${from}`, 'to the old one');
    await push(node, 'room', `type=live&room=${to}`, 'to the new one');
    await Promise.all([client.messageCount(1), resident.messageCount(1)]);
    expect([client.texts, resident.texts]).toEqual([['to the new one'], ['to the new one']]);
    await Promise.all([client.close(), resident.close()]);
  });
});

describe.each(DOORS)('the watch set on $name', (door) => {
  it.each(FORMS)('of a %s client follows auth, op 14 and op 16, and decides about pushes to all', async (form) => {
    const client = await join(node, door, form, { accepts: [1201] });
    expect((await client.request(14, '1202,1203', 15)).body.toString()).toBe('1202,1203');
    expect((await client.request(16, '1201', 17)).body.toString()).toBe('1201');
    for (const op of [1201, 1202, 1203, 1204]) await push(node, 'all', 'speed=0', `op ${op}`, op);
    await client.messageCount(2);
    // One more, so that a stray one before it would be seen.
    await push(node, 'all', 'speed=0', 'the last one', 1203);
    await client.messageCount(3);
    expect(client.messages.map(({ op, text }) => [op, text])).toEqual([
      [1202, 'op 1202'],
      [1203, 'op 1203'],
      [1203, 'the last one'],
    ]);
    await client.close();
  });
});

describe.each(DOORS)('the application behind $name', (door) => {
  it.each(FORMS)('answers a %s client, at once and later, in order, and pushes to it', async (form) => {
    const client = await join(node, door, form);
    const bodies = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(1 + index * 50));
    const seqs = bodies.map((body, index) => client.send(index % 3 === 0 ? APP_OP.ECHO_LATER : APP_OP.ECHO, body));
    await client.waitFor(() => client.packets.length > bodies.length || undefined, 'all echoes');
    expect(client.packets.slice(1).map(({ seq, body }) => [seq, body.toString()])).toEqual(
      bodies.map((body, index) => [seqs[index], body]),
    );
    expect((await client.request(APP_OP.PUSH_BACK, 'up and down')).body.toString()).toBe('pushed');
    expect((await client.messageCount(1)).map(({ op, text }) => [op, text])).toEqual([[PUSHED_BACK_OP, 'up and down']]);
    await client.close();
  });
});

const NO_PACKETS = [
  ['bytes that mean nothing', Buffer.alloc(16, 0xff)],
  ['text', Buffer.from('GET /sub HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['a header length of 17', Buffer.from('00000010001100010000000400000001', 'hex')],
] as const;

describe.each(DOORS)('a packet that is none on $name', (door) => {
  const cases = FORMS.flatMap((form) => NO_PACKETS.map(([what, bytes]) => [what, form, bytes] as const));

  it.each(cases)('(%s) ends a %s client with 3502, or is refused where it is a request of its own', async (...row) => {
    const [, form, bytes] = row;
    const client = await join(node, door, form);
    client.sendRaw(bytes);
    if (door.isHttp) {
      await client.waitFor(() => client.refusals[0], 'the refusal');
      expect(client.refusals).toEqual([{ status: 400, code: CLOSE.MALFORMED.code }]);
      // It has not ended the session.
      expect((await client.request(APP_OP.ECHO, 'still here')).body.toString()).toBe('still here');
      await client.close();
    } else {
      expect(await client.closing()).toMatchObject({
        code: client.toldOf(CLOSE.MALFORMED.code),
        ...whereTold(client, { reconnect: false }),
      });
    }
  });

  it.each(FORMS)('but too large ends a %s client with 3503', async (form) => {
    const client = await join(node, door, form);
    client.sendRaw(encodePacket(PUSH_OP, 5, 1, Buffer.alloc(BODY_BYTES + 1)));
    expect(await client.closing()).toMatchObject({
      code: client.toldOf(CLOSE.TOO_LARGE.code),
      ...whereTold(client, { reconnect: false }),
    });
    if (door.isHttp) {
      await eventually(() => client.refusals.length > 0);
      expect(client.refusals).toEqual([{ status: 413, code: CLOSE.TOO_LARGE.code }]);
    }
  });
});
