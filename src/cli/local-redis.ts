/**
 * local-redis: the `redis-server` of `halley cluster local`, found in PATH, on loopback, with its data in a directory of its own.
 *
 * Guarantees: one server per directory: a second one on the same append-only file would destroy it, and Redis does not look.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HalleyError } from '../errors/index.js';
import { probePort } from '../push/index.js';
import type { ChildEnd, ChildSpec } from './local-child.js';

export const REDIS_NAME = 'redis';

const HOST = '127.0.0.1';
/** Written by every Redis to this day, when its data are loaded. */
const READY_LINE = /Ready to accept connections/;
const KEPT_LINES = 10;

export interface LocalRedisPlan {
  readonly url: string;
  readonly directory: string;
  readonly spec: ChildSpec;
  /** The end of its log, for a report of its death. */
  readonly lastLines: readonly string[];
  /** The data directory was empty: neither Redis nor a node of this cluster has run before. */
  readonly isFirstStart: boolean;
}

async function isEmpty(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).length === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

async function isRedis(pid: number): Promise<boolean> {
  try {
    if (process.platform === 'linux') return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('redis-server');
    return process.kill(pid, 0);
  } catch {
    // No such process.
    return false;
  }
}

async function refuseSecond(pidFile: string, directory: string): Promise<void> {
  let text: string;
  try {
    text = await readFile(pidFile, 'utf8');
  } catch {
    // The usual case: no server has this directory.
    return;
  }
  const pid = Number(text.trim());
  if (Number.isSafeInteger(pid) && pid > 0 && (await isRedis(pid))) {
    throw new HalleyError(
      'REDIS_RUNS',
      'a redis-server runs on this directory already: end the other cluster, or the process that one left, or choose another --data-dir',
      { pid, directory },
    );
  }
}

/**
 * Choose port and directory; nothing is started yet.
 * @throws HalleyError REDIS_RUNS
 */
export async function planLocalRedis(
  dataDir: string,
  env: NodeJS.ProcessEnv,
  onReady: () => void,
): Promise<LocalRedisPlan> {
  const directory = join(dataDir, REDIS_NAME);
  const pidFile = join(directory, 'redis.pid');
  const isFirstStart = await isEmpty(dataDir);
  await mkdir(directory, { recursive: true });
  await refuseSecond(pidFile, directory);
  const port = await probePort(HOST, 0, 'redis');
  const lastLines: string[] = [];
  const flags = {
    port: String(port),
    bind: HOST,
    dir: directory,
    pidfile: pidFile,
    appendonly: 'yes',
    save: '',
    daemonize: 'no',
  };
  return {
    url: `redis://${HOST}:${port}`,
    directory,
    lastLines,
    isFirstStart,
    spec: {
      name: REDIS_NAME,
      command: 'redis-server',
      args: Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
      env,
      onLine: (line) => {
        lastLines.push(line);
        if (lastLines.length > KEPT_LINES) lastLines.shift();
        if (READY_LINE.test(line)) onReady();
      },
    },
  };
}

/** What to say when it is gone. */
export function redisEndText({ startErrno, text }: ChildEnd, lastLines: readonly string[]): string {
  if (startErrno === 'ENOENT') {
    return 'redis-server was not found in PATH: install it (Debian and Ubuntu: apt-get install redis-server), or name a running one with --redis redis://host:port';
  }
  return [`redis-server ended: ${text}`, ...lastLines.map((line) => `  ${line}`)].join('\n');
}
