/**
 * One thread's share in the rings: it writes its own, reads all others, and turns when there is something to do.
 *
 * Threads: one runtime per thread, the control thread included; used by that thread only.
 * Guarantees: records of one thread arrive in its order, each at most once. A turn takes a bounded number of records from
 *   each ring in turn, so one busy writer starves neither the others nor the event loop. Raw handlers run while the
 *   record's memory is held; messages to actors are decoded then and received only after the reading is over.
 * Hot path: #turn() and Inlet.onRecord() (bench/actor/actor.bench.ts): nothing is allocated per record here.
 */
// Not the global of that name, a getter of its own: it showed in the profile of a bucket.
import { performance } from 'node:perf_hooks';
import { HalleyError } from '../errors/index.js';
import { Doorbell, DRAIN_DETACHED, RingReader, RingWriter } from '../ring/index.js';
import { FIRST_RAW_KIND, LAST_RAW_KIND } from './envelope.layout.js';
import { type Engine, type ErrorSink, Inlet, type RawHandler } from './inlet.js';
import type { ThreadMemory } from './thread-memory.js';
import { THREAD_STATE, ThreadStates } from './thread-state.layout.js';

/** Records taken from one ring before the next ring gets its turn. */
const MAX_RECORDS_PER_READER = 256;
/** Turns in a row that may follow from microtasks alone before the event loop gets a look in. */
const MAX_MICROTASK_TURNS = 16;
/**
 * Turns without work before a thread that is given something in quick succession sleeps: some 20 us, no more than the
 * wake-up that they may save (36 us at the median). It spares a busy sender the notify and halves a round trip (bench/actor).
 */
const LINGER_TURNS = 16;
/** Records that come further apart would find the thread asleep anyway: lingering for them only burns CPU. */
const LINGER_GAP_MS = 0.03;
/** Least time between two runs of the beat hooks at the end of turns: they look after rare things. */
const BEAT_GAP_MS = 0.5;
/** How often an idle thread shows that it could turn, where nobody says otherwise. */
const DEFAULT_HEARTBEAT_MS = 100;

export class ThreadRuntime {
  readonly threadIndex: number;
  readonly threadCount: number;
  /** Of this thread's ring: claim, write, commit, then signal() or signalSoon(). */
  readonly writer: RingWriter;
  readonly states: ThreadStates;

  readonly #doorbell: Doorbell;
  readonly #inlets: Inlet[];
  readonly #handlers: (RawHandler | undefined)[];
  readonly #turnEndHooks: (() => void)[];
  readonly #gapHooks: ((fromThread: number) => void)[];
  readonly #beatHooks: (() => void)[];
  readonly #onError: ErrorSink;
  readonly #turnFromWake: () => void;
  readonly #turnFromLoop: () => void;
  readonly #signalSoon: () => void;
  readonly #engine: { current: Engine | undefined };
  readonly #heartbeatMs: number;
  #heartbeat: NodeJS.Timeout | undefined;
  #running: boolean;
  #inTurn: boolean;
  #wakeQueued: boolean;
  #signalQueued: boolean;
  #microtaskTurns: number;
  #lingerTurns: number;
  #deliveredAtMs: number;
  #beatAtMs: number;
  #notified: number;
  #gaps: number;

