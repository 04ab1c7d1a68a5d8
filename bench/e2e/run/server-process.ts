/**
 * Starts a server under test in a process of its own and waits until it answers.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { E2eOptions, ServerName } from './options.js';

const HOST = '127.0.0.1';
const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 15_000;
const POLL_MS = 50;
const ERROR_TAIL_CHARS = 2_000;

export interface ServerProcess {
  readonly name: ServerName;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Undefined: not our process, no CPU and memory figures. */
  readonly pid: number | undefined;
  /** goim's HTTP API; undefined: the server is fed in-process only. */
  readonly http: { readonly host: string; readonly port: number; readonly token: string } | undefined;
  stop(): Promise<void>;
}

export interface ServerFiles {
  /** Where the bundled entries lie. */
  readonly bundle: URL;
  /** The repository. */
  readonly root: URL;
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host: HOST, port: 0, exclusive: true }, () => {
      const address = server.address();
      const port = address !== null && typeof address === 'object' ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

async function until(child: ChildProcess, what: string, tail: () => string, isReady: () => Promise<boolean>) {
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  while (!(await isReady())) {
    if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadlineMs) {
      child.kill('SIGKILL');
      throw new Error(`${what} did not start: exit=${child.exitCode ?? child.signalCode}\n${tail()}`);
    }
    await delay(POLL_MS);
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  if (child.connected) child.disconnect();
  else child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(timer);
}

/** Collects the end of what a child prints, for the error message. */
function tailOf(child: ChildProcess): () => string {
  let text = '';
  const add = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-ERROR_TAIL_CHARS);
  };
  child.stdout?.on('data', add);
  child.stderr?.on('data', add);
  return () => text;
}

async function isOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}

async function startHalley(options: E2eOptions, files: ServerFiles): Promise<ServerProcess> {
  const [port, httpPort] = [await freePort(), await freePort()];
  const dataDir = await mkdtemp(join(tmpdir(), 'halley-bench-'));
  const flags = {
    buckets: options.buckets,
    'ws-port': port,
    'http-port': httpPort,
    'data-dir': dataDir,
    app: fileURLToPath(new URL('servers/halley-app.mjs', files.bundle)),
  };
  const child = spawn(
    process.execPath,
    [
      ...options.nodeFlags,
      fileURLToPath(new URL('dist/main.js', files.root)),
      ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
    ],
    {
      cwd: fileURLToPath(files.root),
      env: { HALLEY_LOG_LEVEL: 'warn', ...process.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  await until(child, 'halley', tailOf(child), () => isOk(`http://${HOST}:${httpPort}/ready`));
  return {
    name: 'halley',
    host: HOST,
    port,
    path: '/sub',
    pid: child.pid,
    http: { host: HOST, port: httpPort, token: '' },
    stop: async () => {
      await stopChild(child);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function startPeer(
  name: ServerName,
  entry: string,
  settings: readonly number[],
  options: E2eOptions,
  files: ServerFiles,
): Promise<ServerProcess> {
  const port = await freePort();
  const child = fork(new URL(`servers/${entry}`, files.bundle), [String(port), ...settings.map(String)], {
    execArgv: [...options.nodeFlags],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let isReady = false;
  child.once('message', () => {
    isReady = true;
  });
  await until(child, name, tailOf(child), async () => isReady);
  return { name, host: HOST, port, path: '/sub', pid: child.pid, http: undefined, stop: () => stopChild(child) };
}

/** @throws Error with the end of the server's output when it does not answer in time */
export function startServer(name: ServerName, options: E2eOptions, files: ServerFiles): Promise<ServerProcess> {
  switch (name) {
    case 'halley':
      return startHalley(options, files);
    case 'ws':
      return startPeer(name, 'ws.peer.mjs', [], options, files);
    case 'uws':
      return startPeer(name, 'uws.peer.mjs', [options.buckets, 0], options, files);
    case 'uws-inline':
      return startPeer(name, 'uws.peer.mjs', [0, 0], options, files);
    case 'uws-merge':
      return startPeer(name, 'uws.peer.mjs', [0, options.mergeWindowMs], options, files);
    case 'target': {
      const { target } = options;
      if (target === undefined) return Promise.reject(new Error('no --target was given'));
      const http = { host: target.httpHost, port: target.httpPort, token: target.token };
      return Promise.resolve({ name, ...target, http, stop: () => Promise.resolve() });
    }
  }
}
