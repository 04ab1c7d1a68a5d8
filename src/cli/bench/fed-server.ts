/**
 * A server under test in a process of its own, told over the process channel what to publish from its main thread.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Feed, FeedReport } from './wire/feed.js';

const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 15_000;
const ERROR_TAIL_CHARS = 2_000;

export interface ToFedServer {
  readonly feed: Feed;
}

/** Ports: 0 where the parent chose, or where there is none. */
export type FromFedServer =
  | { readonly ready: { readonly port: number; readonly httpPort: number } }
  | { readonly report: FeedReport };

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

export class FedServer {
  readonly pid: number;
  readonly port: number;
  /** 0: no HTTP API. */
  readonly httpPort: number;
  readonly #child: ChildProcess;
  readonly #tail: () => string;

  private constructor(child: ChildProcess, tail: () => string, port: number, httpPort: number) {
    this.#child = child;
    this.#tail = tail;
    this.pid = child.pid!;
    this.port = port;
    this.httpPort = httpPort;
  }

  /**
   * Fork `entry` and wait until it listens.
   * @throws Error with the end of its output where it ends before, or does not listen within 20 s
   */
  static start(
    entry: URL,
    argv: readonly string[],
    options: { readonly execArgv: readonly string[]; readonly env: NodeJS.ProcessEnv },
  ): Promise<FedServer> {
    const child = fork(entry, argv, {
      execArgv: [...options.execArgv],
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const tail = tailOf(child);
    return new Promise((resolve, reject) => {
      const settled = (): void => {
        clearTimeout(timer);
        for (const event of ['error', 'exit', 'message']) child.removeAllListeners(event);
        // A send to a process that is going: its exit says it better.
        child.on('error', () => undefined);
      };
      const fail = (why: string): void => {
        settled();
        child.kill('SIGKILL');
        reject(new Error(`a server under test did not start: ${why}\n${tail()}`));
      };
      const timer = setTimeout(() => fail(`deadline_ms=${START_DEADLINE_MS}`), START_DEADLINE_MS);
      child.once('error', (error) => fail(error.message));
      child.once('exit', (code, signal) => fail(`exit=${code ?? signal}`));
      child.once('message', (message: FromFedServer) => {
        if (!('ready' in message)) return;
        settled();
        resolve(new FedServer(child, tail, message.ready.port, message.ready.httpPort));
      });
    });
  }

  /** Publish from its main thread; resolves when the feed is over. One feed at a time. */
  feed(feed: Feed): Promise<FeedReport> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null, signal: string | null): void =>
        reject(new Error(`the server under test ended: exit=${code ?? signal}\n${this.#tail()}`));
      this.#child.once('exit', gone);
      this.#child.once('message', (message: FromFedServer) => {
        this.#child.off('exit', gone);
        if ('report' in message) resolve(message.report);
      });
      this.#child.send({ feed } satisfies ToFedServer);
    });
  }

  /** End it, by force after 15 s. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (child.connected) child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(timer);
  }
}
