/**
 * TCP with TLS, on the whole program: versions and names by real handshakes, what the node says of its ports, which ports are
 * open at all, and new certificates in a running node.
 */
import { copyFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  GoimTcpSocket,
  get,
  type HalleyProcess,
  handshake,
  makeTlsDirectory,
  nodeStats,
  pushRoom,
  startHalley,
  type TlsDirectory,
  tcpPacket,
  tlsEnv,
  WireClient,
} from './kit/index.js';

const ROOM = 'live://tcp-tls';
let tls: TlsDirectory;
let env: Readonly<Record<string, string>>;
const running: HalleyProcess[] = [];

beforeAll(async () => {
  tls = await makeTlsDirectory();
  env = tlsEnv(tls.own);
});
afterEach(async () => {
  for (const halley of running.splice(0)) expect(await halley.stop()).toBe(0);
});
afterAll(() => tls?.remove());

async function start(more: Readonly<Record<string, string>> = {}, args: readonly string[] = []) {
  const halley = await startHalley({ env: { ...env, ...more }, args });
  running.push(halley);
  return halley;
}

/** A goim client over TLS, the certificate checked, past its auth. */
async function login(port: number, key: string): Promise<GoimTcpSocket> {
  const client = await GoimTcpSocket.open(port, connectTls({ port, host: '127.0.0.1', ca: tls.ca }));
  client.write(tcpPacket(7, 1, JSON.stringify({ mid: 1, key, room_id: ROOM, accepts: [1000] })));
  await client.packetAt(0);
  return client;
}

const canConnect = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

describe('TCP over TLS', () => {
  it('takes 1.2 and 1.3 and nothing older, or 1.3 alone, and shows each name its certificate', async () => {
    const chat = await tls.authority.issue('chat', { names: ['DNS:chat.example'] });
    const sni = { HALLEY_TLS_SNI: `chat.example=${chat.certFile}:${chat.keyFile}` };
    const { tcpTlsPort: port } = await start(sni);
    expect(await handshake(port, ['-tls1_2'])).toMatchObject({ protocol: 'TLSv1.2', commonName: 'first' });
    expect(await handshake(port, ['-tls1_3'])).toMatchObject({ protocol: 'TLSv1.3', commonName: 'first' });
    expect(await handshake(port, ['-tls1_1'])).toMatchObject({ protocol: '', alert: 'protocol version' });
    for (const name of ['chat.example', 'CHAT.example']) {
      expect((await handshake(port, ['-servername', name])).commonName).toBe('chat');
    }
    expect((await handshake(port, ['-servername', 'else.example'])).commonName).toBe('first');
    const strict = (await start({ ...sni, HALLEY_TLS_MIN_VERSION: '1.3' })).tcpTlsPort;
    for (const name of ['chat.example', 'else.example']) {
      const asking = ['-servername', name];
      expect((await handshake(strict, ['-tls1_2', ...asking])).alert).toBe('protocol version');
      expect((await handshake(strict, ['-tls1_3', ...asking])).protocol).toBe('TLSv1.3');
    }
  });

  it('carries auth, heartbeats and pushes, in one room with plain TCP and the WebSocket', async () => {
    const halley = await start();
    const secure = await login(halley.tcpTlsPort, 'secure');
    const plain = await GoimTcpSocket.login(halley.tcpPort, { mid: 2, key: 'plain', room_id: ROOM });
    const web = await WireClient.connect(halley.wssUrl, { key: 'web', mid: 3, roomId: ROOM }, { ca: tls.ca });
    const large = 'x'.repeat(200_000);
    for (const text of ['one', large]) await pushRoom(halley.httpUrl, ROOM, text);
    for (const client of [secure, plain]) {
      await client.packetAt(2);
      expect(client.packets().map(({ body }) => body.toString())).toEqual(['', 'one', large]);
    }
    expect((await web.messageCount(2)).map(({ text }) => text)).toEqual(['one', large]);
    secure.write(tcpPacket(2, 9));
    expect((await secure.packetAt(3)).body.readInt32BE(0)).toBe(3);
    for (const client of [secure, plain]) client.destroy();
    web.terminate();
    await eventually(async () => (await nodeStats(halley.httpUrl)).totals.channels === 0);
  });

  it('makes nothing of clients that speak no TLS', async () => {
    const halley = await start();
    const stranger = await GoimTcpSocket.open(halley.tcpTlsPort);
    stranger.write(tcpPacket(7, 1, '{"mid":1,"key":"stranger"}'));
    await stranger.ended();
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ channels: 0, channels_accepted: 0 });
    stranger.destroy();
  });

  it('is told in the banner and as tcp_tls_port', async () => {
    const halley = await start();
    expect(halley.output()).toContain(`  TCP        tcp://127.0.0.1:${halley.tcpPort}\n`);
    expect(halley.output()).toContain(`  with TLS   tls://127.0.0.1:${halley.tcpTlsPort}\n`);
    const ports = { tcp_port: halley.tcpPort, tcp_tls_port: halley.tcpTlsPort };
    const { data } = await get(`${halley.httpUrl}/goim/nodes/weighted?platform=ios`);
    expect(data).toMatchObject(ports);
    const nodes = await get(`${halley.httpUrl}/halley/nodes`);
    expect((nodes.data as { nodes: unknown[] }).nodes[0]).toMatchObject(ports);
  });
});

