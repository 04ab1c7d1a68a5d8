/**
 * Packets that wait for an answer, by their seq.
 *
 * Guarantees: each is settled exactly once: by its answer, by its deadline, or by the end of the connection; one that may be
 * repeated (`retry`) survives the end and is sent again on the next connection, within its one deadline.
 */
import { HalleyError } from '../errors/index.js';
import { OP } from '../protocol/index.js';
import { MessageBody } from './body-codec.js';
import type { TimerPort } from './ports.js';

export interface Reply {
  readonly op: number;
  readonly body: MessageBody;
}

interface Pending {
  readonly op: number;
  readonly body: Uint8Array | undefined;
  readonly retry: boolean;
  readonly onReply: (reply: Reply) => void;
  readonly onFailed: (error: HalleyError) => void;
  cancel: () => void;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly retry: boolean;
}

/** The operation that answers `op`: the one behind it for goim's and Halley's own, the same for an application's. */
export function replyOpOf(op: number): number {
  const isPaired = op <= OP.UNSUB || op === OP.JOIN_ROOMS || op === OP.LEAVE_ROOMS;
  return isPaired || op === OP.RECOVER || op === OP.IM_REQUEST ? op + 1 : op;
}

export class Requests {
  readonly #timers: TimerPort;
  readonly #send: (op: number, body: Uint8Array | undefined) => number | undefined;
  readonly #bySeq = new Map<number, Pending>();
  /** Without a connection to go over. */
  #unsent: Pending[] = [];

  /** @param send gives the seq that went out, undefined where there is no connection */
  constructor(timers: TimerPort, send: (op: number, body: Uint8Array | undefined) => number | undefined) {
    this.#timers = timers;
    this.#send = send;
  }

  /** Exactly one of the two callbacks is called, the first from inside the arrival of the answer. @returns gives it up quietly */
  start(
    op: number,
    body: Uint8Array | undefined,
    { timeoutMs, retry }: RequestOptions,
    onReply: (reply: Reply) => void,
    onFailed: (error: HalleyError) => void,
  ): () => void {
    const pending: Pending = { op, body, retry, onReply, onFailed, cancel: () => {} };
    pending.cancel = this.#timers.schedule(timeoutMs, () => {
      this.#forget(pending);
      onFailed(new HalleyError('REQUEST_TIMEOUT', `the answer must come within ${timeoutMs} ms`, { op }));
    });
    this.#dispatch(pending);
    return () => {
      pending.cancel();
      this.#forget(pending);
    };
  }

  /** @returns true where the packet was the answer to something */
  answered(op: number, seq: number, body: Uint8Array<ArrayBuffer>): boolean {
    const pending = this.#bySeq.get(seq);
    if (pending === undefined || replyOpOf(pending.op) !== op) return false;
    this.#bySeq.delete(seq);
    pending.cancel();
    pending.onReply({ op, body: MessageBody.view(body) });
    return true;
  }

  /** There is a connection again. */
  connected(): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const pending of unsent) this.#dispatch(pending);
  }

  disconnected(): void {
    const pendings = [...this.#bySeq.values()];
    this.#bySeq.clear();
    for (const pending of pendings) {
      if (pending.retry) this.#unsent.push(pending);
      else this.#fail(pending, disconnectedError(pending.op));
    }
  }

  /** There will be none. */
  closed(error: HalleyError): void {
    const pendings = [...this.#bySeq.values(), ...this.#unsent];
    this.#bySeq.clear();
    this.#unsent = [];
    for (const pending of pendings) this.#fail(pending, error);
  }

  #dispatch(pending: Pending): void {
    const seq = this.#send(pending.op, pending.body);
    if (seq !== undefined) this.#bySeq.set(seq, pending);
    else if (pending.retry) this.#unsent.push(pending);
    else this.#fail(pending, disconnectedError(pending.op));
  }

  #fail(pending: Pending, error: HalleyError): void {
    pending.cancel();
    pending.onFailed(error);
  }

  #forget(pending: Pending): void {
    this.#unsent = this.#unsent.filter((one) => one !== pending);
    for (const [seq, one] of this.#bySeq) if (one === pending) this.#bySeq.delete(seq);
  }
}

function disconnectedError(op: number): HalleyError {
  return new HalleyError('DISCONNECTED', 'the connection ended', { op });
}
