/** Ports and rules of the TCP door: who listens, who may come in, and whose address counts. */
import { connect, type ListenOptions, Server } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { HOST, packet, TcpHarness } from '../../../test/kit/tcp-harness.js';
import { CLOSE } from '../../errors/index.js';
import { remoteAddressOf } from '../bucket/channel-socket.js';
import { admissionOf } from '../limits/fixtures/admission-of.js';
import { sharesTcpPort } from './port-sharing.js';

const tcp = new TcpHarness();
afterEach(() => {
  tcp.close();
  vi.restoreAllMocks();
});

describe('one port for several buckets', () => {
  it('is asked for with reusePort where every bucket listens, and never where one owns the port', async () => {
    const asked: ListenOptions[] = [];
    const original = Server.prototype.listen;
    vi.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server, ...args: unknown[]) {
      if (tcp.listeners.length > 0) asked.push(args[0] as ListenOptions);
      return Reflect.apply(original, this, args) as Server;
    });
    const first = await tcp.listen({}, { sharesPort: true });
    const second = await tcp.listen({}, { sharesPort: false });
    // The last question for each: whether the port is free is asked in the same way.
    const last = [first.port, second.port].map((port) => asked.findLast((options) => options.port === port));
    expect(last).toEqual([first.port, second.port].map((port) => expect.objectContaining({ host: HOST, port })));
    expect(last.map((options) => options !== undefined && 'reusePort' in options)).toEqual([true, false]);
  });

  it('spreads the clients over them where Node can, and has one owner where it cannot', async () => {
    const isShared = sharesTcpPort(process.versions.node, process.platform);
    const first = await tcp.listen({}, { sharesPort: isShared });
    const second = await tcp
      .listen({}, { sharesPort: isShared, port: first.port })
      .catch((error: { code?: string }) => error.code);
    for (let count = 0; count < 100; count++) await tcp.client(first.port);
    const counts = () => [first, second].map((one) => (typeof one === 'object' ? one.channels.length : 0));
    await eventually(() => counts()[0]! + counts()[1]! === 100);
    expect([typeof second === 'object', counts().every((count) => count > 0)]).toEqual([isShared, isShared]);
    expect(isShared || second === 'LISTEN_FAILED').toBe(true);
  });
});

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const V2 = Buffer.from(`${SIGNATURE}2111000ccb0071050a000001d9030c1d`, 'hex');
const V1 = Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 55555 3101\r\n');
const LOCAL = Buffer.from(`${SIGNATURE}20000000`, 'hex');
const ADDRESS = '203.0.113.5';

/** Rules, and the connections they count: an address that has one is looked for by taking a place itself. */
function rules(options: Parameters<typeof admissionOf>[0]) {
  const { admission, counts } = admissionOf({ connectionsPerIp: 2, ...options });
  const refused: string[] = [];
  if (admission === undefined) throw new Error('no rule is on');
  const clientOf = admission.clientOf.bind(admission);
  vi.spyOn(admission, 'clientOf').mockImplementation((...args) => {
    const client = clientOf(...args);
    if (typeof client !== 'string') refused.push(client.reason);
    return client;
  });
  const countOf = (address: string): number => {
    const places: number[] = [];
    for (let ticket = counts.enter(address, 2); ticket >= 0; ticket = counts.enter(address, 2)) places.push(ticket);
    for (const place of places) counts.leave(place);
    return 2 - places.length;
  };
  return { admission, counts, refused, countOf };
}

describe('the connections of one address', () => {
  it('are limited before anything is made of them, and each that ends makes room', async () => {
    const { admission, countOf } = rules({});
    const { port, events, channels } = await tcp.listen({}, {}, admission);
    const own = [await tcp.client(port), await tcp.client(port)];
    await eventually(() => channels.length === 2);
    const third = await tcp.client(port);
    await third.ended();
    expect([third.received.length, events]).toEqual([0, ['create', 'open', 'create', 'open']]);
    own[0]!.destroy();
    await eventually(() => countOf(HOST) === 1);
    const fourth = await tcp.client(port);
    await eventually(() => channels.length === 3);
    channels[1]!.socket!.close();
    channels[2]!.socket!.end(CLOSE.SHUTDOWN.code, '');
    fourth.socket.end();
    await eventually(() => countOf(HOST) === 0);
  });

  it('are not counted for a channel that create() refuses, longer than its socket lives', async () => {
    const { admission, countOf } = rules({});
    const { port, events } = await tcp.listen({ create: () => CLOSE.OVERLOADED }, {}, admission);
    for (let round = 0; round < 5; round++) await (await tcp.client(port)).ended();
    await eventually(() => countOf(HOST) === 0);
    expect(events).toEqual(['create', 'create', 'create', 'create', 'create']);
  });

  it('are left alone by a bucket that dies: its counts are cleared by the control thread', async () => {
    const { admission, countOf } = rules({});
    const leave = vi.spyOn(admission, 'leave');
    const { listener, port, channels } = await tcp.listen({}, {}, admission);
    const own = await tcp.client(port);
    await eventually(() => channels.length === 1);
    listener.makeInert();
    listener.closeAll();
    await own.ended();
    await eventually(() => listener.socketCount === 0);
    expect([leave.mock.calls.length, countOf(HOST)]).toEqual([0, 1]);
  });

  it('are refused with a defect in the rules, which is reported and costs no more than the socket', async () => {
    const { admission } = rules({});
    vi.spyOn(admission, 'enter').mockImplementationOnce(() => {
      throw new Error('boom');
    });
    const errors: unknown[] = [];
    const { port, channels } = await tcp.listen({ onError: (error) => void errors.push(error) }, {}, admission);
    await (await tcp.client(port)).ended();
    expect(errors).toEqual([new Error('boom')]);
    await tcp.client(port);
    await eventually(() => channels.length === 1);
  });
});

