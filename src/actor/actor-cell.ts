/**
 * One actor: its mailbox, its instance, and what happens when the instance throws, idles or ends.
 *
 * Threads: one.
 * Guarantees: one message at a time, in order, also when receive() is asynchronous. Nothing that the application throws
 *   leaves this file. Messages wait in the mailbox while the instance starts, restarts or is passivated.
 * Hot path: offer() and run(): nothing is allocated for a synchronous receive() of a message without a letter.
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import type {
  Actor,
  ActorContext,
  ActorFailure,
  ActorOptions,
  ActorSystemPort,
  ActorTypeStats,
  SpawnOptions,
} from './actor.js';
import type { ActorRef } from './actor-ref.js';
import type { DeadLetterReason, Letter } from './letter.js';
import { Mailbox } from './mailbox.js';
import { completeSupervision, RestartHistory, type SupervisionPolicy } from './supervision.js';

const CELL_STATE = { HELD: 0, STARTING: 1, READY: 2, BUSY: 3, BACKOFF: 4, STOPPING: 5, STOPPED: 6 } as const;
type CellState = (typeof CELL_STATE)[keyof typeof CELL_STATE];

/** How a cell ends: for good, idle (a waiting message starts it anew), or because its key is placed elsewhere now. */
const END = { NONE: 0, STOP: 1, PASSIVATE: 2, MOVE: 3 } as const;
type End = (typeof END)[keyof typeof END];

const RESTART_DEADLINE = 0;
const IDLE_DEADLINE = 1;

type Instance = Actor<unknown>;

/** What a cell needs of its system. */
export interface CellHost extends ActorSystemPort {
  readonly nowMs: () => number;
  schedule(cell: ActorCell): void;
  after(delayMs: number, cell: ActorCell, id: number): void;
  reply(letter: Letter, answer: unknown): void;
  replyFailure(letter: Letter, reason: string): void;
  senderOf(letter: Letter): ActorRef | undefined;
  deadLetter(reason: DeadLetterReason, cell: ActorCell, message: unknown): void;
  reportFailure(cell: ActorCell, error: unknown, consequence: ActorFailure['consequence']): void;
  spawnChild(parent: ActorCell, options: SpawnOptions): Promise<ActorRef>;
  spawnLocalChild(parent: ActorCell, create: () => Actor<never>, options: ActorOptions): ActorRef;
  /** Stop it and do not wait; it may be gone already, with its whole thread. */
  stopChild(child: ActorRef): void;
  escalate(cell: ActorCell, error: unknown): void;
  /** The key of this cell lives elsewhere now: send `message` after it. */
  forward(cell: ActorCell, message: unknown, letter: Letter | undefined): void;
  removed(cell: ActorCell): void;
}

export interface CellOptions {
  readonly self: ActorRef;
  readonly stats: ActorTypeStats;
  readonly typeName: string;
  readonly key: string | undefined;
  readonly parent: ActorRef | undefined;
  readonly create: () => Instance | Promise<Instance>;
  readonly actor: ActorOptions;
  readonly passivateAfterMs: number;
  /** True: it waits for release(), messages are taken meanwhile. */
  readonly held: boolean;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

export class ActorCell implements ActorContext {
  readonly self: ActorRef;
  readonly system: CellHost;
  readonly key: string | undefined;
  readonly parent: ActorRef | undefined;
  readonly typeName: string;
  readonly #stats: ActorTypeStats;
  readonly #create: () => Instance | Promise<Instance>;
  readonly #mailbox: Mailbox;
  readonly #policy: SupervisionPolicy;
  readonly #passivateAfterMs: number;
  readonly #onAnswer: (answer: unknown) => void;
  readonly #onRejection: (error: unknown) => void;
  #history: RestartHistory | undefined;
  #children: Set<ActorRef> | undefined;
  #instance: Instance | undefined;
  #state: CellState;
  #end: End;
  #scheduled: boolean;
  #receiving: boolean;
  #idleArmed: boolean;
  #letter: Letter | undefined;
  #lastActiveMs: number;
  #childError: { readonly error: unknown } | undefined;
  #started: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #stopWaiters: (() => void)[] | undefined;

