/**
 * local-child: one process of `halley cluster local`: its lines, its end, and how to end it.
 *
 * Guarantees: `ended` resolves once, after its last line, also where it could not be started. It has a session of its own: a
 *   Ctrl-C in the terminal goes to the cluster's process alone, which then ends the others in their order.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface ChildSpec {
  /** What its lines and its end are told by. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly onLine: (line: string, stream: 'stdout' | 'stderr') => void;
}

export interface ChildEnd {
  /** `exit code 1`, `signal SIGKILL`, or why it could not be started. */
  readonly text: string;
  /** undefined: by a signal, or never started. */
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** `ENOENT` where the program was not found; undefined where it was started. */
  readonly startErrno: string | undefined;
}

export class LocalChild {
  readonly name: string;
  /** 0: could not be started. */
  readonly pid: number;
  readonly ended: Promise<ChildEnd>;
  readonly #kill: (signal: NodeJS.Signals) => void;
  #end: ChildEnd | undefined;

  constructor({ name, command, args, env, onLine }: ChildSpec) {
    const child = spawn(command, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    this.name = name;
    this.pid = child.pid ?? 0;
    this.#kill = (signal) => void child.kill(signal);
    createInterface({ input: child.stdout }).on('line', (line) => onLine(line, 'stdout'));
    createInterface({ input: child.stderr }).on('line', (line) => onLine(line, 'stderr'));
    this.ended = new Promise((resolve) => {
      const end = (endOfChild: ChildEnd) => {
        this.#end ??= endOfChild;
        resolve(this.#end);
      };
      child.once('error', (error: NodeJS.ErrnoException) => {
        // Of a process that runs, this is a signal that could not be sent.
        if (this.pid !== 0) return;
        end({ text: error.message, exitCode: undefined, signal: undefined, startErrno: error.code ?? 'unknown' });
      });
      child.once('close', (exitCode, signal) =>
        end({
          text: signal === null ? `exit code ${exitCode}` : `signal ${signal}`,
          exitCode: exitCode ?? undefined,
          signal: signal ?? undefined,
          startErrno: undefined,
        }),
      );
    });
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Ask it to end, and end it after `timeoutMs`. Resolves with how it ended. */
  async stop(timeoutMs: number): Promise<ChildEnd> {
    if (this.#end !== undefined) return this.#end;
    this.#kill('SIGTERM');
    const timer = setTimeout(() => this.#kill('SIGKILL'), timeoutMs);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }

  /** At once. */
  kill(): void {
    if (this.#end === undefined) this.#kill('SIGKILL');
  }
}
