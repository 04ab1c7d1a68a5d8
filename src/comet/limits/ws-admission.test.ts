import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { RawSocket } from '../../../test/kit/raw-socket.js';
import { CLOSE } from '../../errors/index.js';
import { probePort } from '../../push/index.js';
import { Channel, type ChannelOwner } from '../bucket/channel.js';
import type { DoorHandlers } from '../bucket/door.js';
import { WsListener } from '../bucket/ws-listener.js';
import { notedHandlers } from '../fixtures/noted-handlers.js';
import { admissionOf } from './fixtures/admission-of.js';
import type { AdmissionOptions } from './open-admission.js';

const HOST = '127.0.0.1';
const listeners: WsListener[] = [];
const sockets: RawSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of listeners.splice(0)) listener.closeAll();
});

async function listen(options: Partial<AdmissionOptions>, own: Partial<DoorHandlers> = {}) {
  const port = await probePort(HOST, 0, 'ws_port');
  const errors: unknown[] = [];
  const { handlers, channels } = notedHandlers({
    message: (channel, bytes) => void channel.socket?.send(bytes.slice()),
    onError: (error) => void errors.push(error),
    ...own,
  });
  const { admission, counts } = admissionOf(options);
  const listener = new WsListener(
    { host: HOST, port, maxBackpressureBytes: 65_536, maxPayloadBytes: 1024 },
    handlers,
    admission,
  );
  listeners.push(listener);
  await listener.listen();
  const upgrade = async (headers: readonly string[] = [], before = '') => {
    const lines = [
      'GET /sub HTTP/1.1',
      'Host: localhost',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version: 13',
      ...headers,
      '',
      '',
    ];
    const socket = await RawSocket.request(port, Buffer.from(before + lines.join('\r\n'), 'latin1'));
    sockets.push(socket);
    return socket;
  };
  return { port, counts, channels, errors, upgrade };
}

const proxyHeader = (lastByte: number) =>
  `\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71${String.fromCharCode(lastByte)}\x0a\0\0\x01\xd9\x03\x0c\x1e`;

describe('a WebSocket that is let in', () => {
  it('answers as uWS does by itself, subprotocol included, and carries packets', async () => {
    const { upgrade } = await listen({ connectionsPerIp: 5 });
    const socket = await upgrade(['Sec-WebSocket-Protocol: goim, other']);
    expect(socket.response).toMatch(/^HTTP\/1.1 101 /);
    expect(socket.response).toMatch(/Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
    expect(socket.response).toMatch(/Sec-WebSocket-Protocol: goim(\r|$)/i);
    socket.frame(Buffer.from('hello'));
    expect((await socket.frameAt(0)).payload.toString()).toBe('hello');
  });

  it('is counted until it is gone, also where it gets no channel or its open handler throws', async () => {
    let count = 0;
    const { upgrade, counts, errors } = await listen(
      { connectionsPerIp: 5 },
      {
        create: () => {
          count += 1;
          if (count === 1) return CLOSE.OVERLOADED;
          if (count === 2) throw new Error('create');
          return new Channel({} as ChannelOwner);
        },
      },
    );
    const refused = await upgrade();
    await refused.frameAt(0);
    refused.destroy();
    const failed = await upgrade();
    await failed.frameAt(0);
    failed.destroy();
    const held = await upgrade();
    await eventually(() => counts.countOf(HOST) === 1);
    held.destroy();
    await eventually(() => counts.countOf(HOST) === 0);
    expect(errors).toEqual([expect.objectContaining({ message: 'create' })]);
  });

  it('knows its client by the proxy header, whatever other clients write', async () => {
    const { upgrade, channels } = await listen({ proxyProtocol: 'v2' });
    await upgrade([], proxyHeader(5));
    await upgrade(['X-Forwarded-For: 192.0.2.66'], proxyHeader(6));
    expect(channels.map((channel) => channel.remoteAddress())).toEqual(['203.0.113.5', '203.0.113.6']);
  });
});

describe('a PROXY protocol header', () => {
  it('of a stranger changes nothing where the protocol is off', async () => {
    const { upgrade, channels } = await listen({ connectionsPerIp: 5 });
    await upgrade([], proxyHeader(5));
    expect(channels.map((channel) => channel.remoteAddress())).toEqual([HOST]);
  });
});

describe('a WebSocket that is refused', () => {
  it('gets JSON and an end of its connection, and has cost no channel', async () => {
    const { upgrade, channels, counts } = await listen({
      allowedOrigins: ['https://example.com'],
      connectionsPerIp: 1,
    });
    const socket = await upgrade(['Origin: https://evil.test']);
    expect(socket.response).toMatch(/^HTTP\/1.1 403 Forbidden/);
    expect(socket.response).toMatch(/Content-Type: application\/json/i);
    await socket.ended();
    expect(JSON.parse(socket.received.toString())).toMatchObject({ code: CLOSE.FORBIDDEN.code, reconnect: false });
    expect([channels.length, counts.countOf(HOST)]).toEqual([0, 0]);
  });
});