describe('what is open', () => {
  it('is no plain port at all with tls.plain off, TCP included', async () => {
    const halley = await start({ HALLEY_TLS_PLAIN: 'off' });
    expect(halley.tcpPort).toBe(0);
    expect(halley.output()).toContain(`  TCP        tls://127.0.0.1:${halley.tcpTlsPort}\n`);
    const { data } = await get(`${halley.httpUrl}/goim/nodes/weighted?platform=ios`);
    expect(data).not.toHaveProperty('tcp_port');
    (await login(halley.tcpTlsPort, 'only')).destroy();
  });

  it('is nothing of TCP with tcp off, with and without TLS', async () => {
    // Free a moment ago, and nobody else's in the range of this machine.
    const probe = await start();
    const { tcpPort, tcpTlsPort } = probe;
    running.splice(running.indexOf(probe), 1);
    expect(await probe.stop()).toBe(0);
    const halley = await start({ HALLEY_TLS_TCP_PORT: String(tcpTlsPort) }, [
      '--tcp',
      'off',
      '--tcp-port',
      `${tcpPort}`,
    ]);
    expect(halley.output()).not.toMatch(/tcp:|tls:/);
    expect([await canConnect(tcpPort), await canConnect(tcpTlsPort)]).toEqual([false, false]);
    const { data } = await get(`${halley.httpUrl}/goim/nodes/weighted?platform=ios`);
    expect(data).not.toHaveProperty('tcp_port');
    expect(data).not.toHaveProperty('tcp_tls_port');
    const web = await WireClient.connect(halley.wssUrl, { key: 'web' }, { ca: tls.ca });
    web.terminate();
  });
});

it('a reload shows new certificates to new clients and leaves old ones in peace', async () => {
  const used = { certFile: join(tls.dir, 'used.crt'), keyFile: join(tls.dir, 'used.key') };
  const use = async ({ certFile, keyFile }: typeof used) => {
    await copyFile(certFile, used.certFile);
    await copyFile(keyFile, used.keyFile);
  };
  await use(tls.own);
  const halley = await start({ HALLEY_TLS_CERT_FILE: used.certFile, HALLEY_TLS_KEY_FILE: used.keyFile });
  const before = await login(halley.tcpTlsPort, 'before');
  await use(await tls.authority.issue('second', { names: ['IP:127.0.0.1'] }));
  halley.child.kill('SIGHUP');
  await eventually(() => /new handshakes get this certificate/.test(halley.output()), 10_000);
  // Every bucket that listens: the kernel deals the clients out.
  const shown = new Set<string>();
  for (let tries = 0; tries < 8; tries++) shown.add((await handshake(halley.tcpTlsPort)).commonName);
  expect([...shown]).toEqual(['second']);
  const since = await login(halley.tcpTlsPort, 'since');
  await pushRoom(halley.httpUrl, ROOM, 'to both');
  for (const client of [before, since]) {
    expect((await client.packetAt(1)).body.toString()).toBe('to both');
    client.destroy();
  }
});
