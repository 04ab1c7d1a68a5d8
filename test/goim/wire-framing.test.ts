/**
 * How packets lie in WebSocket messages and frames (facts/goim.md 1.1 and 1.3): lengths, limits, several packets in one
 * message, text, fragments, control frames, and the upgrade itself.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FRAME, type HalleyProcess, pushRoom, RawSocket, startHalley, WireClient } from '../kit/index.js';
import { hex, packet, packetSaying, rawLogin } from './packets.js';

let halley: HalleyProcess;
let keyCount = 0;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

function login(roomId = ''): Promise<WireClient> {
  keyCount += 1;
  return WireClient.connect(halley.wsUrl, { mid: 1, key: `framing-${keyCount}`, roomId });
}

function rawUser(): Promise<RawSocket> {
  keyCount += 1;
  return rawLogin(halley.wsPort, JSON.stringify({ mid: 1, key: `raw-${keyCount}` }));
}

describe('the length field', () => {
  it.each([0, 1, 15, 16])('of %i means an empty body, whatever follows the header', async (declaredBytes) => {
    const client = await login();
    client.sendRaw(packetSaying(declaredBytes, 12, 5));
    expect((await client.expect(13)).body).toHaveLength(0);
    client.send(2, '', 6);
    await client.expect(3);
    expect(client.packets.map(({ op }) => op)).toEqual([8, 13, 3]);
    await client.close();
  });

  it.each([-1, -2_147_483_648])('of %i closes the connection', async (declaredBytes) => {
    const client = await login();
    client.sendRaw(packetSaying(declaredBytes, 12, 5, 'body'));
    expect(await client.closing()).toEqual({ code: 3502, reason: 'BAD_LENGTH' });
    expect(client.packets.map(({ op }) => op)).toEqual([8]);
  });

  it.each([17, 20, 4112])('of %i in a message of 16 bytes closes the connection', async (declaredBytes) => {
    const client = await login();
    client.sendRaw(packetSaying(declaredBytes, 14, 5));
    expect((await client.closing()).code).toBe(3502);
    expect(client.packets.map(({ op }) => op)).toEqual([8]);
  });

  it('other than 16 for the header closes the connection', async () => {
    const client = await login();
    const bytes = packet(2, 1);
    bytes.writeInt16BE(20, 4);
    client.sendRaw(bytes);
    expect(await client.closing()).toEqual({ code: 3502, reason: 'BAD_HEADER_LENGTH' });
  });

  it.each([0, 1, 15])('cannot stand in a message of %i bytes, which closes the connection', async (messageBytes) => {
    const client = await login();
    client.sendRaw(packet(2, 1).subarray(0, messageBytes));
    expect((await client.closing()).code).toBe(3502);
  });
});

describe('the body limit', () => {
  it('lets 4096 bytes pass', async () => {
    const client = await login();
    const body = 'x'.repeat(4096);
    expect((await client.request(12, body, 13)).body.toString()).toBe(body);
    await client.close();
  });

  it.each([2, 4, 12, 14, 16, 1000])('closes with 3503 and says why when op %i brings 4097', async (op) => {
    const client = await login();
    client.send(op, 'x'.repeat(4097));
    const reason = `the body of op ${op} may have 4096 bytes: bytes=4097`;
    expect(await client.closing()).toEqual({ code: 3503, reason });
    expect(client.packets.map((reply) => reply.op)).toEqual([8]);
  });

  it('closes with 3503 as soon as the header announces more than any operation may have', async () => {
    const client = await login();
    client.sendRaw(packetSaying(2_147_483_647, 4, 1));
    expect((await client.closing()).code).toBe(3503);
  });

  it('holds for the auth body too', async () => {
    const client = await WireClient.open(halley.wsUrl);
    client.send(7, JSON.stringify({ mid: 1, key: 'fat', note: 'x'.repeat(4096) }));
    expect((await client.closing()).code).toBe(3503);
  });

  it('is for clients only: a push of 100,000 bytes arrives as one packet of 100,016', async () => {
    const client = await login('big://1');
    const body = 'b'.repeat(100_000);
    await pushRoom(halley.httpUrl, 'big://1', body);
    expect((await client.messageCount(1))[0]?.text).toBe(body);
    const outer = await client.expect(9);
    expect(outer.raw.readInt32BE(0)).toBe(100_032);
    expect(outer.raw.readInt32BE(16)).toBe(100_016);
    await client.close();
  });
});

describe('packets in messages', () => {
  it('may be several: all are answered, in order', async () => {
    const client = await login();
    client.sendRaw(Buffer.concat([packet(4, 1, 'a'), packet(14, 2, '7'), packet(12, 3, 'x'), packet(2, 4)]));
    await client.expect(3);
    expect(client.packets.slice(1).map(({ op, seq }) => [op, seq])).toEqual([
      [4, 1],
      [15, 2],
      [13, 3],
      [3, 4],
    ]);
    await client.close();
  });

  it.each([
    ['three stray bytes', Buffer.from('abc')],
    ['a whole header of nonsense', Buffer.alloc(16, 0xee)],
    ['a packet that says more than is there', packetSaying(4000, 14, 9, 'short')],
  ])('are followed by %s: the first is answered and the rest ignored, as on goim', async (_, rest) => {
    const client = await login();
    client.sendRaw(Buffer.concat([packet(4, 1, 'a'), rest]));
    client.send(2, '', 2);
    await client.expect(3);
    expect(client.packets.map(({ op }) => op)).toEqual([8, 4, 3]);
    await client.close();
  });

  it('may come as text', async () => {
    const client = await login();
    client.socket.send(packet(12, 1, 'text://room').toString('latin1'));
    expect((await client.expect(13)).body.toString()).toBe('text://room');
    await client.close();
  });
});

describe('frames', () => {
  it.each([
    ['masked with zeros', [0, 0, 0, 0]],
    ['masked with a key', [0xff, 0x00, 0x5a, 0x81]],
  ] as const)('%s are read', async (_, mask) => {
    const raw = await rawUser();
    raw.frame(packet(4, 9, 'body'), { mask });
    expect((await raw.frameAt(1)).payload).toEqual(packet(4, 9));
    raw.destroy();
  });

  it('without a mask, which RFC 6455 forbids, are never taken for a packet and reach nobody else', async () => {
    // goim reads them; uWebSockets.js takes the first four bytes for the mask, so the packet has no valid header.
    const raw = await rawUser();
    const neighbour = await rawUser();
    raw.frame(packet(4, 9, 'body body body'), { mask: null });
    // Completes the frame that the server sees: it expects four bytes more than the client sent.
    raw.write(Buffer.alloc(4));
    await raw.ended();
    expect(raw.frames().filter((frame) => frame.opCode === FRAME.BINARY)).toHaveLength(1);
    neighbour.frame(packet(4, 1));
    expect((await neighbour.frameAt(1)).payload).toEqual(packet(4, 1));
    neighbour.destroy();
  });

  it('of one byte each, a hundred of them, make one message', async () => {
    const raw = await rawUser();
    const bytes = packet(12, 3, `frag://${'f'.repeat(77)}`);
    expect(bytes).toHaveLength(100);
    for (const [index, byte] of bytes.entries()) {
      const opCode = index === 0 ? FRAME.BINARY : FRAME.CONTINUATION;
      raw.frame(Buffer.from([byte]), { opCode, fin: index === bytes.length - 1 });
      // A ping between fragments is allowed and must not disturb them.
      if (index === 50) raw.frame(Buffer.from('p'), { opCode: FRAME.PING });
    }
    await raw.frameAt(2);
    const [, pong, reply] = raw.frames();
    expect(pong).toMatchObject({ opCode: FRAME.PONG, payload: Buffer.from('p') });
    expect(reply?.payload.subarray(16)).toEqual(bytes.subarray(16));
    raw.destroy();
  });

  it('that ping are answered at once with the same payload, without waiting for a packet (goim holds the pong back)', async () => {
    const raw = await rawUser();
    raw.frame(Buffer.from('are you there'), { opCode: FRAME.PING });
    expect(await raw.frameAt(1)).toMatchObject({ opCode: FRAME.PONG, payload: Buffer.from('are you there') });
    raw.destroy();
  });

  it('that close are answered with a close frame, and the connection ends', async () => {
    const raw = await rawUser();
    raw.frame(hex('03e8'), { opCode: FRAME.CLOSE });
    expect((await raw.frameAt(1)).opCode).toBe(FRAME.CLOSE);
    await raw.ended();
  });

  it.each([
    ['a reserved bit', 0x42],
    ['an unknown opcode', 0x03],
  ])('with %s end the connection', async (_, opCode) => {
    const raw = await rawUser();
    raw.frame(packet(4, 1), { opCode });
    await raw.ended();
    expect(raw.frames().filter((frame) => frame.opCode === FRAME.BINARY)).toHaveLength(1);
  });
});

describe('the upgrade', () => {
  it('is answered with the accept key of RFC 6455', async () => {
    const raw = await RawSocket.upgrade(halley.wsPort);
    expect(raw.response).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(raw.response.toLowerCase()).toContain('upgrade: websocket');
    expect(raw.response).toContain('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    raw.destroy();
  });

  it('ignores extensions that the client offers', async () => {
    const raw = await RawSocket.upgrade(halley.wsPort, '/sub', ['Sec-WebSocket-Extensions: permessage-deflate']);
    expect(raw.response.toLowerCase()).not.toContain('sec-websocket-extensions');
    raw.destroy();
  });

  it('takes a query string, which goim does not', async () => {
    const raw = await RawSocket.upgrade(halley.wsPort, '/sub?token=abc&x=%20');
    raw.frame(packet(7, 1, '{"mid":1,"key":"query"}'));
    expect((await raw.frameAt(0)).payload).toEqual(packet(8, 1));
    raw.destroy();
  });

  it.each(['/', '/subs', '/sub/1', '/other'])('does not happen at %s', async (target) => {
    const raw = await RawSocket.upgrade(halley.wsPort, target);
    expect(raw.response).toMatch(/^HTTP\/1\.1 404 Not Found/);
    raw.destroy();
  });
});
