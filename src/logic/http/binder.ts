/**
 * binder: gin's form binding as goim uses it. Parameters are read in the order of goim's struct; the first one that does not
 * parse is the failure; else all required ones that are missing or zero are listed, one line each.
 *
 * Ours differs where goim misbehaves: a user id beyond 2^53-1 is out of range (never rounded), and `atLeastOne` refuses a
 * negative limit, on which goim panics (status 500 without a body).
 */
import { goParseInt } from './go-text.js';
import type { Query } from './query.js';
import { bindingReply, type Reply } from './reply.js';

const INT32_MAX = 0x7fff_ffff;

/** `required`: as gin's validator, zero and the empty text count as missing. */
export type Need = 'required' | 'optional';

export class Binder {
  readonly #query: Query;
  #parseFailure: string | undefined;
  readonly #ruleFailures: string[] = [];

  constructor(query: Query) {
    this.#query = query;
  }

  /** @param field goim's struct field, which the text of a failure names */
  int32(field: string, name: string, need: Need): number {
    const value = this.#integer(this.#query.first(name) ?? '', INT32_MAX);
    if (need === 'required' && value === 0) this.#failRule(field, 'required');
    return value;
  }

  /** A count of 1 or more: absent and 0 fail as `required`, a negative one as `min`. */
  atLeastOne(field: string, name: string): number {
    const value = this.#integer(this.#query.first(name) ?? '', Number.MAX_SAFE_INTEGER);
    if (value === 0) this.#failRule(field, 'required');
    else if (value < 0) this.#failRule(field, 'min');
    return value;
  }

  text(field: string, name: string, need: Need): string {
    const value = this.#query.first(name) ?? '';
    if (need === 'required' && value === '') this.#failRule(field, 'required');
    return value;
  }

  texts(field: string, name: string, need: Need): readonly string[] {
    const values = this.#query.all(name);
    if (need === 'required' && values.length === 0) this.#failRule(field, 'required');
    return values;
  }

  integers(name: string): number[] {
    return this.#query.all(name).map((text) => this.#integer(text, Number.MAX_SAFE_INTEGER));
  }

  /** The reply to send instead of handling the request; undefined where everything bound. */
  failure(): Reply | undefined {
    if (this.#parseFailure !== undefined) return bindingReply(this.#parseFailure);
    return this.#ruleFailures.length > 0 ? bindingReply(this.#ruleFailures.join('\n')) : undefined;
  }

  #integer(text: string, max: number): number {
    const value = goParseInt(text, max);
    if (typeof value === 'number') return value;
    this.#parseFailure ??= value;
    return 0;
  }

  #failRule(field: string, rule: string): void {
    this.#ruleFailures.push(`Key: '${field}' Error:Field validation for '${field}' failed on the '${rule}' tag`);
  }
}
