/**
 * goim's wire on a WebSocket: golden bytes and the table of operations (facts/goim.md 1.4 and 1.6), on the running program.
 * Framing, auth, pushes and deadlines have files of their own beside this one.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, type HalleyProcess, post, pushRoom, RawSocket, startHalley, WireClient } from '../kit/index.js';
import { hex, packet, rawLogin } from './packets.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

describe('golden bytes of a real goim server', () => {
  it('answers auth with ver 7 and seq 42 with exactly 16 bytes', async () => {
    const raw = await RawSocket.upgrade(halley.wsPort);
    raw.frame(packet(7, 42, '{"mid":1,"key":"golden-auth"}', 7));
    expect((await raw.frameAt(0)).raw).toEqual(hex('8210 0000001000100007000000080000002a'));
    raw.destroy();
  });

  it('answers a heartbeat with ver 3 and seq 5 with the online count 1', async () => {
    const raw = await rawLogin(halley.wsPort, '{"mid":1,"key":"golden-beat","room_id":"golden://beat"}');
    raw.frame(hex('00000010 0010 0003 00000002 00000005'));
    expect((await raw.frameAt(1)).raw).toEqual(hex('8214 0000001400100003000000030000000500000001'));
    raw.destroy();
  });

  it('answers op 4 with op 4, the same seq and no body', async () => {
    const raw = await rawLogin(halley.wsPort, '{"mid":1,"key":"golden-send"}');
    raw.frame(packet(4, 77, 'hello'));
    expect((await raw.frameAt(1)).raw).toEqual(hex('8210 0000001000100001000000040000004d'));
    raw.destroy();
  });

  it('pushes op 1000 with the body "one" as one frame: outer op 9, then the packet', async () => {
    const raw = await rawLogin(halley.wsPort, '{"mid":1,"key":"golden-push","accepts":[1000]}');
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=golden-push`, 'one');
    expect((await raw.frameAt(1)).raw).toEqual(
      hex('8223 00000023001000010000000900000000 0000001300100001000003e800000000 6f6e65'),
    );
    raw.destroy();
  });

  it('heads a room batch of three 18-byte packets as goim does', async () => {
    const raw = await rawLogin(halley.wsPort, '{"mid":1,"key":"golden-batch","room_id":"golden://batch"}');
    const three = ['aa', 'bb', 'cc'].map((body) => ({ room: 'golden://batch', op: 1000, body }));
    const inner = Buffer.concat(three.map(({ body }) => packet(1000, 0, body)));
    // The bucket may wake up between two of the three, so it is asked again until all stood in one batch.
    const batch = await eventually(async () => {
      const before = raw.frames().length;
      await post(`${halley.httpUrl}/halley/push/batch`, three);
      await eventually(() => raw.received.subarray(-18).equals(packet(1000, 0, 'cc')) && raw.frames().length > before);
      return raw.frames().find((frame) => frame.payload.length === 70);
    });
    expect(batch.payload.subarray(0, 16)).toEqual(hex('00000046001000010000000900000000'));
    expect(batch.payload.subarray(16)).toEqual(inner);
    raw.destroy();
  });

  it('sends every frame whole, binary and unmasked', async () => {
    const raw = await rawLogin(halley.wsPort, '{"mid":1,"key":"frames","room_id":"golden://frames"}');
    raw.frame(packet(2, 1));
    await pushRoom(halley.httpUrl, 'golden://frames', 'x'.repeat(300));
    await raw.frameAt(2);
    for (const frame of raw.frames()) expect(frame).toMatchObject({ fin: true, opCode: 2, isMasked: false });
    raw.destroy();
  });
});

describe('operations of an authenticated client', () => {
  let client: WireClient;
  beforeAll(async () => {
    client = await WireClient.connect(halley.wsUrl, { mid: 5, key: 'ops', roomId: 'ops://1' });
  });
  afterAll(() => client.close());

  it.each([
    [2, 3, '', '\0\0\0\x01'],
    [2, 3, 'the body of a heartbeat is ignored', '\0\0\0\x01'],
    [3, 3, '', '\0\0\0\x01'],
    [4, 4, 'hello', ''],
    [7, 7, '{"mid":6,"key":"other"}', ''],
    [7, 7, 'not even JSON', ''],
    [9, 9, 'a batch from a client', ''],
    [12, 13, 'ops://1', 'ops://1'],
    [14, 15, '1000,1001', '1000,1001'],
    [14, 15, 'no list, echoed all the same', 'no list, echoed all the same'],
    [16, 17, '1000,1001', '1000,1001'],
    [16, 17, '', ''],
  ])('op %i is answered with op %i (%j -> %j)', async (op, replyOp, body, replyBody) => {
    const before = client.packets.length;
    const reply = await client.request(op, body, replyOp);
    expect(reply.body.toString('latin1')).toBe(replyBody);
    expect(client.packets).toHaveLength(before + 1);
  });

  it.each([0, 1, 5, 6, 8, 10, 11, 13, 15, 17, 18, 20, 23, 26, 30, 31, 999, 1000, 2_147_483_647, -1, -2_147_483_648])(
    'op %i is answered with the same op and no body',
    async (op) => {
      const before = client.packets.length;
      expect((await client.request(op, 'a body')).body).toHaveLength(0);
      expect(client.packets).toHaveLength(before + 1);
    },
  );

  it.each([
    [1, 1],
    [0, 0],
    [-1, -1],
    [32_767, 2_147_483_647],
    [-32_768, -2_147_483_648],
  ])('copies ver %i and seq %i into every kind of reply', async (ver, seq) => {
    for (const [op, replyOp] of [
      [2, 3],
      [4, 4],
      [12, 13],
      [14, 15],
      [16, 17],
    ] as const) {
      const from = client.packets.length;
      client.send(op, op === 12 ? 'ops://1' : '', seq, ver);
      expect(await client.expect(replyOp, from)).toMatchObject({ ver, seq });
    }
  });

  it('leaves a client what it was when it sends op 7 a second time', async () => {
    await client.request(7, '{"mid":6,"key":"other","room_id":"ops://2"}');
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=other`, 'to the second key');
    await pushRoom(halley.httpUrl, 'ops://2', 'to the second room');
    await pushRoom(halley.httpUrl, 'ops://1', 'to the first room');
    await client.messageCount(1);
    expect(client.messages.map((message) => message.text)).toEqual(['to the first room']);
  });
});

describe('packets before auth', () => {
  it('are ignored and not answered, and auth still succeeds', async () => {
    const client = await WireClient.open(halley.wsUrl);
    for (const op of [2, 3, 4, 9, 12, 14, 16, 18, 1000]) client.send(op, 'before://auth');
    client.send(7, '{"mid":1,"key":"patient"}', 99);
    client.send(2, '', 100);
    await client.expect(3);
    expect(client.packets.map(({ op, seq }) => [op, seq])).toEqual([
      [8, 99],
      [3, 100],
    ]);
    expect(client.packets[1]?.body).toEqual(hex('00000000'));
    await client.close();
  });

  it('that come behind the auth packet in the same message wait for its answer, in order', async () => {
    const client = await WireClient.open(halley.wsUrl);
    client.sendRaw(
      Buffer.concat([
        packet(2, 1),
        packet(7, 2, '{"mid":1,"key":"hasty","room_id":"hasty://1"}'),
        packet(4, 3, 'early'),
        packet(2, 4),
      ]),
    );
    await client.expect(3);
    expect(client.packets.map(({ op, seq }) => [op, seq])).toEqual([
      [8, 2],
      [4, 3],
      [3, 4],
    ]);
    await client.close();
  });
});

describe('ChangeRoom', () => {
  it('moves the one room of a channel, and an empty body leaves it', async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 7, key: 'mover', roomId: 'move://1' });
    const witness = await WireClient.connect(halley.wsUrl, { mid: 8, key: 'witness', accepts: [1] });
    await client.request(12, 'move://2', 13);
    await pushRoom(halley.httpUrl, 'move://1', 'to the room it left');
    await pushRoom(halley.httpUrl, 'move://2', 'to its new room');
    expect((await client.messageCount(1))[0]?.text).toBe('to its new room');
    await client.request(12, '', 13);
    expect((await client.request(2, '', 3)).body).toEqual(hex('00000000'));
    await pushRoom(halley.httpUrl, 'move://2', 'to nobody');
    await client.request(12, 'move://1', 13);
    await pushRoom(halley.httpUrl, 'move://1', 'back again');
    await client.messageCount(2);
    expect(client.messages.map((message) => message.text)).toEqual(['to its new room', 'back again']);
    expect(witness.messages).toHaveLength(0);
    await client.close();
    await witness.close();
  });

  it.each([
    ['longer than limits.room_id_bytes', Buffer.from(`bad://${'x'.repeat(251)}`)],
    ['that holds a control character', Buffer.from('bad://\u0007')],
    ['that is not UTF-8', Buffer.from([0x62, 0xff, 0xfe])],
  ])('to an id %s is echoed and changes nothing', async (_, id) => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 7, key: 'stayer', roomId: 'stay://1' });
    expect((await client.request(12, id, 13)).body).toEqual(id);
    await pushRoom(halley.httpUrl, 'stay://1', 'still here');
    expect((await client.messageCount(1))[0]?.text).toBe('still here');
    await client.close();
  });

  it('takes any id that is a name, type or not, and up to 256 bytes', async () => {
    const longest = `long://${'é'.repeat(124)}x`;
    expect(Buffer.byteLength(longest)).toBe(256);
    const client = await WireClient.connect(halley.wsUrl, { mid: 7, key: 'namer', roomId: 'plain' });
    expect((await client.request(2, '', 3)).body).toEqual(hex('00000001'));
    await client.request(12, longest, 13);
    await pushRoom(halley.httpUrl, longest, 'long');
    expect((await client.messageCount(1))[0]?.text).toBe('long');
    await client.close();
  });
});
