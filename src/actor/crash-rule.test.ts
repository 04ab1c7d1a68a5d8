/**
 * The crash rule, sentence by sentence, on real worker threads with open uWebSockets.js sockets. Each case runs in a
 * process of its own, because where the rule fails, it is the process that dies (SIGABRT).
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { OUTCOME } from '../errors/index.js';

const CHILD = fileURLToPath(new URL('../../dist/actor/fixtures/crash-child.js', import.meta.url));

interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stderr: string;
  readonly result: Record<string, unknown>;
}

function runChild(mode: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, mode], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('error', reject);
    child.on('close', (exitCode, signal) => {
      const line = stdout.trim();
      resolve({ exitCode, signal, stderr, result: line.startsWith('{') ? JSON.parse(line) : { stdout } });
    });
  });
}

const CAUSES: [string, string, RegExp][] = [
  ['an uncaught exception', 'exception', /uncaught on purpose/],
  ['an unhandled rejection', 'rejection', /unhandled on purpose/],
  ['process.exit() in a callback', 'exit', /process\.exit\(\) inside a worker thread .*exit_code=1/],
  ['process.exit() inside receive()', 'exit-in-receive', /process\.exit\(\) inside a worker thread .*exit_code=1/],
];

describe.each(CAUSES)('%s', (_name, mode, reason) => {
  test('costs the sockets and questions of its thread only, the process lives, and a fresh thread serves', async () => {
    const outcome = await runChild(mode);
    expect(outcome).toMatchObject({ exitCode: 0, signal: null });
    expect(outcome.result).toMatchObject({
      log: ['lost 1.1', 'ready 1.2'],
      doomedDropped: ['half', 'hanging', 'webSocket'],
      othersDropped: [],
      halfAnswer: 'HTTP/1.1 200 OK',
      fresh: 'serves',
      pending: 'ASK_THREAD_LOST',
      staleTell: OUTCOME.CLOSED,
      ready: true,
      state: 'ready',
      stopped: { stuck: [] },
    });
    expect(outcome.result['reason']).toMatch(reason);
  });
});

test('after the fifth crash within a minute the thread stays down, the pool is not ready, the others serve on', async () => {
  const outcome = await runChild('five');
  expect(outcome).toMatchObject({ exitCode: 0, signal: null });
  expect(outcome.result).toMatchObject({
    log: [1, 2, 3, 4].flatMap((crash) => [`lost 1.${crash}`, `ready 1.${crash + 1}`]).concat('lost 1.5', 'down 1'),
    othersDropped: [],
    halfAnswer: 'HTTP/1.1 200 OK',
    ready: false,
    state: 'down',
    stopped: { stuck: [] },
  });
});
