/**
 * How a thread with open sockets dies without taking the process along.
 *
 * A worker that exits while uWebSockets.js holds sockets aborts the whole process ("uv loop has open handles", SIGABRT; so
 * does Worker.terminate(), and process.exit() of the main thread). Therefore: handlers go inert, setImmediate closes every
 * app, and only then the worker's real process.exit runs. A natural end would not do: a ref'd timer blocks it.
 *
 * Threads: one per worker thread.
 * Guarantees: die() returns; the thread ends within two turns of its event loop. Hooks run once, and one that throws does
 *   not stop the others.
 */
import { DiscardCounter, HalleyError } from '../errors/index.js';
import { type AbortableResponse, type Callback, guard, guardHttp } from './guard.js';

/** The parts of `process` that a dying thread needs; tests have their own. */
export interface ProcessPort {
  exit: (code?: number | string | null) => never;
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown;
}

export class ThreadCrash {
  readonly discarded: DiscardCounter;
  readonly #process: ProcessPort;
  readonly #realExit: (code: number) => void;
  readonly #dyingHooks: ((reason: Error) => void)[];
  readonly #closeHooks: (() => void)[];
  readonly #isDying: () => boolean;
  #dying: boolean;
  #closed: boolean;

  constructor(processPort: ProcessPort) {
    const exit = processPort.exit;
    this.discarded = new DiscardCounter();
    this.#process = processPort;
    this.#realExit = (code) => exit.call(processPort, code);
    this.#dyingHooks = [];
    this.#closeHooks = [];
    this.#isDying = () => this.#dying;
    this.#dying = false;
    this.#closed = false;
  }

  get isDying(): boolean {
    return this.#dying;
  }

  /** From now on uncaught exceptions, unhandled rejections and process.exit() of this thread lead to die(). */
  install(): void {
    this.#process.on('uncaughtException', (error) => this.die(asError(error)));
    this.#process.on('unhandledRejection', (error) => this.die(asError(error)));
    this.#process.exit = (code) => {
      const error = new HalleyError('THREAD_EXIT', 'process.exit() inside a worker thread ends that thread', {
        exit_code: code,
      });
      this.die(error);
      // Unwinds the caller, who believes that nothing follows. Whoever catches it finds all handlers inert.
      throw error;
    };
  }

  /** Call `hook` first when the thread dies: make handlers inert. */
  onDying(hook: (reason: Error) => void): void {
    this.#dyingHooks.push(hook);
  }

  /** Call `hook` in the turn after: close every app with all its sockets. Also the last step of an orderly stop. */
  onCloseSockets(hook: () => void): void {
    this.#closeHooks.push(hook);
  }

  /** End this thread: what happened cannot be attributed to one actor or channel. Only the first reason counts. */
  die(reason: Error): void {
    if (this.#dying) {
      this.discarded.ignore(reason, 'thread is dying already');
      return;
    }
    this.#dying = true;
    for (const hook of this.#dyingHooks) {
      try {
        hook(reason);
      } catch (error) {
        this.discarded.ignore(error, 'onDying hook');
      }
    }
    setImmediate(() => {
      this.closeSockets();
      // One turn later: uSockets frees closed sockets at the end of the turn that closed them.
      setImmediate(() => this.#realExit(1));
    });
  }

  /** Run the onCloseSockets hooks, once. */
  closeSockets(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const hook of this.#closeHooks) {
      try {
        hook();
      } catch (error) {
        this.discarded.ignore(error, 'onCloseSockets hook');
      }
    }
  }

  /**
   * Wrap a callback for C++: inert once the thread dies, and nothing it throws gets out.
   * @param sink for errors that can be attributed (close that channel); without it an error ends the thread
   */
  guard<A, B, C, D>(callback: Callback<A, B, C, D>, sink?: (error: unknown) => void): (a: A, b: B, c: C, d: D) => void {
    return guard(callback, this.#sink(sink), this.#isDying);
  }

  /** guard() for HTTP and upgrade handlers, see guardHttp. */
  guardHttp<R extends AbortableResponse, B, C, D>(
    callback: Callback<R, B, C, D>,
    sink?: (error: unknown) => void,
  ): (response: R, b: B, c: C, d: D) => void {
    return guardHttp(callback, this.#sink(sink), this.#isDying);
  }

  #sink(sink: ((error: unknown) => void) | undefined): (error: unknown) => void {
    if (sink === undefined) return (error) => this.die(asError(error));
    return (error) => {
      // The unwinding of process.exit() is not the channel's fault.
      if (this.#dying) this.discarded.ignore(error, 'thread is dying already');
      else {
        try {
          sink(error);
        } catch (sinkError) {
          this.die(asError(sinkError));
        }
      }
    };
  }
}

/** Whatever was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
