/**
 * New certificates in a running node (SIGHUP): who is connected stays, who comes sees the new ones, what is wrong with them is
 * said and changes nothing. And the crash rule, with TLS sockets open.
 */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ASK_BUCKET_OP,
  type CertificateFiles,
  connectToBucket,
  eventually,
  type HalleyProcess,
  handshake,
  makeTlsDirectory,
  nodeStats,
  pushRoom,
  readiness,
  secureCall,
  startHalley,
  type TlsDirectory,
  tlsEnv,
  WireClient,
} from './kit/index.js';

const APP = fileURLToPath(new URL('./fixtures/misbehaving.mjs', import.meta.url));
const NAMES = { names: ['IP:127.0.0.1', 'DNS:localhost'] };
const DETACHED_THROW = 2003;

let tls: TlsDirectory;
let halley: HalleyProcess;
/** The files that the node reads. */
let used: CertificateFiles;

beforeEach(async () => {
  tls = await makeTlsDirectory();
  used = { certFile: join(tls.dir, 'used.crt'), keyFile: join(tls.dir, 'used.key') };
  await use(tls.own);
});
afterEach(async () => {
  const code = await halley.stop();
  await tls.remove();
  expect([code, halley.output()]).toEqual([0, expect.stringContaining('halley has stopped')]);
});

async function start(more: Readonly<Record<string, string>> = {}, args: readonly string[] = []): Promise<void> {
  halley = await startHalley({
    args,
    env: {
      ...tlsEnv(used),
      ...more,
    },
  });
}

/** Put a certificate and its key where the node reads them. */
async function use({ certFile, keyFile }: CertificateFiles): Promise<void> {
  await copyFile(certFile, used.certFile);
  await copyFile(keyFile, used.keyFile);
}

/** SIGHUP, and wait until the node says what became of it. */
async function reload(said: RegExp): Promise<void> {
  const from = halley.output().length;
  halley.child.kill('SIGHUP');
  await eventually(() => said.test(halley.output().slice(from)), 10_000, `the node to say ${said}`);
}

const wssPort = () => Number(new URL(halley.wssUrl).port);
/** Which certificates the port shows to many connections, so that every bucket is among them. */
async function shownBy(port: number): Promise<string[]> {
  const names = new Set<string>();
  for (let tries = 0; tries < 12; tries++) names.add((await handshake(port)).commonName);
  return [...names];
}

const connectSecure = (key: string) => WireClient.connect(halley.wssUrl, { key, roomId: 'live://1' }, { ca: tls.ca });

