/**
 * What one node has heard for one room with history on the push channel and does not know to be appended, in the order of the
 * channel; and how it is held against the record of what was appended.
 *
 * Threads: control thread only.
 * Guarantees: an entry of the record stands for one command. A command is appended by who asks `nextUnsent` at most once per
 *   `restart`; one that a later one has overtaken is given up, because to append it then would turn the order round.
 */
import type { LedgerEntry } from '../push/index.js';

/** One command, for this room. */
export interface HeldPush {
  readonly commandHash: string;
  readonly op: number;
  readonly body: Uint8Array;
  /** Monotonic. */
  readonly heardAtMs: number;
  /** Drawn when it is first sent. */
  messageId: Uint8Array | undefined;
  isDone: boolean;
  /** Where its append was answered: its entry in the record. */
  entryId: string;
}

const COMPACT_COUNT = 1_024;

export class IntakeLine {
  readonly room: string;
  /** 0: this node appends; above: it stands by. */
  rank = 0;
  rankVersion = -1;
  /** The record says so, as far as this node has heard. */
  isWriter = false;
  /** Since this node became the writer one append was answered: from here on they may overlap. */
  isProven = false;
  isAsking = false;
  underWayCount = 0;
  /** Not before this moment may Redis be asked again. Monotonic. */
  notBeforeMs = 0;
  usedAtMs = 0;
  /** All of the record up to here was held against what was heard; '': nothing. */
  afterId = '';
  #held: HeldPush[] = [];
  #headIndex = 0;
  #nextIndex = 0;
  /** Read from the record, and not heard (yet). */
  #unmatched: LedgerEntry[] = [];

  constructor(room: string) {
    this.room = room;
  }

  get heldCount(): number {
    return this.#held.length - this.#headIndex;
  }

  get oldest(): HeldPush | undefined {
    return this.#held[this.#headIndex];
  }

  hold(push: HeldPush): void {
    this.#held.push(push);
  }

  /** The next in order that was not sent since the last restart. It counts as sent. */
  nextUnsent(): HeldPush | undefined {
    for (; this.#nextIndex < this.#held.length; this.#nextIndex++) {
      const push = this.#held[this.#nextIndex] as HeldPush;
      if (push.isDone) continue;
      this.#nextIndex++;
      return push;
    }
    return undefined;
  }

  /** What was sent and not answered is to be sent again, once the record has been looked at. */
  restart(): void {
    this.#nextIndex = this.#headIndex;
  }

  /** This node has appended it. Returns the bodies that are let go. */
  appended(push: HeldPush, entryId: string): readonly HeldPush[] {
    push.isDone = true;
    push.entryId = entryId;
    let index = this.#headIndex;
    while (this.#held[index]?.isDone === true) {
      // In front of it everything is known: the record is read from here on.
      const done = this.#held[index] as HeldPush;
      if (done.entryId !== '') this.afterId = done.entryId;
      index++;
    }
    return this.#forgetUpTo(index);
  }

  /**
   * Hold a further piece of the record against what was heard. Only while nothing is under way.
   * @returns `gone` what is let go, `overtaken` how many of them were never appended, though later ones were
   */
  recorded(
    entries: readonly LedgerEntry[],
    windowMs: number,
  ): { readonly gone: readonly HeldPush[]; readonly overtakenCount: number } {
    const last = entries.at(-1);
    if (last !== undefined) this.afterId = last.entryId;
    const own = new Set<string>();
    for (let index = this.#headIndex; index < this.#held.length; index++) {
      const { isDone, entryId } = this.#held[index] as HeldPush;
      if (isDone) own.add(entryId);
    }
    const unmatchedByHash = new Map<string, LedgerEntry[]>();
    for (const entry of [...this.#unmatched, ...entries]) {
      if (own.has(entry.entryId)) continue;
      const same = unmatchedByHash.get(entry.commandHash);
      if (same === undefined) unmatchedByHash.set(entry.commandHash, [entry]);
      else same.push(entry);
    }
    let lastDoneIndex = -1;
    for (let index = this.#headIndex; index < this.#held.length; index++) {
      const push = this.#held[index] as HeldPush;
      if (!push.isDone && unmatchedByHash.get(push.commandHash)?.shift() !== undefined) push.isDone = true;
      if (push.isDone) lastDoneIndex = index;
    }
    const fromMs = Number.parseInt(this.afterId, 10) - windowMs;
    this.#unmatched = [...unmatchedByHash.values()]
      .flat()
      .filter(({ entryId }) => Number.parseInt(entryId, 10) >= fromMs);
    const gone = lastDoneIndex < 0 ? [] : this.#forgetUpTo(lastDoneIndex + 1);
    const overtakenCount = gone.filter(({ isDone }) => !isDone).length;
    this.restart();
    return { gone, overtakenCount };
  }

  /** Let go what was heard before `beforeMs`. Only while nothing is under way. */
  forgetOlder(beforeMs: number): readonly HeldPush[] {
    let index = this.#headIndex;
    for (let push = this.#held[index]; push !== undefined && push.heardAtMs < beforeMs; push = this.#held[index]) {
      index++;
    }
    return this.#forgetUpTo(index);
  }

  #forgetUpTo(endIndex: number): readonly HeldPush[] {
    const gone = this.#held.slice(this.#headIndex, endIndex);
    this.#headIndex = endIndex;
    this.#nextIndex = Math.max(this.#nextIndex, endIndex);
    if (endIndex === this.#held.length || endIndex >= COMPACT_COUNT) {
      this.#held = this.#held.slice(endIndex);
      this.#nextIndex -= endIndex;
      this.#headIndex = 0;
    }
    return gone;
  }
}
