/**
 * Real Redis servers for tests: started on a free port with a directory of their own, stopped and removed by the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probePort } from '../../src/push/index.js';
import { eventually } from './eventually.js';

const START_DEADLINE_MS = 10_000;

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Its files: start another server with the same `dir` and `port` to bring it back with its AOF. */
  readonly dir: string;
  /** End it and wait. `SIGKILL` loses what is not on disk. Its directory stays. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Stop it and remove its directory. */
  remove(): Promise<void>;
}

export interface RedisServerOptions {
  /** Further arguments, for example `['--appendonly', 'yes']`. */
  readonly args?: readonly string[];
  readonly port?: number;
  readonly dir?: string;
  /** Run it as a Sentinel with this configuration, which says everything else. */
  readonly configFile?: string;
}

/** A port that nobody holds now. */
export function freePort(): Promise<number> {
  return probePort('127.0.0.1', 0, 'port of a test');
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (isUp: boolean) => {
      socket.destroy();
      resolve(isUp);
    };
    socket.once('error', () => end(false));
    socket.once('connect', () => end(true));
  });
}

/** Start a server and wait until it answers. Rejects with its output where it ends before that. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'halley-redis-')));
  const child: ChildProcess = spawn(
    'redis-server',
    options.configFile === undefined
      ? ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', ...(options.args ?? [])]
      : [options.configFile, '--sentinel'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const exited = once(child, 'exit');
  let hasExited = false;
  void exited.then(() => {
    hasExited = true;
  });
  await eventually(async () => {
    if (hasExited) throw new Error(`redis-server ended:\n${output}`);
    return answers(port);
  }, START_DEADLINE_MS);
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (!hasExited) child.kill(signal);
    await exited;
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    dir,
    stop,
    remove: async () => {
      await stop('SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}
