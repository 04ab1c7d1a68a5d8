/**
 * The supervisor: N worker threads on a fixed Piscina pool, each one task for life, replaced when they die.
 *
 * Threads: the control thread (index 0).
 * Guarantees: a thread that died is replaced by a fresh worker with a new incarnation number; its cursors are reset on all
 *   rings and its ring continues under the new writer. Five deaths within a minute and it stays down. A thread that spins
 *   is not killed (that would abort the process): it is called stalled and gates nobody.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { DiscardCounter, HalleyError } from '../errors/index.js';
import { resetReader } from '../ring/index.js';
import { ActorSystem, type ActorSystemOptions } from './actor-system.js';
import { readCrashNote, writeCrashNote } from './crash-note.js';
import type { ErrorSink } from './inlet.js';
import { RUN_THREAD_EXPORT, type ThreadTask } from './thread.worker.js';
import { allocateThreadMemory, type ThreadMemory } from './thread-memory.js';
import { ThreadRuntime } from './thread-runtime.js';
import { THREAD_STATE, type ThreadStateName, type ThreadStates, threadStateName } from './thread-state.layout.js';

const DEFAULT_MAX_CRASHES = 5;
const CRASH_WINDOW_MS = 60_000;
const DEFAULT_STALL_MS = 5_000;
const DEFAULT_START_TIMEOUT_MS = 30_000;
/** Heartbeats in the time after which a silent thread counts as stalled: each wakes a sleeping thread for nothing else. */
const BEATS_PER_STALL = 8;
const MIN_HEARTBEAT_MS = 25;
const MAX_HEARTBEAT_MS = 250;

export interface ThreadPoolOptions {
  /** Worker threads, 0 to 31; with 0 there is the control thread only. */
  readonly workerCount: number;
  /** URL of the module that every worker imports; it exports `startThread(context)`. */
  readonly module: string;
  /** Handed to every incarnation of every worker as `context.workerData`, structured-cloned. */
  readonly workerData?: unknown;
  /** Number of this node in refs. Default 0. */
  readonly node?: number;
  /** Of every worker's ring. */
  readonly ringCapacityBytes?: number;
  /** Of the control thread's ring. Default: as the workers'. */
  readonly controlRingCapacityBytes?: number;
  readonly maxRecordBytes?: number;
  /** Deaths within a minute after which a thread stays down. Default 5. */
  readonly maxCrashesPerMinute?: number;
  readonly maxQueuedBytes?: number;
  /** A thread that has not turned for so long is stalled. Default 5,000. */
  readonly stallMs?: number;
  /** start() gives up after this. Default 30,000. */
  readonly startTimeoutMs?: number;
  /** Heap limits and the like, as Worker takes them. */
  readonly resourceLimits?: { readonly maxOldGenerationSizeMb?: number; readonly maxYoungGenerationSizeMb?: number };
  /** The compiled thread.worker.js. Default: beside this file. */
  readonly workerEntry?: URL;
  /** Of the control thread's own system. `onEscalated` default: the error is thrown in a microtask. */
  readonly system?: Partial<ActorSystemOptions>;
  /** A throw in a raw handler or hook of the control thread. Default: thrown in a microtask. */
  readonly onError?: ErrorSink;
  /** The incarnation is dead and nothing more will come from it; remove what it had. */
  readonly onThreadLost?: (thread: number, incarnation: number, reason: string) => void;
  /** The incarnation's startThread() has resolved. */
  readonly onThreadReady?: (thread: number, incarnation: number) => void;
  /** It died too often and stays down. After onThreadLost. */
  readonly onThreadDown?: (thread: number, reason: string) => void;
}

export interface ThreadStatus {
  readonly thread: number;
  readonly state: ThreadStateName;
  readonly incarnation: number;
  /** In the last minute. */
  readonly crashes: number;
  /** Of the last death; empty when there was none. */
  readonly lastReason: string;
  /** Since its last turn or heartbeat was seen. */
  readonly silentMs: number;
}

export interface ThreadPoolStatus {
  /** Every thread is ready. */
  readonly ready: boolean;
  readonly threads: readonly ThreadStatus[];
}

interface Worker {
  readonly thread: number;
  incarnation: number;
  announced: boolean;
  running: boolean;
  crashesAtMs: number[];
  lastReason: string;
  beats: number;
  beatSeenAtMs: number;
}

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

export class ThreadPool {
  readonly memory: ThreadMemory;
  readonly runtime: ThreadRuntime;
  readonly system: ActorSystem;
  readonly discarded: DiscardCounter;
  readonly #options: ThreadPoolOptions;
  readonly #heartbeatMs: number;
  readonly #states: ThreadStates;
  readonly #piscina: Piscina;
  readonly #workers: Worker[];
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #stopping: boolean;
  #onEnded: (() => void) | undefined;

  /** Start all threads; resolves when every startThread() has. @throws HalleyError THREAD_START_FAILED, THREAD_COUNT_RANGE */
  static async start(options: ThreadPoolOptions): Promise<ThreadPool> {
    const pool = new ThreadPool(options);
    await pool.launch();
    return pool;
  }

