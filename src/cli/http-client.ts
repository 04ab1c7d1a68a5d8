/**
 * http-client: the HTTP API as the operators' commands call it: one request, one answer, and errors that say what to do.
 *
 * Guarantees: settles within the deadline; never asks again by itself, since a push would be repeated. The token goes to the
 *   given address only, whatever that redirects to.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { TLSSocket } from 'node:tls';
import type { z } from 'zod';
import { HalleyError } from '../errors/index.js';
import { API_CERTIFICATE, type ApiTrust, connectToKnown } from './api-tls.js';

export interface ApiTarget extends ApiTrust {
  /** http or https, without a slash at its end. */
  readonly url: string;
  /** Empty: none is sent. */
  readonly token: string;
}

export interface ApiBody {
  readonly mediaType: string;
  readonly bytes: Uint8Array | string;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The server answered, and has not done it: its message says why. */
export const API_REFUSED = 'API_REFUSED';
/** Nobody who could do it has answered. */
export const API_UNREACHABLE = 'API_UNREACHABLE';

/** Longer than the server's own deadline of 10 s, so that its answer comes first. */
const DEADLINE_MS = 15_000;
/** What a proxy says for a server that is not there. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);
const UNAUTHORIZED = 401;
const MESSAGE_MAX_CHARACTERS = 500;

/** What to do about a failed TLS handshake, by its reason. */
const TLS_ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_(UNTRUSTED|SIGNATURE|REJECTED))/,
    'the certificate of this API is signed by nobody we believe, --ca names the file of its authority',
  ],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)/, 'the certificate of this API is out of its time, the node needs a new one'],
  [/^ERR_TLS_CERT_ALTNAME/, 'the certificate of this API is for another name, --url must have one that stands in it'],
  [/^(EPROTO|ERR_SSL_)/, 'this port does not speak https as we do, does the API listen with http:// here?'],
];

interface Envelope {
  readonly code: number;
  readonly message: string;
  readonly data: unknown;
}

interface RawAnswer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

interface ApiCall {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes?: Uint8Array | string;
}

function envelopeOf(text: string): Envelope | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { code, message, data } = value as Partial<Envelope>;
  return typeof code === 'number' && typeof message === 'string' ? { code, message, data } : undefined;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : error.message;
}

export class HttpClient {
  readonly #target: ApiTarget;
  readonly #deadlineMs: number;

  /** @param deadlineMs from the call to the last byte of the answer */
  constructor(target: ApiTarget, deadlineMs = DEADLINE_MS) {
    this.#target = target;
    this.#deadlineMs = deadlineMs;
  }

  get url(): string {
    return this.#target.url;
  }

  /**
   * @param path with its query
   * @returns `data` of the envelope
   * @throws HalleyError API_REFUSED, API_UNREACHABLE
   */
  async get<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema>> {
    return this.#read(path, await this.#call(path, { method: 'GET', headers: this.#headers() }), schema);
  }

  /** Likewise. Without an answer in time it is not known whether it was done. */
  async post<Schema extends z.ZodType>(path: string, body: ApiBody, schema: Schema): Promise<z.output<Schema>> {
    const { mediaType, bytes, headers } = body;
    const ownHeaders = {
      ...this.#headers(),
      'Content-Type': mediaType,
      'Content-Length': String(Buffer.byteLength(bytes)),
    };
    const call: ApiCall = { method: 'POST', headers: { ...ownHeaders, ...headers }, bytes };
    return this.#read(path, await this.#call(path, call), schema);
  }

  #headers(): Record<string, string> {
    const { token } = this.#target;
    return token === '' ? {} : { Authorization: `Bearer ${token}` };
  }

  /** node:http and not fetch, which refuses ports that browsers must not ask, and follows redirects. */
  async #call(path: string, { method, headers, bytes }: ApiCall): Promise<RawAnswer> {
    const { url, ca, certificate } = this.#target;
    const isSecure = url.startsWith('https:');
    let known: TLSSocket | undefined;
    if (isSecure && certificate !== undefined) {
      known = await connectToKnown(url, certificate, this.#deadlineMs).catch((error: unknown) => {
        throw this.#unreachable('GET', error, false);
      });
    }
    const through = known === undefined ? { agent: false as const, ca } : { createConnection: () => known };
    return new Promise((resolve, reject) => {
      // Destroyed in the middle of an answer, the request says that the connection was reset.
      let isLate = false;
      const fail = (error: unknown) => reject(this.#unreachable(method, error, isLate));
      const ask = isSecure ? httpsRequest : httpRequest;
      const request = ask(`${url}${path}`, { method, headers, ...through }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(chunks).toString(),
            retryAfter: response.headers['retry-after'],
          }),
        );
      });
      const deadline = setTimeout(() => {
        isLate = true;
        request.destroy(new Error('deadline'));
      }, this.#deadlineMs);
      request.on('error', fail);
      request.on('close', () => clearTimeout(deadline));
      request.end(bytes);
    });
  }

  #unreachable(method: string, error: unknown, isLate: boolean): HalleyError {
    const { url } = this.#target;
    if (error instanceof HalleyError && error.code === API_CERTIFICATE) return error;
    if (isLate) {
      const doubt = method === 'GET' ? '' : ', whether it has done this is not known';
      const details = { url, deadlineMs: this.#deadlineMs };
      return new HalleyError(API_UNREACHABLE, `the node did not answer in time${doubt}`, details, error);
    }
    const reason = reasonOf(error);
    const advice = TLS_ADVICE.find(([pattern]) => pattern.test(reason))?.[1];
    if (advice !== undefined) return new HalleyError(API_UNREACHABLE, advice, { url, reason }, error);
    return new HalleyError(
      API_UNREACHABLE,
      'nobody answers here, is the node up and is this its HTTP API (http_port, not ws_port)? --url names another one',
      { url, reason },
      error,
    );
  }

  #read<Schema extends z.ZodType>(path: string, answer: RawAnswer, schema: Schema): z.output<Schema> {
    const { status, text, retryAfter } = answer;
    const { url, token } = this.#target;
    const envelope = envelopeOf(text);
    if (envelope === undefined) {
      if (GATEWAY_STATUSES.has(status)) {
        throw new HalleyError(API_UNREACHABLE, 'a proxy answers here, and the node behind it does not', {
          url,
          status,
        });
      }
      throw new HalleyError(
        API_REFUSED,
        "this is not an answer of Halley's API: another program listens here, or an older Halley without this route",
        { url, path: path.split('?', 1)[0], status },
      );
    }
    if (status === UNAUTHORIZED) {
      const wanted =
        token === ''
          ? 'the API wants a token: set HALLEY_HTTP_TOKEN to the http.token of the node'
          : 'the API token is wrong: HALLEY_HTTP_TOKEN must be the http.token of the node';
      throw new HalleyError(API_REFUSED, wanted, { url, status });
    }
    if (envelope.code !== 0) {
      const again = retryAfter === undefined ? '' : ` (try again in ${retryAfter} s)`;
      throw refused(`${envelope.message}${again}`, { url, code: envelope.code });
    }
    const data = schema.safeParse(envelope.data);
    if (data.success) return data.data;
    throw refused('the answer is not what this command understands, client and node should be of one version', { url });
  }
}

/** The server's own message as an error. */
export function refused(message: string, details: { readonly url: string; readonly code?: number }): HalleyError {
  const short = message.slice(0, MESSAGE_MAX_CHARACTERS);
  return new HalleyError(API_REFUSED, short === '' ? 'the node refuses this' : short, details);
}
