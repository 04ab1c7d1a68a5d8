/**
 * The operators' commands as they ship, against a real node that wants a token.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  freePort,
  type HalleyProcess,
  readiness,
  runHalley,
  startHalley,
  WireClient,
} from '../kit/index.js';

const EXIT = { OK: 0, REFUSED: 1, USAGE: 2, UNREACHABLE: 3 } as const;
const TOKEN = 'a-token-of-the-api';
const BODY_BYTES = 100_000;
const OP = 1000;

let halley: HalleyProcess;
let directory: string;
const clients: WireClient[] = [];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-operators-'));
  halley = await startHalley({
    args: ['--server-id', 'node-1'],
    env: { HALLEY_HTTP_TOKEN: TOKEN, HALLEY_LIMITS_PUSH_BODY_BYTES: String(BODY_BYTES) },
  });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.terminate();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
  await rm(directory, { recursive: true, force: true });
});

type Ran = Awaited<ReturnType<typeof runHalley>>;

/** A command at this node, with the token. */
function run(...args: string[]): Promise<Ran> {
  return runHalley([...args, '--url', halley.httpUrl], { HALLEY_HTTP_TOKEN: TOKEN });
}

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect([code, stderr]).toEqual([EXIT.OK, '']);
  return stdout;
}

async function connect(key: string, mid: number, roomId = 'live://1'): Promise<WireClient> {
  const client = await WireClient.connect(halley.wsUrl, { key, mid, roomId, platform: 'web', accepts: [OP] });
  clients.push(client);
  return client;
}

function texts(client: WireClient): string[] {
  return client.messages.map(({ text }) => text);
}