  /**
   * Start the threads of a pool that was made with `new`: between the two, register raw kinds on `runtime`. Once.
   * A failed launch has stopped the pool. @throws HalleyError THREAD_START_FAILED
   */
  async launch(): Promise<void> {
    const startTimeoutMs = this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#starting = { resolve, reject };
        timer = setTimeout(() => {
          reject(new HalleyError('THREAD_START_FAILED', 'not all threads were ready in time', { startTimeoutMs }));
        }, startTimeoutMs);
        if (this.#workers.length === 0) resolve();
        for (const worker of this.#workers) this.#launch(worker);
      });
    } catch (error) {
      this.#starting = undefined;
      await this.stop(5_000);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The control thread's half: memory, runtime, actor system. No worker runs before launch(). */
  constructor(options: ThreadPoolOptions) {
    const { workerCount } = options;
    if (!Number.isInteger(workerCount) || workerCount < 0) {
      throw new HalleyError('THREAD_COUNT_RANGE', 'a pool has 0 or more worker threads', { workerCount });
    }
    this.#options = options;
    this.memory = allocateThreadMemory({
      threadCount: workerCount + 1,
      ...(options.ringCapacityBytes === undefined ? {} : { ringCapacityBytes: options.ringCapacityBytes }),
      ...(options.controlRingCapacityBytes === undefined
        ? {}
        : { controlRingCapacityBytes: options.controlRingCapacityBytes }),
      ...(options.maxRecordBytes === undefined ? {} : { maxRecordBytes: options.maxRecordBytes }),
    });
    const stallMs = options.stallMs ?? DEFAULT_STALL_MS;
    this.#heartbeatMs = Math.min(MAX_HEARTBEAT_MS, Math.max(MIN_HEARTBEAT_MS, stallMs / BEATS_PER_STALL));
    this.runtime = new ThreadRuntime(this.memory, 0, options.onError ?? throwLater, this.#heartbeatMs);
    this.#states = this.runtime.states;
    this.#states.nextIncarnation(0);
    this.system = new ActorSystem(this.memory, this.runtime, {
      onEscalated: throwLater,
      ...(options.node === undefined ? {} : { node: options.node }),
      ...(options.maxQueuedBytes === undefined ? {} : { maxQueuedBytes: options.maxQueuedBytes }),
      ...options.system,
    });
    this.discarded = new DiscardCounter();
    this.#starting = undefined;
    this.#stopping = false;
    this.#onEnded = undefined;
    this.#workers = Array.from({ length: workerCount }, (_, index) => ({
      thread: index + 1,
      incarnation: 0,
      announced: false,
      running: false,
      crashesAtMs: [],
      lastReason: '',
      beats: 0,
      beatSeenAtMs: 0,
    }));
    this.#states.setState(0, THREAD_STATE.READY);
    this.runtime.onBeat(() => this.#watch());
    this.runtime.start();
    this.#piscina = new Piscina({
      filename: fileURLToPath(options.workerEntry ?? new URL('./thread.worker.js', import.meta.url)),
      name: RUN_THREAD_EXPORT,
      minThreads: workerCount,
      maxThreads: Math.max(1, workerCount),
      concurrentTasksPerWorker: 1,
      atomics: 'disabled',
      recordTiming: false,
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: { ...options.resourceLimits } }),
    });
    // A spare worker (of a thread that stays down) that fails is nobody's task.
    this.#piscina.on('error', (error) => this.discarded.ignore(error, 'spare worker'));
  }

  status(): ThreadPoolStatus {
    const nowMs = performance.now();
    const threads = this.#workers.map((worker) => ({
      thread: worker.thread,
      state: threadStateName(this.#states.state(worker.thread)),
      incarnation: worker.incarnation,
      crashes: this.#recentCrashes(worker, nowMs).length,
      lastReason: worker.lastReason,
      silentMs: worker.running ? nowMs - worker.beatSeenAtMs : 0,
    }));
    return { ready: threads.every((thread) => thread.state === 'ready'), threads };
  }

  /**
   * Stop every thread in order: its onStop hooks, its actors, its sockets. Then end the pool.
   * @returns the threads that did not stop in time. While there is one, the workers are left alone, and the process can
   *   only be ended by a signal: process.exit() would abort it when that thread holds sockets.
   */
  async stop(timeoutMs: number): Promise<{ stuck: number[] }> {
    this.#stopping = true;
    for (const { thread } of this.#workers) this.#states.requestStop(thread, true);
    this.runtime.ring(this.#everyoneMask());
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onEnded = () => {
        if (this.#workers.some((worker) => worker.running)) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onEnded();
    });
    const stuck = this.#workers.filter((worker) => worker.running).map((worker) => worker.thread);
    if (stuck.length === 0) {
      await this.system.stopAll();
      this.system.close();
      this.runtime.close();
      await this.#piscina.destroy();
    }
    return { stuck };
  }

  #launch(worker: Worker): void {
    const { thread } = worker;
    worker.incarnation = this.#states.nextIncarnation(thread);
    worker.announced = false;
    worker.running = true;
    worker.beats = this.#states.beats(thread);
    worker.beatSeenAtMs = performance.now();
    writeCrashNote(this.memory.notes[thread]!, '');
    this.#states.requestStop(thread, this.#stopping);
    this.#states.setState(thread, THREAD_STATE.STARTING);
    const task: ThreadTask = {
      memory: this.memory,
      threadIndex: thread,
      incarnation: worker.incarnation,
      node: this.#options.node ?? 0,
      maxQueuedBytes: this.#options.maxQueuedBytes,
      heartbeatMs: this.#heartbeatMs,
      module: this.#options.module,
      workerData: this.#options.workerData,
    };
    this.#piscina.run(task).then(
      () => this.#ended(worker, undefined),
      (error: unknown) => this.#ended(worker, error instanceof Error ? error.message : String(error)),
    );
  }

  /** The task is over: `exitReason` is undefined after an orderly stop. */
  #ended(worker: Worker, exitReason: string | undefined): void {
    const { thread, incarnation } = worker;
    worker.running = false;
    this.#states.setState(thread, exitReason === undefined ? THREAD_STATE.ABSENT : THREAD_STATE.LOST);
    // What it had committed is still whole: receive it before anybody is told that it is gone.
    this.runtime.drainNow();
    for (let other = 0; other < this.memory.threadCount; other++) {
      if (other !== thread) resetReader(this.memory.rings[other]!, thread);
    }
    this.#place();
    this.system.announceLost(thread);
    if (exitReason !== undefined) this.#crashed(worker, incarnation, exitReason);
    this.#onEnded?.();
  }

  #crashed(worker: Worker, incarnation: number, exitReason: string): void {
    const nowMs = performance.now();
    worker.lastReason = readCrashNote(this.memory.notes[worker.thread]!) || exitReason;
    worker.crashesAtMs = [...this.#recentCrashes(worker, nowMs), nowMs];
    this.#call(() => this.#options.onThreadLost?.(worker.thread, incarnation, worker.lastReason));
    if (this.#starting !== undefined) {
      const { thread, lastReason } = worker;
      this.#starting.reject(new HalleyError('THREAD_START_FAILED', lastReason.split('\n')[0]!, { thread }));
      return;
    }
    if (this.#stopping) return;
    if (worker.crashesAtMs.length >= (this.#options.maxCrashesPerMinute ?? DEFAULT_MAX_CRASHES)) {
      this.#states.setState(worker.thread, THREAD_STATE.DOWN);
      this.#call(() => this.#options.onThreadDown?.(worker.thread, worker.lastReason));
      return;
    }
    this.#launch(worker);
  }

  /** Every turn and heartbeat of the control thread: who became ready, who stalls. */
  #watch(): void {
    const nowMs = performance.now();
    const stallMs = this.#options.stallMs ?? DEFAULT_STALL_MS;
    for (const worker of this.#workers) {
      if (!worker.running) continue;
      const { thread } = worker;
      const beats = this.#states.beats(thread);
      if (beats !== worker.beats) {
        worker.beats = beats;
        worker.beatSeenAtMs = nowMs;
        this.#states.moveState(thread, THREAD_STATE.STALLED, THREAD_STATE.READY);
      } else if (nowMs - worker.beatSeenAtMs > stallMs) {
        this.#states.moveState(thread, THREAD_STATE.READY, THREAD_STATE.STALLED);
      }
      if (!worker.announced && this.#states.state(thread) === THREAD_STATE.READY) this.#announceReady(worker);
    }
  }

  #announceReady(worker: Worker): void {
    worker.announced = true;
    this.#place();
    this.#call(() => this.#options.onThreadReady?.(worker.thread, worker.incarnation));
    if (this.#starting !== undefined && this.#workers.every((other) => other.announced)) {
      this.#starting.resolve();
      this.#starting = undefined;
    }
  }

  /** Publish which threads hold keyed actors: those that have been announced. A stalled one keeps what it holds. */
  #place(): void {
    let mask = 0;
    for (const worker of this.#workers) if (worker.running && worker.announced) mask |= 1 << worker.thread;
    if (mask === this.#states.placementMask()) return;
    this.#states.publishPlacement(mask);
    this.runtime.ring(this.#everyoneMask());
    this.runtime.wake();
  }

  #everyoneMask(): number {
    let mask = 0;
    for (const { thread } of this.#workers) mask |= 1 << thread;
    return mask;
  }

  #recentCrashes(worker: Worker, nowMs: number): number[] {
    return worker.crashesAtMs.filter((atMs) => nowMs - atMs < CRASH_WINDOW_MS);
  }

  /** A callback of the upper layer must not keep a dead thread from being replaced. */
  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      (this.#options.onError ?? throwLater)(error, 'pool callback');
    }
  }
}
