/** The TCP door over TLS. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../../../test/kit/certificates.js';
import { eventually } from '../../../test/kit/eventually.js';
import type { GoimTcpSocket } from '../../../test/kit/goim-tcp-client.js';
import { batch, HOST, packet, TcpHarness } from '../../../test/kit/tcp-harness.js';
import { CHANNEL_FLAG } from '../bucket/channel.js';
import { remoteAddressOf } from '../bucket/channel-socket.js';
import { admissionOf } from '../limits/fixtures/admission-of.js';

const PROXY = Buffer.from('PROXY TCP4 203.0.113.5 10.0.0.1 55555 3104\r\n');
const tcp = new TcpHarness();
let authority: Authority;
let certificates: Readonly<Record<'one' | 'two', TlsOptions>>;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'halley-tcp-tls-'));
  authority = await makeAuthority(directory);
  certificates = { one: await certificate('one'), two: await certificate('two') };
  return () => rm(directory, { recursive: true, force: true });
});
afterEach(() => tcp.close());

async function certificate(name: string): Promise<TlsOptions> {
  const { certFile, keyFile } = await authority.issue(name, { names: ['IP:127.0.0.1'] });
  return { cert: await readFile(certFile), key: await readFile(keyFile) };
}

describe('with TLS', () => {
  async function secure(port: number): Promise<{ own: GoimTcpSocket; name: string }> {
    const socket = connectTls({ port, host: HOST, rejectUnauthorized: false });
    const own = await tcp.client(port, socket);
    return { own, name: String(socket.getPeerCertificate().subject.CN) };
  }

  it('serves the same packets, tells of slow clients, and takes new certificates without a restart', async () => {
    let current = certificates.one;
    const { listener, port, channels, events } = await tcp.listen(
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
    current = certificates.two;
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
    const { listener, port, events } = await tcp.listen({}, { tls: () => certificates.one });
    const plain = await tcp.client(port);
    const silent = await tcp.client(port);
    await eventually(() => listener.socketCount === 2);
    plain.write(packet(1));
    await plain.ended();
    expect(listener.discards.counts()).toEqual({ 'TLS handshake': 1 });
    listener.closeAll();
    await silent.ended();
    await eventually(() => listener.socketCount === 0);
    expect(events).toEqual([]);
  });

  it('cuts who does not finish its handshake in time', async () => {
    const { listener, port, events } = await tcp.listen({}, { tls: () => certificates.one, handshakeTimeoutMs: 100 });
    const silent = await tcp.client(port);
    await silent.ended();
    await eventually(() => listener.socketCount === 0);
    expect([listener.discards.counts(), events]).toEqual([{ 'TLS handshake': 1 }, []]);
  });
});

describe('with TLS and rules', () => {
  /** A client whose proxy writes its header in front of the handshake, cut in two at `cut`. */
  async function proxied(port: number, cut: number): Promise<GoimTcpSocket> {
    const raw = connect({ port, host: HOST, noDelay: true });
    await new Promise((resolve) => raw.once('connect', resolve));
    raw.write(PROXY.subarray(0, cut));
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    const rest = PROXY.subarray(cut);
    if (rest.length > 0) raw.write(rest);
    return tcp.client(port, connectTls({ socket: raw, rejectUnauthorized: false }));
  }

  it('the PROXY protocol’s header comes in front of the handshake, and its address is the client’s', async () => {
    const { admission, counts } = admissionOf({ connectionsPerIp: 1, proxyProtocol: 'v2-tcp' });
    const { listener, port, channels } = await tcp.listen(
      { message: (channel, bytes) => void channel.socket?.send(bytes) },
      { tls: () => certificates.one },
      admission,
    );
    for (const [index, cut] of [0, 1, 20, PROXY.length - 1, PROXY.length].entries()) {
      const own = await proxied(port, cut);
      own.write(packet(index, 'echo'));
      expect((await own.packetAt(0)).body.toString()).toBe('echo');
      expect(remoteAddressOf(channels[index]!.socket!)).toBe('203.0.113.5');
      expect(counts.enter('203.0.113.5', 1)).toBeLessThan(0);
      own.destroy();
      await eventually(() => listener.socketCount === 0);
    }
    counts.leave(counts.enter('203.0.113.5', 1));
  });

  it('takes a handshake that came in one read with the header', async () => {
    const { admission } = admissionOf({ proxyProtocol: 'v2-tcp' });
    const { port, channels } = await tcp.listen({}, { tls: () => certificates.one }, admission);
    const raw = connect({ port, host: HOST, noDelay: true });
    await new Promise((resolve) => raw.once('connect', resolve));
    // Corked, the header and the client's first flight leave together.
    raw.cork();
    raw.write(PROXY);
    const opening = tcp.client(port, connectTls({ socket: raw, rejectUnauthorized: false }));
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    raw.uncork();
    await opening;
    await eventually(() => channels.length === 1);
  });

  it('is counted from accept on, refused before any handshake, and free again when a handshake fails', async () => {
    const { admission, counts } = admissionOf({ connectionsPerIp: 1 });
    const { listener, port, events } = await tcp.listen({}, { tls: () => certificates.one }, admission);
    const first = await tcp.client(port);
    await eventually(() => listener.socketCount === 1);
    const refused = await tcp.client(port);
    await refused.ended();
    expect(listener.discards.counts()).toEqual({});
    first.write(packet(1));
    await first.ended();
    await eventually(() => listener.socketCount === 0);
    const ticket = counts.enter(HOST, 1);
    expect(ticket).toBeGreaterThanOrEqual(0);
    counts.leave(ticket);
    const own = await tcp.client(port, connectTls({ port, host: HOST, rejectUnauthorized: false }));
    await eventually(() => events.includes('open'));
    own.destroy();
    await eventually(() => listener.socketCount === 0 && events.includes('close'));
  });
});
