/**
 * The actors of one thread, and the way to those of all others.
 *
 * Threads: one system per thread; used by that thread only.
 * Guarantees: tell is at-most-once and ordered per pair; an ask is answered, fails, or meets its deadline; whatever
 *   reaches nobody is a counted dead letter. Code of the application runs only after the reading of a turn is over.
 * Hot path: Courier.tellTo() out, Inbox.onRecord() and RunQueue.run() in (bench/actor/actor.bench.ts).
 */
// Not the global of that name, a getter of its own: it showed in the profile of a bucket.
import { performance } from 'node:perf_hooks';
import { DiscardCounter, HalleyError } from '../errors/index.js';
import type { Actor, ActorFailure, ActorOptions, ActorTypeStats, KeyedTypeOptions, SpawnOptions } from './actor.js';
import { ActorCell, type CellHost } from './actor-cell.js';
import { ActorLoader } from './actor-loader.js';
import { ActorRef, type Addressable } from './actor-ref.js';
import { AskTable } from './ask-table.js';
import { type Command, GUARDIAN_ID } from './command.js';
import { Courier } from './courier.js';
import { Deadlines } from './deadlines.js';
import { KIND } from './envelope.layout.js';
import { Inbox } from './inbox.js';
import type { Engine } from './inlet.js';
import { KeyedActors } from './keyed-actors.js';
import { DeadLetterOffice, type DeadLetterReason, type Letter } from './letter.js';
import { RunQueue } from './run-queue.js';
import type { ThreadMemory } from './thread-memory.js';
import type { ThreadRuntime } from './thread-runtime.js';

const SPAWN_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 30_000;
const DEFAULT_QUEUED_BYTES = 8 * 1024 * 1024;

export interface ActorSystemOptions {
  /** The node's number in refs. Default 0. */
  readonly node?: number;
  /** Bound of what waits in this thread while its ring is full. Default 8 MiB. */
  readonly maxQueuedBytes?: number;
  /** One call per failure of an actor; for the log. Must not throw. */
  readonly onFailure?: (failure: ActorFailure) => void;
  /** An actor without a parent escalated: the thread is beyond repair. */
  readonly onEscalated: (error: Error) => void;
}

export interface ActorSystemStats {
  readonly types: Readonly<Record<string, Readonly<ActorTypeStats>>>;
  readonly actors: number;
  readonly asks: number;
  readonly queuedBytes: number;
  readonly deadLetters: number;
  readonly deadLettersByReason: Partial<Record<DeadLetterReason, number>>;
}

export class ActorSystem implements Engine, CellHost {
  readonly threadIndex: number;
  readonly node: number;
  readonly incarnation: number;
  readonly nowMs: () => number;
  readonly deadLetters: DeadLetterOffice;
  readonly discarded: DiscardCounter;

  readonly #runtime: ThreadRuntime;
  readonly #courier: Courier;
  readonly #deadlines: Deadlines;
  readonly #asks: AskTable;
  readonly #loader: ActorLoader;
  readonly #keyed: KeyedActors;
  readonly #options: ActorSystemOptions;
  readonly #cells: Map<number, ActorCell>;
  readonly #statsByType: Map<string, ActorTypeStats>;
  readonly #inbox: Inbox;
  readonly #runQueue: RunQueue;
  #lastId: number;

