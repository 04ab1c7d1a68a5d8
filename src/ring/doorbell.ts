/**
 * Wakes the threads that sleep, and only those.
 *
 * Threads: each has one Doorbell with its own index; ring() is for any thread towards any other (or itself), listen() for
 *   its own.
 * Guarantees: no lost wake-up. A ringer makes work visible and then looks at the state; a sleeper marks itself asleep and
 *   then looks for work. All four are sequentially consistent, so at least one of the two sees the other. Rings that meet
 *   a thread awake, or meet each other, fold into one run().
 * Hot path: ring() towards threads that are awake: one load each. A wake-up costs one notify for the ringer and one
 *   promise for the sleeper (bench/ring/ring.bench.ts).
 */
import { HalleyError } from '../errors/index.js';
import { DOORBELL_STATE, doorbellThreadCount, doorbellWord } from './doorbell.layout.js';

/** A pending waitAsync does not keep a thread's loop alive, so a timer does: how often is irrelevant. */
const KEEP_ALIVE_MS = 2 ** 30;

export class Doorbell {
  readonly #words: Int32Array;
  readonly #ownWord: number;
  readonly #everyoneMask: number;
  /** Made once, not per sleep. */
  readonly #onTurn: () => void;
  #hasWork: (() => boolean) | undefined;
  #run: (() => void) | undefined;
  #keepAlive: NodeJS.Timeout | undefined;
  #closed: boolean;

  /**
   * @param memory of allocateDoorbells()
   * @param ownIndex index of the thread that constructs this
   * @throws HalleyError DOORBELL_INDEX
   */
  constructor(memory: SharedArrayBuffer, ownIndex: number) {
    const threadCount = doorbellThreadCount(memory);
    if (!Number.isInteger(ownIndex) || ownIndex < 0 || ownIndex >= threadCount) {
      throw new HalleyError('DOORBELL_INDEX', `there are doorbells for threads 0 to ${threadCount - 1}`, { ownIndex });
    }
    this.#words = new Int32Array(memory);
    this.#ownWord = doorbellWord(ownIndex);
    this.#everyoneMask = threadCount === 32 ? -1 : (1 << threadCount) - 1;
    this.#onTurn = () => this.#turn();
    this.#hasWork = undefined;
    this.#run = undefined;
    this.#keepAlive = undefined;
    this.#closed = false;
  }

  /**
   * Wake those threads of `mask` (bit i = thread i) that are asleep. Call it after the work is visible to them. Bits
   * beyond the threads there are do nothing.
   * @returns how many it woke; the others were awake, or somebody else woke them first
   */
  ring(mask: number): number {
    let restMask = mask & this.#everyoneMask;
    let wokenCount = 0;
    while (restMask !== 0) {
      const threadIndex = 31 - Math.clz32(restMask);
      restMask &= ~(1 << threadIndex);
      const word = doorbellWord(threadIndex);
      // Pairs with the store of ASLEEP in #sleep(). The load spares the CAS for threads that are awake.
      if (Atomics.load(this.#words, word) !== DOORBELL_STATE.ASLEEP) continue;
      const seen = Atomics.compareExchange(this.#words, word, DOORBELL_STATE.ASLEEP, DOORBELL_STATE.AWAKE);
      if (seen !== DOORBELL_STATE.ASLEEP) continue;
      // Pairs with the waitAsync in #sleep(); if that has not begun, it finds AWAKE and does not wait.
      Atomics.notify(this.#words, word, 1);
      wokenCount++;
    }
    return wokenCount;
  }

  /**
   * Own thread: call `run` on every wake-up, one event-loop turn each, until close(). While `hasWork` says true it is
   * called turn after turn, with the loop's other events between. An exception of `run` becomes an uncaught exception of
   * the thread; if the thread survives that, it goes on listening. Keeps the thread's event loop alive.
   * @param hasWork must look at what ringers publish before they ring, with Atomics, and must not throw
   * @throws HalleyError DOORBELL_LISTENING when it is listened to already, or closed
   */
  listen(hasWork: () => boolean, run: () => void): void {
    if (this.#run !== undefined || this.#closed) {
      // After close() too: the wake-up of the old listener may still be under way and would run the new one twice a ring.
      throw new HalleyError('DOORBELL_LISTENING', 'a doorbell is listened to once', { closed: this.#closed });
    }
    this.#hasWork = hasWork;
    this.#run = run;
    this.#keepAlive = setInterval(() => {}, KEEP_ALIVE_MS);
    this.#sleep();
  }

  /** Stop listening: `run` is not called again, and the loop may end. Ringing others still works. */
  close(): void {
    this.#closed = true;
    if (this.#run === undefined) return;
    this.#hasWork = undefined;
    this.#run = undefined;
    clearInterval(this.#keepAlive);
    this.#keepAlive = undefined;
    // Ringers need not notify a thread that does not listen. Pairs with the load in ring().
    Atomics.store(this.#words, this.#ownWord, DOORBELL_STATE.AWAKE);
    // Settles a pending waitAsync, which would otherwise hold this object for the life of the thread.
    Atomics.notify(this.#words, this.#ownWord);
  }

  /** Sleep, unless there is work after all. */
  #sleep(): void {
    const hasWork = this.#hasWork;
    if (hasWork === undefined) return;
    // Pairs with the load in ring(): whoever published before it saw AWAKE is seen by hasWork() below.
    Atomics.store(this.#words, this.#ownWord, DOORBELL_STATE.ASLEEP);
    if (hasWork()) {
      Atomics.store(this.#words, this.#ownWord, DOORBELL_STATE.AWAKE);
      setImmediate(this.#onTurn);
      return;
    }
    // Pairs with the notify in ring() and in close().
    const wait = Atomics.waitAsync(this.#words, this.#ownWord, DOORBELL_STATE.ASLEEP);
    if (wait.async) void wait.value.then(this.#onTurn);
    else setImmediate(this.#onTurn);
  }

  /** One wake-up: work, then look whether there is more. */
  #turn(): void {
    const run = this.#run;
    if (run === undefined) return;
    try {
      run();
    } catch (error) {
      // From here it would be an unhandled rejection of the wait's promise; from a microtask it is what it is.
      queueMicrotask(() => {
        throw error;
      });
    }
    this.#sleep();
  }
}