describe('halley push', () => {
  it('reaches the members of rooms, devices, users, or everyone, and nobody else', async () => {
    const phone = await connect('phone', 1, 'live://1');
    const laptop = await connect('laptop', 1, 'live://2');
    const other = await connect('other', 2, 'live://3');
    expect(await ok('push', '--room', 'live://1', '--room', 'live://2', '--op', '1000', 'rooms')).toBe(
      'pushed to room live://1, live://2: op=1000 bytes=5\n',
    );
    expect(await ok('push', '--key', 'phone', '--op=1000', 'key')).toBe('pushed to key phone: op=1000 bytes=3\n');
    await ok('push', '--mid', '1', '--op', '1000', 'mid');
    await ok('push', '--mid', '1', '--mid', '9007199254740991', '--op', '1000', 'mids');
    await ok('push', '--all', '--op', '1000', 'all');
    expect(await ok('push', '--all', '--speed', '1000', '--op', '1000', 'slowly', '--json')).toBe(
      `${JSON.stringify([{ code: 0, message: '' }], null, 2)}\n`,
    );
    await phone.messageCount(6);
    await laptop.messageCount(5);
    await other.messageCount(2);
    expect(texts(phone).toSorted()).toEqual(['all', 'key', 'mid', 'mids', 'rooms', 'slowly']);
    expect(texts(laptop).toSorted()).toEqual(['all', 'mid', 'mids', 'rooms', 'slowly']);
    expect(texts(other).toSorted()).toEqual(['all', 'slowly']);
  });

  it('takes the body to the byte from the command line, a file or standard input', async () => {
    const client = await connect('phone', 1);
    const to = ['push', '--room', 'live://1', '--op', '1000'];
    const bytes = randomBytes(BODY_BYTES);
    const path = join(directory, 'body.bin');
    await writeFile(path, bytes);
    await ok(...to, '{"text":"hé 🙂"}');
    await client.messageCount(1);
    await ok(...to, '');
    await client.messageCount(2);
    await ok(...to, '--file', path);
    await client.messageCount(3);
    const { code, stdout } = await withInput(bytes.subarray(0, 70_000), ...to, '-');
    expect([code, stdout]).toEqual([EXIT.OK, 'pushed to room live://1: op=1000 bytes=70000\n']);
    await client.messageCount(4);
    await runHalley([...to, '--url', halley.httpUrl, '--', '--all'], { HALLEY_HTTP_TOKEN: TOKEN });
    await client.messageCount(5);
    expect(client.messages.slice(0, 2).map(({ text }) => text)).toEqual(['{"text":"hé 🙂"}', '']);
    expect(client.messages.slice(2, 4).map(({ body }) => sha256(body))).toEqual([
      sha256(bytes),
      sha256(bytes.subarray(0, 70_000)),
    ]);
    expect(client.messages[4]?.text).toBe('--all');
  });

  it('--durable says what it has reached, and takes an id', async () => {
    const client = await connect('phone', 1);
    expect(await ok('push', '--key', 'phone', '--op', '1000', '--durable', '--id', 'order-1', 'kept')).toBe(
      'accepted by the queue, to key phone: op=1000 bytes=4\n',
    );
    expect((await client.messageCount(1))[0]?.text).toBe('kept');
  });

  it('says what the node refuses, and prints nothing else', async () => {
    const path = join(directory, 'large.bin');
    await writeFile(path, Buffer.alloc(BODY_BYTES + 1));
    const { code, stdout, stderr } = await run('push', '--room', 'live://1', '--op', '1000', '--file', path, '--json');
    expect([code, stdout]).toEqual([EXIT.REFUSED, '']);
    expect(stderr).toBe(
      `halley push: the message is larger than this node delivers, nobody got it: url="${halley.httpUrl}" code=-413\n`,
    );
  });

  it.each([
    [['--op', '1000', 'x'], 'exactly one of --room, --key, --mid and --all', 'given="none"'],
    [['--room', 'a', '--key', 'b', '--op', '1000', 'x'], 'exactly one of', 'given="--room --key"'],
    [['--room', 'a', 'x'], '--op must be given and not 0', ''],
    [['--room', 'a', '--op', '0', 'x'], '--op must be given and not 0', ''],
    [['--room', 'a', '--op', '2147483648', 'x'], '--op must be an integer of -2147483648 to 2147483647', ''],
    [['--room', 'a', '--op', '1000'], 'say what to push', '--file PATH'],
    [['--room', 'a', '--op', '1000', 'hello', 'world'], 'quote a body that has blanks', 'argument="world"'],
    [['--room', 'a', '--op', '1000', 'x', '--file', 'y'], 'an argument or --file, not both', ''],
    [['--room', 'a', '--op', '1000', '--file', '/nowhere/x'], 'the file cannot be read', 'ENOENT'],
    [['--room', '', '--op', '1000', 'x'], 'rooms[0] must be a non-empty string', ''],
    [['--mid', '9007199254740992', '--op', '1000', 'x'], 'a mid is an integer of 1 to 9007199254740991', ''],
    [['--room', 'a', '--speed', '5', '--op', '1000', 'x'], '--speed goes with --all only', ''],
    [['--room', 'a', '--op', '1000', '--id', 'x', 'x'], '--id goes with --durable', ''],
    [['--room', 'a', '--op', '1000', '--durable', '--id', 'a b', 'x'], '1 to 120 visible ASCII characters', ''],
    [['--rooms', 'a', '--op', '1000', 'x'], "Unknown option '--rooms'", ''],
    [['--room', 'a', '--op', '1000', '--op', '1001', 'x'], 'the flag is given twice', 'flag="--op"'],
  ])('does not send %j', async (args, sentence, fact) => {
    const { code, stdout, stderr } = await run('push', ...args);
    expect([code, stdout]).toEqual([EXIT.USAGE, '']);
    expect(stderr).toContain(sentence);
    expect(stderr).toContain(fact);
    expect(stderr).toContain('halley push --help');
  });
});

describe('halley online', () => {
  it('counts the node, rooms, and the fullest rooms', async () => {
    await connect('a', 1, 'live://1');
    await connect('b', 2, 'live://1');
    await connect('c', 3, 'live://22');
    await connect('d', 4, 'game://1');
    await eventually(
      async () => /^node-1 +4 +1 +3 +yes\ntotal: connections=4 addresses=1\n$/m.test(await ok('online')),
      10_000,
      'four connections in three rooms',
    );
    expect(await ok('online', '--room', 'live://22', '--room', 'none://1')).toBe(
      'ROOM       MEMBERS  ON THIS NODE\nlive://22        1             1\nnone://1         0             0\n',
    );
    expect(await ok('online', '--top', 'live', '--limit', '1')).toBe(
      'ROOM      MEMBERS  ON THIS NODE\nlive://1        2             2\n',
    );
    expect(JSON.parse(await ok('online', '--top', '*', '--json'))).toEqual([
      { room: 'live://1', count: 2, local_count: 2 },
      { room: 'game://1', count: 1, local_count: 1 },
      { room: 'live://22', count: 1, local_count: 1 },
    ]);
    expect(await ok('online', '--top', 'none')).toBe('no room has a member\n');
  });

  it('asks one question at a time', async () => {
    for (const args of [
      ['--room', 'a', '--top', 'b'],
      ['--limit', '3'],
      ['--top', 'a', '--limit', '0'],
      ['live://1'],
    ]) {
      expect((await run('online', ...args)).code).toBe(EXIT.USAGE);
    }
  });
});

