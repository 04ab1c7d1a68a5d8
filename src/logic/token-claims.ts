/**
 * token-claims: the members of a verified token that Halley reads, checked. Issuers often write numbers as text; a user id
 * beyond 2^53-1 is refused, never rounded.
 */

export interface TokenClaims {
  readonly mid: number;
  /** undefined: any device key. */
  readonly keys: readonly string[] | undefined;
  /** Exact ids or `type://*`. undefined: any room. */
  readonly rooms: readonly string[] | undefined;
  /** Wall-clock milliseconds; 0: the token does not end. */
  readonly expiresAtMs: number;
}

const DECIMAL = /^-?\d{1,16}$/;

function readMid(claim: unknown): number | undefined {
  const mid = typeof claim === 'string' && DECIMAL.test(claim) ? Number(claim) : claim;
  return typeof mid === 'number' && Number.isSafeInteger(mid) ? mid : undefined;
}

/** The list, undefined where the claim is absent, or false where it is something else. */
function readTexts(claim: unknown): readonly string[] | undefined | false {
  if (claim === undefined) return undefined;
  return Array.isArray(claim) && claim.every((entry) => typeof entry === 'string') ? claim : false;
}

/** The claims, or a sentence that says which one is wrong and what it should be. */
export function readClaims(payload: Readonly<Record<string, unknown>>): TokenClaims | string {
  const mid = readMid(payload['mid']);
  if (mid === undefined) return 'the token\'s claim "mid" must be an integer, or its decimal text, up to 2^53-1';
  const keys = readTexts(payload['keys']);
  if (keys === false) return 'the token\'s claim "keys" must be an array of strings';
  const rooms = readTexts(payload['rooms']);
  if (rooms === false) return 'the token\'s claim "rooms" must be an array of strings';
  const exp = payload['exp'];
  return { mid, keys, rooms, expiresAtMs: typeof exp === 'number' ? Math.floor(exp * 1000) : 0 };
}
