/**
 * The bounded queue in front of an actor.
 *
 * Threads: one.
 * Guarantees: first in, first out, at most `capacity` messages. What happens to the one too many is the policy's choice,
 *   and the caller is told which message fell out.
 * Hot path: push() and shift() on two arrays that double up to the capacity and are never copied otherwise.
 */
import type { Letter } from './letter.js';

/**
 * When the mailbox is full: `reject` the new message (tell() says FULL), take it and drop the oldest, or drop the new one
 * silently (tell() says OK). All three are counted as dead letters.
 */
export type MailboxOverflow = 'reject' | 'drop-oldest' | 'drop-newest';

export interface MailboxOptions {
  /** Messages, 1 or more. Default 4096. */
  readonly capacity?: number;
  /** Default `reject`. */
  readonly overflow?: MailboxOverflow;
}

export const DEFAULT_MAILBOX_CAPACITY = 4096;
const INITIAL_SLOTS = 8;

export class Mailbox {
  readonly capacity: number;
  readonly overflow: MailboxOverflow;
  /** After shift(): the letter of the message that it returned. */
  letter: Letter | undefined;
  #messages: unknown[];
  #letters: (Letter | undefined)[];
  #head: number;
  #length: number;

  constructor(options: MailboxOptions = {}) {
    this.capacity = options.capacity ?? DEFAULT_MAILBOX_CAPACITY;
    this.overflow = options.overflow ?? 'reject';
    this.letter = undefined;
    this.#messages = new Array<unknown>(INITIAL_SLOTS).fill(undefined);
    this.#letters = new Array<Letter | undefined>(INITIAL_SLOTS).fill(undefined);
    this.#head = 0;
    this.#length = 0;
  }

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length >= this.capacity;
  }

  /** Append. The caller has made sure that it is not full. */
  push(message: unknown, letter: Letter | undefined): void {
    if (this.#length === this.#messages.length) this.#grow();
    const slot = (this.#head + this.#length) & (this.#messages.length - 1);
    this.#messages[slot] = message;
    this.#letters[slot] = letter;
    this.#length++;
  }

  /** Take the oldest; its letter stands in `letter`. Undefined when empty: ask `length` first. */
  shift(): unknown {
    const slot = this.#head;
    const message = this.#messages[slot];
    this.letter = this.#letters[slot];
    if (this.#length === 0) return undefined;
    this.#messages[slot] = undefined;
    this.#letters[slot] = undefined;
    this.#head = (slot + 1) & (this.#messages.length - 1);
    this.#length--;
    return message;
  }

  #grow(): void {
    const slots = this.#messages.length;
    const messages = new Array<unknown>(slots * 2).fill(undefined);
    const letters = new Array<Letter | undefined>(slots * 2).fill(undefined);
    for (let index = 0; index < slots; index++) {
      const from = (this.#head + index) & (slots - 1);
      messages[index] = this.#messages[from];
      letters[index] = this.#letters[from];
    }
    this.#messages = messages;
    this.#letters = letters;
    this.#head = 0;
  }
}
