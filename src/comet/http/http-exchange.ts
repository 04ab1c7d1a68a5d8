/**
 * One HTTP request being answered: uWS's response, safe to hold on to. A response that the client has left must not be touched
 * (it is freed memory in C++), so everything here asks `isOver` first.
 *
 * Threads: its bucket.
 * Guarantees: answered at most once; the abort handler is registered before anything else; nothing that runs in a callback of
 *   uWS lets an exception through.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import type { Admission } from '../limits/admission.js';
import type { Refusal } from '../limits/refusal.js';
import { requestClient } from '../limits/request-client.js';
import { errorBody, type SessionEnd } from './http-errors.js';

export type HeaderRows = readonly (readonly [name: string, value: string])[];

export class HttpExchange {
  readonly #res: HttpResponse;
  readonly #onFault: (error: unknown) => void;
  /** Value of Access-Control-Allow-Origin, '' for none. */
  allowOrigin = '';
  /** Called once where the client leaves before the answer is complete. */
  onGone: (() => void) | undefined = undefined;
  /** Answered to the end, or left by the client. */
  isOver = false;

  constructor(res: HttpResponse, onFault: (error: unknown) => void) {
    res.onAborted(() => this.#gone());
    this.#res = res;
    this.#onFault = onFault;
  }

  /** Inside the handler of the request only. @param admission undefined: the other end of the socket is believed */
  clientOf(admission: Admission | undefined, req: HttpRequest): string | Refusal {
    if (admission !== undefined) return requestClient(admission, this.#res, req);
    return Buffer.from(this.#res.getRemoteAddressAsText()).toString('latin1');
  }

  /** @param body undefined: none, not even an empty one */
  answer(status: string, headers: HeaderRows, body?: string | Uint8Array, closesConnection = false): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onGone = undefined;
    this.cork(() => {
      this.#head(status, headers);
      // With an argument, even an undefined one, the pinned uWS writes a Content-Length of 2^63.
      if (body === undefined) this.#res.endWithoutBody();
      else this.#res.end(body, closesConnection);
    });
  }

  json(status: string, text: string, headers: HeaderRows = []): void {
    this.answer(status, [['Content-Type', 'application/json; charset=utf-8'], ...headers], text);
  }

  error(status: string, end: SessionEnd, closesConnection = false): void {
    const headers: [string, string][] = [['Content-Type', 'application/json; charset=utf-8']];
    if (end.retryAfterMs > 0) headers.push(['Retry-After', String(Math.ceil(end.retryAfterMs / 1000))]);
    this.answer(status, headers, errorBody(end), closesConnection);
  }

  /** The beginning of an answer that goes on for long. @param onWritable the client takes bytes again */
  startStream(status: string, headers: HeaderRows, first: string, onWritable: () => void): void {
    if (this.isOver) return;
    this.#res.onWritable(() => {
      if (!this.isOver) this.#guard(onWritable);
      return true;
    });
    this.cork(() => {
      this.#head(status, headers);
      if (first !== '') this.#res.write(first);
    });
  }

  /** False: it waits behind what the kernel has not taken; stop until `onWritable`. */
  write(chunk: string | Uint8Array): boolean {
    return this.isOver || this.#res.write(chunk);
  }

  endStream(last?: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onGone = undefined;
    this.cork(() => void this.#res.end(last));
  }

  /** Cut the connection: what was written last may not arrive. */
  cut(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onGone = undefined;
    this.#res.close();
  }

  /** What `fn` writes leaves together. */
  cork(fn: () => void): void {
    this.#res.cork(() => this.#guard(fn));
  }

  /** The body in pieces, each valid until return. */
  onData(handle: (chunk: Uint8Array, isLast: boolean) => void): void {
    this.#res.onData((chunk, isLast) => {
      if (!this.isOver) this.#guard(() => handle(new Uint8Array(chunk), isLast));
    });
  }

  #head(status: string, headers: HeaderRows): void {
    const res = this.#res;
    res.writeStatus(status);
    if (this.allowOrigin !== '') {
      res.writeHeader('Access-Control-Allow-Origin', this.allowOrigin);
      if (this.allowOrigin !== '*') res.writeHeader('Vary', 'Origin');
      res.writeHeader('Access-Control-Expose-Headers', 'Halley-Cursor, Retry-After');
    }
    res.writeHeader('Cache-Control', 'no-store');
    for (const [name, value] of headers) res.writeHeader(name, value);
  }

  #gone(): void {
    if (this.isOver) return;
    this.isOver = true;
    const { onGone } = this;
    this.onGone = undefined;
    if (onGone !== undefined) this.#guard(onGone);
  }

  #guard(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#onFault(error);
    }
  }
}
