/**
 * What the two HTTP fallbacks share: connect by POST with the auth body, send packets by POST, close by POST. How messages come is
 * the transport's: it gets the session and runs until it ends.
 *
 * Guarantees: one POST of packets at a time, so their order holds; what was written meanwhile goes together in the next one. A POST
 * whose fate is not known ends the link: sending it again could send it twice. After `close` nothing runs any more.
 */
import { jsonCodec } from './body-codec.js';
import { type FetchInit, type FetchPort, type FetchReply, hostTimers, type TimerPort } from './ports.js';
import { readAdvice } from './server-bodies.js';
import { type Link, type LinkEnd, type LinkEvents, OWN_CODE, type Transport } from './transport.port.js';

export interface HttpOptions {
  readonly fetch?: FetchPort;
  readonly timers?: TimerPort;
  /** The server holds a poll so long, and waits no longer for what may come. */
  readonly pollWaitMs?: number;
}

/** A connected session, for the requests that receive. */
export interface HttpSession {
  readonly isOver: boolean;
  /** `GET path?session=...&cursor=...` and `query`, within the life of the link. */
  get(path: string, query: string): Promise<FetchReply>;
  /** A message and its number. One that came before is dropped. @returns false for one of those */
  message(cursor: number, bytes: Uint8Array<ArrayBuffer>): boolean;
  /** Ends the link with what the node said: the JSON of an error body; otherwise with `reason`. */
  end(told: Uint8Array, reason: string): void;
}

/** One request, from the cursor on. @returns false, or it throws, where nothing came of it: it is made again after a while */
export type Receive = (session: HttpSession) => Promise<boolean>;

/** Requests in a row of which nothing came before the link is given up; between them twice as long each time. */
const MAX_FAILURES_COUNT = 3;
const RETRY_MS = 250;

export function httpTransport(
  name: string,
  options: HttpOptions,
  fetch: FetchPort | undefined,
  receive: Receive,
): Transport {
  const timers = options.timers ?? hostTimers;
  return {
    name,
    takes: (scheme) => fetch !== undefined && /^(?:ws|http)s?$/.test(scheme),
    open: (address, authBody, events) => {
      const link = new HttpLink(fetch!, timers, address.replace(/^ws/, 'http'), events);
      void link.run(authBody, receive);
      return link;
    },
  };
}

class HttpLink implements Link, HttpSession {
  readonly #fetch: FetchPort;
  readonly #timers: TimerPort;
  readonly #base: string;
  readonly #events: LinkEvents;
  readonly #abort = new AbortController();
  #session = '';
  #cursor = 0;
  #isOver = false;
  #unsent: Uint8Array<ArrayBuffer>[] = [];
  #isSending = false;

  constructor(fetch: FetchPort, timers: TimerPort, base: string, events: LinkEvents) {
    this.#fetch = fetch;
    this.#timers = timers;
    this.#base = base;
    this.#events = events;
  }

  async run(authBody: Uint8Array<ArrayBuffer>, receive: Receive): Promise<void> {
    try {
      const reply = await this.#post('/connect', 'application/json', authBody);
      if (!reply.ok) {
        await this.#refused(reply);
        return;
      }
      const { session } = (await reply.json()) as { readonly session?: unknown };
      if (typeof session !== 'string') throw new TypeError('no session in the answer');
      if (this.#isOver) {
        this.#leave(session);
        return;
      }
      this.#session = session;
      void this.#flush();
      await this.#receive(receive);
    } catch (error) {
      this.#finish({ code: OWN_CODE.LOST, reason: String(error) });
    }
  }

  send(packet: Uint8Array<ArrayBuffer>): void {
    if (this.#isOver) return;
    this.#unsent.push(packet);
    void this.#flush();
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort();
    if (this.#session !== '') this.#leave(this.#session);
  }

  async get(path: string, query: string): Promise<FetchReply> {
    const url = `${this.#base}${path}?session=${encodeURIComponent(this.#session)}&cursor=${this.#cursor}${query}`;
    const reply = await this.#fetch(url, { signal: this.#abort.signal });
    if (!reply.ok) await this.#refused(reply);
    return reply;
  }

  message(cursor: number, bytes: Uint8Array<ArrayBuffer>): boolean {
    if (!(cursor > this.#cursor)) return false;
    this.#cursor = cursor;
    if (!this.#isOver) this.#events.onMessage(bytes);
    return true;
  }

  end(told: Uint8Array, reason: string): void {
    const advice = readAdvice(jsonCodec, told);
    this.#finish(advice === undefined ? { code: OWN_CODE.LOST, reason } : { ...advice, advice });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  async #receive(receive: Receive): Promise<void> {
    for (let failureCount = 0; !this.#isOver; ) {
      let reason = 'the stream ended';
      let isGood = false;
      try {
        isGood = await receive(this);
      } catch (error) {
        reason = String(error);
      }
      failureCount = isGood ? 0 : failureCount + 1;
      if (failureCount > MAX_FAILURES_COUNT) this.#finish({ code: OWN_CODE.LOST, reason });
      else if (!isGood && !this.#isOver) {
        const delayMs = RETRY_MS * 2 ** failureCount;
        // A link that ends leaves the timer, behind which it is seen.
        await new Promise<void>((resolve) => void this.#timers.schedule(delayMs, resolve));
      }
    }
  }

  /** What is there goes in one POST; what is written meanwhile in the next. */
  async #flush(): Promise<void> {
    if (this.#isSending || this.#session === '') return;
    this.#isSending = true;
    try {
      while (this.#unsent.length > 0 && !this.#isOver) {
        const packets = new Blob(this.#unsent);
        this.#unsent = [];
        const query = `/send?session=${encodeURIComponent(this.#session)}`;
        const reply = await this.#post(query, 'application/octet-stream', new Uint8Array(await packets.arrayBuffer()));
        if (!reply.ok) await this.#refused(reply);
      }
    } catch (error) {
      this.#finish({ code: OWN_CODE.LOST, reason: String(error) });
    } finally {
      this.#isSending = false;
    }
  }

  #post(path: string, type: string, body: Uint8Array<ArrayBuffer>): Promise<FetchReply> {
    const init: FetchInit = { method: 'POST', headers: { 'content-type': type }, body, signal: this.#abort.signal };
    return this.#fetch(this.#base + path, init);
  }

  async #refused(reply: FetchReply): Promise<void> {
    // A proxy's page, say, tells nothing: then the status is all there is.
    this.end(new Uint8Array(await reply.arrayBuffer()), `HTTP ${reply.status}`);
  }

  #finish(end: LinkEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort();
    this.#events.onEnd(end);
  }

  /** The server would notice by itself, later. `keepalive`: also while the page goes away. */
  #leave(session: string): void {
    const url = `${this.#base}/close?session=${encodeURIComponent(session)}`;
    this.#fetch(url, { method: 'POST', keepalive: true }).catch(() => {});
  }
}
