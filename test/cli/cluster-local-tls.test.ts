/** `halley cluster local` with certificates in the environment: every node has ports of its own with TLS, too. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type HalleyCluster, runHalley, startHalleyCluster, WireClient } from '../kit/index.js';
import { handshake, makeTlsDirectory, secureCall, type TlsDirectory } from '../kit/tls.js';

let tls: TlsDirectory;
let env: Readonly<Record<string, string>>;
const running: HalleyCluster[] = [];

beforeAll(async () => {
  tls = await makeTlsDirectory();
  // Neither says which port: the default is one, and there are two nodes.
  env = { HALLEY_TLS_CERT_FILE: tls.own.certFile, HALLEY_TLS_KEY_FILE: tls.own.keyFile };
});
afterEach(async () => {
  for (const cluster of running.splice(0)) expect(await cluster.stop()).toBe(0);
});
afterAll(() => tls?.remove());

async function start(more: Readonly<Record<string, string>> = {}): Promise<HalleyCluster> {
  const cluster = await startHalleyCluster({ args: ['--nodes', '2'], env: { ...env, ...more } });
  running.push(cluster);
  return cluster;
}

describe('halley cluster local with TLS', () => {
  it('serves clients of both nodes over TLS only, and knows where they are', async () => {
    const cluster = await start({ HALLEY_TLS_PLAIN: 'off', HALLEY_TLS_HTTP: 'on' });
    expect(cluster.nodes.map(({ wsUrl, httpUrl }) => [new URL(wsUrl).protocol, new URL(httpUrl).protocol])).toEqual([
      ['wss:', 'https:'],
      ['wss:', 'https:'],
    ]);
    const clients = await Promise.all(
      cluster.nodes.map(({ wsUrl, serverId }) =>
        WireClient.connect(wsUrl, { key: serverId, mid: 7, roomId: 'live://1', accepts: [1000] }, { ca: tls.ca }),
      ),
    );
    const api = cluster.nodes[0]?.httpUrl ?? '';
    const pushed = await secureCall(`${api}/goim/push/room?operation=1000&type=live&room=1`, tls.ca, 'POST', 'hi');
    expect(pushed.status).toBe(200);
    for (const client of clients) expect((await client.messageCount(1)).map(({ text }) => text)).toEqual(['hi']);
    for (const client of clients) client.terminate();
  });

  it('has another port with TLS for each node beside the plain one', async () => {
    const cluster = await start();
    const ports = [...cluster.output().matchAll(/^local-\d+ \| +with TLS +wss:\/\/[^:]+:(\d+)/gm)].map(([, port]) =>
      Number(port),
    );
    expect(new Set(ports).size).toBe(2);
    expect(cluster.nodes.map(({ wsUrl }) => new URL(wsUrl).protocol)).toEqual(['ws:', 'ws:']);
    for (const port of ports) expect(await handshake(port)).toMatchObject({ commonName: 'first' });
  });

  it.each([
    ['3102', 'HALLEY_TLS_WS_PORT', '3122', '--ws-port and tls.ws_port must not meet in steps of 10: port=3122'],
    ['3102', 'HALLEY_TLS_WS_PORT', '65520', 'the last port must be at most 65535: last=65540'],
  ])(
    'refuses ports that meet in steps before anything starts: --ws-port %s, %s=%s',
    async (port, name, value, told) => {
      const { code, stderr } = await runHalley(['cluster', 'local', '--ws-port', port], { ...env, [name]: value });
      expect(code).toBe(2);
      expect(stderr).toContain(told);
    },
  );
});
