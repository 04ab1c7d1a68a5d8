import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type ListenOptions, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TlsOptions } from 'node:tls';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { GoimTcpSocket } from '../../../test/kit/goim-tcp-client.js';
import { CLOSE } from '../../errors/index.js';
import { encodePacket, OP } from '../../protocol/index.js';
import { probePort } from '../../push/index.js';
import { CHANNEL_FLAG, Channel, type ChannelOwner } from '../bucket/channel.js';
import { remoteAddressOf, SOCKET_ANSWER } from '../bucket/channel-socket.js';
import type { DoorHandlers } from '../bucket/door.js';
import { sharesTcpPort } from './port-sharing.js';
import { TcpListener, type TcpListenerOptions } from './tcp-listener.js';

const HOST = '127.0.0.1';
const listeners: TcpListener[] = [];
const clients: GoimTcpSocket[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  for (const listener of listeners.splice(0)) listener.closeAll();
  vi.restoreAllMocks();
});

/** A listener on a free port; every handler notes its call, then does what the test wants. */
async function listen(own: Partial<DoorHandlers> = {}, options: Partial<TcpListenerOptions> = {}) {
  const events: string[] = [];
  const channels: Channel[] = [];
  const note = <A extends unknown[]>(name: string, then: ((...args: A) => void) | undefined) => {
    return (...args: A) => {
      events.push(name);
      then?.(...args);
    };
  };
  const port = options.port ?? (await probePort(HOST, 0, 'tcp_port'));
  const listener = new TcpListener(
    {
      host: HOST,
      port,
      maxBackpressureBytes: 65_536,
      maxBodyBytes: 4_096,
      sharesPort: false,
      handshakeTimeoutMs: 5_000,
      ...options,
    },
    {
      create: () => {
        events.push('create');
        if (own.create !== undefined) return own.create();
        const channel = new Channel({} as ChannelOwner);
        channels.push(channel);
        return channel;
      },
      open: note('open', own.open),
      message: note('message', own.message),
      dropped: note('dropped', own.dropped),
      ping: note('ping', own.ping),
      drain: note('drain', own.drain),
      close: note('close', own.close),
      onError: note('error', own.onError),
    },
  );
  listeners.push(listener);
  await listener.listen();
  return { listener, port, events, channels };
}

async function client(port: number): Promise<GoimTcpSocket> {
  const own = await GoimTcpSocket.open(port);
  clients.push(own);
  return own;
}

const packet = (seq: number, body = '') => encodePacket(1000, seq, 1, Buffer.from(body));
const batch = (...packets: Uint8Array[]) => encodePacket(OP.RAW, 0, 1, Buffer.concat(packets));

