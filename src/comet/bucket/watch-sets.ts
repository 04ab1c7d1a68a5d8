/**
 * Watch sets, interned: channels that accept the same operations share one object and one pair of topics, and a push to
 * all with operation X is appended to the sets that hold X. (A topic per operation would cost a subscription per operation
 * and channel; one set costs one.)
 *
 * Threads: its bucket.
 */
import { type FanoutContext, FanoutGroup } from './fanout-group.js';

export class WatchSet extends FanoutGroup {
  /** Sorted, without duplicates. */
  readonly ops: readonly number[];
  readonly #members: ReadonlySet<number>;
  readonly name: string;
  /** Channels that hold this set, slow ones included. */
  holderCount = 0;

  constructor(context: FanoutContext, topic: string, name: string, ops: readonly number[]) {
    super(context, topic, new Uint8Array(0));
    this.ops = ops;
    this.name = name;
    this.#members = new Set(ops);
  }

  accepts(op: number): boolean {
    return this.#members.has(op);
  }
}

export class WatchSets {
  readonly #context: FanoutContext;
  readonly #byName = new Map<string, WatchSet>();
  readonly #epoch: () => number;
  #serial = 0;
  #allOffset = 0;

  /** @param epoch of the node's "all" sequence */
  constructor(context: FanoutContext, epoch: () => number) {
    this.#context = context;
    this.#epoch = epoch;
  }

  /** The set of these operations, with one holder more. */
  hold(ops: readonly number[]): WatchSet {
    const sorted = [...new Set(ops)].sort((a, b) => a - b);
    const name = sorted.join(',');
    let set = this.#byName.get(name);
    if (set === undefined) {
      this.#serial += 1;
      set = new WatchSet(this.#context, `w${this.#serial.toString(36)}`, name, sorted);
      set.epoch = this.#epoch();
      set.lastOffset = this.#allOffset;
      this.#byName.set(name, set);
    }
    set.holderCount += 1;
    return set;
  }

  /** One holder less; the set goes with its last. */
  release(set: WatchSet): void {
    set.holderCount -= 1;
    if (set.holderCount > 0) return;
    set.discard();
    this.#byName.delete(set.name);
  }

  get count(): number {
    return this.#byName.size;
  }

  /** Append a push to all to every set that holds `op`. The offsets are the layout's, see FanoutGroup.append. */
  appendAll(
    op: number,
    bytes: Uint8Array,
    idOffset: number,
    outerOffset: number,
    innerOffset: number,
    packetBytes: number,
    offset: number,
  ): void {
    this.#allOffset = offset;
    for (const set of this.#byName.values()) {
      if (set.accepts(op)) set.append(bytes, idOffset, outerOffset, innerOffset, packetBytes, offset);
    }
  }

  /** Pushes to all up to `offset` may have been missed: what waits goes out, and the next one continues behind it. */
  skipTo(offset: number): void {
    this.#allOffset = offset;
    for (const set of this.#byName.values()) {
      set.flush();
      set.lastOffset = offset;
    }
  }

  /** Offset of the newest push to all that this bucket has seen. */
  get allOffset(): number {
    return this.#allOffset;
  }
}