  constructor(host: CellHost, options: CellOptions) {
    this.self = options.self;
    this.system = host;
    this.key = options.key;
    this.parent = options.parent;
    this.typeName = options.typeName;
    this.#stats = options.stats;
    this.#create = options.create;
    this.#mailbox = new Mailbox(options.actor.mailbox);
    this.#policy = completeSupervision(options.actor.supervision);
    this.#passivateAfterMs = options.passivateAfterMs;
    this.#onAnswer = (answer) => this.#answered(answer);
    this.#onRejection = (error) => this.#rejected(error);
    this.#history = undefined;
    this.#children = undefined;
    this.#instance = undefined;
    this.#state = options.held ? CELL_STATE.HELD : CELL_STATE.STARTING;
    this.#end = END.NONE;
    this.#scheduled = false;
    this.#receiving = false;
    this.#idleArmed = false;
    this.#letter = undefined;
    this.#lastActiveMs = 0;
    this.#childError = undefined;
    this.#started = undefined;
    this.#stopWaiters = undefined;
    this.#stats.live++;
  }

  get sender(): ActorRef | undefined {
    return this.#letter === undefined ? undefined : this.system.senderOf(this.#letter);
  }

  /** Start the first instance. Resolves after onStart; a rejection means that the actor has been removed. */
  startFirst(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#start();
    });
  }

  /** Start the first instance; failures go by the policy. For a held cell: now it may. */
  release(): void {
    if (this.#state === CELL_STATE.HELD || this.#state === CELL_STATE.STARTING) this.#start();
  }

  /** Take a message. See Addressable.tell for the outcomes. */
  offer(message: unknown, letter: Letter | undefined): Outcome {
    if (this.#state === CELL_STATE.STOPPED || this.#end === END.STOP) {
      this.#refuse('stopped', message, letter);
      return OUTCOME.CLOSED;
    }
    const mailbox = this.#mailbox;
    if (mailbox.isFull) {
      if (mailbox.overflow === 'reject') {
        this.#refuse('mailbox-full', message, letter);
        return OUTCOME.FULL;
      }
      if (mailbox.overflow === 'drop-newest') {
        this.#refuse('dropped-newest', message, letter);
        return OUTCOME.OK;
      }
      const oldest = mailbox.shift();
      this.#stats.mailboxDepth--;
      this.#refuse('dropped-oldest', oldest, mailbox.letter);
    }
    mailbox.push(message, letter);
    this.#stats.mailboxDepth++;
    this.#schedule();
    return OUTCOME.OK;
  }

  /** Receive up to `maxMessages`; the system calls it after schedule(). Returns how many it was. */
  run(maxMessages: number): number {
    this.#scheduled = false;
    const mailbox = this.#mailbox;
    const stats = this.#stats;
    let count = 0;
    while (count < maxMessages && this.#state === CELL_STATE.READY && mailbox.length > 0) {
      const message = mailbox.shift();
      stats.mailboxDepth--;
      stats.received++;
      count++;
      this.#receive(message, mailbox.letter);
    }
    if (this.#passivateAfterMs > 0) this.#lastActiveMs = this.system.nowMs();
    this.#schedule();
    return count;
  }

  spawn(options: SpawnOptions): Promise<ActorRef> {
    return this.system.spawnChild(this, options);
  }

  spawnLocal(create: () => Actor<never>, options: ActorOptions = {}): ActorRef {
    return this.system.spawnLocalChild(this, create, options);
  }

  /** A spawn that this actor asked for has succeeded, perhaps after its end. */
  adopt(child: ActorRef): void {
    if (this.#state === CELL_STATE.STOPPED) {
      this.system.stopChild(child);
      return;
    }
    this.#children ??= new Set();
    this.#children.add(child);
  }

  /** A child ended by itself. */
  disown(child: ActorRef): void {
    if (this.#children === undefined) return;
    for (const known of this.#children) if (known.equals(child)) this.#children.delete(known);
  }

  stop(): void {
    void this.stopped();
  }

  /** Stop after the message at hand. Resolves when onStop is through. */
  stopped(): Promise<void> {
    if (this.#state === CELL_STATE.STOPPED) return Promise.resolve();
    return new Promise((resolve) => {
      this.#stopWaiters ??= [];
      this.#stopWaiters.push(resolve);
      this.#finish(END.STOP);
    });
  }

  /** The key is placed on another thread now: end, and send what waits after it. */
  move(): void {
    if (this.#end === END.NONE || this.#end === END.PASSIVATE) this.#finish(END.MOVE);
  }

  /** A child without a policy of its own for this error failed. */
  childFailed(error: unknown): void {
    if (this.#state === CELL_STATE.STOPPED || this.#state === CELL_STATE.STOPPING) return;
    if (this.#state === CELL_STATE.READY) this.#failed(error);
    // One message at a time: the instance fails when the message at hand has settled.
    else if (this.#state === CELL_STATE.BUSY) this.#childError = { error };
    // There is no instance that could fail.
    else this.system.reportFailure(this, error, 'ignored');
  }

  onDeadline(id: number): void {
    if (id === RESTART_DEADLINE) {
      if (this.#state === CELL_STATE.BACKOFF) this.#start();
      return;
    }
    this.#idleArmed = false;
    if (this.#state === CELL_STATE.STOPPED) return;
    const restMs = this.#lastActiveMs + this.#passivateAfterMs - this.system.nowMs();
    if (this.#state === CELL_STATE.READY && this.#mailbox.length === 0 && restMs <= 0) this.#finish(END.PASSIVATE);
    else this.#armIdle(Math.max(restMs, 1));
  }

  #schedule(): void {
    if (this.#scheduled || this.#state !== CELL_STATE.READY || this.#mailbox.length === 0) return;
    this.#scheduled = true;
    this.system.schedule(this);
  }

  #receive(message: unknown, letter: Letter | undefined): void {
    this.#letter = letter;
    let answer: unknown;
    this.#receiving = true;
    try {
      answer = this.#instance!.receive(message, this);
    } catch (error) {
      this.#receiving = false;
      this.#failed(error);
      return;
    }
    this.#receiving = false;
    if (answer !== undefined && isThenable(answer)) {
      this.#state = CELL_STATE.BUSY;
      answer.then(this.#onAnswer, this.#onRejection);
      return;
    }
    this.#letter = undefined;
    if (letter !== undefined && letter.askId !== 0) this.system.reply(letter, answer);
    if (this.#end !== END.NONE) this.#finish(this.#end);
  }

  #answered(answer: unknown): void {
    const letter = this.#letter;
    this.#letter = undefined;
    this.#state = CELL_STATE.READY;
    if (letter !== undefined && letter.askId !== 0) this.system.reply(letter, answer);
    if (this.#passivateAfterMs > 0) this.#lastActiveMs = this.system.nowMs();
    if (this.#childError !== undefined) this.#failed(this.#childError.error);
    else if (this.#end !== END.NONE) this.#finish(this.#end);
    else this.#schedule();
  }

  #rejected(error: unknown): void {
    this.#state = CELL_STATE.READY;
    this.#failed(error);
  }

  /** The instance is lost: answer who asked, then do what the policy says. */
  #failed(error: unknown): void {
    const letter = this.#letter;
    this.#letter = undefined;
    this.#childError = undefined;
    this.#stats.failed++;
    this.#instance = undefined;
    if (letter !== undefined && letter.askId !== 0) this.system.replyFailure(letter, messageOf(error));
    this.#stopChildren();
    if (this.#end !== END.NONE) {
      this.system.reportFailure(this, error, 'stopped');
      this.#ended();
      return;
    }
    if (this.#policy.strategy === 'restart') {
      this.#history ??= new RestartHistory(this.#policy);
      const backoffMs = this.#history.nextBackoffMs(this.system.nowMs());
      if (backoffMs !== undefined) {
        this.#stats.restarted++;
        this.#state = CELL_STATE.BACKOFF;
        this.system.reportFailure(this, error, 'restarted');
        this.system.after(backoffMs, this, RESTART_DEADLINE);
        return;
      }
    }
    const escalates = this.#policy.strategy === 'escalate';
    this.system.reportFailure(this, error, escalates ? 'escalated' : 'stopped');
    this.#end = END.STOP;
    this.#ended();
    if (escalates) this.system.escalate(this, error);
  }

  #start(): void {
    this.#state = CELL_STATE.STARTING;
    let created: Instance | Promise<Instance>;
    try {
      created = this.#create();
    } catch (error) {
      this.#startFailed(error);
      return;
    }
    if (isThenable(created)) {
      created.then(
        (instance) => this.#created(instance),
        (error) => this.#startFailed(error),
      );
    } else this.#created(created);
  }

  #created(instance: Instance): void {
    this.#instance = instance;
    let starting: unknown;
    try {
      starting = instance.onStart(this);
    } catch (error) {
      this.#startFailed(error);
      return;
    }
    if (isThenable(starting)) {
      starting.then(
        () => this.#ready(),
        (error) => this.#startFailed(error),
      );
    } else this.#ready();
  }

  #ready(): void {
    this.#state = CELL_STATE.READY;
    this.#started?.resolve();
    this.#started = undefined;
    if (this.#end !== END.NONE) {
      this.#finish(this.#end);
      return;
    }
    if (this.#passivateAfterMs > 0) {
      this.#lastActiveMs = this.system.nowMs();
      this.#armIdle(this.#passivateAfterMs);
    }
    this.#schedule();
  }

  #startFailed(error: unknown): void {
    if (this.#started === undefined) {
      this.#failed(error);
      return;
    }
    // Whoever spawned it is told, and decides; nothing is restarted that has never run.
    this.#stats.failed++;
    this.#instance = undefined;
    this.#started.reject(error);
    this.#started = undefined;
    this.#end = END.STOP;
    this.#stopChildren();
    this.#ended();
  }

  #armIdle(delayMs: number): void {
    if (this.#idleArmed) return;
    this.#idleArmed = true;
    this.system.after(delayMs, this, IDLE_DEADLINE);
  }

  /** End as `end` says as soon as nothing is being received or started. STOP wins over the others. */
  #finish(end: End): void {
    if (this.#end !== END.STOP) this.#end = end;
    switch (this.#state) {
      case CELL_STATE.HELD:
      case CELL_STATE.BACKOFF:
        this.#ended();
        break;
      case CELL_STATE.READY:
        // An actor that stops itself is still inside receive(): #receive() comes back here.
        if (!this.#receiving) this.#stopInstance();
        break;
      default:
      // STARTING, BUSY: #ready(), #answered() or #failed() come back here. STOPPING: under way. STOPPED: done.
    }
  }

  #stopInstance(): void {
    this.#state = CELL_STATE.STOPPING;
    this.#stopChildren();
    let stopping: unknown;
    try {
      stopping = this.#instance?.onStop(this);
    } catch (error) {
      this.#stats.failed++;
      this.system.reportFailure(this, error, 'ignored');
    }
    if (isThenable(stopping)) {
      stopping.then(
        () => this.#ended(),
        (error) => {
          this.#stats.failed++;
          this.system.reportFailure(this, error, 'ignored');
          this.#ended();
        },
      );
    } else this.#ended();
  }

  #ended(): void {
    this.#instance = undefined;
    const mailbox = this.#mailbox;
    if (this.#end === END.PASSIVATE && mailbox.length > 0) {
      this.#end = END.NONE;
      this.#start();
      return;
    }
    this.#state = CELL_STATE.STOPPED;
    this.#stats.live--;
    this.system.removed(this);
    while (mailbox.length > 0) {
      const message = mailbox.shift();
      this.#stats.mailboxDepth--;
      if (this.#end === END.MOVE) this.system.forward(this, message, mailbox.letter);
      else this.#refuse('stopped', message, mailbox.letter);
    }
    const waiters = this.#stopWaiters;
    this.#stopWaiters = undefined;
    if (waiters !== undefined) for (const resolve of waiters) resolve();
  }

  #stopChildren(): void {
    const children = this.#children;
    this.#children = undefined;
    if (children !== undefined) for (const child of children) this.system.stopChild(child);
  }

  #refuse(reason: DeadLetterReason, message: unknown, letter: Letter | undefined): void {
    this.system.deadLetter(reason, this, message);
    if (letter !== undefined && letter.askId !== 0) this.system.replyFailure(letter, `not received: ${reason}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
