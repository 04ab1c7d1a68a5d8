/** `halley id serve` as a child process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface IdServerProcess {
  readonly child: ChildProcess;
  readonly httpUrl: string;
  /** 0: none was asked for. */
  readonly grpcPort: number;
  readonly output: () => string;
  readonly exited: Promise<number | string>;
}

/** Resolves when it listens; rejects with its output where it ends before. @param children gets it, and loses it when it ends */
export async function startIdServer(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  children: Set<ChildProcess>,
): Promise<IdServerProcess> {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HALLEY_')));
  const child = spawn(process.execPath, [MAIN, 'id', 'serve', '--http-port', '0', ...args], {
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => {
      children.delete(child);
      resolve(code ?? signal ?? 'unknown');
    });
  });
  const url = () => /HTTP API +(http:\S+)\/ids/.exec(output)?.[1];
  await eventually(() => url() !== undefined || child.exitCode !== null, 20_000, 'the id server listens');
  const httpUrl = url();
  if (httpUrl === undefined) throw new Error(`the id server ended with ${await exited}:\n${output}`);
  const grpcPort = Number(env['HALLEY_IDS_GRPC_PORT'] ?? 0);
  return { child, httpUrl, grpcPort, output: () => output, exited };
}

export async function stopIdServer(
  { child, exited }: IdServerProcess,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | string> {
  child.kill(signal);
  return exited;
}
