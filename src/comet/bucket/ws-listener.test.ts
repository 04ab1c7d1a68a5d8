import { once } from 'node:events';
import { get } from 'node:http';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { eventually } from '../../../test/kit/eventually.js';
import { CLOSE } from '../../errors/index.js';
import { probePort } from '../../push/index.js';
import { notedHandlers } from '../fixtures/noted-handlers.js';
import type { Channel } from './channel.js';
import type { DoorHandlers } from './door.js';
import { WsListener } from './ws-listener.js';

const HOST = '127.0.0.1';
const listeners: WsListener[] = [];
const clients: WebSocket[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.terminate();
  for (const listener of listeners.splice(0)) listener.closeAll();
});

/** A listener on a free port; every handler notes its call, then does what the test wants. */
async function listen(own: Partial<DoorHandlers> = {}, limits: { maxBackpressureBytes?: number } = {}) {
  const { handlers, events, channels } = notedHandlers(own);
  const port = await probePort(HOST, 0, 'ws_port');
  const listener = new WsListener(
    { host: HOST, port, maxBackpressureBytes: limits.maxBackpressureBytes ?? 65_536, maxPayloadBytes: 1_024 },
    handlers,
  );
  listeners.push(listener);
  await listener.listen();
  return { listener, port, events, channels };
}

interface Client {
  readonly socket: WebSocket;
  readonly received: string[];
  closed: number | undefined;
}

/** A connected client; `ended` where the server ended the connection. */
async function connect(port: number, path = '/sub'): Promise<Client> {
  const socket = new WebSocket(`ws://${HOST}:${port}${path}`, { perMessageDeflate: false });
  clients.push(socket);
  const client: Client = { socket, received: [], closed: undefined };
  socket.on('message', (data, isBinary) => void client.received.push(`${isBinary ? 'b' : 't'}:${data}`));
  socket.on('close', (code) => {
    client.closed = code;
  });
  socket.on('error', () => {});
  await once(socket, 'open');
  return client;
}

describe('the WebSocket listener', () => {
  it('calls the handlers in the life of a socket, with the channel that create() made', async () => {
    const seen: unknown[] = [];
    const { port, events, channels } = await listen({
      message: (channel, bytes, isBinary) => {
        seen.push([channel, new TextDecoder().decode(bytes), isBinary]);
        channel.socket?.send(Buffer.from('answer'), false);
      },
    });
    const client = await connect(port, '/sub?token=x');
    client.socket.send(Buffer.from('binary'));
    client.socket.send('text');
    await eventually(() => client.received.length === 2);
    expect(seen).toEqual([
      [channels[0], 'binary', true],
      [channels[0], 'text', false],
    ]);
    client.socket.close();
    await eventually(() => events.includes('close'));
    expect(events).toEqual(['create', 'open', 'message', 'message', 'close']);
  });

  it('publishes to the members of a topic', async () => {
    const { listener, port, channels } = await listen({ open: (channel) => void channel.socket?.subscribe('room') });
    const members = [await connect(port), await connect(port)];
    channels[1]?.socket?.unsubscribe('room');
    listener.publish('room', new TextEncoder().encode('hello'));
    await eventually(() => members[0]?.received.length === 1);
    expect(members.map(({ received }) => received)).toEqual([['b:hello'], []]);
  });

  it('refuses with the code it is given where no channel is to be had', async () => {
    const { port, events } = await listen({ create: () => CLOSE.OVERLOADED });
    const client = await connect(port);
    client.socket.send('nobody hears it');
    expect(await eventually(() => client.closed)).toBe(CLOSE.OVERLOADED.code);
    expect(events).toEqual(['create']);
  });

  it('answers other paths with 404 and no socket', async () => {
    const { port, events } = await listen();
    const [status, text] = await new Promise<[number | undefined, string]>((resolve, reject) => {
      get({ host: HOST, port, path: '/other' }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve([response.statusCode, body]));
      }).on('error', reject);
    });
    expect([status, text, events]).toEqual([404, '404 page not found', []]);
  });

  it('reports what uWS drops for a client that does not read, and its drain', async () => {
    const { listener, port, events } = await listen(
      { open: (channel) => void channel.socket?.subscribe('room') },
      { maxBackpressureBytes: 16_384 },
    );
    const client = await connect(port);
    client.socket.pause();
    const bytes = new Uint8Array(65_536);
    await eventually(() => {
      for (let i = 0; i < 8; i++) listener.publish('room', bytes);
      return events.includes('dropped');
    });
    client.socket.resume();
    await eventually(() => events.includes('drain'));
  });
});

