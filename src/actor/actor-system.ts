/**
 * The actors of one thread, and the way to those of all others.
 *
 * Threads: one system per thread; used by that thread only.
 * Guarantees: tell is at-most-once and ordered per pair; an ask is answered, fails, or meets its deadline; whatever
 *   reaches nobody is a counted dead letter. Code of the application runs only after the reading of a turn is over.
 * Hot path: tellTo() out, Inbox.onRecord() and RunQueue.run() in (bench/actor/actor.bench.ts).
 */
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import type { Actor, ActorFailure, ActorOptions, ActorTypeStats, KeyedTypeOptions, SpawnOptions } from './actor.js';
import { ActorCell, type CellHost } from './actor-cell.js';
import { ActorLoader } from './actor-loader.js';
import { ActorRef, type Addressable, type RefPort } from './actor-ref.js';
import { AskTable } from './ask-table.js';
import { BodyCodec } from './body-codec.js';
import { type Command, GUARDIAN_ID } from './command.js';
import { Deadlines } from './deadlines.js';
import { KIND, type Kind } from './envelope.layout.js';
import { Inbox } from './inbox.js';
import type { Engine } from './inlet.js';
import { KeyedActors, type KeyedAddress } from './keyed-actors.js';
import { DeadLetterOffice, type DeadLetterReason, type Letter } from './letter.js';
import { Outbox } from './outbox.js';
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

export class ActorSystem implements Engine, RefPort, CellHost {
  readonly threadIndex: number;
  readonly node: number;
  readonly incarnation: number;
  readonly nowMs: () => number;
  readonly deadLetters: DeadLetterOffice;