  constructor(memory: ThreadMemory, threadIndex: number, onError: ErrorSink, heartbeatMs = DEFAULT_HEARTBEAT_MS) {
    if (!Number.isInteger(threadIndex) || threadIndex < 0 || threadIndex >= memory.threadCount) {
      throw new HalleyError('THREAD_INDEX', `threads are numbered 0 to ${memory.threadCount - 1}`, { threadIndex });
    }
    this.threadIndex = threadIndex;
    this.threadCount = memory.threadCount;
    this.writer = new RingWriter(memory.rings[threadIndex]!);
    this.states = new ThreadStates(memory.states);
    this.#doorbell = new Doorbell(memory.doorbells, threadIndex);
    this.#handlers = new Array<RawHandler | undefined>(LAST_RAW_KIND + 1).fill(undefined);
    this.#engine = { current: undefined };
    this.#onError = onError;
    this.#inlets = [];
    for (let from = 0; from < memory.threadCount; from++) {
      if (from === threadIndex) continue;
      const reader = new RingReader(memory.rings[from]!, threadIndex);
      this.#inlets.push(new Inlet(reader, from, this.#handlers, this.#engine, onError));
    }
    this.#turnEndHooks = [];
    this.#gapHooks = [];
    this.#beatHooks = [];
    this.#turnFromWake = () => this.#turn(false);
    this.#turnFromLoop = () => this.#turn(true);
    this.#signalSoon = () => this.signal();
    this.#heartbeatMs = heartbeatMs;
    this.#heartbeat = undefined;
    this.#running = false;
    this.#inTurn = false;
    this.#wakeQueued = false;
    this.#signalQueued = false;
    this.#microtaskTurns = 0;
    this.#lingerTurns = 0;
    this.#deliveredAtMs = 0;
    this.#beatAtMs = 0;
    this.#notified = 0;
    this.#gaps = 0;
  }

  /** Register the handler of a raw kind, 16 to 255, once. @throws HalleyError RAW_KIND */
  onRaw(kind: number, handler: RawHandler): void {
    if (!Number.isInteger(kind) || kind < FIRST_RAW_KIND || kind > LAST_RAW_KIND || this.#handlers[kind]) {
      throw new HalleyError('RAW_KIND', `a raw kind is a free number from ${FIRST_RAW_KIND} to ${LAST_RAW_KIND}`, {
        kind,
      });
    }
    this.#handlers[kind] = handler;
  }

  /** Call `hook` at the end of every turn in which something was delivered, before the doorbells ring. */
  onTurnEnd(hook: () => void): void {
    this.#turnEndHooks.push(hook);
  }

  /** Call `hook` when this thread had been too slow for `fromThread`'s ring: what lay there is lost to it. */
  onReaderGap(hook: (fromThread: number) => void): void {
    this.#gapHooks.push(hook);
  }

  /** Call `hook` on every heartbeat and at the end of turns, at most every 0.5 ms: cheap things only. */
  onBeat(hook: () => void): void {
    this.#beatHooks.push(hook);
  }

  /** The actor system takes kinds 0 to 15 and the part of a turn after the reading. Once. */
  attachEngine(engine: Engine): void {
    this.#engine.current = engine;
  }

