/**
 * Which rooms keep their last messages, by room type: the rules of option `history.rooms`, such as `live:200:300` (the last
 * 200 messages, each for 300 s) or `*:50:60` (every type that has no rule of its own).
 *
 * Guarantees: plain lookups in a map of the configured types only, so that room types which clients make up cost no memory.
 * Hot path: `of()` and `hasHistory()`, for pushes to rooms whose type is not known yet: one indexOf, one slice, one lookup.
 */
import { HalleyError } from '../errors/index.js';

export interface HistoryRule {
  /** `*`: all types without a rule of their own. */
  readonly type: string;
  /** Messages kept per room, 1 to 10,000. */
  readonly maxMessages: number;
  /** Seconds each is kept, 1 to 604,800 (a week). */
  readonly maxAgeS: number;
}

export const ANY_TYPE = '*';
const MAX_MESSAGES = 10_000;
const MAX_AGE_S = 604_800;
const SCHEME = '://';

/** A rule, or the sentence that says what is wrong with it. */
function parseRule(text: string): HistoryRule | string {
  const match = /^([^:]+):(\d{1,9}):(\d{1,9})$/.exec(text);
  if (match === null)
    return `a rule of history.rooms must be type:maxMessages:maxAgeS, as in live:200:300: rule=${text}`;
  const [, type = '', maxMessagesText, maxAgeText] = match;
  const maxMessages = Number(maxMessagesText);
  const maxAgeS = Number(maxAgeText);
  if (type.includes('/')) return `the room type of a rule of history.rooms must not hold a slash: rule=${text}`;
  if (maxMessages < 1 || maxMessages > MAX_MESSAGES) {
    return `a rule of history.rooms must keep 1 to ${MAX_MESSAGES} messages: rule=${text}`;
  }
  if (maxAgeS < 1 || maxAgeS > MAX_AGE_S) {
    return `a rule of history.rooms must keep messages for 1 to ${MAX_AGE_S} seconds: rule=${text}`;
  }
  return { type, maxMessages, maxAgeS };
}

/** The first thing that is wrong with the rules, naming the rule; undefined where they are sound. */
export function historyRulesProblem(texts: readonly string[]): string | undefined {
  const types = new Set<string>();
  for (const text of texts) {
    const rule = parseRule(text);
    if (typeof rule === 'string') return rule;
    if (types.has(rule.type)) return `history.rooms must have one rule per room type: rule=${text}`;
    types.add(rule.type);
  }
  return undefined;
}

export class HistoryRules {
  readonly #byType = new Map<string, HistoryRule>();
  readonly #anyType: HistoryRule | undefined;

  /** @throws HalleyError BAD_HISTORY_RULE, naming the rule */
  constructor(texts: readonly string[]) {
    const problem = historyRulesProblem(texts);
    if (problem !== undefined) throw new HalleyError('BAD_HISTORY_RULE', problem);
    for (const text of texts) {
      const rule = parseRule(text) as HistoryRule;
      this.#byType.set(rule.type, rule);
    }
    this.#anyType = this.#byType.get(ANY_TYPE);
    this.#byType.delete(ANY_TYPE);
  }

  /** True where no room has history. */
  get isEmpty(): boolean {
    return this.#byType.size === 0 && this.#anyType === undefined;
  }

  /** The rule of a room, undefined where it has no history. */
  of(room: string): HistoryRule | undefined {
    if (this.#byType.size === 0) return this.#anyType;
    const typeEnd = room.indexOf(SCHEME);
    return (typeEnd <= 0 ? undefined : this.#byType.get(room.slice(0, typeEnd))) ?? this.#anyType;
  }

  hasHistory(room: string): boolean {
    return this.of(room) !== undefined;
  }
}
