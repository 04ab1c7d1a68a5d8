/**
 * Many clients through a restart of their real node, on the same port with the same data directory: when each came back. Above a
 * thousand the clients live in processes of their own, so that one event loop does not spread what it is to measure.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, type HalleyProcess, startHalley } from '../kit/index.js';

const CLIENTS = fileURLToPath(new URL('./spread-clients.mjs', import.meta.url));
const CLIENTS_PER_PROCESS = 1_250;

export interface SpreadOptions {
  readonly clientCount: number;
  /** What the node advises, in op 6 and in op 8. */
  readonly windowMs: number;
  /** SIGTERM: op 6 tells each client. SIGKILL: nobody is told anything, and the window is that of op 8. */
  readonly signal: 'SIGTERM' | 'SIGKILL';
  /** The node is away for so long beyond its own start; who tries meanwhile waits again. */
  readonly downMs: number;
}

export interface SpreadResult {
  /** First attempts of each second since the node was told to end. */
  readonly firstsPerSec: readonly number[];
  /** Attempts of those who had found it away. While it is, both together grow to e times the average at the window's end. */
  readonly repeatsPerSec: readonly number[];
  /** Clients that were open again, by second since the end of the node. */
  readonly opensPerSec: readonly number[];
  /** Clients per second if they came back evenly over the window. */
  readonly averagePerSec: number;
  /** From the end of the node until the new one was ready. */
  readonly awayMs: number;
  readonly codes: readonly number[];
}

interface Told {
  readonly kind: 'connected' | 'back';
  /** Unix milliseconds. */
  readonly firstsMs: readonly number[];
  readonly repeatsMs: readonly number[];
  readonly opensMs: readonly number[];
  readonly codes: readonly number[];
}

export async function runSpread({ clientCount, windowMs, signal, downMs }: SpreadOptions): Promise<SpreadResult> {
  const dataDir = await mkdtemp(join(tmpdir(), 'halley-spread-'));
  const env = {
    HALLEY_RECONNECT_WINDOW_MS: String(windowMs),
    HALLEY_LOG_LEVEL: 'warn',
    // Sessions and leases of before must not keep a restart waiting.
    HALLEY_SHUTDOWN_DRAIN_MS: '200',
  };
  let node: HalleyProcess = await startHalley({ dataDir, env });
  const ports = ['--ws-port', String(node.wsPort), '--tcp-port', String(node.tcpPort), '--http-port', '0'];
  const children: Clients[] = [];
  try {
    for (let left = clientCount; left > 0; left -= CLIENTS_PER_PROCESS) {
      children.push(new Clients(node.wsUrl, Math.min(left, CLIENTS_PER_PROCESS)));
    }
    await eventually(() => children.every(({ told }) => told?.kind === 'connected'), 120_000, 'all connected');
    const endedMs = Date.now();
    await node.stop(signal);
    if (downMs > 0) await new Promise((resolve) => setTimeout(resolve, downMs));
    node = await startHalley({ args: ports, dataDir, env });
    const awayMs = Date.now() - endedMs;
    await eventually(() => children.every(({ told }) => told?.kind === 'back'), windowMs * 4 + 60_000, 'all back');
    const all = children.map(({ told }) => told!);
    return {
      firstsPerSec: perSec(
        all.flatMap((told) => told.firstsMs),
        endedMs,
      ),
      repeatsPerSec: perSec(
        all.flatMap((told) => told.repeatsMs),
        endedMs,
      ),
      opensPerSec: perSec(
        all.flatMap(({ opensMs }) => opensMs),
        endedMs,
      ),
      averagePerSec: (clientCount * 1000) / windowMs,
      awayMs,
      codes: [...new Set(all.flatMap(({ codes }) => codes))],
    };
  } finally {
    for (const child of children) child.end();
    await node.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

class Clients {
  told: Told | undefined;
  readonly #child: ChildProcess;

  constructor(url: string, count: number) {
    this.#child = fork(CLIENTS, [url, String(count)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (told) => {
      this.told = told as Told;
    });
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

function perSec(timesMs: readonly number[], startMs: number): number[] {
  const seconds = timesMs.map((ms) => Math.max(0, Math.floor((ms - startMs) / 1000)));
  const counts = Array.from({ length: Math.max(-1, ...seconds) + 1 }, () => 0);
  for (const second of seconds) counts[second]! += 1;
  return counts;
}
