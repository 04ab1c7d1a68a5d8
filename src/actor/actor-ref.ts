/**
 * Addresses of actors. A ref is a small value: it can be kept, compared by its fields, and sent inside any message.
 *
 * Threads: a ref belongs to the thread that made or decoded it; sending it gives the receiver a ref of its own.
 * Guarantees: tell() is at-most-once, and ordered per pair of threads as long as neither is replaced. A ref outlives its
 *   actor: messages to it then become dead letters.
 */
import { addExtension } from 'msgpackr';
import type { Outcome } from '../errors/index.js';

/** Extension number of refs on the runtime's wire, inside a node only. */
const REF_EXTENSION_TYPE = 0x41;

export interface AskOptions {
  /** Above 0. The answer comes, or the promise rejects with ASK_TIMEOUT within about 16 ms after it. */
  readonly timeoutMs: number;
}

/** Something that takes messages: an actor or a keyed actor. */
export interface Addressable<M = unknown> {
  /**
   * Hand `message` over; it never waits. To an actor on the same thread it goes as it is (treat it as frozen from now
   * on), to another thread as bytes.
   * @param sender put into the receiver's `context.sender`
   * @returns OK: handed over, not: received. FULL: mailbox or ring and its queue. CLOSED: the actor or its thread is gone.
   *   TOO_LARGE: no ring takes it. Everything but OK has been counted as a dead letter.
   * @throws HalleyError MESSAGE_NOT_ENCODABLE
   */
  tell(message: M, sender?: ActorRef): Outcome;
  /**
   * Hand `message` over and wait for what `receive` returns.
   * @throws HalleyError (as a rejection) ASK_TIMEOUT, ASK_FAILED, ASK_THREAD_LOST, MESSAGE_NOT_ENCODABLE
   */
  ask(message: M, options: AskOptions): Promise<unknown>;
}

/** What refs need of the system of their thread. */
export interface RefPort {
  tellTo(ref: ActorRef, message: unknown, sender: ActorRef | undefined): Outcome;
  askTo(ref: ActorRef, message: unknown, timeoutMs: number): Promise<unknown>;
}

export class ActorRef<M = unknown> implements Addressable<M> {
  /** The node's number; 0 when standalone. */
  readonly node: number;
  readonly thread: number;
  /** Of the thread: a fresh thread after a crash has other actors. */
  readonly incarnation: number;
  /** Of the actor on its thread, from 1, never reused in an incarnation. */
  readonly id: number;
  readonly #port: RefPort;

  constructor(port: RefPort, node: number, thread: number, incarnation: number, id: number) {
    this.#port = port;
    this.node = node;
    this.thread = thread;
    this.incarnation = incarnation;
    this.id = id;
  }

  tell(message: M, sender?: ActorRef): Outcome {
    return this.#port.tellTo(this as ActorRef, message, sender);
  }

  ask(message: M, options: AskOptions): Promise<unknown> {
    return this.#port.askTo(this as ActorRef, message, options.timeoutMs);
  }

  /** True when both name the same incarnation of the same actor. */
  equals(other: ActorRef): boolean {
    return (
      this.id === other.id &&
      this.thread === other.thread &&
      this.incarnation === other.incarnation &&
      this.node === other.node
    );
  }

  toString(): string {
    return `actor:${this.node}/${this.thread}.${this.incarnation}/${this.id}`;
  }
}

/**
 * The port that refs get while a message is being decoded. msgpackr keeps extensions per module and gives them no
 * context, so BodyCodec lends one for the length of a synchronous call; it is undefined at all other times.
 */
export const decodeScope: { port: RefPort | undefined } = { port: undefined };

/** Outside BodyCodec.decode() there is no thread to send from. */
const NOWHERE: RefPort = {
  tellTo: () => {
    throw new TypeError('this ActorRef was decoded outside the actor runtime');
  },
  askTo: () => Promise.reject(new TypeError('this ActorRef was decoded outside the actor runtime')),
};

addExtension({
  Class: ActorRef,
  type: REF_EXTENSION_TYPE,
  write: (ref: ActorRef) => [ref.node, ref.thread, ref.incarnation, ref.id],
  read: ([node, thread, incarnation, id]: [number, number, number, number]) =>
    new ActorRef(decodeScope.port ?? NOWHERE, node, thread, incarnation, id),
});
