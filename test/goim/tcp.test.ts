/**
 * goim's wire on TCP: golden bytes (facts/goim.md 1.6), the framing of a stream (1.1, 1.2) and goim's own benchmark client,
 * on the running program.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  GoimBenchClient,
  GoimTcpSocket,
  type HalleyProcess,
  post,
  pushRoom,
  startHalley,
  tcpPacket,
  WireClient,
} from '../kit/index.js';
import { hex, packet, packetSaying } from './packets.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

let keyCount = 0;
/** Authenticated, with a key of its own; the auth reply is packet 0. */
function login(auth: object = {}): Promise<GoimTcpSocket> {
  keyCount += 1;
  return GoimTcpSocket.login(halley.tcpPort, { mid: 1, key: `tcp-${keyCount}`, ...auth });
}

describe('golden bytes of a real goim server on TCP', () => {
  it('answers auth with ver 7 and seq 42 with exactly 16 bytes', async () => {
    const client = await GoimTcpSocket.open(halley.tcpPort);
    client.write(packet(7, 42, '{"mid":1,"key":"tcp-golden-auth"}', 7));
    expect((await client.packetAt(0)).raw).toEqual(hex('0000001000100007000000080000002a'));
    client.destroy();
  });

  it('answers a heartbeat with ver 3 and seq 5 with the online count 1', async () => {
    const client = await login({ room_id: 'tcp-golden://beat' });
    client.write(hex('00000010 0010 0003 00000002 00000005'));
    expect((await client.packetAt(1)).raw).toEqual(hex('0000001400100003000000030000000500000001'));
    client.destroy();
  });

  it('answers op 4 with op 4, the same seq and no body', async () => {
    const client = await login();
    client.write(packet(4, 77, 'hello'));
    expect((await client.packetAt(1)).raw).toEqual(hex('0000001000100001000000040000004d'));
    client.destroy();
  });

  it('pushes op 1000 with the body {"test":1} as the bare packet', async () => {
    const client = await login({ key: 'tcp-golden-push', accepts: [1000] });
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=tcp-golden-push`, '{"test":1}');
    expect((await client.packetAt(1)).raw).toEqual(hex('0000001a00100001000003e8000000007b2274657374223a317d'));
    client.destroy();
  });

  it('pushes a room batch as bare packets too, the ones that a WebSocket member gets inside op 9', async () => {
    const room = 'tcp-golden://batch';
    const client = await login({ room_id: room });
    const web = await WireClient.connect(halley.wsUrl, { mid: 2, key: 'tcp-web', roomId: room });
    const bodies = ['aa', 'bb', 'cc', 'x'.repeat(40_000), 'dd'];
    await post(
      `${halley.httpUrl}/halley/push/batch`,
      bodies.map((body) => ({ room, op: 1000, body })),
    );
    await client.packetAt(bodies.length);
    const authReplyBytes = 16;
    expect(client.received.subarray(authReplyBytes)).toEqual(
      Buffer.concat(bodies.map((body) => packet(1000, 0, body))),
    );
    await web.messageCount(bodies.length);
    expect(web.messages.map(({ text }) => text)).toEqual(bodies);
    client.destroy();
    await web.close();
  });

  it('gives an extended client op 26 as it is', async () => {
    const room = 'tcp-golden://extended';
    const client = await login({ halley: 1, room_id: room });
    await pushRoom(halley.httpUrl, room, 'in a batch');
    const batch = await client.packetAt(1);
    expect([batch.op, batch.body.subarray(2, 2 + room.length).toString()]).toEqual([26, room]);
    expect(batch.body.subarray(-10).toString()).toBe('in a batch');
    client.destroy();
  });

  it('does not answer op 9 from a client, where the WebSocket gives a bare header', async () => {
    const client = await login();
    client.write(Buffer.concat([packet(9, 1, 'a batch'), packet(4, 2)]));
    await client.packetAt(1);
    expect(client.packets().map(({ op, seq }) => [op, seq])).toEqual([
      [8, 1],
      [4, 2],
    ]);
    client.destroy();
  });
});

describe('the stream', () => {
  const REQUESTS = Buffer.concat([
    tcpPacket(7, 1, '{"mid":1,"key":"tcp-split","room_id":"tcp-split://1"}'),
    tcpPacket(4, 2, 'hello'),
    tcpPacket(14, 3, '1000,1001'),
    tcpPacket(2, 4),
  ]);
  const ANSWERS = [
    [8, 1, ''],
    [4, 2, ''],
    [15, 3, '1000,1001'],
    [3, 4, '\0\0\0\x01'],
  ];

  it.each([1, 7, 16, 17, 4_096])('may come in pieces of %i bytes', async (pieceBytes) => {
    const client = await GoimTcpSocket.open(halley.tcpPort);
    for (let offset = 0; offset < REQUESTS.length; offset += pieceBytes) {
      client.write(REQUESTS.subarray(offset, offset + pieceBytes));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.packetAt(3);
    expect(client.packets().map(({ op, seq, body }) => [op, seq, body.toString('latin1')])).toEqual(ANSWERS);
    client.destroy();
  });

  // goim W6 and W18: eight pipelined requests ended the connection, and large ones were answered with each other's bodies.
  it('may hold many pipelined requests, each answered with its own body', async () => {
    const client = await login();
    const bodies = Array.from({ length: 40 }, (_, index) => `${index},`.repeat(800));
    client.write(Buffer.concat(bodies.map((body, index) => packet(16, index, body))));
    await client.packetAt(bodies.length);
    expect(
      client
        .packets()
        .slice(1)
        .map(({ seq, body }) => [seq, body.toString()]),
    ).toEqual(bodies.map((body, index) => [index, body]));
    client.destroy();
  });

  it.each([15, 1, 0, -1, -2_147_483_648])(
    'takes a length of %i as an empty body of exactly 16 bytes',
    async (declared) => {
      const client = await login();
      client.write(Buffer.concat([packetSaying(declared, 4, 5), packet(4, 6)]));
      await client.packetAt(2);
      expect(client.packets().map(({ seq }) => seq)).toEqual([1, 5, 6]);
      client.destroy();
    },
  );

  it.each([
    ['a header length of 17', hex('00000010 0011 0001 00000004 00000001')],
    ['a body of 4097 bytes', packet(4, 1, 'x'.repeat(4_097))],
    ['the announcement of a body beyond every limit', packetSaying(2_147_483_647, 30, 1)],
    ['a good packet and then text', Buffer.concat([packet(4, 1), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')])],
  ])('ends with %s', async (_, bytes) => {
    const client = await login();
    client.write(bytes);
    await client.ended();
    client.destroy();
  });

  it.each([
    ['is no packet', Buffer.from('GET /sub HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['is auth without JSON', packet(7, 1, 'not JSON')],
  ])('ends before auth where it %s', async (_, bytes) => {
    const client = await GoimTcpSocket.open(halley.tcpPort);
    client.write(bytes);
    await client.ended();
    expect(client.received).toHaveLength(0);
    client.destroy();
  });

  it('answers what came before the client closed its side, and then closes its own', async () => {
    const client = await login();
    client.socket.end(packet(4, 9, 'the last words'));
    await client.ended();
    expect(client.packets().map(({ op, seq }) => [op, seq])).toEqual([
      [8, 1],
      [4, 9],
    ]);
    client.destroy();
  });
});

describe('a channel on TCP', () => {
  it('is found by key, mid and room, changes rooms, and is told from one on the WebSocket by nothing', async () => {
    const client = await login({ key: 'tcp-any', mid: 77, room_id: 'tcp-any://1', accepts: [1000] });
    await post(`${halley.httpUrl}/goim/push/mids?operation=1000&mids=77`, 'by mid');
    await client.packetAt(1);
    client.write(packet(12, 2, 'tcp-any://2'));
    await client.packetAt(2);
    await pushRoom(halley.httpUrl, 'tcp-any://1', 'to the room it left');
    await pushRoom(halley.httpUrl, 'tcp-any://2', 'to its room');
    await post(`${halley.httpUrl}/goim/push/all?operation=1000&speed=0`, 'to all');
    await client.packetAt(4);
    expect(client.packets().map(({ body }) => body.toString())).toEqual([
      '',
      'by mid',
      'tcp-any://2',
      'to its room',
      'to all',
    ]);
    client.destroy();
  });

  it('hears op 6 before the FIN where it is extended, and only the FIN where it is not', async () => {
    const extended = await login({ key: 'tcp-kicked', halley: 1 });
    const plain = await login({ key: 'tcp-kicked-plain' });
    await post(`${halley.httpUrl}/halley/disconnect`, { keys: ['tcp-kicked', 'tcp-kicked-plain'], code: 3501 });
    await Promise.all([extended.ended(), plain.ended()]);
    expect(extended.packets().map(({ op }) => op)).toEqual([8, 6]);
    expect(JSON.parse(extended.packets()[1]?.body.toString() ?? '')).toMatchObject({ code: 3501, reconnect: false });
    expect(plain.packets().map(({ op }) => op)).toEqual([8]);
    expect([extended.errorCode, plain.errorCode]).toEqual([undefined, undefined]);
    extended.destroy();
    plain.destroy();
  });

  it('leaves nothing behind and no log line when the client resets the connection', async () => {
    const before = halley.output().length;
    const clients = await Promise.all(Array.from({ length: 20 }, () => login({ room_id: 'tcp-reset://1' })));
    for (const client of clients) client.socket.resetAndDestroy();
    const witness = await login({ room_id: 'tcp-reset://1' });
    let asked = 0;
    await eventually(async () => {
      asked += 1;
      witness.write(packet(2, asked));
      return (await witness.packetAt(asked)).body.readInt32BE(0) === 1;
    });
    expect(halley.output().slice(before)).toBe('');
    witness.destroy();
  });
});

describe("goim's benchmark client", () => {
  it('runs unchanged: a room of them gets every push, and heartbeats keep them', async () => {
    // Its read deadline is a quarter more, so a busy machine needs room.
    const heartbeatMs = 2_000;
    const clients = Array.from(
      { length: 20 },
      (_, index) => new GoimBenchClient(halley.tcpPort, index + 1, heartbeatMs),
    );
    await eventually(() => clients.every(({ heartbeatReplyCount }) => heartbeatReplyCount > 0));
    const wanted: string[] = [];
    while (wanted.length < 30 || clients.some(({ heartbeatReplyCount }) => heartbeatReplyCount < 3)) {
      const body = JSON.stringify({ test: wanted.length });
      await pushRoom(halley.httpUrl, 'test://1', body);
      wanted.push(body);
      expect(clients.filter(({ ending }) => ending !== undefined)).toEqual([]);
    }
    await eventually(() => clients.every(({ downCount }) => downCount === wanted.length));
    for (const { bodies, ending } of clients) expect([ending, bodies]).toEqual([undefined, wanted]);
    for (const client of clients) client.stop();
  });
});

it('stops while clients are connected, extended ones being told, and a half-open handshake does not hold it', async () => {
  const own = await startHalley();
  const stranger = connect(own.tcpPort, '127.0.0.1');
  await once(stranger, 'connect');
  stranger.on('error', () => {});
  const extended = await GoimTcpSocket.login(own.tcpPort, { mid: 1, key: 'tcp-stop', halley: 1 });
  expect(await own.stop()).toBe(0);
  await extended.ended();
  expect(extended.packets().map(({ op }) => op)).toEqual([8, 6]);
  stranger.destroy();
  extended.destroy();
});
