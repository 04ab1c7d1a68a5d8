/**
 * Nodes that speak TLS only (`tls.plain = "off"`): a request of the HTTP fallbacks that lands on the wrong one is taken to the
 * right one over https, where that one's certificate is to be trusted.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startNode } from './cluster/nodes.js';
import { makeSelfSigned } from './kit/certificates.js';
import { FallbackClient, isPush } from './kit/fallback-client.js';
import {
  type CertificateFiles,
  eventually,
  type HalleyProcess,
  makeTlsDirectory,
  pushRoom,
  type RedisServer,
  runHalley,
  startRedis,
  type TlsDirectory,
} from './kit/index.js';

let redis: RedisServer;
let tls: TlsDirectory;
const running: HalleyProcess[] = [];

beforeAll(async () => {
  [redis, tls] = await Promise.all([startRedis(), makeTlsDirectory()]);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((node) => node.stop()));
});
afterAll(() => Promise.all([redis?.remove(), tls?.remove()]));

/** Two nodes whose certificates and trust are as given. */
async function startPair(
  prefix: string,
  { certFile, keyFile }: CertificateFiles,
  more: Readonly<Record<string, string>>,
): Promise<readonly [own: HalleyProcess, other: HalleyProcess]> {
  const env = {
    HALLEY_CLUSTER_LEASE_MS: '2000',
    HALLEY_TLS_CERT_FILE: certFile,
    HALLEY_TLS_KEY_FILE: keyFile,
    HALLEY_TLS_WS_PORT: '0',
    HALLEY_TLS_PLAIN: 'off',
    ...more,
  };
  const [own, other] = await Promise.all([0, 1].map((serverNo) => startNode(redis.url, serverNo, { prefix, env })));
  if (own === undefined || other === undefined) throw new Error('two were started');
  running.push(own, other);
  expect([own.wsUrl, other.wsUrl].map((url) => new URL(url).protocol)).toEqual(['wss:', 'wss:']);
  return [own, other];
}

/** What a poll through the wrong node is answered once that node knows the right one. */
async function pollThrough(client: FallbackClient, { wsUrl }: HalleyProcess) {
  const wrong = client.through(wsUrl);
  return eventually(async () => {
    const answer = await wrong.poll(0);
    return answer.status !== 410 && answer;
  });
}

describe('a session of node 0, asked for on node 1, both with TLS only', () => {
  it('polls, sends, streams and closes through it', async () => {
    // It pushes: ids must not run out where the machine is busy for a moment.
    const more = { HALLEY_FALLBACK_CA_FILE: tls.authority.caFile, HALLEY_ID_LEASE_MS: '3000' };
    const [own, other] = await startPair('fbt', tls.own, more);
    const client = await FallbackClient.connect(own.wsUrl, { key: 'poll', room_id: 'r://1', halley: 1 });
    expect((await pollThrough(client, other)).status).toBe(200);
    const wrong = client.through(other.wsUrl);
    expect((await wrong.post('send', { op: 1001, seq: 4 })).status).toBe(204);
    expect(await wrong.packets(1)).toMatchObject([{ op: 1001, seq: 4 }]);
    const polling = wrong.packets(1);
    await pushRoom(own.httpUrl, 'r://1', 'polled');
    expect((await polling).map(({ body }) => body)).toEqual(['polled']);
    const stream = await wrong.stream({ format: 'json', cursor: wrong.cursor });
    await pushRoom(other.httpUrl, 'r://1', 'streamed');
    await eventually(() => stream.packets.some(isPush));
    expect(stream.packets.map(({ body }) => body)).toEqual(['streamed']);
    expect((await wrong.post('close', '')).status).toBe(204);
    await eventually(() => stream.isEnded);
    expect(stream.events.at(-1)?.event).toBe('close');
    expect((await wrong.poll(0)).status).toBe(410);
  });

  it('is reached by the name that its certificate is for, where it says one of itself', async () => {
    const named = await tls.authority.issue('named', { names: ['DNS:localhost'] });
    const trust = { HALLEY_FALLBACK_CA_FILE: tls.authority.caFile };
    const [own, other] = await startPair('fbn', named, { ...trust, HALLEY_NODE_ADDRS: '127.0.0.1,localhost' });
    const client = await FallbackClient.connect(own.wsUrl, { key: 'named' });
    expect((await pollThrough(client, other)).status).toBe(200);
    // What every node registers is what an operator is shown, ports without TLS being closed.
    const { stdout } = await runHalley(['nodes', '--url', own.httpUrl]);
    const urls = (scheme: string, port: number, path: string) =>
      ['127.0.0.1', 'localhost'].map((host) => `${scheme}://${host}:${port}${path}`).join(' ');
    for (const [serverNo, { wsPort, tcpTlsPort }] of [own, other].entries()) {
      const row = `fbn-${serverNo} +${urls('wss', wsPort, '/sub')} +${urls('tls', tcpTlsPort, '')} +- `;
      expect(stdout).toMatch(new RegExp(`^${row}`, 'm'));
    }
  });

  it('is reached where its certificate is its own authority and the option says so', async () => {
    const self = await makeSelfSigned(tls.dir, 'self', ['IP:127.0.0.1']);
    const [own, other] = await startPair('fbs', self, { HALLEY_FALLBACK_CA_FILE: self.certFile });
    const client = await FallbackClient.connect(own.wsUrl, { key: 'self' });
    expect((await pollThrough(client, other)).status).toBe(200);
  });

  it.each([
    ['an authority that nobody named', ['IP:127.0.0.1'], false, 'is not trusted (fallback.ca_file): cause=UNABLE_TO_'],
    [
      'another address',
      ['DNS:elsewhere.example'],
      true,
      'is not for the address it is reached at (node.addrs): cause=ERR_TLS_CERT_ALTNAME_INVALID',
    ],
  ])(
    'is not reached where its certificate is of or for %s: 503 says which option',
    async (name, names, trusts, told) => {
      const certificate = await tls.authority.issue(`not-${trusts}`, { names });
      const trust = trusts ? { HALLEY_FALLBACK_CA_FILE: tls.authority.caFile } : {};
      const [own, other] = await startPair(`fbx-${trusts}`, certificate, trust);
      const client = await FallbackClient.connect(own.wsUrl, { key: name });
      const answer = await pollThrough(client, other);
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
      expect(answer.json).toMatchObject({ code: 3001, reconnect: true, retry_after_ms: 1000 });
      expect(answer.json.reason).toContain(told);
      expect(answer.json.reason).not.toContain('127.0.0.1');
      // Which node it is stands in the log.
      await eventually(() => other.output().includes('FALLBACK_NODE_UNTRUSTED'));
      // Where it is its session goes on.
      expect((await client.poll(0)).status).toBe(200);
    },
  );
});

it('a fallback.ca_file that holds no certificate stops the start', async () => {
  const file = join(tls.dir, 'empty.pem');
  await writeFile(file, 'nothing\n');
  const { code, stderr } = await runHalley(['--ws-port', '0', '--tcp-port', '0', '--http-port', '0'], {
    HALLEY_FALLBACK_CA_FILE: file,
  });
  expect(code).toBe(1);
  expect(stderr).toContain('halley: fallback.ca_file must be a readable PEM file of certificates, or empty');
});
