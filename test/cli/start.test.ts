/**
 * Starts that cannot work end with one sentence and leave nothing behind; starts after a crash wait and say so.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  eventually,
  type HalleyProcess,
  pushRoom,
  readiness,
  runHalley,
  startHalley,
  WireClient,
} from '../kit/index.js';

const FAILED = 1;
const FREE_PORTS = ['--ws-port', '0', '--tcp-port', '0', '--http-port', '0', '--buckets', '1'];

let directory: string;
let running: HalleyProcess[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-start-'));
  running = [];
});
afterEach(async () => {
  for (const halley of running) await halley.stop();
  await rm(directory, { recursive: true, force: true });
});

async function start(options: Parameters<typeof startHalley>[0] = {}): Promise<HalleyProcess> {
  const halley = await startHalley(options);
  running.push(halley);
  return halley;
}

async function failure(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runHalley(args);
  expect([code, stdout]).toEqual([FAILED, '']);
  return stderr;
}

function listenSomewhere(): Promise<{ readonly server: Server; readonly port: number }> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      resolve({ server, port: (server.address() as { port: number }).port });
    });
  });
}

describe('a port that is taken', () => {
  it.each([
    ['--ws-port', 'ws_port'],
    ['--tcp-port', 'tcp_port'],
    ['--http-port', 'http_port'],
  ])('by any program ends the start and names %s', async (flag, optionName) => {
    const { server, port } = await listenSomewhere();
    const args = ['--data-dir', directory, ...FREE_PORTS];
    args[args.indexOf(flag) + 1] = String(port);
    const stderr = await failure(args);
    expect(stderr).toContain('another process listens here, choose another port');
    expect(stderr).toContain(`option="${optionName}"`);
    expect(stderr).toContain(`port=${port}`);
    await new Promise((resolve) => server.close(resolve));
  });

  it('by another node is never shared: every client stays with the first', async () => {
    const first = await start();
    expect(await failure(['--data-dir', directory, '--ws-port', String(first.wsPort), '--http-port', '0'])).toContain(
      'PORT_TAKEN',
    );
    for (let index = 0; index < 20; index++) {
      const client = await WireClient.connect(first.wsUrl, { key: `k${index}` });
      await client.close();
    }
  });

  it('is not shared either by two nodes that start at the same moment', async () => {
    const { server, port } = await listenSomewhere();
    await new Promise((resolve) => server.close(resolve));
    const attempts = await Promise.allSettled(
      [1, 2, 3].map((index) =>
        startHalley({ dataDir: join(directory, String(index)), args: ['--ws-port', String(port), '--buckets', '1'] }),
      ),
    );
    for (const attempt of attempts) if (attempt.status === 'fulfilled') running.push(attempt.value);
    expect(running.length).toBe(1);
    for (const attempt of attempts)
      if (attempt.status === 'rejected') expect(String(attempt.reason)).toContain('ws_port');
  });
});

describe('a data directory', () => {
  it('that cannot be one is refused with its path', async () => {
    const path = join(directory, 'file');
    await writeFile(path, '');
    const stderr = await failure(['--data-dir', path, ...FREE_PORTS]);
    expect(stderr).toContain('the data directory must be writable (option data_dir)');
    expect(stderr).toContain(path);
  });

  it.each([
    ['id.mark', 'halley-id-mark 1 12', 'ID_MARK_CORRUPT'],
    ['node-epoch', '-3\n', 'NODE_EPOCH_CORRUPT'],
    ['node-epoch', '', 'NODE_EPOCH_CORRUPT'],
  ])('with a damaged %s (%j) is not guessed at', async (name, content, code) => {
    await writeFile(join(directory, name), content);
    const stderr = await failure(['--data-dir', directory, ...FREE_PORTS]);
    expect(stderr).toContain(code);
    expect(stderr).toContain(join(directory, name));
  });

  it('of a running node is refused to a second one, and the first goes on', async () => {
    const first = await start({ dataDir: directory, env: { HALLEY_ID_MARK_AHEAD_MS: '500' } });
    expect(await failure(['--data-dir', directory, ...FREE_PORTS])).toContain('ID_MARK_IN_USE');
    expect(await readiness(first.httpUrl)).toMatchObject({ ready: true });
    await pushRoom(first.httpUrl, 'live://1', 'still here');
  });

  it('is taken over after kill -9 by a start that waits for the ids, says so, and then is ready', async () => {
    // Far enough ahead that it has not passed by itself when a busy machine takes seconds for the second start.
    const first = await start({ dataDir: directory, env: { HALLEY_ID_MARK_AHEAD_MS: '6000' } });
    const before = await idOfPush(first);
    expect(await first.stop('SIGKILL')).toBe('SIGKILL');
    const second = await start({ dataDir: directory, args: ['--ws-port', String(first.wsPort)] });
    expect(second.output()).toMatch(/waiting \d\.\d s for the ids of an earlier run to pass/);
    expect(await idOfPush(second)).toBeGreaterThan(before);
    expect(await second.stop()).toBe(0);
    // An orderly end leaves nothing to wait for.
    const third = await start({ dataDir: directory });
    expect(third.output()).not.toContain('waiting');
  });
});

it('issues ids for as long as it runs, not only up to its first mark', async () => {
  const halley = await start({ env: { HALLEY_ID_MARK_AHEAD_MS: '100' } });
  const client = await WireClient.connect(halley.wsUrl, { roomId: 'live://1', extended: true });
  const idMs = (text: string | undefined) => Number(BigInt(text ?? '0') >> 22n);
  await eventually(
    async () => {
      await pushRoom(halley.httpUrl, 'live://1', 'x');
      return idMs(client.messages.at(-1)?.id) - idMs(client.messages[0]?.id) > 1_000;
    },
    10_000,
    'ids over a second',
  );
  expect(await readiness(halley.httpUrl)).toMatchObject({ ready: true });
  client.terminate();
});

describe('an application module', () => {
  it.each([
    ['is missing', undefined, ['Cannot find module', 'absent.mjs']],
    [
      'has no export named app',
      'export const application = 1;',
      ['must export a function named app(server)', 'exports="application"'],
    ],
    ['does not parse', 'export function app( {', ['could not be loaded', 'Unexpected']],
    ['throws while it is set up', 'export function app() { throw new Error("no database"); }', ['no database']],
  ])('that %s ends the start and says why', async (_, text, sentences) => {
    const path = join(directory, text === undefined ? 'absent.mjs' : 'app.mjs');
    if (text !== undefined) await writeFile(path, text);
    const { code, stderr } = await runHalley(['--app', path, '--data-dir', directory, ...FREE_PORTS]);
    expect(code).toBe(FAILED);
    const lastWords = stderr.split('\n').filter((line) => line.startsWith('halley: '));
    expect(lastWords.length).toBe(1);
    for (const sentence of sentences) expect(lastWords[0]).toContain(sentence);
    expect(stderr).toContain('THREAD_START_FAILED');
  });
});

/** The id of a push now, as a number of milliseconds and sequence. */
async function idOfPush(halley: HalleyProcess): Promise<bigint> {
  const client = await WireClient.connect(halley.wsUrl, { roomId: 'live://id', extended: true });
  await pushRoom(halley.httpUrl, 'live://id', 'x');
  const [message] = await client.messageCount(1);
  client.terminate();
  return BigInt(message?.id ?? '0');
}
