/**
 * room-rule: which rooms a token allows, as one function per distinct `rooms` claim. Many channels carry the same claim, so
 * the rules are cached by the claim's text: a channel keeps a pointer, not a set.
 */

/** Answers for one room id. */
export type RoomRule = (room: string) => boolean;

const SCHEME = '://';
const PATTERN_END = `${SCHEME}*`;
/** Distinct claims that are remembered; beyond, the oldest goes (its channels keep their rule). */
const CACHE_COUNT = 1024;

export const allowAnyRoom: RoomRule = () => true;

/** A rule from exact ids and `type://*` patterns. A pattern allows every id of exactly this type. */
export function roomRule(claim: readonly string[]): RoomRule {
  const exact = new Set<string>();
  const types = new Set<string>();
  for (const entry of claim) {
    if (entry.length > PATTERN_END.length && entry.endsWith(PATTERN_END))
      types.add(entry.slice(0, -PATTERN_END.length));
    else exact.add(entry);
  }
  return (room) => {
    if (exact.has(room)) return true;
    const schemeAt = room.indexOf(SCHEME);
    return schemeAt > 0 && room.length > schemeAt + SCHEME.length && types.has(room.slice(0, schemeAt));
  };
}

export class RoomRuleCache {
  readonly #ruleByClaim = new Map<string, RoomRule>();

  /** The same function for the same claim. `undefined`: any room. */
  ruleFor(claim: readonly string[] | undefined): RoomRule {
    if (claim === undefined) return allowAnyRoom;
    const text = JSON.stringify(claim);
    const known = this.#ruleByClaim.get(text);
    if (known !== undefined) return known;
    const rule = roomRule(claim);
    if (this.#ruleByClaim.size >= CACHE_COUNT) {
      for (const oldest of this.#ruleByClaim.keys()) {
        this.#ruleByClaim.delete(oldest);
        break;
      }
    }
    this.#ruleByClaim.set(text, rule);
    return rule;
  }
}
