/**
 * lane: the requests of one connection, one at a time and in their order.
 *
 * node:http starts every pipelined request as soon as its headers are read, and tells of the end of a body some ticks later:
 * left alone, a GET would overtake the push in front of it, and a push the `rooms/join` it waits for. Here a request begins
 * when the one before it has been answered.
 *
 * Threads: the thread of the server.
 * Guarantees: order of handling is order of arrival. While a request waits behind one that is answered later, the connection is
 * not read: a client that never stops sending costs at most what came in one read (64 KiB), and the price is that its end is
 * noticed only when its answer is due. Bytes that are no request are refused behind the answers to what came before them;
 * then the connection ends. When the connection closes, every request in it is aborted.
 */
import type { Socket } from 'node:net';

/** One request, as far as its lane needs it. No method may throw. */
export interface Turn {
  /** Do the work, now or later; ends in a call of `Lane.done`. */
  begin(): void;
  /** The client is gone, or has sent something that is no request: no answer can reach it. Ends in `Lane.done` as well. */
  abort(): void;
  /** The request is there to its last byte. */
  isReceived(): boolean;
  /** Call `then` when the answer, which has been written, has gone to the kernel. */
  afterAnswer(then: () => void): void;
}

export class Lane {
  readonly #socket: Socket;
  readonly #waiting: Turn[] = [];
  #current: Turn | undefined;
  #lastAnswered: Turn | undefined;
  #refusal: string | undefined;
  #isStepping = false;
  #isHeld = false;
  #isPaused = false;
  #isStopped = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.once('close', () => this.#abandon());
  }

  /** A request has come: begin it when its turn has come. */
  add(turn: Turn): void {
    if (this.#isStopped) {
      turn.abort();
      return;
    }
    this.#waiting.push(turn);
    if (this.#isHeld) this.#pauseSoon();
    else this.#step();
  }

  /** The current request will be answered later. */
  hold(): void {
    this.#isHeld = true;
    if (this.#waiting.length > 0) this.#pauseSoon();
  }

  /** `turn` was answered or aborted; others may follow. */
  done(turn: Turn, isAnswered: boolean): void {
    if (turn !== this.#current) return;
    this.#current = undefined;
    this.#isHeld = false;
    if (isAnswered) this.#lastAnswered = turn;
    this.#step();
  }

  /** The answer that is being written is the last one of this connection. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * What came is no request, or not in time. May be called again: node:http reports every further read.
   * @param answer a whole reply, bytes as latin1
   */
  refuse(answer: string): void {
    if (this.#isStopped || !this.#socket.writable) {
      this.#socket.destroy();
      return;
    }
    if (this.#refusal !== undefined) return;
    this.#refusal = answer;
    this.#socket.pause();
    // Half a request is what was refused; a whole one keeps its right to an answer.
    if (this.#current !== undefined && !this.#current.isReceived()) this.#current.abort();
    else this.#step();
  }

  #step(): void {
    // A request that is answered in begin() comes back here: the loop goes on, the stack does not grow.
    if (this.#isStepping) return;
    this.#isStepping = true;
    while (this.#current === undefined && !this.#isStopped) {
      const next = this.#waiting[0];
      if (next === undefined || (this.#refusal !== undefined && !next.isReceived())) break;
      this.#waiting.shift();
      this.#current = next;
      next.begin();
    }
    this.#isStepping = false;
    if (this.#isStopped) return;
    if (this.#refusal !== undefined) {
      if (this.#current === undefined) this.#refuseNow(this.#refusal);
    } else if (this.#isPaused && this.#waiting.length === 0) {
      this.#isPaused = false;
      this.#socket.resume();
    }
  }

  #refuseNow(answer: string): void {
    const socket = this.#socket;
    this.#abortAll();
    const write = () => {
      if (socket.writable) socket.end(answer, 'latin1');
      socket.destroySoon();
    };
    // node:http hands its answers over one by one: ours must not overtake one that still waits.
    if (this.#lastAnswered === undefined) write();
    else this.#lastAnswered.afterAnswer(write);
  }

  /** Not at once: node:http's parser resumes the socket when it has read the request that has just begun. */
  #pauseSoon(): void {
    if (this.#isPaused) return;
    process.nextTick(() => {
      if (this.#isPaused || this.#isStopped || !this.#isHeld || this.#waiting.length === 0) return;
      this.#isPaused = true;
      this.#socket.pause();
    });
  }

  #abandon(): void {
    this.#abortAll();
    this.#current?.abort();
  }

  #abortAll(): void {
    this.#isStopped = true;
    for (const turn of this.#waiting.splice(0)) turn.abort();
  }
}
