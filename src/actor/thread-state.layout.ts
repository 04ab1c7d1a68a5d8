/**
 * The words that all threads of a node share about one another: who is alive, in which incarnation, who still turns.
 *
 * Threads: word 0 of a block is written by the control thread, except STARTING -> ATTACHED -> READY -> STOPPING, which
 * the thread itself does by CAS. BEATS and SETTLED are written by the thread only, REQUEST by the control thread only.
 * Layout (Int32 words, one cache line of 16 words per block):
 *
 *   block 0        0 placement generation   1 placement mask (bit i = thread i may hold keyed actors)
 *   block 1 + i    0 state   1 incarnation   2 beats   3 request   4 settled placement generation
 */

const WORDS_PER_BLOCK = 16;
const GENERATION_WORD = 0;
const MASK_WORD = 1;
const STATE_WORD = 0;
const INCARNATION_WORD = 1;
const BEATS_WORD = 2;
const REQUEST_WORD = 3;
const SETTLED_WORD = 4;

/**
 * What a thread is. ATTACHED: its runtime reads, its startThread() still runs. LOST: it died and a fresh one may follow.
 * DOWN: it stays dead.
 */
export const THREAD_STATE = {
  ABSENT: 0,
  STARTING: 1,
  ATTACHED: 2,
  READY: 3,
  STALLED: 4,
  STOPPING: 5,
  LOST: 6,
  DOWN: 7,
} as const;
export type ThreadState = (typeof THREAD_STATE)[keyof typeof THREAD_STATE];

const STATE_NAMES = ['absent', 'starting', 'attached', 'ready', 'stalled', 'stopping', 'lost', 'down'] as const;
export type ThreadStateName = (typeof STATE_NAMES)[number];

/** The name of a state, for status pages. */
export function threadStateName(state: ThreadState): ThreadStateName {
  return STATE_NAMES[state];
}

/** Allocate the words of `threadCount` threads, all ABSENT. */
export function allocateThreadStates(threadCount: number): SharedArrayBuffer {
  return new SharedArrayBuffer((threadCount + 1) * WORDS_PER_BLOCK * Int32Array.BYTES_PER_ELEMENT);
}

/** A view of the words. Every thread makes its own; all methods are safe from every thread, see the header for writers. */
export class ThreadStates {
  readonly threadCount: number;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.threadCount = this.#words.length / WORDS_PER_BLOCK - 1;
  }

  state(thread: number): ThreadState {
    return Atomics.load(this.#words, this.#at(thread, STATE_WORD)) as ThreadState;
  }

  setState(thread: number, state: ThreadState): void {
    Atomics.store(this.#words, this.#at(thread, STATE_WORD), state);
  }

  /** CAS; false when the state was not `from` any more. */
  moveState(thread: number, from: ThreadState, to: ThreadState): boolean {
    return Atomics.compareExchange(this.#words, this.#at(thread, STATE_WORD), from, to) === from;
  }

  /** True where a message to the thread will be read by the incarnation that is there now. */
  isReachable(thread: number): boolean {
    if (thread < 0 || thread >= this.threadCount) return false;
    const state = this.state(thread);
    return state === THREAD_STATE.READY || state === THREAD_STATE.ATTACHED || state === THREAD_STATE.STOPPING;
  }

  incarnation(thread: number): number {
    return Atomics.load(this.#words, this.#at(thread, INCARNATION_WORD));
  }

  /** Control thread only: the number of the incarnation that starts now, from 1. */
  nextIncarnation(thread: number): number {
    return Atomics.add(this.#words, this.#at(thread, INCARNATION_WORD), 1) + 1;
  }

  /** The thread itself, every turn and every heartbeat: a supervisor that sees no change calls it stalled. */
  beat(thread: number): void {
    Atomics.add(this.#words, this.#at(thread, BEATS_WORD), 1);
  }

  beats(thread: number): number {
    return Atomics.load(this.#words, this.#at(thread, BEATS_WORD));
  }

  requestStop(thread: number, wanted: boolean): void {
    Atomics.store(this.#words, this.#at(thread, REQUEST_WORD), wanted ? 1 : 0);
  }

  stopRequested(thread: number): boolean {
    return Atomics.load(this.#words, this.#at(thread, REQUEST_WORD)) === 1;
  }

  /**
   * Control thread only. The generation is odd while the mask changes: whoever sees the new mask sees an odd generation or
   * the new one, and waits (othersSettled); nobody settles an odd one.
   */
  publishPlacement(mask: number): void {
    Atomics.add(this.#words, GENERATION_WORD, 1);
    Atomics.store(this.#words, MASK_WORD, mask);
    Atomics.add(this.#words, GENERATION_WORD, 1);
  }

  placementMask(): number {
    return Atomics.load(this.#words, MASK_WORD);
  }

  placementGeneration(): number {
    return Atomics.load(this.#words, GENERATION_WORD);
  }

  /** The thread itself: it holds no keyed actor any more that generation `generation` places elsewhere. */
  settle(thread: number, generation: number): void {
    Atomics.store(this.#words, this.#at(thread, SETTLED_WORD), generation);
  }

  /**
   * True once every reachable thread but `exceptThread` has settled the current generation. Those outside the mask count
   * as well: they may just have left it, and still be persisting.
   */
  othersSettled(exceptThread: number): boolean {
    const generation = this.placementGeneration();
    if ((generation & 1) === 1) return false;
    for (let thread = 0; thread < this.threadCount; thread++) {
      if (thread === exceptThread || !this.isReachable(thread)) continue;
      if (Atomics.load(this.#words, this.#at(thread, SETTLED_WORD)) < generation) return false;
    }
    return true;
  }

  #at(thread: number, word: number): number {
    return (thread + 1) * WORDS_PER_BLOCK + word;
  }
}