describe('halley nodes and halley drain', () => {
  it('shows the node, and takes it out and puts it back', async () => {
    const row = (draining: string) =>
      new RegExp(
        `^NODE +WEBSOCKET +TCP .*DRAINING\\nnode-1 +${halley.wsUrl} +tcp://127.0.0.1:${halley.tcpPort} +- +10 +\\d+ +${draining}\\n$`,
      );
    expect(await ok('nodes')).toMatch(row('no'));
    expect(await ok('drain')).toBe(`${halley.httpUrl} is draining: it gets no new clients\n`);
    expect(await ok('nodes')).toMatch(row('yes'));
    expect(await readiness(halley.httpUrl)).toMatchObject({ ready: false });
    expect(JSON.parse(await ok('drain', '--off', '--json'))).toEqual({ draining: false });
    expect(await ok('nodes')).toMatch(row('no'));
    expect(await readiness(halley.httpUrl)).toMatchObject({ ready: true });
    expect(JSON.parse(await ok('nodes', '--json'))).toMatchObject([
      { addrs: [halley.wsUrl, `tcp://127.0.0.1:${halley.tcpPort}`], metadata: { server_id: 'node-1' } },
    ]);
  });
});

describe('halley sessions', () => {
  it('finds the devices of users and single keys', async () => {
    await connect('phone', 1);
    await connect('laptop', 1);
    await connect('sensor', 0);
    const text = await ok('sessions', '1', '99', '--key', 'sensor');
    const lines = text.trimEnd().split('\n');
    expect(lines.length).toBe(4);
    expect(lines[0]).toMatch(/^KEY +MID +NODE +BUCKET +PLATFORM +ADDRESS +SINCE$/);
    expect(lines.slice(1).map((line) => line.split(/ +/).slice(0, 3))).toEqual([
      ['sensor', '-', 'node-1'],
      ['phone', '1', 'node-1'],
      ['laptop', '1', 'node-1'],
    ]);
    const [session] = JSON.parse(await ok('sessions', '--key', 'phone', '--json'));
    expect(session).toMatchObject({
      key: 'phone',
      mid: 1,
      server_id: 'node-1',
      platform: 'web',
      remote_ip: '127.0.0.1',
    });
    expect(Math.abs(Date.parse(session.since) - Date.now())).toBeLessThan(60_000);
    expect(await ok('sessions', '99')).toBe('not connected\n');
    expect(JSON.parse(await ok('sessions', '99', '--json'))).toEqual([]);
  });

  it('wants mids or keys, and tells one from the other', async () => {
    expect((await run('sessions')).stderr).toContain('say whose sessions');
    expect((await run('sessions', 'phone')).stderr).toContain('device keys go with --key: mid="phone"');
  });
});

describe('halley kick', () => {
  it('closes devices and users, and says whether they may come back', async () => {
    const [phone, laptop, other, fourth] = [
      await connect('phone', 1),
      await connect('laptop', 1),
      await connect('other', 2),
      await connect('fourth', 4),
    ];
    expect(await ok('kick', 'phone', 'nobody')).toBe('closed: channels=1\n');
    expect(await phone.closing()).toEqual({ code: 3501, reason: 'disconnected by the backend' });
    expect(JSON.parse(await ok('kick', '--mid', '1', '--reconnect', '--reason', 'moving', '--json'))).toEqual({
      count: 1,
    });
    expect(await laptop.closing()).toEqual({ code: 3000, reason: 'moving' });
    await ok('kick', 'other', '--code', '4001');
    expect((await other.closing()).code).toBe(4001);
    expect(fourth.closed).toBeUndefined();
  });

  it('hands on what the node says about a contradiction, and catches its own', async () => {
    const refusal = await run('kick', 'phone', '--code', '3000', '--no-reconnect');
    expect(refusal.code).toBe(EXIT.REFUSED);
    expect(refusal.stderr).toContain('codes 3000 to 3499 mean reconnect and 3500 to 3999 do not');
    expect((await run('kick', 'phone', '--reconnect', '--no-reconnect')).code).toBe(EXIT.USAGE);
    expect((await run('kick')).stderr).toContain('say whom: device keys, or --mid');
    expect((await run('kick', 'phone', '--code', '1000')).stderr).toContain(
      '--code must be an integer of 3000 to 4999',
    );
  });
});