describe('the TCP listener', () => {
  it('calls the handlers in the life of a socket, with the channel that create() made and one packet at a time', async () => {
    const seen: unknown[] = [];
    const { port, events, channels } = await listen({
      message: (channel, bytes, isBinary) => void seen.push([channel, Buffer.from(bytes).toString('hex'), isBinary]),
    });
    const own = await client(port);
    own.write(Buffer.concat([packet(1), packet(2, 'x')]));
    await eventually(() => seen.length === 2);
    expect(seen).toEqual(
      [packet(1), packet(2, 'x')].map((bytes) => [channels[0], Buffer.from(bytes).toString('hex'), true]),
    );
    expect(remoteAddressOf(channels[0]!.socket!)).toBe('127.0.0.1');
    own.socket.end();
    await eventually(() => events.includes('close'));
    expect(events).toEqual(['create', 'open', 'message', 'message', 'close']);
  });

  it('gives a handler that keeps bytes a copy when it slices', async () => {
    const kept: Uint8Array[] = [];
    const { port } = await listen({ message: (_, bytes) => void kept.push(bytes.slice(16, 17)) });
    (await client(port)).write(Buffer.concat([packet(1, 'a'), packet(2, 'b')]));
    await eventually(() => kept.length === 2);
    expect(kept.map((bytes) => [bytes[0], bytes.buffer.byteLength])).toEqual([
      [0x61, 1],
      [0x62, 1],
    ]);
  });

  it('strips the outer header of plain pushes, published or sent, and of nothing else', async () => {
    const { listener, port, channels } = await listen({
      open: ({ socket }) => {
        for (const topic of ['proom', 'xroom']) socket?.subscribe(topic);
      },
    });
    const own = await client(port);
    await eventually(() => channels.length === 1);
    const socket = channels[0]!.socket!;
    const extended = encodePacket(OP.BATCH, 0, 1, Buffer.from('room'));
    const answer = encodePacket(OP.RAW, 3, 1, Buffer.from('an answer of an application to op 9'));
    listener.publish('proom', batch(packet(1), packet(2)));
    listener.publish('xroom', extended);
    expect(socket.send(batch(packet(3)))).toBe(SOCKET_ANSWER.SENT);
    expect(socket.send(encodePacket(OP.RAW, 4, 1))).toBe(SOCKET_ANSWER.SENT);
    expect(socket.send(answer)).toBe(SOCKET_ANSWER.SENT);
    expect(socket.send(batch(packet(5)), false)).toBe(SOCKET_ANSWER.SENT);
    expect(socket.ping(new Uint8Array(0))).toBe(SOCKET_ANSWER.SENT);
    const wanted = Buffer.concat([packet(1), packet(2), extended, packet(3), answer, batch(packet(5))]);
    await eventually(() => own.received.length >= wanted.length);
    expect(own.received).toEqual(wanted);
  });

  it('writes what a turn brings to a socket at once, and keeps no hold of the bytes it was given', async () => {
    const { listener, port, channels } = await listen({ open: ({ socket }) => void socket?.subscribe('xroom') });
    const own = await client(port);
    await eventually(() => channels.length === 1);
    const chunks: number[] = [];
    own.socket.on('data', (chunk: Buffer) => void chunks.push(chunk.length));
    const pooled = new Uint8Array(packet(1, 'first'));
    listener.publish('xroom', pooled);
    channels[0]!.socket!.send(pooled);
    pooled.fill(0);
    listener.publish('xroom', packet(2, 'second'));
    await eventually(() => own.packets().length === 3);
    expect(own.packets().map(({ body }) => body.toString())).toEqual(['first', 'first', 'second']);
    expect(chunks).toEqual([21 + 21 + 22]);
  });

  it('publishes to the members of a topic, and not to who has left it or has gone', async () => {
    const { listener, port, channels } = await listen({ open: ({ socket }) => void socket?.subscribe('xroom') });
    const members = [await client(port), await client(port), await client(port)];
    await eventually(() => channels.length === 3);
    channels[1]?.socket?.unsubscribe('xroom');
    channels[2]?.socket?.close();
    listener.publish('xroom', packet(1));
    listener.publish('xnobody', packet(2));
    await eventually(() => members[0]?.packets().length === 1);
    expect(members.map((member) => member.packets().length)).toEqual([1, 0, 0]);
    expect(listener.topics.topicCount).toBe(1);
  });

  it('says nothing to whom it refuses', async () => {
    const { listener, port, events } = await listen({ create: () => CLOSE.OVERLOADED });
    const own = await client(port);
    await own.ended();
    expect([own.received.length, events]).toEqual([0, ['create']]);
    await eventually(() => listener.socketCount === 0);
  });
});

