/**
 * Entry of every worker thread: one Piscina task that lives as long as the thread.
 */
import { HalleyError } from '../errors/index.js';
import { ActorSystem } from './actor-system.js';
import { asError, ThreadCrash } from './crash.js';
import { writeCrashNote } from './crash-note.js';
import { START_THREAD_EXPORT, type StartThread, type ThreadContext } from './thread-context.js';
import type { ThreadMemory } from './thread-memory.js';
import { ThreadRuntime } from './thread-runtime.js';
import { THREAD_STATE } from './thread-state.layout.js';

/** What the pool posts to a worker. */
export interface ThreadTask {
  readonly memory: ThreadMemory;
  readonly threadIndex: number;
  readonly incarnation: number;
  readonly node: number;
  readonly maxQueuedBytes: number | undefined;
  readonly heartbeatMs: number;
  /** URL of the thread-main module. */
  readonly module: string;
  readonly workerData: unknown;
}

/** Name of the task in this module. */
export const RUN_THREAD_EXPORT = 'runThread';

/** Run one thread. Resolves after an orderly stop; a crash ends the thread and therefore never settles here. */
export async function runThread(task: ThreadTask): Promise<void> {
  const { memory, threadIndex, incarnation } = task;
  const crash = new ThreadCrash(process);
  crash.install();
  const runtime = new ThreadRuntime(memory, threadIndex, (error) => crash.die(asError(error)), task.heartbeatMs);
  const { states } = runtime;
  const system = new ActorSystem(memory, runtime, {
    node: task.node,
    ...(task.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: task.maxQueuedBytes }),
    onEscalated: (error) => crash.die(error),
  });
  crash.onDying((reason) => {
    writeCrashNote(memory.notes[threadIndex]!, reason.stack ?? reason.message);
    system.close();
    runtime.close();
  });
  const stopHooks: (() => Promise<void>)[] = [];
  const context: ThreadContext = {
    threadIndex,
    threadCount: memory.threadCount,
    incarnation,
    runtime,
    system,
    workerData: task.workerData,
    get isDying() {
      return crash.isDying;
    },
    onDying: (hook) => crash.onDying(hook),
    onCloseSockets: (hook) => crash.onCloseSockets(hook),
    die: (reason) => crash.die(reason),
    onStop: (hook) => {
      stopHooks.push(hook);
    },
    guard: (callback, sink) => crash.guard(callback, sink),
    guardHttp: (callback, sink) => crash.guardHttp(callback, sink),
  };
  const stopped = new Promise<void>((resolve) => {
    let isStopping = false;
    runtime.onBeat(() => {
      if (isStopping || !states.stopRequested(threadIndex) || crash.isDying) return;
      // A thread that is still starting finishes that first: its hooks are not there yet.
      if (!states.moveState(threadIndex, THREAD_STATE.READY, THREAD_STATE.STOPPING)) return;
      isStopping = true;
      stopInOrder(stopHooks, system, runtime, crash).then(resolve, (error) => crash.die(asError(error)));
    });
  });
  try {
    runtime.start();
    states.moveState(threadIndex, THREAD_STATE.STARTING, THREAD_STATE.ATTACHED);
    const startThread = await importStartThread(task.module);
    await startThread(context);
  } catch (error) {
    crash.die(asError(error));
  }
  // The supervisor looks at the states when its doorbell rings.
  if (!crash.isDying && states.moveState(threadIndex, THREAD_STATE.ATTACHED, THREAD_STATE.READY)) runtime.ring(1);
  await stopped;
}

async function importStartThread(module: string): Promise<StartThread> {
  const exports = (await import(module)) as Record<string, unknown>;
  const startThread = exports[START_THREAD_EXPORT];
  if (typeof startThread !== 'function') {
    throw new HalleyError('THREAD_MODULE', `a thread-main module exports a function ${START_THREAD_EXPORT}`, {
      module,
    });
  }
  return startThread as StartThread;
}

async function stopInOrder(
  hooks: (() => Promise<void>)[],
  system: ActorSystem,
  runtime: ThreadRuntime,
  crash: ThreadCrash,
): Promise<void> {
  for (const hook of hooks.reverse()) await hook();
  await system.stopAll();
  crash.closeSockets();
  // Closed sockets are freed at the end of this turn; the pool may terminate the worker as soon as the task is done.
  await new Promise((resolve) => setImmediate(resolve));
  system.close();
  runtime.close();
}
