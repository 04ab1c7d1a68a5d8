/** The operators' commands against an API over https. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  freePort,
  type HalleyProcess,
  makeTlsDirectory,
  runHalley,
  startHalley,
  type TlsDirectory,
  tlsEnv,
  WireClient,
} from './kit/index.js';

const TOKEN = 'operators-token-of-this-test';
let tls: TlsDirectory;
let halley: HalleyProcess;
/** What the node is configured with; the command on the same machine reads the same. */
let own: Readonly<Record<string, string>>;
let client: WireClient;

beforeAll(async () => {
  tls = await makeTlsDirectory();
  const named = await tls.authority.issue('chat', { names: ['DNS:chat.example'] });
  own = {
    ...tlsEnv(named),
    HALLEY_TLS_HTTP: 'on',
    // For who comes by this name the certificate is that of 127.0.0.1 and localhost.
    HALLEY_TLS_SNI: `localhost=${tls.own.certFile}:${tls.own.keyFile}`,
    HALLEY_HTTP_TOKEN: TOKEN,
  };
  const httpPort = String(await freePort());
  halley = await startHalley({ env: own, args: ['--http-port', httpPort] });
  own = { ...own, HALLEY_HTTP_PORT: httpPort };
  client = await WireClient.connect(halley.wsUrl, { key: 'k', mid: 1, roomId: 'live://1' });
});
afterAll(async () => {
  client?.terminate();
  expect(await halley?.stop()).toBe(0);
  await tls?.remove();
});

const local = () => `https://localhost:${halley.httpPort}`;
const env = { HALLEY_HTTP_TOKEN: TOKEN };

describe('halley nodes and halley push', () => {
  it('reach it by name with --ca', async () => {
    const at = ['--url', local(), '--ca', tls.authority.caFile];
    const nodes = await runHalley(['nodes', '--json', ...at], env);
    expect([nodes.code, nodes.stderr]).toEqual([0, '']);
    expect(nodes.stdout).toContain(`"${halley.wssUrl}"`);
    const push = await runHalley(['push', 'to the room', '--room', 'live://1', '--op', '1000', ...at], env);
    expect([push.code, push.stderr]).toEqual([0, '']);
    expect((await client.messageCount(1))[0]?.text).toBe('to the room');
  });

  it('reach that of their own machine without being told anything: the certificate must be the configured one', async () => {
    const nodes = await runHalley(['nodes', '--json'], own);
    expect([nodes.code, nodes.stderr]).toEqual([0, '']);
    const impostor = { ...own, HALLEY_TLS_CERT_FILE: tls.own.certFile };
    const refused = await runHalley(['push', 'secret', '--room', 'live://1', '--op', '1000'], impostor);
    expect([refused.code, refused.stderr]).toEqual([
      3,
      expect.stringMatching(/shows another certificate than tls\.cert_file/),
    ]);
  });

  it.each([
    ['nobody has told them the authority', () => ['--url', local()], /signed by nobody we believe, --ca names/],
    [
      'the name in the address is not in the certificate',
      () => ['--url', `https://127.0.0.1:${halley.httpPort}`, '--ca', tls.authority.caFile],
      /is for another name/,
    ],
    ['they speak http to it', () => ['--url', local().replace('https', 'http')], /nobody answers here/],
    [
      'they speak https to a plain port',
      () => ['--url', `https://127.0.0.1:${halley.wsPort}`, '--ca', tls.authority.caFile],
      /does not speak https/,
    ],
  ])('say what is wrong where %s', async (_, flags, advice) => {
    const { code, stdout, stderr } = await runHalley(['nodes', ...flags()], env);
    expect([code, stdout, stderr]).toEqual([3, '', expect.stringMatching(advice)]);
  });

  it('want a file with a certificate behind --ca', async () => {
    const noCertificate = join(tls.dir, 'ca.txt');
    await copyFile(tls.own.keyFile, noCertificate);
    for (const file of [noCertificate, '/nowhere']) {
      const { code, stderr } = await runHalley(['nodes', '--url', local(), '--ca', file], env);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/--ca must be a PEM file with a certificate/)]);
    }
  });
});