describe('every command', () => {
  it('without the token, or with a wrong one, names HALLEY_HTTP_TOKEN and not the token', async () => {
    const none = await runHalley(['online', '--url', halley.httpUrl]);
    expect([none.code, none.stdout]).toEqual([EXIT.REFUSED, '']);
    expect(none.stderr).toContain('the API wants a token: set HALLEY_HTTP_TOKEN');
    const wrong = await runHalley(['drain', '--url', halley.httpUrl], { HALLEY_HTTP_TOKEN: 'wrong-token' });
    expect(wrong.code).toBe(EXIT.REFUSED);
    expect(wrong.stderr).toContain('the API token is wrong: HALLEY_HTTP_TOKEN must be the http.token of the node');
    expect(wrong.stderr).not.toContain('wrong-token');
  });

  it('finds the node by the configuration: environment or file', async () => {
    const env = { HALLEY_HTTP_TOKEN: TOKEN, HALLEY_HTTP_PORT: String(halley.httpPort) };
    expect((await runHalley(['nodes'], env)).code).toBe(EXIT.OK);
    const path = join(directory, 'node.toml');
    await writeFile(path, `http_port = ${halley.httpPort}\n[http]\ntoken = "${TOKEN}"\n`);
    expect((await runHalley(['nodes', '--config', path])).code).toBe(EXIT.OK);
    const bad = await runHalley(['nodes'], { HALLEY_HTTP_PORT: 'many' });
    expect([bad.code, bad.stdout]).toEqual([EXIT.USAGE, '']);
    expect(bad.stderr).toContain('http_port must be an integer of 0 to 65535');
    const any = await runHalley(['nodes'], { HALLEY_HTTP_PORT: '0' });
    expect(any.stderr).toContain('say which one with --url');
  });

  it('ends with 3 where nobody answers, and says where it asked', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stdout, stderr } = await runHalley(['push', '--all', '--op', '1000', 'x', '--url', url, '--json']);
    expect([code, stdout]).toEqual([EXIT.UNREACHABLE, '']);
    expect(stderr).toContain('is the node up and is this its HTTP API');
    expect(stderr).toContain(`url="${url}" reason="ECONNREFUSED"`);
  });

  it('tells the WebSocket port from the API', async () => {
    const url = `http://127.0.0.1:${halley.wsPort}`;
    const { code, stderr } = await runHalley(['online', '--url', url]);
    expect(code).toBe(EXIT.REFUSED);
    expect(stderr).toContain("this is not an answer of Halley's API: another program listens here");
    expect(stderr).toContain(`url="${url}" path="/halley/online/total" status=404`);
  });

  it.each(['push', 'online', 'nodes', 'sessions', 'kick', 'drain', 'cluster'])(
    '%s --help shows its usage',
    async (name) => {
      const { code, stdout, stderr } = await runHalley([name, '--help']);
      expect([code, stderr]).toEqual([EXIT.OK, '']);
      expect(stdout).toMatch(new RegExp(`^Usage: halley ${name} `));
      expect(stdout).toContain('Exit code 0');
      expect((await runHalley(['--help'])).stdout).toContain(`  ${name} `);
    },
  );
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The program with bytes on its standard input. */
async function withInput(input: Uint8Array, ...args: string[]): Promise<Pick<Ran, 'code' | 'stdout'>> {
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...args, '--url', halley.httpUrl], {
    env: { ...process.env, HALLEY_HTTP_TOKEN: TOKEN },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stdin.end(input);
  const code = await new Promise<number | string>((resolve) => {
    child.once('close', (exitCode, signal) => resolve(exitCode ?? signal ?? 'unknown'));
  });
  return { code, stdout };
}
