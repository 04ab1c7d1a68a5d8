/**
 * Tokens for the bench's own clients on a node with auth.mode = "jwt": HS256, with the claims that Halley reads.
 */
import { createHmac } from 'node:crypto';

const LIFETIME_S = 86_400;
const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url');

/** A token that allows `key` of `mid` any room for a day. */
export function makeClientToken(secret: string, mid: number, key: string): string {
  const exp = Math.floor(Date.now() / 1000) + LIFETIME_S;
  const claims = Buffer.from(JSON.stringify({ mid, keys: [key], exp })).toString('base64url');
  const signed = `${HEADER}.${claims}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