  readonly #runtime: ThreadRuntime;
  readonly #codec: BodyCodec;
  readonly #outbox: Outbox;
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
    this.#runtime = runtime;
    this.#options = options;
    this.#codec = new BodyCodec(memory.shapes, runtime.threadIndex, this);
    const maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_QUEUED_BYTES;
    this.#outbox = new Outbox(runtime, this.#codec, memory.maxRecordBytes, maxQueuedBytes);
    this.#deadlines = new Deadlines(this.nowMs);
    this.#asks = new AskTable(this.#deadlines);
    this.#loader = new ActorLoader();
    this.#keyed = new KeyedActors(this, runtime.states, this.#loader);
    this.#cells = new Map();
    this.#statsByType = new Map();
    this.#runQueue = new RunQueue();
    this.#inbox = new Inbox({
      threadIndex: this.threadIndex,
      incarnation: this.incarnation,
      threadCount: memory.threadCount,
      codec: this.#codec,
      asks: this.#asks,
      keyed: this.#keyed,
      cells: this.#cells,
      deadLetters: this.deadLetters,
      replyFailure: (letter, reason) => this.replyFailure(letter, reason),
    });
    this.#lastId = GUARDIAN_ID;
    runtime.attachEngine(this);
    runtime.onBeat(() => {
      this.#outbox.flush();
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
    if (!this.#isLive(ref)) return;
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
      queuedBytes: this.#outbox.queuedBytes,
      deadLetters: this.deadLetters.total,
      deadLettersByReason: this.deadLetters.counts(),
    };
  }

  /** Stop all timers, forget what waits, receive nothing more. Actors are not stopped: see stopAll(). */
  close(): void {
    this.#runQueue.halt();
    this.#outbox.close();
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
      this.#send(KIND.MESSAGE, other, GUARDIAN_ID, this.#runtime.states.incarnation(other), undefined, 0, {
        halley: 'lost',
        thread,
      });
    }
  }

  // --- RefPort: messages out --------------------------------------------------------------------------------------

  tellTo(ref: ActorRef, message: unknown, sender: ActorRef | undefined): Outcome {
    if (ref.thread === this.threadIndex && ref.node === this.node && ref.incarnation === this.incarnation) {
      const cell = this.#cells.get(ref.id);
      if (cell === undefined) return this.#undeliverable('no-actor', ref, message);
      return cell.offer(message, sender === undefined ? undefined : letterFrom(sender));
    }
    if (!this.#isLive(ref)) {
      return this.#undeliverable(ref.node === this.node ? 'thread-down' : 'other-node', ref, message);
    }
    const outcome = this.#send(KIND.MESSAGE, ref.thread, ref.id, ref.incarnation, sender, 0, message);
    if (outcome !== OUTCOME.OK) this.#undeliverable(outcome === OUTCOME.FULL ? 'full' : 'too-large', ref, message);
    return outcome;
  }

  askTo(ref: ActorRef, message: unknown, timeoutMs: number): Promise<unknown> {
    const id = this.#asks.nextId();
    const answer = openAsk(this.#asks, id, ref.thread, timeoutMs);
    if (ref.thread === this.threadIndex && ref.node === this.node && ref.incarnation === this.incarnation) {
      const cell = this.#cells.get(ref.id);
      if (cell === undefined) {
        this.#undeliverable('no-actor', ref, message);
        this.#asks.fail(id, 'there is no such actor');
      } else cell.offer(message, this.#ownLetter(id));
      return answer;
    }
    if (!this.#isLive(ref)) {
      this.#undeliverable(ref.node === this.node ? 'thread-down' : 'other-node', ref, message);
      this.#asks.lose(id, ref.thread);
      return answer;
    }
    let outcome: Outcome;
    try {
      outcome = this.#send(KIND.MESSAGE, ref.thread, ref.id, ref.incarnation, undefined, id, message);
    } catch (error) {
      this.#asks.refuse(id, error);
      return answer;
    }
    if (outcome !== OUTCOME.OK) {
      this.#undeliverable(outcome === OUTCOME.FULL ? 'full' : 'too-large', ref, message);
      this.#asks.fail(id, outcome === OUTCOME.FULL ? 'the ring is full' : 'the message is too large');
    }
    return answer;
  }

  /** A message to a keyed actor; `letter` is undefined for a tell without a sender. Used by KeyedActors. */
  sendKeyed(
    thread: number,
    address: KeyedAddress,
    message: unknown,
    letter: Letter | undefined,
    hops: number,
  ): Outcome {
    const { envelope } = this.#outbox;
    envelope.kind = KIND.KEYED;
    envelope.thread = thread;
    envelope.targetId = address.typeHash;
    envelope.targetIncarnation = 0;
    envelope.senderThread = letter === undefined ? this.threadIndex : letter.senderThread;
    envelope.senderId = letter === undefined ? 0 : letter.senderId;
    envelope.senderIncarnation = letter === undefined ? this.incarnation : letter.senderIncarnation;
    envelope.askId = letter === undefined ? 0 : letter.askId;
    envelope.hops = hops;
    envelope.key = address.key;
    return this.#outbox.send(message);
  }

  /** Ask a keyed actor: `send` hands the message over with the letter it is given. Used by KeyedActors. */
  askKeyed(thread: number, timeoutMs: number, send: (letter: Letter) => void): Promise<unknown> {
    const id = this.#asks.nextId();
    const answer = openAsk(this.#asks, id, thread, timeoutMs);
    try {
      send(this.#ownLetter(id));
    } catch (error) {
      this.#asks.refuse(id, error);
    }
    return answer;
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
    if (letter.senderThread === this.threadIndex) {
      if (letter.senderIncarnation === this.incarnation) this.#asks.answer(letter.askId, answer);
      return;
    }
    let outcome: Outcome;
    try {
      outcome = this.#sendReply(KIND.REPLY, letter, answer);
    } catch (error) {
      this.replyFailure(letter, error instanceof Error ? error.message : String(error));
      return;
    }
    if (outcome === OUTCOME.OK) return;
    this.deadLetters.post(outcome === OUTCOME.FULL ? 'full' : 'too-large', () => `ask:${letter.senderThread}`, answer);
    if (outcome === OUTCOME.TOO_LARGE) this.replyFailure(letter, 'the answer is too large');
  }

  replyFailure(letter: Letter, reason: string): void {
    if (letter.senderThread === this.threadIndex) {
      if (letter.senderIncarnation === this.incarnation) this.#asks.fail(letter.askId, reason);
      return;
    }
    const outcome = this.#sendReply(KIND.FAILURE, letter, reason.slice(0, 1024));
    if (outcome !== OUTCOME.OK) this.deadLetters.post('full', () => `ask:${letter.senderThread}`, reason);
  }

  senderOf(letter: Letter): ActorRef | undefined {
    if (letter.senderId === 0) return undefined;
    return new ActorRef(this, this.node, letter.senderThread, letter.senderIncarnation, letter.senderId);
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

  escalate(cell: ActorCell, error: unknown): void {
    const { parent } = cell;
    if (parent === undefined) {
      this.#options.onEscalated(error instanceof Error ? error : new Error(String(error)));
    } else if (parent.thread === this.threadIndex) {
      this.#cells.get(parent.id)?.childFailed(error);
    } else if (this.#isLive(parent)) {
      const reason = error instanceof Error ? error.message : String(error);
      const command: Command = { halley: 'escalate', id: parent.id, reason };
      this.#send(KIND.MESSAGE, parent.thread, GUARDIAN_ID, parent.incarnation, undefined, 0, command);
    }
  }

  forward(cell: ActorCell, message: unknown, letter: Letter | undefined): void {
    this.#keyed.forward(cell, message, letter);
  }

  removed(cell: ActorCell): void {
    this.#cells.delete(cell.self.id);
    if (cell.key !== undefined) this.#keyed.removed(cell);
    if (cell.parent?.thread === this.threadIndex) this.#cells.get(cell.parent.id)?.disown(cell.self);
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
    const self = new ActorRef(this, this.node, this.threadIndex, this.incarnation, id);
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
    return this.askTo(new ActorRef(this, this.node, thread, incarnation, GUARDIAN_ID), command, timeoutMs);
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
      case 'lost':
        this.threadLost(command.thread);
        break;
    }
  }

  #answerWith(letter: Letter | undefined, work: Promise<unknown>): void {
    work.then(
      (answer) => letter && this.reply(letter, answer),
      (error: unknown) => {
        const cause = error instanceof HalleyError && error.cause instanceof Error ? error.cause : error;
        if (letter) this.replyFailure(letter, cause instanceof Error ? cause.message : String(cause));
      },
    );
  }

  // --- helpers ----------------------------------------------------------------------------------------------------

  #isLive(ref: ActorRef): boolean {
    if (ref.node !== this.node) return false;
    const { states } = this.#runtime;
    return states.isReachable(ref.thread) && states.incarnation(ref.thread) === ref.incarnation;
  }

  #ownLetter(askId: number): Letter {
    return { senderThread: this.threadIndex, senderIncarnation: this.incarnation, senderId: 0, askId };
  }

  #undeliverable(reason: DeadLetterReason, ref: ActorRef, message: unknown): Outcome {
    this.deadLetters.post(reason, () => ref.toString(), message);
    return OUTCOME.CLOSED;
  }

  #send(
    kind: Kind,
    thread: number,
    targetId: number,
    targetIncarnation: number,
    sender: ActorRef | undefined,
    askId: number,
    message: unknown,
  ): Outcome {
    const { envelope } = this.#outbox;
    envelope.kind = kind;
    envelope.thread = thread;
    envelope.targetId = targetId;
    envelope.targetIncarnation = targetIncarnation;
    envelope.senderThread = sender === undefined ? this.threadIndex : sender.thread;
    envelope.senderId = sender === undefined ? 0 : sender.id;
    envelope.senderIncarnation = sender === undefined ? this.incarnation : sender.incarnation;
    envelope.askId = askId;
    envelope.hops = 0;
    envelope.key = undefined;
    return this.#outbox.send(message);
  }

  #sendReply(kind: Kind, letter: Letter, message: unknown): Outcome {
    const { states } = this.#runtime;
    if (
      !states.isReachable(letter.senderThread) ||
      states.incarnation(letter.senderThread) !== letter.senderIncarnation
    ) {
      return OUTCOME.OK; // nobody is left who could wait for it
    }
    return this.#send(
      kind,
      letter.senderThread,
      GUARDIAN_ID,
      letter.senderIncarnation,
      undefined,
      letter.askId,
      message,
    );
  }
}

function letterFrom(sender: ActorRef): Letter {
  return { senderThread: sender.thread, senderIncarnation: sender.incarnation, senderId: sender.id, askId: 0 };
}

function labelOf(cell: ActorCell): string {
  return cell.key === undefined ? cell.self.toString() : `${cell.typeName}/${cell.key}`;
}

/** A bad timeout is a rejection like every other failure of an ask. */
function openAsk(asks: AskTable, id: number, thread: number, timeoutMs: number): Promise<unknown> {
  try {
    return asks.open(id, thread, timeoutMs);
  } catch (error) {
    return Promise.reject(error);
  }
}