  /** Attach to all rings at their heads and begin to turn. */
  start(): void {
    if (this.#running) throw new HalleyError('RUNTIME_STARTED', 'the runtime of a thread starts once');
    this.#running = true;
    for (const inlet of this.#inlets) inlet.reader.attach();
    this.#doorbell.listen(
      () => this.#lingers(),
      () => this.#turn(true),
    );
    this.#heartbeat = setInterval(() => this.#beat(), this.#heartbeatMs).unref();
    this.states.beat(this.threadIndex);
  }

  /** Leave all rings. Nothing is received any more; what was committed is still read by the others. */
  close(): void {
    if (!this.#running) return;
    this.signal();
    this.#running = false;
    clearInterval(this.#heartbeat);
    this.#doorbell.close();
    for (const inlet of this.#inlets) inlet.reader.leave();
  }

  /** Ring the doorbells of everyone whom committed records concern. Called by itself at the end of every turn. */
  signal(): void {
    this.#signalQueued = false;
    const mask = this.writer.takeUnsignalled();
    if (mask !== 0) this.#notified += this.#doorbell.ring(mask);
  }

  /** signal() once for everything that this turn or microtask commits. */
  signalSoon(): void {
    if (this.#inTurn || this.#signalQueued) return;
    this.#signalQueued = true;
    queueMicrotask(this.#signalSoon);
  }

  /** Wake threads for a change in shared memory that is no record. */
  ring(mask: number): void {
    this.#notified += this.#doorbell.ring(mask);
  }

  /** Turn soon: a mailbox of this thread has something. */
  wake(): void {
    if (this.#inTurn || this.#wakeQueued || !this.#running) return;
    this.#wakeQueued = true;
    // Microtasks answer fastest, but a chain of them would shut out the sockets.
    if (this.#microtaskTurns < MAX_MICROTASK_TURNS) {
      this.#microtaskTurns++;
      queueMicrotask(this.#turnFromWake);
    } else setImmediate(this.#turnFromLoop);
  }

  /** Read what a thread that has died left in its ring, now: the supervisor, before it tells anybody. */
  drainNow(): void {
    if (this.#running && !this.#inTurn) this.#turn(true);
  }

  /** Doorbells that woke somebody; times this thread was detached from a ring; records of kinds without a handler. */
  stats(): { notified: number; gaps: number; unhandled: number } {
    let unhandled = 0;
    for (const inlet of this.#inlets) unhandled += inlet.unhandledCount;
    return { notified: this.#notified, gaps: this.#gaps, unhandled };
  }

  /** What the doorbell asks before it sleeps. */
  #lingers(): boolean {
    if (this.#hasRecords()) return true;
    if (this.#lingerTurns === 0) return false;
    this.#lingerTurns--;
    return true;
  }

  #hasRecords(): boolean {
    for (const inlet of this.#inlets) if (inlet.reader.hasRecords()) return true;
    return false;
  }

  #beat(): void {
    this.states.beat(this.threadIndex);
    // Whoever spins must not gate this ring for ever: its writer alone may detach it, and only between two drains. While
    // half of the ring is free it costs nobody anything, and loses nothing if it comes back.
    const gatingBytes = this.writer.bytes.length / 2;
    for (const inlet of this.#inlets) {
      const thread = inlet.fromThread;
      if (this.states.state(thread) === THREAD_STATE.STALLED && this.writer.lagBytes(thread) > gatingBytes) {
        this.writer.detachStalled(thread);
      }
    }
    this.#runHooks(this.#beatHooks);
  }

  #turn(fromLoop: boolean): void {
    if (fromLoop) this.#microtaskTurns = 0;
    this.#wakeQueued = false;
    if (!this.#running || this.#inTurn) return;
    this.#inTurn = true;
    // finally: drain() throws when memory is corrupt; the thread then dies by its own rule, not by never turning again.
    try {
      this.#deliver();
    } finally {
      this.#inTurn = false;
    }
    if (this.#running && this.#engine.current?.hasWork()) {
      this.#wakeQueued = true;
      setImmediate(this.#turnFromLoop);
    }
  }

  #deliver(): void {
    this.states.beat(this.threadIndex);
    let deliveredCount = 0;
    for (let index = 0; index < this.#inlets.length; index++) {
      const inlet = this.#inlets[index]!;
      const count = inlet.reader.drain(inlet, MAX_RECORDS_PER_READER);
      if (count === DRAIN_DETACHED) this.#reportGap(inlet.fromThread);
      else deliveredCount += count;
    }
    this.#engine.current?.run();
    const nowMs = performance.now();
    if (deliveredCount > 0) {
      this.#lingerTurns = nowMs - this.#deliveredAtMs < LINGER_GAP_MS ? LINGER_TURNS : 0;
      this.#deliveredAtMs = nowMs;
      this.#runHooks(this.#turnEndHooks);
    }
    if (nowMs - this.#beatAtMs >= BEAT_GAP_MS) {
      this.#beatAtMs = nowMs;
      this.#runHooks(this.#beatHooks);
    }
    this.signal();
  }

  #reportGap(fromThread: number): void {
    this.#gaps++;
    for (const hook of this.#gapHooks) {
      try {
        hook(fromThread);
      } catch (error) {
        this.#onError(error, 'gap hook');
      }
    }
  }

  #runHooks(hooks: readonly (() => void)[]): void {
    for (let index = 0; index < hooks.length; index++) {
      try {
        hooks[index]!();
      } catch (error) {
        this.#onError(error, 'turn hook');
      }
    }
  }
}
