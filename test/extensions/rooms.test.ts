/** Extended channels and their rooms: op 8, JoinRooms, LeaveRooms, ChangeRoom, in both codecs; what goim channels see of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBody } from '../../src/protocol/index.js';
import { get, type HalleyProcess, nodeEmpty, post, pushRoom, startHalley, WireClient } from '../kit/index.js';
import { join, leave, roomRows, welcomeOf } from './replies.js';

const ROOMS_PER_CHANNEL = 5;
let halley: HalleyProcess;
let keyCount = 0;
beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_LIMITS_ROOMS_PER_CHANNEL: String(ROOMS_PER_CHANNEL) } });
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

function extended(auth: Parameters<typeof WireClient.connect>[1] = {}): Promise<WireClient> {
  keyCount += 1;
  return WireClient.connect(halley.wsUrl, { mid: 1, key: `rooms-${keyCount}`, extended: true, ...auth });
}

async function countOf(id: string): Promise<number> {
  return (await get(`${halley.httpUrl}/goim/online/room?type=r&rooms=${id}`)).data[id];
}

describe('op 8', () => {
  it.each(['json', 'msgpack'] as const)('tells key, heartbeat and where every room stands, in %s', async (codec) => {
    const witness = await extended({ roomId: 'r://stand' });
    await pushRoom(halley.httpUrl, 'r://stand', 'one');
    await pushRoom(halley.httpUrl, 'r://stand', 'two');
    await witness.messageCount(2);
    const client = await extended({ key: 'named', roomId: 'r://stand', rooms: ['r://new', 'r://stand'], codec });
    const welcome = await welcomeOf(client, codec);
    expect(welcome).toEqual({
      key: 'named',
      heartbeat_s: 240,
      reconnect_window_ms: 10_000,
      rooms: [
        { room: 'r://stand', epoch: witness.messages[0]?.epoch, offset: 2 },
        { room: 'r://new', epoch: expect.any(Number), offset: 0 },
      ],
    });
    await client.close();
    await witness.close();
  });

  it('repeats the interval that the client asked for', async () => {
    const client = await extended({ heartbeatS: 30 });
    expect((await welcomeOf(client)).heartbeat_s).toBe(30);
    await client.close();
  });

  it('is empty for a goim channel, whose further rooms are unknown members', async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'plain', rooms: ['r://ignored'] });
    expect((await client.expect(8)).body).toHaveLength(0);
    expect(await countOf('ignored')).toBe(0);
    await client.close();
  });
});

describe('JoinRooms and LeaveRooms', () => {
  it('answer every room in the order asked, and pushes follow', async () => {
    const client = await extended();
    const joined = await join(client, 'r://a', 'r://b');
    expect(joined.map(({ room, offset, error }) => [room, offset, error])).toEqual([
      ['r://a', 0, undefined],
      ['r://b', 0, undefined],
    ]);
    await pushRoom(halley.httpUrl, 'r://b', 'to b');
    expect((await client.messageCount(1))[0]).toMatchObject({ room: 'r://b', offset: 1, epoch: joined[1]?.epoch });
    expect(await leave(client, 'r://b', 'r://a')).toEqual([
      { room: 'r://b', epoch: joined[1]?.epoch, offset: 1 },
      { room: 'r://a', epoch: joined[0]?.epoch, offset: 0 },
    ]);
    expect([await countOf('a'), await countOf('b')]).toEqual([0, 0]);
    await client.close();
  });

  it('take a room once: joining again answers where it stands, leaving again is an error', async () => {
    const client = await extended();
    const [first] = await join(client, 'r://once');
    expect(await join(client, 'r://once', 'r://once')).toEqual([first, first]);
    expect(await countOf('once')).toBe(1);
    await pushRoom(halley.httpUrl, 'r://once', 'once');
    await client.messageCount(1);
    await leave(client, 'r://once');
    expect(client.messages).toHaveLength(1);
    expect(await leave(client, 'r://once', 'r://never')).toMatchObject([
      { error: { code: 300 } },
      { error: { code: 300 } },
    ]);
    await client.close();
  });

  it('refuse what is above the limit or no room id, each room for itself', async () => {
    const client = await extended({ roomId: 'r://primary' });
    const rows = await join(client, 'r://1', '', 'r://2', `r://${'x'.repeat(300)}`, 'r://3');
    expect(rows.map(({ error }) => error?.code)).toEqual([undefined, 101, undefined, 101, undefined]);
    // The primary room does not count.
    const more = await join(client, 'r://4', 'r://5', 'r://6', 'r://1');
    expect(more.map(({ error }) => error?.code)).toEqual([undefined, undefined, 400, undefined]);
    expect(more[2]?.error).toMatchObject({ temporary: false, message: expect.stringContaining('as many rooms') });
    await leave(client, 'r://2');
    expect((await join(client, 'r://6'))[0]?.error).toBeUndefined();
    await client.close();
  });

  it.each([
    ['no JSON', 'hello'],
    ['an object', '{}'],
    ['a list of numbers', '[1]'],
    ['an empty list', '[]'],
    ['an empty body', ''],
    ['more rooms than a channel may be in', JSON.stringify(Array.from({ length: 6 }, (_, index) => `r://${index}`))],
  ])('answer a body that is %s with one row that says so, and change nothing', async (_, body) => {
    const client = await extended({ roomId: 'r://stays' });
    for (const [op, replyOp] of [
      [18, 19],
      [20, 21],
    ] as const) {
      const [row, ...others] = roomRows((await client.request(op, body, replyOp)).body);
      expect(row?.error?.code).toBe(100);
      expect(others).toHaveLength(0);
    }
    expect(await countOf('stays')).toBe(1);
    await client.close();
  });

  it('that are pipelined are answered in order and end where the last one says', async () => {
    const client = await extended();
    const seqs: number[] = [];
    for (let round = 0; round < 20; round++) {
      seqs.push(client.send(18, '["r://pipe","r://other"]'), client.send(20, '["r://pipe"]'), client.send(2));
      seqs.push(client.send(18, '["r://pipe"]'), client.send(20, '["r://other","r://pipe"]'));
    }
    seqs.push(client.send(18, '["r://pipe"]'));
    await client.waitFor(() => (client.packets.length > seqs.length ? true : undefined), 'all replies');
    expect(client.packets.slice(1).map(({ seq }) => seq)).toEqual(seqs);
    for (const { op, body } of client.packets.slice(1)) {
      if (op !== 3) for (const row of roomRows(body)) expect(row.error).toBeUndefined();
    }
    expect([await countOf('pipe'), await countOf('other')]).toEqual([1, 0]);
    await client.close();
  });

  it('speak MessagePack with a channel that asked for it', async () => {
    const client = await extended({ codec: 'msgpack' });
    const reply = await client.request(18, encodeBody('msgpack', ['r://packed', '']), 19);
    expect(roomRows(reply.body, 'msgpack')).toMatchObject([
      { room: 'r://packed', offset: 0 },
      { error: { code: 101 } },
    ]);
    const left = await client.request(20, encodeBody('msgpack', ['r://packed']), 21);
    expect(roomRows(left.body, 'msgpack')).toMatchObject([{ room: 'r://packed', offset: 0 }]);
    const json = await client.request(18, '["r://packed"]', 19);
    expect(roomRows(json.body, 'msgpack')[0]?.error?.code).toBe(100);
    await client.close();
  });
});

describe('ChangeRoom on an extended channel', () => {
  it('moves the primary room only, and the heartbeat counts that one', async () => {
    const others = await Promise.all([extended({ roomId: 'r://p2' }), extended({ roomId: 'r://p2' })]);
    const client = await extended({ roomId: 'r://p1', rooms: ['r://side'] });
    expect((await client.request(2, '', 3)).body.readInt32BE(0)).toBe(1);
    await client.request(12, 'r://p2', 13);
    expect((await client.request(2, '', 3)).body.readInt32BE(0)).toBe(3);
    for (const room of ['r://p1', 'r://side', 'r://p2']) await pushRoom(halley.httpUrl, room, room);
    await client.messageCount(2);
    expect(client.messages.map(({ room }) => room).toSorted()).toEqual(['r://p2', 'r://side']);
    await client.request(12, '', 13);
    expect((await client.request(2, '', 3)).body.readInt32BE(0)).toBe(0);
    expect([await countOf('p1'), await countOf('p2'), await countOf('side')]).toEqual([0, 2, 1]);
    for (const one of [...others, client]) await one.close();
  });

  it('makes a joined room the primary one without leaving or repeating anything', async () => {
    const client = await extended({ roomId: 'r://first', rooms: ['r://second'] });
    await pushRoom(halley.httpUrl, 'r://second', 'before');
    await client.request(12, 'r://second', 13);
    await pushRoom(halley.httpUrl, 'r://second', 'after');
    await client.messageCount(2);
    expect(client.messages.map(({ text, offset }) => [text, offset])).toEqual([
      ['before', 1],
      ['after', 2],
    ]);
    expect([await countOf('first'), await countOf('second')]).toEqual([0, 1]);
    await client.close();
  });
});

describe('extension operations', () => {
  it('that this release does not have are answered: Recover with recovered false, op 30 with UNKNOWN_METHOD', async () => {
    const client = await extended();
    const recover = await client.request(23, '{"room":"r://x","epoch":1,"offset":0}', 24);
    expect(JSON.parse(recover.body.toString())).toMatchObject({ recovered: false });
    const im = await client.request(30, '{"method":"no.such","params":{}}', 31);
    expect(JSON.parse(im.body.toString())).toMatchObject({ error: { code: 102, temporary: false } });
    await client.close();
  });

  it("from a goim channel are the application's: answered with the same op and nothing done", async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'goim', roomId: 'r://goim' });
    for (const op of [18, 20, 23, 30]) {
      expect((await client.request(op, '["r://joined"]')).body).toHaveLength(0);
    }
    expect([await countOf('joined'), await countOf('goim')]).toEqual([0, 1]);
    await client.close();
  });

  it("above 1000 are the application's on every channel", async () => {
    const client = await extended();
    expect((await client.request(1000, 'x')).body).toHaveLength(0);
    await client.close();
  });
});

describe('rooms that the backend gives and takes', () => {
  it('hold for goim and extended channels, by key and by mid, and count once per channel', async () => {
    const plain = await WireClient.connect(halley.wsUrl, { mid: 41, key: 'given-plain' });
    const more = await Promise.all([1, 2, 3].map((index) => extended({ mid: 42, key: `given-${index}` })));
    const body = { keys: ['given-plain', 'given-1', 'nobody'], mids: [42], rooms: ['r://given', 'r://given-too'] };
    const url = `${halley.httpUrl}/halley/rooms`;
    expect((await post(`${url}/join`, body)).data).toEqual({ count: 4 });
    expect([await countOf('given'), await countOf('given-too')]).toEqual([4, 4]);
    expect((await post(`${url}/join`, body)).data).toEqual({ count: 4 });
    expect(await countOf('given')).toBe(4);
    await pushRoom(halley.httpUrl, 'r://given', 'to the given room');
    for (const client of [plain, ...more]) expect((await client.messageCount(1))[0]?.text).toBe('to the given room');
    expect((await post(`${url}/leave`, { mids: [42], rooms: ['r://given'] })).data).toEqual({ count: 3 });
    expect([await countOf('given'), await countOf('given-too')]).toEqual([1, 4]);
    for (const client of [plain, ...more]) await client.close();
  });
});

it('nothing is left when everybody has gone', async () => {
  await nodeEmpty(halley.httpUrl);
});