describe('behind a proxy that writes the PROXY protocol', () => {
  const proxied = { proxyProtocol: 'v2-tcp', trustedProxies: [HOST] } as const;

  it.each([
    ['version 2', V2, ADDRESS],
    ['version 1', V1, ADDRESS],
    [
      'version 2 over IPv6',
      Buffer.from(`${SIGNATURE}21210024${'20010db8'.padEnd(31, '0')}5${'0'.repeat(32)}d9030c1d`, 'hex'),
      '2001:0db8:0000:0000:0000:0000:0000:0005',
    ],
    ['a health check of its own', LOCAL, HOST],
  ])('a client has the address that it says: %s', async (_, header, address) => {
    const { admission, countOf } = rules(proxied);
    const { port, channels, events } = await tcp.listen({}, {}, admission);
    const own = await tcp.client(port);
    own.write(Buffer.concat([header, packet(1, 'in one piece')]));
    await eventually(() => events.includes('message'));
    expect(remoteAddressOf(channels[0]!.socket!)).toBe(address);
    expect(countOf(address)).toBe(1);
    own.write(packet(2));
    await eventually(() => events.length === 4);
    own.destroy();
    await eventually(() => countOf(address) === 0);
    expect(events).toEqual(['create', 'open', 'message', 'message', 'close']);
  });

  it.each([
    ['version 2', V2],
    ['version 1', V1],
  ])('the header and a packet may be split at every byte: %s', async (_, header) => {
    const bytes = Buffer.concat([header, packet(1, 'x')]);
    const { admission } = rules({ ...proxied, connectionsPerIp: 0 });
    const bodies: string[] = [];
    const { port } = await tcp.listen(
      { message: (_channel, message) => void bodies.push(Buffer.from(message.subarray(16)).toString()) },
      {},
      admission,
    );
    for (let cut = 1; cut < bytes.length; cut++) {
      const own = await tcp.client(port);
      own.write(bytes.subarray(0, cut));
      // Server and client share this loop, so that each turn lets the server read what has come.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      own.write(bytes.subarray(cut));
      await eventually(() => bodies.length === cut);
      own.destroy();
    }
    expect(new Set(bodies)).toEqual(new Set(['x']));
  });

  it.each([
    ['a packet without a header', packet(1)],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a header that is wrong at its end', Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 55555 310x\r\n')],
  ])('%s is cut, counted as refused, and makes no channel', async (_, bytes) => {
    const { admission, refused } = rules(proxied);
    const { listener, port, events } = await tcp.listen({}, {}, admission);
    const own = await tcp.client(port);
    own.write(bytes);
    await own.ended();
    await eventually(() => listener.socketCount === 0);
    expect([own.received.length, refused.length, events]).toEqual([0, 1, []]);
  });

  it('a header that is not whole in time is refused, and one that ends early is nobody’s', async () => {
    const { admission, refused } = rules(proxied);
    const { listener, port, events } = await tcp.listen({}, { handshakeTimeoutMs: 100 }, admission);
    const silent = await tcp.client(port);
    const slow = await tcp.client(port);
    slow.write(V2.subarray(0, 20));
    await Promise.all([silent.ended(), slow.ended()]);
    expect(refused).toHaveLength(2);
    const early = await tcp.client(port);
    early.socket.end(V2.subarray(0, 20));
    await early.ended();
    const cut = await tcp.client(port);
    cut.write(V2.subarray(0, 20));
    cut.socket.resetAndDestroy();
    await eventually(() => listener.socketCount === 0);
    expect([refused.length, events]).toEqual([2, []]);
  });

  it('who is none of our proxies is refused, whatever header it writes', async () => {
    const { admission, refused, countOf } = rules({ ...proxied, trustedProxies: ['192.0.2.1'] });
    const { port, events } = await tcp.listen({}, {}, admission);
    const own = await tcp.client(port);
    own.write(V2);
    await own.ended();
    expect([refused.length, countOf(ADDRESS), events]).toEqual([1, 0, []]);
  });

  it('the limit of an address counts clients, not proxies, and goes back to zero', async () => {
    const { admission, countOf } = rules(proxied);
    const { listener, port, channels } = await tcp.listen({}, {}, admission);
    const own = await Promise.all(Array.from({ length: 6 }, () => tcp.client(port)));
    for (const one of own) one.write(V1);
    await eventually(() => own.filter(({ isEnded }) => isEnded).length === 4);
    expect([channels.length, countOf(ADDRESS), countOf(HOST)]).toEqual([2, 2, 0]);
    const other = await tcp.client(port);
    other.write(Buffer.from('PROXY TCP4 203.0.113.6 10.0.0.1 55555 3101\r\n'));
    await eventually(() => channels.length === 3);
    for (const one of [...own, other]) one.destroy();
    await eventually(() => listener.socketCount === 0);
    expect([countOf(ADDRESS), countOf('203.0.113.6')]).toEqual([0, 0]);
  });

  it('headers that are awaited are given up with the listener', async () => {
    const { admission } = rules(proxied);
    const { listener, port, events } = await tcp.listen({}, {}, admission);
    const waiting = connect({ port, host: HOST }).on('error', () => {});
    await eventually(() => listener.socketCount === 1);
    listener.closeAll();
    await eventually(() => listener.socketCount === 0);
    waiting.destroy();
    expect(events).toEqual([]);
  });
});