describe('the end of a channel', () => {
  it.each(['end', 'close'] as const)('by %s() runs the close handler inside, once', async (way) => {
    const { listener, port, events, channels } = await listen();
    const own = await client(port);
    await eventually(() => channels.length === 1);
    const socket = channels[0]!.socket!;
    if (way === 'close') socket.close();
    else socket.end(3_000, 'shutdown');
    expect(events).toEqual(['create', 'open', 'close']);
    own.socket.end();
    await own.ended();
    await eventually(() => listener.socketCount === 0);
    expect(events).toEqual(['create', 'open', 'close']);
  });

  it('in order writes what was sent before and then the FIN; what the client still sends is nobody’s', async () => {
    const { port, events, channels } = await listen();
    const own = await client(port);
    await eventually(() => channels.length === 1);
    const socket = channels[0]!.socket!;
    const large = packet(1, 'x'.repeat(3_000_000));
    socket.send(large);
    socket.send(packet(2, 'the last'));
    socket.end(3_000, 'shutdown');
    own.write(packet(3));
    await own.ended();
    expect(own.packets().map(({ seq }) => seq)).toEqual([1, 2]);
    expect([events.filter((event) => event !== 'drain'), own.errorCode]).toEqual([
      ['create', 'open', 'close'],
      undefined,
    ]);
  });

  it('waits five seconds for a client that does not read the rest, and then cuts it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { listener, port, channels } = await listen();
      const socket = connect({ port, host: HOST, allowHalfOpen: true }).on('error', () => {});
      await once(socket, 'connect');
      socket.pause();
      while (channels.length === 0) await new Promise((resolve) => setImmediate(resolve));
      channels[0]!.socket!.send(new Uint8Array(20_000_000));
      channels[0]!.socket!.end(3_000, 'shutdown');
      vi.advanceTimersByTime(4_999);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(listener.socketCount).toBe(1);
      vi.advanceTimersByTime(1);
      while (listener.socketCount > 0) await new Promise((resolve) => setImmediate(resolve));
      socket.destroy();
    } finally {
      vi.useRealTimers();
    }
  });

  it('by a reset is no error', async () => {
    const { listener, port, events, channels } = await listen();
    const own = await client(port);
    await eventually(() => channels.length === 1);
    own.socket.resetAndDestroy();
    await eventually(() => events.includes('close'));
    expect(events).toEqual(['create', 'open', 'close']);
    expect(listener.discards.counts()).toEqual({});
    expect(listener.topics.topicCount).toBe(0);
  });

  it('follows from a stream that cannot be read, should the handler leave it open', async () => {
    const { port, events } = await listen();
    const own = await client(port);
    own.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await own.ended();
    expect(events).toEqual(['create', 'open', 'message', 'close']);
  });
});

describe('a client that does not read', () => {
  it.each([4_096, 65_536])(
    'is reported above %i bytes, keeps no more, and is heard of when it has caught up',
    async (max) => {
      const recovered: Channel[] = [];
      const { listener, port, channels, events } = await listen(
        {
          open: ({ socket }) => void socket?.subscribe('xroom'),
          dropped: (channel) => {
            channel.flags |= CHANNEL_FLAG.SLOW;
          },
          drain: (channel) => {
            if (channel.socket?.getBufferedAmount() === 0) recovered.push(channel);
          },
        },
        { maxBackpressureBytes: max },
      );
      const own = await client(port);
      own.socket.pause();
      const piece = packet(1, 'x'.repeat(2_000));
      let publishCount = 0;
      await eventually(() => {
        for (let count = 0; count < 100; count++) listener.publish('xroom', piece);
        publishCount += 100;
        return events.includes('dropped');
      });
      const socket = channels[0]!.socket!;
      expect(socket.getBufferedAmount()).toBeLessThanOrEqual(2 * max + 2 * piece.length);
      expect(socket.send(piece)).toBe(SOCKET_ANSWER.DROPPED);
      // Drains of before it was slow do not count.
      recovered.length = 0;
      own.socket.resume();
      await eventually(() => recovered.length > 0);
      const whole = own.packets().length;
      expect(whole).toBeLessThan(publishCount);
      // Little is written while it is slow, below the mark above which Node tells of a drain; it is heard of all the same.
      const before = recovered.length;
      expect(socket.send(packet(2))).not.toBe(SOCKET_ANSWER.DROPPED);
      await eventually(() => recovered.length > before);
      await eventually(() => own.packets().at(-1)?.seq === 2);
      expect(own.received.length).toBe(own.packets().reduce((sum, { raw }) => sum + raw.length, 0));
    },
  );

  it('is not taken for slow because one turn brought much', async () => {
    const { listener, port, channels, events } = await listen(
      { open: ({ socket }) => void socket?.subscribe('xroom') },
      { maxBackpressureBytes: 4_096 },
    );
    const own = await client(port);
    await eventually(() => channels.length === 1);
    for (let seq = 0; seq < 20; seq++) listener.publish('xroom', packet(seq, 'x'.repeat(1_000)));
    await eventually(() => own.packets().length === 20);
    expect(events).not.toContain('dropped');
  });
});