// The crash rule: an exception that reaches C++ aborts the whole process, so these would take the test runner with them.
describe('a handler that throws', () => {
  const boom = () => {
    throw new Error('boom');
  };

  it.each(['open', 'message', 'close'] as const)(
    'in %s never reaches C++, and its channel is reported',
    async (name) => {
      const errors: [unknown, Channel | undefined][] = [];
      const { port, channels, events } = await listen({
        [name]: boom,
        onError: (error, channel) => void errors.push([error, channel]),
      });
      const client = await connect(port);
      client.socket.send('x');
      await eventually(() => events.includes('message'));
      client.socket.close();
      await eventually(() => client.closed !== undefined && events.includes('close'));
      expect(errors).toEqual([[new Error('boom'), channels[0]]]);
      expect((await connect(port)).closed).toBeUndefined();
    },
  );

  it('in dropped and drain never reaches C++', async () => {
    const { listener, port, events } = await listen(
      { open: (channel) => void channel.socket?.subscribe('room'), dropped: boom, drain: boom },
      { maxBackpressureBytes: 16_384 },
    );
    const client = await connect(port);
    client.socket.pause();
    await eventually(() => {
      for (let i = 0; i < 8; i++) listener.publish('room', new Uint8Array(65_536));
      return events.includes('dropped');
    });
    client.socket.resume();
    await eventually(() => events.includes('drain'));
    expect(events.filter((event) => event === 'error').length).toBeGreaterThanOrEqual(2);
  });

  // Without a channel there is no deadline either: the socket would have stayed for as long as the client liked.
  it('in create costs the socket', async () => {
    const errors: unknown[] = [];
    const { port } = await listen({ create: boom, onError: (error, channel) => void errors.push([error, channel]) });
    const client = await connect(port);
    expect(await eventually(() => client.closed)).toBe(CLOSE.INTERNAL.code);
    expect(errors).toEqual([[new Error('boom'), undefined]]);
  });

  it('in the error handler itself is discarded', async () => {
    const { port, events } = await listen({ message: boom, onError: boom });
    const client = await connect(port);
    client.socket.send('x');
    await eventually(() => events.includes('error'));
    client.socket.send('y');
    await eventually(() => events.filter((event) => event === 'error').length === 2);
    expect(client.closed).toBeUndefined();
  });
});

describe('the end of a listener', () => {
  it('stops accepting, keeps what is open, and can listen again', async () => {
    const { listener, port, events } = await listen();
    const client = await connect(port);
    expect(listener.listening).toBe(true);
    listener.stopAccepting();
    listener.stopAccepting();
    expect(listener.listening).toBe(false);
    await expect(connect(port)).rejects.toThrow(/ECONNREFUSED/);
    client.socket.send('still here');
    await eventually(() => events.includes('message'));
    await listener.listen();
    expect((await connect(port)).closed).toBeUndefined();
  });

  it('makes handlers inert before everything is closed: nothing is called any more', async () => {
    const { listener, port, events } = await listen();
    const client = await connect(port);
    listener.makeInert();
    const before = [...events];
    client.socket.send('x');
    listener.closeAll();
    await eventually(() => client.closed !== undefined);
    expect(events).toEqual(before);
  });

  it('is told where the port cannot be opened', async () => {
    const taken: Server = createServer();
    taken.listen(0, HOST);
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const listener = new WsListener(
      { host: HOST, port, maxBackpressureBytes: 1_024, maxPayloadBytes: 1_024 },
      {
        create: () => CLOSE.OVERLOADED,
        ping: () => {},
        open: () => {},
        message: () => {},
        dropped: () => {},
        drain: () => {},
        close: () => {},
        onError: () => {},
      },
    );
    await expect(listener.listen()).rejects.toMatchObject({ code: 'LISTEN_FAILED' });
    taken.close();
  });
});
