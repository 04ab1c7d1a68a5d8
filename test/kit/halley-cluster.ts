/**
 * Starts `halley cluster local` as a user does, on free ports with a data directory of its own, and ends it.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const READY_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 30_000;
/** A fresh Redis: nodes wait so long for leases that it may have forgotten. */
const ID_LEASE_MS = 1_000;

export interface ClusterNode {
  readonly serverId: string;
  readonly pid: number;
  readonly wsUrl: string;
  readonly httpUrl: string;
}

export interface HalleyCluster {
  readonly pid: number;
  readonly nodes: readonly ClusterNode[];
  /** 0: it started none. */
  readonly redisPid: number;
  /** Everything it wrote so far, both streams. */
  output(): string;
  /** Resolves with exit code or signal name. */
  readonly exited: Promise<number | string>;
  /** Send a signal and wait for the end. Its data directory stays where it was given. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

export interface HalleyClusterOptions {
  /** Further arguments, for example `['--nodes', '2']`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Kept after the end where given; otherwise a temporary directory is made and removed. */
  readonly dataDir?: string;
}

/** Start a cluster and wait until it says that all nodes are ready. Rejects with its output where it ends before that. */
export async function startHalleyCluster(options: HalleyClusterOptions = {}): Promise<HalleyCluster> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'halley-cluster-')));
  const ports = ['--ws-port', '0', '--http-port', '0', '--data-dir', dataDir];
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HALLEY_'));
  const child = spawn(process.execPath, [MAIN, 'cluster', 'local', ...ports, ...(options.args ?? [])], {
    env: { ...Object.fromEntries(inherited), HALLEY_ID_LEASE_MS: String(ID_LEASE_MS), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  let ended: number | string | undefined;
  const exited = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      ended = code ?? signal ?? 'unknown';
      if (options.dataDir === undefined) void rm(dataDir, { recursive: true, force: true });
      resolve(ended);
    });
  });
  const stop = async (signal: NodeJS.Signals = 'SIGINT') => {
    child.kill(signal);
    return eventually(() => ended, STOP_DEADLINE_MS, 'the end of the cluster').catch((error: unknown) => {
      throw new Error(`${String(error)}\n${output}`);
    });
  };
  try {
    await eventually(
      () => {
        if (ended !== undefined) throw new Error(`the cluster ended with ${ended} before it was ready`);
        return output.includes('Ctrl-C stops all');
      },
      READY_DEADLINE_MS,
      'a ready cluster',
    );
  } catch (error) {
    await stop('SIGTERM');
    throw new Error(`${String(error)}\n${output}`);
  }
  const rows = output.matchAll(/^(local-\d+) +(\d+) +(wss?:\S+) +(https?:\S+)$/gm);
  return {
    pid: child.pid ?? 0,
    nodes: [...rows].map(([, serverId = '', pid, wsUrl = '', httpUrl = '']) => ({
      ...{ serverId, wsUrl, httpUrl, pid: Number(pid) },
    })),
    redisPid: Number(/^redis +(\d+) +redis:/m.exec(output)?.[1] ?? 0),
    output: () => output,
    exited,
    stop,
  };
}
