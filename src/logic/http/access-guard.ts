/**
 * access-guard: who may use the API.
 *
 * With a token, every route but health, readiness and pages needs `Authorization: Bearer <token>`. Without one the API is
 * open, as goim's is; then a web page in a developer's browser must not be able to push through the loopback port. A browser
 * names the page in `Origin` on every POST, so a state-changing request with an Origin that is not this host is refused.
 * No CORS header is ever sent: other sites' scripts can read no answer either.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isLoopback } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import { API_CODE, errorReply, type Reply } from './reply.js';

/** The headers that decide. Empty where the client sent none. */
export interface AccessHeaders {
  readonly authorization: string;
  readonly origin: string;
  readonly host: string;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refuseToken(message: string): Reply {
  return errorReply(401, API_CODE.UNAUTHORIZED, message, [['WWW-Authenticate', 'Bearer realm="halley"']]);
}

export class AccessGuard {
  /** Digest, so that the comparison takes equally long for every length and content. */
  readonly #tokenDigest: Buffer | undefined;
  readonly #isLoopback: boolean;

  /**
   * @param token undefined: no token is needed
   * @param host what the API listens on
   */
  constructor(token: string | undefined, host: string) {
    if (token === '')
      throw new HalleyError('EMPTY_TOKEN', 'the API token must not be empty, leave it out for an open API');
    this.#tokenDigest = token === undefined ? undefined : sha256(token);
    this.#isLoopback = isLoopback(host);
  }

  /** The refusal, or undefined where the request may go on. */
  refusal(changesState: boolean, headers: AccessHeaders): Reply | undefined {
    if (this.#tokenDigest !== undefined) return this.#tokenRefusal(this.#tokenDigest, headers.authorization);
    if (!changesState || headers.origin === '' || this.#isOwnOrigin(headers)) return undefined;
    return errorReply(
      403,
      API_CODE.FORBIDDEN,
      `a page of another site may not do this, set an API token for it: origin=${JSON.stringify(headers.origin.slice(0, 128))}`,
    );
  }

  #tokenRefusal(digest: Buffer, authorization: string): Reply | undefined {
    const [, token] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
    if (token === undefined) return refuseToken('this route needs the header "Authorization: Bearer <API token>"');
    return timingSafeEqual(sha256(token), digest) ? undefined : refuseToken('the API token is wrong');
  }

  /**
   * A page's own host is the one it sent the request to. On loopback that is not enough: a foreign name that resolves to
   * 127.0.0.1 (DNS rebinding) agrees with itself, so there the name must be a loopback one.
   */
  #isOwnOrigin({ origin, host }: AccessHeaders): boolean {
    if (!URL.canParse(origin)) return false;
    const page = new URL(origin);
    if (page.protocol !== 'http:' && page.protocol !== 'https:') return false;
    // Behind a TLS proxy the page is https and we are not: the same scheme on both sides leaves host and port to compare.
    const own = `${page.protocol}//${host}`;
    if (!URL.canParse(own) || new URL(own).host !== page.host) return false;
    return !this.#isLoopback || isLoopback(page.hostname.replace(/^\[(.*)\]$/, '$1'));
  }
}