describe('a handler that throws', () => {
  const boom = () => {
    throw new Error('boom');
  };

  it.each(['open', 'message', 'close'] as const)('in %s reaches nobody, and its channel is reported', async (name) => {
    const errors: [unknown, Channel | undefined][] = [];
    const { port, channels, events } = await listen({
      [name]: boom,
      onError: (error, channel) => void errors.push([error, channel]),
    });
    const own = await client(port);
    own.write(packet(1));
    await eventually(() => events.includes('message'));
    own.socket.end();
    await eventually(() => events.includes('close'));
    expect(errors).toEqual([[new Error('boom'), channels[0]]]);
    expect((await client(port)).isEnded).toBe(false);
  });

  it('in create costs the socket', async () => {
    const errors: unknown[] = [];
    const { port } = await listen({ create: boom, onError: (error, channel) => void errors.push([error, channel]) });
    await (await client(port)).ended();
    expect(errors).toEqual([[new Error('boom'), undefined]]);
  });

  it('in the error handler itself is discarded', async () => {
    const { listener, port, events } = await listen({ message: boom, onError: boom });
    (await client(port)).write(packet(1));
    await eventually(() => events.includes('error'));
    expect(listener.discards.counts()).toEqual({ 'error handler': 1 });
  });
});

describe('the end of a listener', () => {
  it('stops accepting, keeps what is open, and can listen again', async () => {
    const { listener, port, events } = await listen();
    const own = await client(port);
    await eventually(() => events.includes('open'));
    listener.stopAccepting();
    listener.stopAccepting();
    expect(listener.listening).toBe(false);
    await expect(client(port)).rejects.toThrow(/ECONNREFUSED/);
    own.write(packet(1));
    await eventually(() => events.includes('message'));
    await listener.listen();
    expect((await client(port)).isEnded).toBe(false);
  });

  it('makes handlers inert before everything is closed: nothing is called any more', async () => {
    const { listener, port, events } = await listen();
    const own = await client(port);
    await eventually(() => events.includes('open'));
    listener.makeInert();
    const before = [...events];
    own.write(packet(1));
    listener.closeAll();
    await own.ended();
    expect(events).toEqual(before);
  });

  it('closes every socket, those included whose channel is over', async () => {
    const { listener, port, events, channels } = await listen();
    const own = [await client(port), await client(port)];
    await eventually(() => channels.length === 2);
    channels[0]?.socket?.end(3_000, 'shutdown');
    listener.closeAll();
    await Promise.all(own.map((one) => one.ended()));
    await eventually(() => listener.socketCount === 0);
    expect(events.filter((event) => event === 'close')).toHaveLength(2);
  });

  it('is told where the port cannot be opened', async () => {
    const taken = createServer().listen(0, HOST);
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    await expect(listen({}, { port })).rejects.toMatchObject({ code: 'LISTEN_FAILED', details: { port } });
    taken.close();
  });
});

