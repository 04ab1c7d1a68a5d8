/**
 * cidr-table: which value belongs to an address, by rules for blocks of addresses; the longest prefix wins.
 *
 * **Layout**: per family one sorted list of disjoint ranges, in two flat arrays: where each range begins (four words), and the
 * index of its value or NONE. Nested blocks are cut into such ranges when the table is made, so a lookup is one binary search.
 * Two ranges a rule at most, 20 bytes each.
 * Hot path: `find`. 100,000 rules: see bench/logic/balancer.bench.ts.
 */
import { HalleyError } from '../errors/index.js';
import { type Cidr, fixedMask, parseIp } from './ip-address.js';

export interface CidrRule {
  readonly cidr: Cidr;
  readonly value: string;
  /** Where the rule stands, for errors: a file or an option. */
  readonly source: string;
  /** Its line or place there, from 1. */
  readonly line: number;
}

const WORD_COUNT = 4;
const NONE = -1;

/** Negative, 0 or positive: the first address lies before, at or behind the second. */
function compareWords(a: Uint32Array, aOffset: number, b: Uint32Array, bOffset: number): number {
  for (let word = 0; word < WORD_COUNT; word++) {
    const difference = (a[aOffset + word] as number) - (b[bOffset + word] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The last address of a block. */
function lastOf({ words, fixedBits }: Cidr): Uint32Array {
  return words.map((value, word) => value | ~fixedMask(fixedBits, word));
}

/** The next address, in place. False: there is none. */
function increment(words: Uint32Array): boolean {
  for (let word = WORD_COUNT - 1; word >= 0; word--) {
    const next = (words[word] as number) + 1;
    words[word] = next;
    if (next <= 0xffff_ffff) return true;
  }
  return false;
}

class RangeList {
  readonly #starts: Uint32Array;
  readonly #valueIndexes: Int32Array;
  #count = 0;

  /** @param rules of one family, `valueIndexes` beside them */
  constructor(rules: readonly CidrRule[], indexOfValue: (value: string) => number) {
    // Blocks begin 2n ranges at most: each one's own, and what goes on behind it.
    this.#starts = new Uint32Array(rules.length * 2 * WORD_COUNT);
    this.#valueIndexes = new Int32Array(rules.length * 2);
    const open: { readonly last: Uint32Array; readonly valueIndex: number }[] = [];
    const closeFirst = () => {
      const { last } = open.pop() as { last: Uint32Array };
      // `last` is not needed any more and becomes the start of what follows.
      if (increment(last)) this.#begin(last, open.at(-1)?.valueIndex ?? NONE);
    };
    for (const rule of sorted(rules)) {
      const { words } = rule.cidr;
      while (open.length > 0 && compareWords((open.at(-1) as { last: Uint32Array }).last, 0, words, 0) < 0) {
        closeFirst();
      }
      const valueIndex = indexOfValue(rule.value);
      this.#begin(words, valueIndex);
      open.push({ last: lastOf(rule.cidr), valueIndex });
    }
    while (open.length > 0) closeFirst();
  }

  /** From here on this value. A range that would be empty is replaced. */
  #begin(words: Uint32Array, valueIndex: number): void {
    const previous = this.#count - 1;
    const isEmpty = previous >= 0 && compareWords(this.#starts, previous * WORD_COUNT, words, 0) === 0;
    const index = isEmpty ? previous : this.#count++;
    this.#starts.set(words, index * WORD_COUNT);
    this.#valueIndexes[index] = valueIndex;
  }

  /** Index of the value of the range that holds the address, or NONE. */
  find(words: Uint32Array): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareWords(this.#starts, middle * WORD_COUNT, words, 0) <= 0) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? NONE : (this.#valueIndexes[low - 1] as number);
  }
}

/** By their first address, the larger block first; each block once. */
function sorted(rules: readonly CidrRule[]): CidrRule[] {
  const byStart = rules.toSorted(
    (a, b) => compareWords(a.cidr.words, 0, b.cidr.words, 0) || a.cidr.fixedBits - b.cidr.fixedBits || a.line - b.line,
  );
  return byStart.filter((rule, index) => {
    const earlier = byStart[index - 1];
    const isSameBlock =
      earlier !== undefined &&
      earlier.cidr.fixedBits === rule.cidr.fixedBits &&
      compareWords(earlier.cidr.words, 0, rule.cidr.words, 0) === 0;
    if (isSameBlock && earlier.value !== rule.value) {
      throw new HalleyError('CIDR_CONFLICT', 'two rules give the same block of addresses two values', {
        source: rule.source,
        line: rule.line,
        value: rule.value,
        otherSource: earlier.source,
        otherLine: earlier.line,
        otherValue: earlier.value,
      });
    }
    return !isSameBlock;
  });
}

export class CidrTable {
  readonly #ipv4: RangeList;
  readonly #ipv6: RangeList;
  readonly #values: string[] = [];
  readonly #words = new Uint32Array(WORD_COUNT);

  /** @throws HalleyError CIDR_CONFLICT where two rules give one block different values */
  constructor(rules: readonly CidrRule[]) {
    const indexByValue = new Map<string, number>();
    const indexOfValue = (value: string) => {
      let index = indexByValue.get(value);
      if (index === undefined) {
        index = this.#values.push(value) - 1;
        indexByValue.set(value, index);
      }
      return index;
    };
    const ofFamily = (family: 4 | 6) => rules.filter((rule) => rule.cidr.family === family);
    this.#ipv4 = new RangeList(ofFamily(4), indexOfValue);
    this.#ipv6 = new RangeList(ofFamily(6), indexOfValue);
  }

  /** The value of the longest prefix that holds the address; undefined where none does, or the text is no address. */
  find(address: string): string | undefined {
    const family = parseIp(address, this.#words);
    if (family === 0) return undefined;
    const index = (family === 4 ? this.#ipv4 : this.#ipv6).find(this.#words);
    return index === NONE ? undefined : this.#values[index];
  }
}
