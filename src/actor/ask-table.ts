/**
 * The questions of one thread that wait for their answers.
 *
 * Threads: one.
 * Guarantees: every question is settled exactly once: by its answer, its deadline, or the loss of the thread that was
 *   asked. A late answer is ignored.
 */
import { HalleyError } from '../errors/index.js';
import type { Deadlines } from './deadlines.js';

const MAX_ID = 0x7fffffff;

interface Question {
  readonly thread: number;
  readonly timeoutMs: number;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class AskTable {
  readonly #questions = new Map<number, Question>();
  readonly #deadlines: Deadlines;
  #lastId: number;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
    this.#lastId = 0;
  }

  /** Questions that wait. Zero when everything has been answered: a leak test. */
  get size(): number {
    return this.#questions.size;
  }

  /** The id that open() will give next: 1 to 2^31-1, not in use. */
  nextId(): number {
    let id = this.#lastId;
    do id = id === MAX_ID ? 1 : id + 1;
    while (this.#questions.has(id));
    this.#lastId = id;
    return id;
  }

  /** Wait under `id` (from nextId()) for an answer from `thread`. @throws HalleyError ASK_TIMEOUT_RANGE */
  open(id: number, thread: number, timeoutMs: number): Promise<unknown> {
    if (!(timeoutMs > 0 && timeoutMs < MAX_ID)) {
      throw new HalleyError('ASK_TIMEOUT_RANGE', `an ask waits more than 0 and less than ${MAX_ID} ms`, { timeoutMs });
    }
    return new Promise((resolve, reject) => {
      this.#questions.set(id, { thread, timeoutMs, resolve, reject });
      this.#deadlines.after(timeoutMs, this, id);
    });
  }

  answer(id: number, answer: unknown): void {
    const question = this.#take(id);
    question?.resolve(answer);
  }

  /** The actor failed, or nobody received the question. `reason` is its message. */
  fail(id: number, reason: string): void {
    this.#take(id)?.reject(new HalleyError('ASK_FAILED', `the question was not answered: ${reason}`));
  }

  /** It could not even be sent; `error` says why. */
  refuse(id: number, error: unknown): void {
    this.#take(id)?.reject(error);
  }

  /** All that `thread` was asked will not be answered. */
  loseThread(thread: number): void {
    for (const [id, question] of this.#questions) if (question.thread === thread) this.lose(id, thread);
  }

  lose(id: number, thread: number): void {
    this.#take(id)?.reject(new HalleyError('ASK_THREAD_LOST', 'the thread that was asked is gone', { thread }));
  }

  onDeadline(id: number): void {
    const question = this.#take(id);
    if (question === undefined) return;
    question.reject(
      new HalleyError('ASK_TIMEOUT', 'no answer came before the deadline', {
        timeout_ms: question.timeoutMs,
        thread: question.thread,
      }),
    );
  }

  #take(id: number): Question | undefined {
    const question = this.#questions.get(id);
    if (question !== undefined) this.#questions.delete(id);
    return question;
  }
}