describe('a reload', () => {
  it('shows new certificates on all doors while old connections go on, in one room with new ones', async () => {
    await start({ HALLEY_TLS_HTTP: 'on' });
    const push = (text: string) =>
      secureCall(`${halley.httpUrl}/goim/push/room?operation=1000&type=live&room=1`, tls.ca, 'POST', text);
    const clients = [await connectSecure('before-1'), await connectSecure('before-2'), await connectSecure('before-3')];
    await push('one');
    for (const round of ['second', 'third']) {
      await use(await tls.authority.issue(round, NAMES));
      await reload(/new handshakes get this certificate/);
      expect(await shownBy(wssPort())).toEqual([round]);
      expect(await shownBy(halley.httpPort)).toEqual([round]);
      clients.push(await connectSecure(`since-${round}`));
      expect((await push(round)).code).toBe(0);
    }
    const expected = [['one', 'second', 'third'], ['second', 'third'], ['third']];
    for (const [index, client] of clients.entries()) {
      const texts = expected[Math.max(0, index - 2)] ?? [];
      expect((await client.messageCount(texts.length)).map(({ text }) => text)).toEqual(texts);
      expect((await client.request(2, '', 3)).op).toBe(3);
      expect(client.closed).toBeUndefined();
    }
    for (const client of clients) client.terminate();
    await eventually(
      async () => (await secureCall(`${halley.httpUrl}/goim/online/total`, tls.ca)).data.conn_count === 0,
      5_000,
      'every channel, of whatever certificate, to be gone',
    );
  });

  it('costs next to no connection of many that come while certificates change', async () => {
    await start();
    const certificates = [await tls.authority.issue('second', NAMES), await tls.authority.issue('third', NAMES)];
    let isOver = false;
    let connectedCount = 0;
    const failures: unknown[] = [];
    const crowd = Array.from({ length: 4 }, async (_, lane) => {
      for (let index = 0; !isOver; index++) {
        try {
          const client = await connectSecure(`crowd-${lane}-${index}`);
          connectedCount += 1;
          client.terminate();
        } catch (error) {
          failures.push(error);
        }
      }
    });
    for (let round = 0; round < 6; round++) {
      const reached = connectedCount + 20;
      await eventually(() => connectedCount >= reached, 10_000, 'twenty more connections');
      await use(certificates[round % 2]!);
      await reload(/new handshakes get this certificate/);
    }
    isOver = true;
    await Promise.all(crowd);
    expect(connectedCount).toBeGreaterThanOrEqual(120);
    // Twelve listen sockets were closed, each with what had come to it in its last 50 us (wss-listener.ts).
    expect(failures.length, String(failures[0])).toBeLessThanOrEqual(1);
  });

  it('that finds bad files says why, changes nothing, and the next good one works', async () => {
    await start({ HALLEY_TLS_HTTP: 'on' });
    const client = await connectSecure('stays');
    const second = await tls.authority.issue('second', NAMES);
    const expired = await tls.authority.issue('expired', { ...NAMES, notAfter: '20200101000000Z' });
    const bad: readonly (readonly [() => Promise<void>, RegExp])[] = [
      [() => writeFile(used.certFile, 'half a certif'), /TLS_CERT_INVALID|tls\.cert_file must be a PEM file/],
      [() => copyFile(second.certFile, used.certFile), /tls\.key_file does not fit tls\.cert_file/],
      [() => use(expired), /tls\.cert_file is of no use: it has expired/],
      [() => rm(used.certFile), /tls\.cert_file names a file that cannot be read/],
    ];
    for (const [spoil, reason] of bad) {
      await use(tls.own);
      await spoil();
      const from = halley.output().length;
      await reload(/the new certificates are refused, the old ones stay in use/);
      expect(halley.output().slice(from)).toMatch(reason);
      for (const port of [wssPort(), halley.httpPort]) expect((await handshake(port)).commonName).toBe('first');
    }
    await use(tls.own);
    await reload(/the certificates are those in use already/);
    await use(second);
    await reload(/new handshakes get this certificate/);
    for (const port of [wssPort(), halley.httpPort]) expect(await shownBy(port)).toEqual(['second']);
    expect((await client.request(2, '', 3)).op).toBe(3);
    client.terminate();
  });

  it('has nothing to do without TLS, and does not end the process', async () => {
    halley = await startHalley();
    const client = await WireClient.connect(halley.wsUrl, { key: 'stays' });
    await reload(/there is nothing to reload/);
    await reload(/there is nothing to reload/);
    expect((await client.request(2, '', 3)).op).toBe(3);
    client.terminate();
  });
});

describe('a bucket that dies with TLS sockets open, of old certificates and of new ones,', () => {
  it('takes only its own channels along, and comes back with the newest certificate', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'halley-tls-crash-'));
    await start({ TEST_EVENTS_FILE: join(directory, 'events') }, ['--app', APP]);
    const trust = { ca: tls.ca };
    const connectTo = (bucket: number, key: string, roomId: string) =>
      connectToBucket(halley.wssUrl, bucket, { key, mid: bucket, roomId }, trust);
    const doomed = [await connectTo(1, 'old-1', 'live://1'), await connectTo(1, 'old-2', 'live://1')];
    const oldSurvivor = await connectTo(2, 'old-survivor', 'live://1');
    await use(await tls.authority.issue('second', NAMES));
    await reload(/new handshakes get this certificate/);
    doomed.push(await connectTo(1, 'new-1', 'live://1'));
    const newSurvivor = await connectTo(2, 'new-survivor', 'live://1');
    // Renewed by halves at the very moment of the crash: the fresh bucket must not read this.
    await writeFile(used.certFile, 'half a certif');

    doomed[2]?.send(DETACHED_THROW);
    for (const client of doomed) {
      await eventually(() => client.closed !== undefined, 5_000, 'the channels of the bucket to drop');
    }
    await eventually(async () => (await readiness(halley.httpUrl)).ready, 10_000, 'the bucket to be back');
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ bucket_restarts: 1, channels: 2 });
    const back = await connectTo(1, 'new-1', 'live://1');
    await pushRoom(halley.httpUrl, 'live://1', 'hello');
    for (const client of [oldSurvivor, newSurvivor, back]) {
      expect((await client.messageCount(1)).map(({ text }) => text)).toEqual(['hello']);
    }
    expect((await back.request(ASK_BUCKET_OP)).body.toString()).toBe('1');
    expect(await shownBy(wssPort())).toEqual(['second']);
    for (const client of [oldSurvivor, newSurvivor, back]) client.terminate();
    await rm(directory, { recursive: true, force: true });
  });
});
