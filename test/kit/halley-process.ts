/**
 * Starts the program as a user does (`node dist/main.js`), on free ports with a data directory of its own, and ends it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const START_DEADLINE_MS = 20_000;

export interface HalleyProcess {
  readonly wsUrl: string;
  readonly wsPort: number;
  /** 0: closed. */
  readonly tcpPort: number;
  readonly tcpTlsPort: number;
  /** Empty where there is none beside `wsUrl`. */
  readonly wssUrl: string;
  /** Without a slash at its end. */
  readonly httpUrl: string;
  readonly httpPort: number;
  readonly pid: number;
  readonly child: ChildProcess;
  /** Everything it wrote so far, both streams. */
  output(): string;
  /** Send a signal and wait for the end. Resolves with exit code or signal name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
  /** Resolves when the process has ended by itself. */
  readonly exited: Promise<number | string>;
}

export interface HalleyOptions {
  /** Further arguments, for example `['--buckets', '1']`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Kept after the end where given; otherwise a temporary directory is made and removed. */
  readonly dataDir?: string;
}

/** Start a node and wait until it says that it is ready. Rejects with its output where it ends before that. */
export async function startHalley(options: HalleyOptions = {}): Promise<HalleyProcess> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'halley-test-')));
  const given = options.args ?? [];
  const args = [MAIN, '--data-dir', dataDir, ...given];
  for (const [flag, value] of [
    ['--ws-port', '0'],
    ['--tcp-port', '0'],
    ['--http-port', '0'],
    ['--buckets', '2'],
  ] as const) {
    if (!given.includes(flag)) args.push(flag, value);
  }
  const child = spawn(process.execPath, args, {
    // It has no flag, and only nodes with a certificate open it.
    env: { ...cleanEnv(), HALLEY_TLS_TCP_PORT: '0', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const exited = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => {
      if (options.dataDir === undefined) void rm(dataDir, { recursive: true, force: true });
      resolve(code ?? signal ?? 'unknown');
    });
  });
  const ready = new Promise<{ wsUrl: string; wssUrl: string; httpUrl: string }>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`halley was not ready within ${START_DEADLINE_MS} ms:\n${output}`)),
      START_DEADLINE_MS,
    );
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      // The last of the lines that name ports. A node without buckets has no others.
      const http = /HTTP API +(https?:\S+)/.exec(output)?.[1];
      if (http === undefined) return;
      clearTimeout(timer);
      const ws = /WebSocket +(wss?:\S+)/.exec(output)?.[1] ?? '';
      const wss = /with TLS +(wss:\S+)/.exec(output)?.[1] ?? '';
      resolve({ wsUrl: ws, wssUrl: wss, httpUrl: http.replace(/\/$/, '') });
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void exited.then((code) => {
      clearTimeout(timer);
      reject(new Error(`halley ended with ${code} before it was ready:\n${output}`));
    });
  });
  const { wsUrl, wssUrl, httpUrl } = await ready;
  const portIn = (url: RegExp) => Number(url.exec(output)?.[1] ?? 0);
  return {
    wsUrl,
    wssUrl,
    wsPort: wsUrl === '' ? 0 : Number(new URL(wsUrl).port),
    tcpPort: portIn(/ +tcp:\/\/\S+:(\d+)/),
    tcpTlsPort: portIn(/ +tls:\/\/\S+:(\d+)/),
    httpUrl,
    httpPort: Number(new URL(httpUrl).port),
    pid: child.pid ?? 0,
    child,
    output: () => output,
    exited,
    stop: (signal = 'SIGINT') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return exited;
    },
  };
}

/** Run the program to its end, for commands and failing starts. One that does not end is killed: code `SIGKILL`. */
export async function runHalley(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | string; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...cleanEnv(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const deadline = setTimeout(() => child.kill('SIGKILL'), START_DEADLINE_MS);
  const code = await new Promise<number | string>((resolve) => {
    child.once('close', (exitCode, signal) => resolve(exitCode ?? signal ?? 'unknown'));
  });
  clearTimeout(deadline);
  return { code, stdout, stderr };
}

/** The environment without HALLEY_* of the test runner. */
function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HALLEY_')));
}