describe('one port for several buckets', () => {
  it('is asked for with reusePort where every bucket listens, and never where one owns the port', async () => {
    const asked: ListenOptions[] = [];
    const original = Server.prototype.listen;
    vi.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server, ...args: unknown[]) {
      if (listeners.length > 0) asked.push(args[0] as ListenOptions);
      return Reflect.apply(original, this, args) as Server;
    });
    const first = await listen({}, { sharesPort: true });
    const second = await listen({}, { sharesPort: false });
    const where = (port: number) => expect.objectContaining({ host: HOST, port });
    expect(asked.filter(({ port }) => port === first.port || port === second.port)).toEqual([
      where(first.port),
      where(second.port),
    ]);
    const [shared, alone] = [first.port, second.port].map((port) => asked.find((options) => options.port === port));
    expect([shared, alone].map((options) => options !== undefined && 'reusePort' in options)).toEqual([true, false]);
  });

  it.runIf(sharesTcpPort(process.versions.node, process.platform))('spreads the clients over them', async () => {
    const first = await listen({}, { sharesPort: true });
    const second = await listen({}, { sharesPort: true, port: first.port });
    for (let count = 0; count < 100; count++) await client(first.port);
    await eventually(() => first.channels.length + second.channels.length === 100);
    expect(Math.min(first.channels.length, second.channels.length)).toBeGreaterThan(0);
  });
});

describe('with TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'halley-tcp-tls-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function certificate(name: string): TlsOptions {
    const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)];
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync(
      'openssl',
      ['req', '-x509', ...ec, '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`],
      {
        stdio: 'ignore',
      },
    );
    return { key: readFileSync(key), cert: readFileSync(cert) };
  }

  async function secure(port: number): Promise<{ own: GoimTcpSocket; name: string }> {
    const socket = connectTls({ port, host: HOST, rejectUnauthorized: false });
    const own = await GoimTcpSocket.open(port, socket);
    clients.push(own);
    return { own, name: String(socket.getPeerCertificate().subject.CN) };
  }

  it('serves the same packets, tells of slow clients, and takes new certificates without a restart', async () => {
    let current = certificate('one');
    const { listener, port, channels, events } = await listen(
      {
        open: ({ socket }) => void socket?.subscribe('proom'),
        dropped: (channel) => {
          channel.flags |= CHANNEL_FLAG.SLOW;
        },
        message: (channel, bytes) => void channel.socket?.send(bytes),
      },
      { tls: () => current, maxBackpressureBytes: 4_096 },
    );
    const first = await secure(port);
    first.own.write(packet(1, 'echo'));
    expect((await first.own.packetAt(0)).body.toString()).toBe('echo');
    listener.publish('proom', batch(packet(2, 'pushed')));
    expect((await first.own.packetAt(1)).body.toString()).toBe('pushed');
    expect(remoteAddressOf(channels[0]!.socket!)).toBe('127.0.0.1');
    current = certificate('two');
    listener.reloadTls();
    const second = await secure(port);
    expect([first.name, second.name]).toEqual(['one', 'two']);
    second.own.destroy();
    first.own.socket.pause();
    await eventually(() => {
      for (let count = 0; count < 100; count++) listener.publish('proom', batch(packet(3, 'x'.repeat(1_000))));
      return events.includes('dropped');
    });
    first.own.socket.resume();
    await eventually(() => events.includes('drain') && channels[0]!.socket!.getBufferedAmount() === 0);
    channels[0]!.socket!.end(3_000, 'shutdown');
    await first.own.ended();
  });

  it('makes no channel of a client that speaks no TLS, and ends it with the rest', async () => {
    const { listener, port, events } = await listen({}, { tls: () => certificate('three') });
    const plain = await client(port);
    const silent = await client(port);
    await eventually(() => listener.socketCount === 2);
    plain.write(packet(1));
    await plain.ended();
    expect(listener.discards.counts()).toEqual({ 'TLS handshake': 1 });
    listener.closeAll();
    await silent.ended();
    await eventually(() => listener.socketCount === 0);
    expect(events).toEqual([]);
  });
});
