import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { batch, HOST, packet, TcpHarness } from '../../../test/kit/tcp-harness.js';
import { CLOSE } from '../../errors/index.js';
import { encodePacket, OP } from '../../protocol/index.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from '../bucket/channel.js';
import { remoteAddressOf, SOCKET_ANSWER } from '../bucket/channel-socket.js';

const tcp = new TcpHarness();
afterEach(() => tcp.close());

describe('the TCP listener', () => {
  it('calls the handlers in the life of a socket, with the channel that create() made and one packet at a time', async () => {
    const seen: unknown[] = [];
    const { port, events, channels } = await tcp.listen({
      message: (channel, bytes, isBinary) => void seen.push([channel, Buffer.from(bytes).toString('hex'), isBinary]),
    });
    const own = await tcp.client(port);
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
    const { port } = await tcp.listen({ message: (_, bytes) => void kept.push(bytes.slice(16, 17)) });
    (await tcp.client(port)).write(Buffer.concat([packet(1, 'a'), packet(2, 'b')]));
    await eventually(() => kept.length === 2);
    expect(kept.map((bytes) => [bytes[0], bytes.buffer.byteLength])).toEqual([
      [0x61, 1],
      [0x62, 1],
    ]);
  });

  it('strips the outer header of plain pushes, published or sent, and of nothing else', async () => {
    const { listener, port, channels } = await tcp.listen({
      open: ({ socket }) => {
        for (const topic of ['proom', 'xroom']) socket?.subscribe(topic);
      },
    });
    const own = await tcp.client(port);
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
    const { listener, port, channels } = await tcp.listen({ open: ({ socket }) => void socket?.subscribe('xroom') });
    const own = await tcp.client(port);
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

  it('handles what one poll has read together, in one turn, and what came in front of a FIN before the end', async () => {
    const order: string[] = [];
    const note = (what: string) => {
      order.push(what);
      queueMicrotask(() => order.push('microtask'));
    };
    const { port, channels } = await tcp.listen({
      message: (_, bytes) => note(Buffer.from(bytes.subarray(16)).toString()),
      close: () => note('close'),
    });
    const own = [await tcp.client(port), await tcp.client(port)];
    await eventually(() => channels.length === 2);
    // On the loopback interface both are there for the same poll.
    own[0]!.write(packet(1, 'a'));
    own[1]!.write(packet(1, 'b'));
    await eventually(() => order.length === 4);
    expect(order.toSorted()).toEqual(['a', 'b', 'microtask', 'microtask']);
    expect(order.slice(2)).toEqual(['microtask', 'microtask']);
    own[0]!.socket.end(packet(2, 'the last words'));
    await eventually(() => order.includes('close'));
    expect(order.slice(4).filter((what) => what !== 'microtask')).toEqual(['the last words', 'close']);
  });

  it('publishes to the members of a topic, and not to who has left it or has gone', async () => {
    const { listener, port, channels } = await tcp.listen({ open: ({ socket }) => void socket?.subscribe('xroom') });
    const members = [await tcp.client(port), await tcp.client(port), await tcp.client(port)];
    await eventually(() => channels.length === 3);
    channels[1]?.socket?.unsubscribe('xroom');
    channels[2]?.socket?.close();
    listener.publish('xroom', packet(1));
    listener.publish('xnobody', packet(2));
    await eventually(() => members[0]?.packets().length === 1);
    expect(members.map((member) => member.packets().length)).toEqual([1, 0, 0]);
    expect(listener.topics.topicCount).toBe(1);
  });

  it('holds less of an unfinished packet before auth than afterwards, whatever its operation', async () => {
    const { port, channels, events } = await tcp.listen();
    const announced = (bodyBytes: number) => encodePacket(30, 1, 1, new Uint8Array(bodyBytes)).subarray(0, 20);
    const small = await tcp.client(port);
    small.write(announced(1_024));
    const known = await tcp.client(port);
    await eventually(() => channels.length === 2);
    channels[1]!.state = CHANNEL_STATE.READY;
    known.write(announced(4_096));
    const large = await tcp.client(port);
    large.write(announced(1_025));
    await large.ended();
    expect([small.isEnded, known.isEnded]).toEqual([false, false]);
    // The handler hears of it by the header of what is refused.
    expect(events.filter((event) => event === 'message')).toHaveLength(1);
    known.write(new Uint8Array(4_096 - 4));
    await eventually(() => events.filter((event) => event === 'message').length === 2);
  });

  it('says nothing to whom it refuses', async () => {
    const { listener, port, events } = await tcp.listen({ create: () => CLOSE.OVERLOADED });
    const own = await tcp.client(port);
    await own.ended();
    expect([own.received.length, events]).toEqual([0, ['create']]);
    await eventually(() => listener.socketCount === 0);
  });
});

describe('the end of a channel', () => {
  it.each(['end', 'close'] as const)('by %s() runs the close handler inside, once', async (way) => {
    const { listener, port, events, channels } = await tcp.listen();
    const own = await tcp.client(port);
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
    const { port, events, channels } = await tcp.listen();
    const own = await tcp.client(port);
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
      const { listener, port, channels } = await tcp.listen();
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
    const { listener, port, events, channels } = await tcp.listen();
    const own = await tcp.client(port);
    await eventually(() => channels.length === 1);
    own.socket.resetAndDestroy();
    await eventually(() => events.includes('close'));
    expect(events).toEqual(['create', 'open', 'close']);
    expect(listener.discards.counts()).toEqual({});
    expect(listener.topics.topicCount).toBe(0);
  });

  it('follows from a stream that cannot be read, should the handler leave it open', async () => {
    const { port, events } = await tcp.listen();
    const own = await tcp.client(port);
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
      const { listener, port, channels, events } = await tcp.listen(
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
      const own = await tcp.client(port);
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
    const { listener, port, channels, events } = await tcp.listen(
      { open: ({ socket }) => void socket?.subscribe('xroom') },
      { maxBackpressureBytes: 4_096 },
    );
    const own = await tcp.client(port);
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
    const { port, channels, events } = await tcp.listen({
      [name]: boom,
      onError: (error, channel) => void errors.push([error, channel]),
    });
    const own = await tcp.client(port);
    own.write(packet(1));
    await eventually(() => events.includes('message'));
    own.socket.end();
    await eventually(() => events.includes('close'));
    expect(errors).toEqual([[new Error('boom'), channels[0]]]);
    expect((await tcp.client(port)).isEnded).toBe(false);
  });

  it('in create costs the socket', async () => {
    const errors: unknown[] = [];
    const { port } = await tcp.listen({
      create: boom,
      onError: (error, channel) => void errors.push([error, channel]),
    });
    await (await tcp.client(port)).ended();
    expect(errors).toEqual([[new Error('boom'), undefined]]);
  });

  it('in the error handler itself is discarded', async () => {
    const { listener, port, events } = await tcp.listen({ message: boom, onError: boom });
    (await tcp.client(port)).write(packet(1));
    await eventually(() => events.includes('error'));
    expect(listener.discards.counts()).toEqual({ 'error handler': 1 });
  });
});

describe('the end of a listener', () => {
  it('stops accepting, keeps what is open, and can listen again', async () => {
    const { listener, port, events } = await tcp.listen();
    const own = await tcp.client(port);
    await eventually(() => events.includes('open'));
    listener.stopAccepting();
    listener.stopAccepting();
    expect(listener.listening).toBe(false);
    await expect(tcp.client(port)).rejects.toThrow(/ECONNREFUSED/);
    own.write(packet(1));
    await eventually(() => events.includes('message'));
    await listener.listen();
    expect((await tcp.client(port)).isEnded).toBe(false);
  });

  it('makes handlers inert before everything is closed: nothing is called any more', async () => {
    const { listener, port, events } = await tcp.listen();
    const own = await tcp.client(port);
    await eventually(() => events.includes('open'));
    listener.makeInert();
    const before = [...events];
    own.write(packet(1));
    listener.closeAll();
    await own.ended();
    expect(events).toEqual(before);
  });

  it('closes every socket, those included whose channel is over', async () => {
    const { listener, port, events, channels } = await tcp.listen();
    const own = [await tcp.client(port), await tcp.client(port)];
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
    await expect(tcp.listen({}, { port })).rejects.toMatchObject({ code: 'LISTEN_FAILED', details: { port } });
    taken.close();
  });
});