  /** Attaches itself to `runtime`, which the caller starts afterwards. */
  constructor(memory: ThreadMemory, runtime: ThreadRuntime, options: ActorSystemOptions) {
    this.threadIndex = runtime.threadIndex;
    this.node = options.node ?? 0;
    this.incarnation = runtime.states.incarnation(runtime.threadIndex);
    this.nowMs = () => performance.now();
    this.deadLetters = new DeadLetterOffice();
    this.discarded = new DiscardCounter();
    this.#runtime = runtime;
    this.#options = options;
    this.#deadlines = new Deadlines(this.nowMs);
    this.#asks = new AskTable(this.#deadlines);
    this.#cells = new Map();
    this.#courier = new Courier(memory, runtime, {
      node: this.node,
      incarnation: this.incarnation,
      asks: this.#asks,
      cells: this.#cells,
      deadLetters: this.deadLetters,
      maxQueuedBytes: options.maxQueuedBytes ?? DEFAULT_QUEUED_BYTES,
    });
    this.#loader = new ActorLoader();
    this.#keyed = new KeyedActors(this, this.#courier, runtime.states, this.#loader);
    this.#statsByType = new Map();
    this.#runQueue = new RunQueue();
    this.#inbox = new Inbox({
      threadIndex: this.threadIndex,
      incarnation: this.incarnation,
      threadCount: memory.threadCount,
      codec: this.#courier.codec,
      asks: this.#asks,
      keyed: this.#keyed,
      cells: this.#cells,
      deadLetters: this.deadLetters,
      replyFailure: (letter, reason) => this.#courier.replyFailure(letter, reason),
    });
    this.#lastId = GUARDIAN_ID;
    runtime.attachEngine(this);
    runtime.onBeat(() => {
      this.#courier.outbox.flush();
      this.#keyed.rebalance();
    });
  }

  // --- what applications call -------------------------------------------------------------------------------------

  /**
   * Create an actor of a module's class, here or on `options.thread`. Resolves once its onStart is through, so every
   * thread that learns of the ref can use it.
   * @throws HalleyError (as a rejection) SPAWN_FAILED
   */
  spawn(options: SpawnOptions): Promise<ActorRef> {
    return this.#spawn(options, undefined);
  }

  /** Create an actor of this thread from a function that makes its instances. Messages may be told at once. */
  spawnLocal(create: () => Actor<never>, options: ActorOptions = {}): ActorRef {
    return this.#spawnLocal(create, options, undefined);
  }

  /** Declare a type of keyed actors. Do it on every thread, with the same options. @throws HalleyError KEYED_TYPE */
  registerKeyed(options: KeyedTypeOptions): void {
    this.#keyed.register(options);
  }

  /** The actor with this key, wherever it is placed when a message is sent. @throws HalleyError KEYED_TYPE, KEY_RANGE */
  keyed(type: string, key: string): Addressable {
    return this.#keyed.ref(type, key);
  }

  /** Stop the actor after the message at hand; resolves when its onStop is through, also when it was gone before. */
  async stop(ref: ActorRef): Promise<void> {
    if (ref.thread === this.threadIndex) {
      if (ref.incarnation === this.incarnation) await this.#cells.get(ref.id)?.stopped();
      return;
    }
    if (!this.#courier.isLive(ref)) return;
    await this.#command(ref.thread, { halley: 'stop', id: ref.id }, STOP_TIMEOUT_MS);
  }

  /** Stop every actor of this thread; resolves when all onStop are through. */
  async stopAll(): Promise<void> {
    await Promise.all([...this.#cells.values()].map((cell) => cell.stopped()));
  }

  stats(): ActorSystemStats {
    return {
      types: Object.fromEntries([...this.#statsByType].map(([type, stats]) => [type, { ...stats }])),
      actors: this.#cells.size,
      asks: this.#asks.size,
      queuedBytes: this.#courier.outbox.queuedBytes,
      deadLetters: this.deadLetters.total,
      deadLettersByReason: this.deadLetters.counts(),
    };
  }

  /** Stop all timers, forget what waits, receive nothing more. Actors are not stopped: see stopAll(). */
  close(): void {
    this.#runQueue.halt();
    this.#courier.outbox.close();
    this.#deadlines.close();
  }

  /** A thread is gone: its questions will not be answered. The supervisor tells every thread. */
  threadLost(thread: number): void {
    this.#asks.loseThread(thread);
  }

  /** Control thread: tell all others that a thread is gone. */
  announceLost(thread: number): void {
    this.threadLost(thread);
    for (let other = 0; other < this.#runtime.threadCount; other++) {
      if (other === this.threadIndex || other === thread || !this.#runtime.states.isReachable(other)) continue;
      this.#courier.send(KIND.MESSAGE, other, GUARDIAN_ID, this.#runtime.states.incarnation(other), undefined, 0, {
        halley: 'lost',
        thread,
      });
    }
  }

  // --- Engine: messages in ----------------------------------------------------------------------------------------

  onRecord(kind: number, bytes: Uint8Array, offset: number, lengthBytes: number, fromThread: number): void {
    this.#inbox.onRecord(kind, bytes, offset, lengthBytes, fromThread);
  }

  run(): void {
    const { commands } = this.#inbox;
    for (const { command, letter } of commands.splice(0)) this.#obey(command, letter);
    this.#runQueue.run();
  }

  hasWork(): boolean {
    return !this.#runQueue.isEmpty || this.#inbox.commands.length > 0;
  }

  // --- CellHost: what actors need ---------------------------------------------------------------------------------

  schedule(cell: ActorCell): void {
    this.#runQueue.push(cell);
    this.#runtime.wake();
  }

  after(delayMs: number, target: { onDeadline(id: number): void }, id: number): void {
    this.#deadlines.after(delayMs, target, id);
  }

  reply(letter: Letter, answer: unknown): void {
    this.#courier.reply(letter, answer);
  }

  replyFailure(letter: Letter, reason: string): void {
    this.#courier.replyFailure(letter, reason);
  }

  senderOf(letter: Letter): ActorRef | undefined {
    return this.#courier.senderOf(letter);
  }

  deadLetter(reason: DeadLetterReason, cell: ActorCell, message: unknown): void {
    this.deadLetters.post(reason, () => labelOf(cell), message);
  }

  reportFailure(cell: ActorCell, error: unknown, consequence: ActorFailure['consequence']): void {
    this.#options.onFailure?.({ type: cell.typeName, actor: labelOf(cell), error, consequence });
  }

  async spawnChild(parent: ActorCell, options: SpawnOptions): Promise<ActorRef> {
    const child = await this.#spawn(options, parent.self);
    parent.adopt(child);
    return child;
  }

  spawnLocalChild(parent: ActorCell, create: () => Actor<never>, options: ActorOptions): ActorRef {
    const child = this.#spawnLocal(create, options, parent.self);
    parent.adopt(child);
    return child;
  }

  stopChild(child: ActorRef): void {
    this.stop(child).catch((error: unknown) => this.discarded.ignore(error, 'stop of a child'));
  }

  escalate(cell: ActorCell, error: unknown): void {
    const { parent } = cell;
    if (parent === undefined) {
      this.#options.onEscalated(error instanceof Error ? error : new Error(String(error)));
    } else if (parent.thread === this.threadIndex) {
      this.#cells.get(parent.id)?.childFailed(error);
    } else if (this.#courier.isLive(parent)) {
      const reason = error instanceof Error ? error.message : String(error);
      const command: Command = { halley: 'escalate', id: parent.id, reason };
      this.#courier.send(KIND.MESSAGE, parent.thread, GUARDIAN_ID, parent.incarnation, undefined, 0, command);
    }
  }

  forward(cell: ActorCell, message: unknown, letter: Letter | undefined): void {
    this.#keyed.forward(cell, message, letter);
  }

  removed(cell: ActorCell): void {
    this.#cells.delete(cell.self.id);
    if (cell.key !== undefined) this.#keyed.removed(cell);
    const { parent } = cell;
    if (parent === undefined) return;
    if (parent.thread === this.threadIndex) this.#cells.get(parent.id)?.disown(cell.self);
    else if (this.#courier.isLive(parent)) {
      const command: Command = { halley: 'ended', id: parent.id, child: cell.self };
      this.#courier.send(KIND.MESSAGE, parent.thread, GUARDIAN_ID, parent.incarnation, undefined, 0, command);
    }
  }

  // --- cells ------------------------------------------------------------------------------------------------------

  /** Make a cell and register it; the caller starts it. Used by KeyedActors too. */
  addCell(options: {
    typeName: string;
    key: string | undefined;
    parent: ActorRef | undefined;
    create: () => Actor<unknown> | Promise<Actor<unknown>>;
    actor: ActorOptions;
    passivateAfterMs: number;
    held: boolean;
  }): ActorCell {
    const id = ++this.#lastId;
    const self = new ActorRef(this.#courier, this.node, this.threadIndex, this.incarnation, id);
    const cell = new ActorCell(this, { ...options, self, stats: this.#statsOf(options.typeName) });
    this.#cells.set(id, cell);
    return cell;
  }

  async #spawn(options: SpawnOptions, parent: ActorRef | undefined): Promise<ActorRef> {
    const thread = options.thread ?? this.threadIndex;
    try {
      if (thread !== this.threadIndex) {
        const command: Command = { halley: 'spawn', options, ...(parent === undefined ? {} : { parent }) };
        return (await this.#command(thread, command, SPAWN_TIMEOUT_MS)) as ActorRef;
      }
      const loaded = await this.#loader.load(options);
      const cell = this.addCell({
        typeName: options.type ?? options.export,
        key: undefined,
        parent,
        create: () => new loaded(options.args),
        actor: options,
        passivateAfterMs: 0,
        held: false,
      });
      await cell.startFirst();
      return cell.self;
    } catch (error) {
      throw new HalleyError('SPAWN_FAILED', 'the actor did not start', { export: options.export, thread }, error);
    }
  }

  #spawnLocal(create: () => Actor<never>, options: ActorOptions, parent: ActorRef | undefined): ActorRef {
    const cell = this.addCell({
      typeName: options.type ?? 'local',
      key: undefined,
      parent,
      create: create as () => Actor<unknown>,
      actor: options,
      passivateAfterMs: 0,
      held: false,
    });
    cell.release();
    return cell.self;
  }

  #statsOf(type: string): ActorTypeStats {
    let stats = this.#statsByType.get(type);
    if (stats === undefined) {
      stats = { live: 0, received: 0, failed: 0, restarted: 0, mailboxDepth: 0 };
      this.#statsByType.set(type, stats);
    }
    return stats;
  }

  // --- commands between systems -----------------------------------------------------------------------------------

  #command(thread: number, command: Command, timeoutMs: number): Promise<unknown> {
    const incarnation = this.#runtime.states.incarnation(thread);
    return this.#courier.askTo(
      new ActorRef(this.#courier, this.node, thread, incarnation, GUARDIAN_ID),
      command,
      timeoutMs,
    );
  }

  #obey(command: Command, letter: Letter | undefined): void {
    switch (command.halley) {
      case 'spawn': {
        const { thread: _here, ...options } = command.options;
        this.#answerWith(letter, this.#spawn(options, command.parent));
        break;
      }
      case 'stop':
        this.#answerWith(letter, this.#cells.get(command.id)?.stopped() ?? Promise.resolve());
        break;
      case 'escalate':
        this.#cells.get(command.id)?.childFailed(new HalleyError('CHILD_FAILED', command.reason));
        break;
      case 'ended':
        this.#cells.get(command.id)?.disown(command.child);
        break;
      case 'lost':
        this.threadLost(command.thread);
        break;
    }
  }

  #answerWith(letter: Letter | undefined, work: Promise<unknown>): void {
    work.then(
      (answer) => letter && this.#courier.reply(letter, answer),
      (error: unknown) => {
        const cause = error instanceof HalleyError && error.cause instanceof Error ? error.cause : error;
        if (letter) this.#courier.replyFailure(letter, cause instanceof Error ? cause.message : String(cause));
      },
    );
  }
}

function labelOf(cell: ActorCell): string {
  return cell.key === undefined ? cell.self.toString() : `${cell.typeName}/${cell.key}`;
}
