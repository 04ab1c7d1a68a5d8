/**
 * auth: who may connect, as whom, and into which rooms.
 *
 * `open` believes the client (goim's behaviour, for loopback and tests only). `jwt` takes the user from a signed token and
 * believes nothing else: the body's mid must be absent (0) or equal, its key and rooms must be in the claims.
 *
 * Threads: one instance per thread; the claim cache and the imported key are its own.
 * Guarantees: never throws, never rejects. Only HS256 verifies: `none` and every other algorithm are refused before any
 * signature is looked at, so a public key can never serve as an HMAC secret.
 * Hot path: open mode answers in the call and allocates the result only (and a UUID where the client named no key).
 */
import { createSecretKey, type KeyObject, randomUUID } from 'node:crypto';
import { errors as joseErrors, jwtVerify } from 'jose';
import { HalleyError } from '../errors/index.js';
import type { AuthAccepted, Authenticator, AuthRefused, AuthRequest, AuthVerdict } from '../push/index.js';
import { allowAnyRoom, RoomRuleCache } from './room-rule.js';
import { readClaims } from './token-claims.js';

export type AuthOptions =
  | { readonly mode: 'open' }
  | {
      readonly mode: 'jwt';
      /** At least 32 bytes of UTF-8, as RFC 7518 asks of HS256. */
      readonly secret: string;
      /** Seconds by which the issuer's clock may differ, for `exp` and `nbf`. Default 5. */
      readonly skewS?: number;
      /** Wall clock, for tests. Default Date.now. */
      readonly nowMs?: () => number;
    };

const MIN_SECRET_BYTES = 32;
const DEFAULT_SKEW_S = 5;
const ALGORITHMS = ['HS256'];

export function createAuthenticator(options: AuthOptions): Authenticator {
  return options.mode === 'open' ? new OpenAuthenticator() : new JwtAuthenticator(options);
}

class OpenAuthenticator implements Authenticator {
  authenticate(request: AuthRequest): AuthAccepted {
    const key = request.key === '' ? randomUUID() : request.key;
    return { ok: true, mid: request.mid, key, allowsRoom: allowAnyRoom, expiresAtMs: 0 };
  }
}

function refuse(closeName: AuthRefused['closeName'], message: string): AuthRefused {
  return { ok: false, closeName, message };
}

class JwtAuthenticator implements Authenticator {
  readonly #secret: KeyObject;
  readonly #skewS: number;
  readonly #nowMs: () => number;
  readonly #rules = new RoomRuleCache();

  constructor(options: AuthOptions & { readonly mode: 'jwt' }) {
    const secret = Buffer.from(options.secret, 'utf8');
    if (secret.byteLength < MIN_SECRET_BYTES) {
      throw new HalleyError('SECRET_TOO_SHORT', `the HS256 secret must have at least ${MIN_SECRET_BYTES} bytes`, {
        secretBytes: secret.byteLength,
      });
    }
    this.#secret = createSecretKey(secret);
    this.#skewS = options.skewS ?? DEFAULT_SKEW_S;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  async authenticate(request: AuthRequest): Promise<AuthVerdict> {
    if (request.token === undefined || request.token === '') {
      return refuse('UNAUTHORIZED', 'the auth body needs the member "token", a JWT signed with HS256');
    }
    let payload: Readonly<Record<string, unknown>>;
    try {
      const verified = await jwtVerify(request.token, this.#secret, {
        algorithms: ALGORITHMS,
        clockTolerance: this.#skewS,
        currentDate: new Date(this.#nowMs()),
      });
      payload = verified.payload;
    } catch (error) {
      return refuse('UNAUTHORIZED', `the token was refused: ${refusalText(error)}`);
    }
    const claims = readClaims(payload);
    if (typeof claims === 'string') return refuse('UNAUTHORIZED', claims);
    if (request.mid !== 0 && request.mid !== claims.mid) {
      return refuse('FORBIDDEN', `the token is of another user than the auth body says: mid=${request.mid}`);
    }

    const key = chooseKey(request.key, claims.keys);
    if (key === undefined) return refuse('FORBIDDEN', `the token does not allow this key: key=${quote(request.key)}`);

    const allowsRoom = this.#rules.ruleFor(claims.rooms);
    if (request.roomId !== '' && !allowsRoom(request.roomId)) return refuse('FORBIDDEN', roomText(request.roomId));
    for (const room of request.rooms) {
      if (!allowsRoom(room)) return refuse('FORBIDDEN', roomText(room));
    }
    const expiresAtMs = claims.expiresAtMs === 0 ? 0 : claims.expiresAtMs + this.#skewS * 1000;
    return { ok: true, mid: claims.mid, key, allowsRoom, expiresAtMs };
  }
}

/** The client's key if allowed; a nameless client gets the claim's only key, or a new one where any is allowed. */
function chooseKey(key: string, allowed: readonly string[] | undefined): string | undefined {
  if (allowed === undefined) return key === '' ? randomUUID() : key;
  if (key === '') return allowed.length === 1 && allowed[0] !== '' ? allowed[0] : undefined;
  return allowed.includes(key) ? key : undefined;
}

function roomText(room: string): string {
  return `the token does not allow this room: room=${quote(room)}`;
}

/** At most 64 characters of client text in a message. */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}

/** A fixed phrase per kind of failure; jose's own texts may change and may quote the token. */
function refusalText(error: unknown): string {
  if (error instanceof joseErrors.JWTExpired) return 'it has expired (claim "exp")';
  if (error instanceof joseErrors.JWTClaimValidationFailed) return `its claim ${quote(error.claim)} does not hold now`;
  if (error instanceof joseErrors.JOSEAlgNotAllowed) return 'its algorithm is not HS256';
  if (error instanceof joseErrors.JWSSignatureVerificationFailed) return 'its signature is wrong';
  return 'it is not a JWT signed with HS256';
}
