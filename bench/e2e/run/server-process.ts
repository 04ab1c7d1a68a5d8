/**
 * Starts a server under test in a process of its own and waits until it answers.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  type DialectName,
  FedServer,
  type Feed,
  type FeedReport,
  feedThroughHttp,
  SOCKETIO_PATH,
} from '../../../src/cli/bench/index.js';
import { Runner } from './app-door.js';
import type { E2eOptions, ServerName } from './options.js';

const HOST = '127.0.0.1';
const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 15_000;
const POLL_MS = 25;
const ERROR_TAIL_CHARS = 2_000;
/** Of a smoke: shorter than its longest case, which then shows that ids go on past the mark. */
const SMOKE_MARK_AHEAD_MS = '500';

export interface ServerProcess {
  readonly name: ServerName;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly dialect: DialectName;
  /** Undefined: not our process, no CPU and memory figures. */
  readonly pid: number | undefined;
  /** Base of the HTTP API; undefined: it has none. */
  readonly httpUrl: string | undefined;
  /** Publish through the door that the options name; resolves when the feed is over. */
  feed(feed: Feed): Promise<FeedReport>;
  stop(): Promise<void>;
}

export interface ServerFiles {
  /** Where the bundled entries lie. */
  readonly bundle: URL;
  /** The repository. */
  readonly root: URL;
}

/** The compiled entries of src/cli/bench. */
export function benchEntry(files: ServerFiles, name: string): URL {
  return new URL(`dist/cli/bench/${name}.js`, files.root);
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

async function untilReady(child: ChildProcess, url: string): Promise<void> {
  let tail = '';
  const add = (chunk: Buffer): void => {
    tail = (tail + chunk.toString()).slice(-ERROR_TAIL_CHARS);
  };
  child.stdout?.on('data', add);
  child.stderr?.on('data', add);
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  while (!(await isOk(url))) {
    if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadlineMs) {
      child.kill('SIGKILL');
      throw new Error(`halley did not start: exit=${child.exitCode ?? child.signalCode}\n${tail}`);
    }
    await delay(POLL_MS);
  }
}

async function isOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(timer);
}

async function startHalley(
  name: 'halley' | 'halley-tcp',
  node: number,
  options: E2eOptions,
  files: ServerFiles,
): Promise<ServerProcess> {
  const [wsPort, tcpPort, httpPort] = [await freePort(), await freePort(), await freePort()];
  const dataDir = await mkdtemp(join(tmpdir(), 'halley-bench-'));
  const flags = {
    buckets: options.buckets,
    'ws-port': wsPort,
    'tcp-port': tcpPort,
    'http-port': httpPort,
    'data-dir': dataDir,
    'server-id': `bench-${node}`,
    app: fileURLToPath(new URL('servers/halley-app.mjs', files.bundle)),
  };
  const argv = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  const env = {
    HALLEY_LOG_LEVEL: 'warn',
    // Nobody measures the end; closes that are spread over time only make the bench longer.
    HALLEY_SHUTDOWN_DRAIN_MS: '0',
    ...(options.isSmoke ? { HALLEY_ID_MARK_AHEAD_MS: SMOKE_MARK_AHEAD_MS } : {}),
    ...process.env,
  };
  const httpUrl = `http://${HOST}:${httpPort}`;
  const reached =
    name === 'halley'
      ? ({ port: wsPort, path: '/sub', dialect: 'goim' } as const)
      : ({ port: tcpPort, path: '', dialect: 'goim-tcp' } as const);
  const common = { name, host: HOST, ...reached, httpUrl };
  const removeData = (): Promise<void> => rm(dataDir, { recursive: true, force: true });
  if (options.door === 'embed') {
    const entry = benchEntry(files, 'embedded-server.main');
    const server = await FedServer.start(entry, argv, { execArgv: options.nodeFlags, env });
    return {
      ...common,
      pid: server.pid,
      feed: (feed) => server.feed(feed),
      stop: async () => {
        await server.stop();
        await removeData();
      },
    };
  }
  const main = fileURLToPath(new URL('dist/main.js', files.root));
  const child = spawn(process.execPath, [...options.nodeFlags, main, ...argv], {
    cwd: fileURLToPath(files.root),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  await untilReady(child, `${httpUrl}/ready`);
  return {
    ...common,
    pid: child.pid,
    feed: async (feed) => {
      if (options.door === 'http') {
        const api = { host: HOST, port: httpPort, token: '' };
        return feedThroughHttp(benchEntry(files, 'http-publisher.main'), { feed, ...api });
      }
      const runner = await Runner.connect({ host: HOST, port: wsPort, path: '/sub' });
      try {
        return await runner.feed(feed);
      } finally {
        runner.close();
      }
    },
    stop: async () => {
      await terminate(child);
      await removeData();
    },
  };
}

async function startPeer(
  name: ServerName,
  entry: string,
  settings: readonly (number | string)[],
  options: E2eOptions,
  files: ServerFiles,
): Promise<ServerProcess> {
  const port = await freePort();
  const server = await FedServer.start(
    new URL(`servers/${entry}`, files.bundle),
    [String(port), ...settings.map(String)],
    { execArgv: options.nodeFlags, env: process.env },
  );
  const isSocketIo = name === 'socketio';
  return {
    name,
    host: HOST,
    port,
    path: isSocketIo ? SOCKETIO_PATH : '/sub',
    dialect: isSocketIo ? 'socketio' : 'goim',
    pid: server.pid,
    httpUrl: undefined,
    feed: (feed) => server.feed(feed),
    stop: () => server.stop(),
  };
}

/**
 * @param node which of several of the kind
 * @throws Error with the end of the server's output when it does not answer in time
 */
export function startServer(
  name: ServerName,
  node: number,
  options: E2eOptions,
  files: ServerFiles,
): Promise<ServerProcess> {
  switch (name) {
    case 'halley':
    case 'halley-tcp':
      return startHalley(name, node, options, files);
    case 'ws':
      return startPeer(name, 'ws.peer.mjs', [], options, files);
    case 'socketio':
      return startPeer(name, 'socketio.peer.mjs', [], options, files);
    case 'uws':
      return startPeer(name, 'uws.peer.mjs', [options.buckets, 0, 'sharded'], options, files);
    case 'uws-post':
      return startPeer(name, 'uws.peer.mjs', [options.buckets, 0, 'broadcast'], options, files);
    case 'uws-inline':
      return startPeer(name, 'uws.peer.mjs', [0, 0, 'sharded'], options, files);
    case 'uws-merge':
      return startPeer(name, 'uws.peer.mjs', [0, options.mergeWindowMs, 'sharded'], options, files);
    case 'target': {
      const { target } = options;
      if (target === undefined) return Promise.reject(new Error('no --target was given'));
      const { httpHost: host, httpPort: port, token } = target;
      return Promise.resolve({
        name,
        ...target,
        dialect: 'goim',
        httpUrl: `http://${host}:${port}`,
        feed: (feed) => feedThroughHttp(benchEntry(files, 'http-publisher.main'), { feed, host, port, token }),
        stop: () => Promise.resolve(),
      });
    }
  }
}
