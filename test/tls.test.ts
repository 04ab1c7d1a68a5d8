/**
 * TLS of the whole program, by real handshakes: versions, names, clients on both ports, the API, and what it cannot be started
 * with.
 */
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  get,
  type HalleyProcess,
  handshake,
  makeTlsDirectory,
  nodeStats,
  post,
  pushRoom,
  runHalley,
  secureCall,
  startHalley,
  type TlsDirectory,
  tlsEnv,
  WireClient,
} from './kit/index.js';

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

async function start(more: Readonly<Record<string, string>> = {}): Promise<HalleyProcess> {
  const halley = await startHalley({ env: { ...env, ...more } });
  running.push(halley);
  return halley;
}

const portOf = (url: string) => Number(new URL(url).port);

describe('the WebSocket over TLS', () => {
  it('takes 1.2 and 1.3 and nothing older, and shows the configured certificate', async () => {
    const port = portOf((await start()).wssUrl);
    expect(await handshake(port, ['-tls1_2'])).toMatchObject({ protocol: 'TLSv1.2', commonName: 'first' });
    expect(await handshake(port, ['-tls1_3'])).toMatchObject({ protocol: 'TLSv1.3', commonName: 'first' });
    expect(await handshake(port, ['-tls1_1'])).toMatchObject({ protocol: '', alert: 'protocol version' });
    // uWebSockets.js has no ALPN: whoever offers http/1.1 goes on without.
    expect(await handshake(port, ['-alpn', 'http/1.1'])).toMatchObject({ protocol: 'TLSv1.3', alpn: '' });
  });

  it('refuses 1.2 where the lowest version is 1.3, for every name', async () => {
    const other = await tls.authority.issue('other', { names: ['DNS:other.example'] });
    const halley = await start({
      HALLEY_TLS_MIN_VERSION: '1.3',
      HALLEY_TLS_HTTP: 'on',
      HALLEY_TLS_SNI: `other.example=${other.certFile}:${other.keyFile}`,
    });
    const port = portOf(halley.wssUrl);
    for (const name of ['first.example', 'other.example']) {
      const asking = ['-servername', name];
      expect(await handshake(port, ['-tls1_2', ...asking])).toMatchObject({ protocol: '', alert: 'handshake failure' });
      expect(await handshake(port, ['-tls1_3', ...asking])).toMatchObject({ protocol: 'TLSv1.3' });
      const api = halley.httpPort;
      expect(await handshake(api, ['-tls1_2', ...asking])).toMatchObject({ protocol: '', alert: 'protocol version' });
      expect(await handshake(api, ['-tls1_3', ...asking])).toMatchObject({ protocol: 'TLSv1.3' });
    }
  });

  it('shows each name its own certificate, and serves all of them alike', async () => {
    const chat = await tls.authority.issue('chat', { names: ['DNS:chat.example'] });
    const wild = await tls.authority.issue('wild', { names: ['DNS:*.wild.example'] });
    const entries = [
      `chat.example=${chat.certFile}:${chat.keyFile}`,
      `*.wild.example=${wild.certFile}:${wild.keyFile}`,
    ];
    const halley = await start({ HALLEY_TLS_SNI: entries.join(','), HALLEY_TLS_HTTP: 'on' });
    for (const [port, inCapitals] of [
      // uWebSockets.js compares names letter by letter; clients send small ones.
      [portOf(halley.wssUrl), 'first'],
      [halley.httpPort, 'chat'],
    ] as const) {
      const shown: string[] = [];
      for (const name of ['chat.example', 'CHAT.example', 'a.wild.example', 'b.a.wild.example', 'else.example']) {
        shown.push((await handshake(port, ['-servername', name])).commonName);
      }
      expect(shown).toEqual(['chat', inCapitals, 'wild', 'first', 'first']);
    }
    const clients: WireClient[] = [];
    for (const servername of ['chat.example', 'x.wild.example', 'localhost']) {
      clients.push(
        await WireClient.connect(halley.wssUrl, { key: servername, roomId: 'live://sni' }, { ca: tls.ca, servername }),
      );
    }
    await secureCall(`${halley.httpUrl}/goim/push/room?operation=1000&type=live&room=sni`, tls.ca, 'POST', 'hello');
    for (const client of clients) {
      expect((await client.messageCount(1)).map(({ text }) => text)).toEqual(['hello']);
      client.terminate();
    }
  });

  it('carries auth, rooms, requests and pushes, beside the plain port and in one room with it', async () => {
    const halley = await start();
    const secure = await WireClient.connect(
      halley.wssUrl,
      { key: 'secure', mid: 1, roomId: 'live://1', accepts: [1000], extended: true },
      { ca: tls.ca },
    );
    const plain = await WireClient.connect(halley.wsUrl, { key: 'plain', mid: 2, roomId: 'live://1', accepts: [1000] });
    const goim = await WireClient.connect(
      halley.wssUrl,
      { key: 'goim', mid: 3, roomId: 'live://1', accepts: [1000] },
      { ca: tls.ca },
    );
    await secure.request(18, '["chat://team"]', 19);
    await pushRoom(halley.httpUrl, 'live://1', 'to the room');
    await pushRoom(halley.httpUrl, 'chat://team', 'x'.repeat(200_000));
    // Rooms may be paced, keys never: between the two there is no order.
    await eventually(() => secure.messages.length === 2);
    await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=secure`, 'to the key');
    await post(`${halley.httpUrl}/goim/push/mids?operation=1000&mids=2&mids=3`, 'to the mids');
    expect((await secure.messageCount(3)).map(({ text, room }) => [room, text.slice(0, 12), text.length])).toEqual([
      ['live://1', 'to the room', 11],
      ['chat://team', 'xxxxxxxxxxxx', 200_000],
      ['', 'to the key', 10],
    ]);
    for (const client of [plain, goim]) {
      expect((await client.messageCount(2)).map(({ text }) => text)).toEqual(['to the room', 'to the mids']);
    }
    await post(`${halley.httpUrl}/halley/disconnect`, { keys: ['secure'], code: 3501, reason: 'enough' });
    expect(await secure.closing()).toEqual({ code: 3501, reason: 'enough' });
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ channels: 2, sessions: 2 });
    for (const client of [plain, goim]) client.terminate();
  });

  it('is told to clients as wss_port, and stands in the banner and among the addresses of the node', async () => {
    const halley = await start();
    const { data } = await get(`${halley.httpUrl}/goim/nodes/weighted?platform=web`);
    expect(data).toMatchObject({ ws_port: halley.wsPort, wss_port: portOf(halley.wssUrl) });
    const instances = await get(`${halley.httpUrl}/goim/nodes/instances`);
    expect(JSON.stringify(instances.data)).toContain(`"${halley.wssUrl}"`);
    expect(halley.output()).toMatch(/serving with this certificate/);
  });

  it('may stand alone: with tls.plain off nothing is open that speaks plainly', async () => {
    const halley = await start({ HALLEY_TLS_PLAIN: 'off', HALLEY_TLS_HTTP: 'on' });
    expect(halley.wsUrl).toMatch(/^wss:/);
    expect(halley.httpUrl).toMatch(/^https:/);
    const client = await WireClient.connect(halley.wsUrl, { key: 'only', roomId: 'live://1' }, { ca: tls.ca });
    const { data } = await secureCall(`${halley.httpUrl}/goim/nodes/weighted?platform=web`, tls.ca);
    expect(data).toMatchObject({ wss_port: halley.wsPort });
    expect(data).not.toHaveProperty('ws_port');
    await secureCall(`${halley.httpUrl}/goim/push/room?operation=1000&type=live&room=1`, tls.ca, 'POST', 'hello');
    expect((await client.messageCount(1))[0]?.text).toBe('hello');
    for (const port of [halley.wsPort, halley.httpPort]) expect(await plainAnswer(port)).not.toMatch(/HTTP/);
    client.terminate();
  });
});

describe('the HTTP API over TLS', () => {
  it('answers over https with http/1.1 chosen by ALPN, refuses what is older than 1.2, and ends with the node', async () => {
    const halley = await start({ HALLEY_TLS_HTTP: 'on' });
    expect(await handshake(halley.httpPort, ['-tls1_2', '-alpn', 'http/1.1'])).toMatchObject({
      protocol: 'TLSv1.2',
      commonName: 'first',
      alpn: 'http/1.1',
    });
    expect(await handshake(halley.httpPort, ['-tls1_1'])).toMatchObject({ protocol: '', alert: 'protocol version' });
    expect(await secureCall(`${halley.httpUrl}/goim/online/total`, tls.ca)).toMatchObject({ status: 200, code: 0 });
    // A connection that never begins its handshake must not hold up the end.
    const silent = connect(halley.httpPort, '127.0.0.1');
    silent.on('error', () => {});
    let isClosed = false;
    silent.once('close', () => {
      isClosed = true;
    });
    await new Promise((resolve) => silent.once('connect', resolve));
    expect(await halley.stop()).toBe(0);
    await eventually(() => isClosed);
    expect(halley.output()).toContain('halley has stopped\n');
  });
});

describe('a start is refused, in one sentence that names option and file,', () => {
  const refusal = async (own: Readonly<Record<string, string>>) => {
    const { code, stderr } = await runHalley(
      ['--ws-port', '0', '--http-port', '0', '--data-dir', join(tls.dir, 'data')],
      {
        ...env,
        ...own,
      },
    );
    expect([code, stderr]).not.toEqual([1, expect.stringContaining('PRIVATE KEY')]);
    return [code, stderr];
  };

  it.each([
    ['TLS_FILE_UNREADABLE', /tls\.cert_file names a file that cannot be read: .*ENOENT/, 'cert'],
    ['TLS_CERT_INVALID', /tls\.cert_file must be a PEM file/, 'garbage'],
    ['TLS_KEY_INVALID', /tls\.key_file must be a PEM file with a private key/, 'garbage key'],
    ['TLS_KEY_MISMATCH', /tls\.key_file does not fit tls\.cert_file/, 'other key'],
  ])('with %s', async (errorCode, sentence, what) => {
    const garbage = join(tls.dir, 'garbage.pem');
    await writeFile(garbage, 'nothing of use');
    const other = await tls.authority.issue('stranger', { names: ['DNS:stranger.example'] });
    const own = {
      cert: { HALLEY_TLS_CERT_FILE: join(tls.dir, 'missing.crt') },
      garbage: { HALLEY_TLS_CERT_FILE: garbage },
      'garbage key': { HALLEY_TLS_KEY_FILE: garbage },
      'other key': { HALLEY_TLS_KEY_FILE: other.keyFile },
    }[what];
    const [code, stderr] = await refusal(own ?? {});
    expect(code).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(errorCode);
  });

  it('where the certificate of a name is broken, naming it', async () => {
    const [code, stderr] = await refusal({ HALLEY_TLS_SNI: `chat.example=${tls.own.certFile}:/nowhere.key` });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/the key of chat\.example in tls\.sni names a file/)]);
  });

  it('but not with an expired certificate, which is served with a warning', async () => {
    const old = await tls.authority.issue('old', { names: ['IP:127.0.0.1'], notAfter: '20200101000000Z' });
    const halley = await start({ HALLEY_TLS_CERT_FILE: old.certFile, HALLEY_TLS_KEY_FILE: old.keyFile });
    expect(halley.output()).toMatch(/but it has expired on Jan +1 00:00:00 2020 GMT/);
    expect(await handshake(portOf(halley.wssUrl))).toMatchObject({ commonName: 'old' });
  });
});

/** What a port says to a request without TLS. */
function plainAnswer(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.once('close', () => resolve(text));
  });
}
