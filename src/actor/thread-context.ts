/**
 * What a worker thread gives to the code that runs on it.
 */
import type { ActorSystem } from './actor-system.js';
import type { AbortableResponse, Callback } from './guard.js';
import type { ThreadRuntime } from './thread-runtime.js';

export interface ThreadContext {
  /** 1 to threadCount - 1; 0 is the control thread. */
  readonly threadIndex: number;
  /** Control thread included. */
  readonly threadCount: number;
  /** From 1; a fresh thread after a crash has the next number. */
  readonly incarnation: number;
  readonly runtime: ThreadRuntime;
  readonly system: ActorSystem;
  /** What the pool was given, structured-cloned. */
  readonly workerData: unknown;
  readonly isDying: boolean;
  /** Call `hook` first when this thread dies, before anything is closed: make handlers inert. */
  onDying(hook: (reason: Error) => void): void;
  /** Call `hook` before this thread ends, dying or stopping: close every app. */
  onCloseSockets(hook: () => void): void;
  /** End this thread by the crash rule; the supervisor starts a fresh one. Returns: the end comes two turns later. */
  die(reason: Error): void;
  /** Call `hook` on an orderly stop, last registered first, each awaited; actors stop and sockets close after it. */
  onStop(hook: () => Promise<void>): void;
  /** Wrap a callback for C++, see ThreadCrash.guard. */
  guard<A, B, C, D>(callback: Callback<A, B, C, D>, sink?: (error: unknown) => void): (a: A, b: B, c: C, d: D) => void;
  /** Wrap an HTTP or upgrade handler, see guardHttp. */
  guardHttp<R extends AbortableResponse, B, C, D>(
    callback: Callback<R, B, C, D>,
    sink?: (error: unknown) => void,
  ): (response: R, b: B, c: C, d: D) => void;
}

/** A thread-main module exports a function of this type under this name. The thread is ready when it resolves. */
export type StartThread = (context: ThreadContext) => Promise<void>;
export const START_THREAD_EXPORT = 'startThread';
