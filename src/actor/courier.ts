/**
 * All that leaves an actor's thread, and what comes back to it by name: tell, ask, answers, keyed messages.
 *
 * Threads: one per thread, inside its ActorSystem; every ref of the thread sends through it.
 * Guarantees: whatever cannot be handed over is a counted dead letter; a question that cannot be sent rejects.
 * Hot path: tellTo() (bench/actor/actor.bench.ts): two loads of the target's state, then Outbox.send().
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import type { ActorCell } from './actor-cell.js';
import { ActorRef, type RefPort } from './actor-ref.js';
import type { AskTable } from './ask-table.js';
import { BodyCodec } from './body-codec.js';
import { GUARDIAN_ID } from './command.js';
import { KIND, type Kind } from './envelope.layout.js';
import type { KeyedAddress } from './keyed-actors.js';
import type { DeadLetterOffice, DeadLetterReason, Letter } from './letter.js';
import { Outbox } from './outbox.js';
import type { ThreadMemory } from './thread-memory.js';
import type { ThreadRuntime } from './thread-runtime.js';
import type { ThreadStates } from './thread-state.layout.js';

export interface CourierParts {
  readonly node: number;
  readonly incarnation: number;
  readonly asks: AskTable;
  readonly cells: ReadonlyMap<number, ActorCell>;
  readonly deadLetters: DeadLetterOffice;
  /** Bound of what waits while the ring is full. */
  readonly maxQueuedBytes: number;
}

export class Courier implements RefPort {
  readonly threadIndex: number;
  readonly node: number;
  readonly incarnation: number;
  readonly deadLetters: DeadLetterOffice;
  readonly codec: BodyCodec;
  readonly outbox: Outbox;
  readonly #states: ThreadStates;
  readonly #asks: AskTable;
  readonly #cells: ReadonlyMap<number, ActorCell>;

  constructor(memory: ThreadMemory, runtime: ThreadRuntime, parts: CourierParts) {
    this.threadIndex = runtime.threadIndex;
    this.node = parts.node;
    this.incarnation = parts.incarnation;
    this.deadLetters = parts.deadLetters;
    this.codec = new BodyCodec(memory.shapes, runtime.threadIndex, this);
    this.outbox = new Outbox(runtime, this.codec, memory.maxRecordBytes, parts.maxQueuedBytes);
    this.#states = runtime.states;
    this.#asks = parts.asks;
    this.#cells = parts.cells;
  }

  tellTo(ref: ActorRef, message: unknown, sender: ActorRef | undefined): Outcome {
    if (ref.thread === this.threadIndex && ref.node === this.node && ref.incarnation === this.incarnation) {
      const cell = this.#cells.get(ref.id);
      if (cell === undefined) return this.#undeliverable('no-actor', ref, message);
      return cell.offer(message, sender === undefined ? undefined : letterFrom(sender));
    }
    if (!this.isLive(ref)) {
      return this.#undeliverable(ref.node === this.node ? 'thread-down' : 'other-node', ref, message);
    }
    const outcome = this.send(KIND.MESSAGE, ref.thread, ref.id, ref.incarnation, sender, 0, message);
    if (outcome !== OUTCOME.OK) this.#undeliverable(outcome === OUTCOME.FULL ? 'full' : 'too-large', ref, message);
    return outcome;
  }

  askTo(ref: ActorRef, message: unknown, timeoutMs: number): Promise<unknown> {
    const id = this.#asks.nextId();
    let answer: Promise<unknown>;
    try {
      answer = this.#asks.open(id, ref.thread, timeoutMs);
    } catch (error) {
      return Promise.reject(error);
    }
    if (ref.thread === this.threadIndex && ref.node === this.node && ref.incarnation === this.incarnation) {
      const cell = this.#cells.get(ref.id);
      if (cell === undefined) {
        this.#undeliverable('no-actor', ref, message);
        this.#asks.fail(id, 'there is no such actor');
      } else cell.offer(message, this.#ownLetter(id));
      return answer;
    }
    if (!this.isLive(ref)) {
      this.#undeliverable(ref.node === this.node ? 'thread-down' : 'other-node', ref, message);
      this.#asks.lose(id, ref.thread);
      return answer;
    }
    let outcome: Outcome;
    try {
      outcome = this.send(KIND.MESSAGE, ref.thread, ref.id, ref.incarnation, undefined, id, message);
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
    const { envelope } = this.outbox;
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
    return this.outbox.send(message);
  }

  /** Ask a keyed actor: `send` hands the message over with the letter it is given. Used by KeyedActors. */
  askKeyed(thread: number, timeoutMs: number, send: (letter: Letter) => void): Promise<unknown> {
    const id = this.#asks.nextId();
    try {
      const answer = this.#asks.open(id, thread, timeoutMs);
      try {
        send(this.#ownLetter(id));
      } catch (error) {
        this.#asks.refuse(id, error);
      }
      return answer;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Answer who asked. An answer that cannot be sent fails the question where that is possible. */
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

  /** Tell who asked that there will be no answer. */
  replyFailure(letter: Letter, reason: string): void {
    if (letter.senderThread === this.threadIndex) {
      if (letter.senderIncarnation === this.incarnation) this.#asks.fail(letter.askId, reason);
      return;
    }
    const outcome = this.#sendReply(KIND.FAILURE, letter, reason.slice(0, 1024));
    if (outcome !== OUTCOME.OK) this.deadLetters.post('full', () => `ask:${letter.senderThread}`, reason);
  }

  /** The sender as a ref; undefined when there was none. */
  senderOf(letter: Letter): ActorRef | undefined {
    if (letter.senderId === 0) return undefined;
    return new ActorRef(this, this.node, letter.senderThread, letter.senderIncarnation, letter.senderId);
  }

  /** True where a message to `ref` will be read by the incarnation that it names. */
  isLive(ref: ActorRef): boolean {
    if (ref.node !== this.node) return false;
    const states = this.#states;
    return states.isReachable(ref.thread) && states.incarnation(ref.thread) === ref.incarnation;
  }

  #ownLetter(askId: number): Letter {
    return { senderThread: this.threadIndex, senderIncarnation: this.incarnation, senderId: 0, askId };
  }

  #undeliverable(reason: DeadLetterReason, ref: ActorRef, message: unknown): Outcome {
    this.deadLetters.post(reason, () => ref.toString(), message);
    return OUTCOME.CLOSED;
  }

  /** One message into the ring, or the queue behind it. See Outbox.send. */
  send(
    kind: Kind,
    thread: number,
    targetId: number,
    targetIncarnation: number,
    sender: ActorRef | undefined,
    askId: number,
    message: unknown,
  ): Outcome {
    const { envelope } = this.outbox;
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
    return this.outbox.send(message);
  }

  #sendReply(kind: Kind, letter: Letter, message: unknown): Outcome {
    const states = this.#states;
    if (
      !states.isReachable(letter.senderThread) ||
      states.incarnation(letter.senderThread) !== letter.senderIncarnation
    ) {
      return OUTCOME.OK; // nobody is left who could wait for it
    }
    return this.send(
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
