/**
 * What the two HTTP fallbacks share: connect by POST with the auth body, send packets by POST, close by POST. How messages come is
 * the transport's: it gets the session and runs until it ends.
 *
 * Guarantees: one POST of packets at a time, so their order holds; what was written meanwhile goes together in the next one. A POST
 * whose fate is not known ends the link: sending it again could send it twice. After `close` nothing runs any more.
 */
import { type FetchInit, type FetchPort, type FetchReply, hostTimers, type TimerPort } from './ports.js';
import { adviceFrom } from './server-bodies.js';
import { type Link, type LinkEnd, type LinkEvents, OWN_CODE, type Transport } from './transport.port.js';

export interface HttpOptions {
  readonly fetch?: FetchPort;
  readonly timers?: TimerPort;
  /** The server holds a poll so long, and waits no longer for what may come. */
  readonly pollWaitMs?: number;
}

/** A connected session, for the loop that receives. */
export interface HttpSession {
  /** `GET path?session=...&query`, within the life of the link. */
  get(path: string, query: string): Promise<FetchReply>;
  message(bytes: Uint8Array<ArrayBuffer>): void;
  /** Ends the link with what the node said. */
  end(told: unknown, code: number, reason: string): void;
  readonly isOver: () => boolean;
  pause(delayMs: number): Promise<void>;
}

/** Receives until the session is over. What it throws is a lost connection. */
export type Receive = (session: HttpSession) => Promise<void>;

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
      await receive(this);
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
    const reply = await this.#fetch(`${this.#base}${path}?session=${encodeURIComponent(this.#session)}&${query}`, {
      signal: this.#abort.signal,
    });
    if (!reply.ok) await this.#refused(reply);
    return reply;
  }

  message(bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#isOver) this.#events.onMessage(bytes);
  }

  end(told: unknown, code: number, reason: string): void {
    const advice = adviceFrom(told);
    this.#finish(advice === undefined ? { code, reason } : { code: advice.code, reason: advice.reason, advice });
  }

  isOver = (): boolean => this.#isOver;

  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      // An abort leaves the timer: the loop then sees that it is over.
      this.#timers.schedule(delayMs, resolve);
    });
  }

  /** What is there goes in one POST; what is written meanwhile in the next. */
  async #flush(): Promise<void> {
    if (this.#isSending || this.#session === '') return;
    this.#isSending = true;
    try {
      while (this.#unsent.length > 0 && !this.#isOver) {
        const packets = joined(this.#unsent);
        this.#unsent = [];
        const query = `/send?session=${encodeURIComponent(this.#session)}`;
        const reply = await this.#post(query, 'application/octet-stream', packets);
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
    let told: unknown;
    try {
      told = await reply.json();
    } catch {
      // A proxy's page, say: the status is all there is.
    }
    this.end(told, OWN_CODE.LOST, `HTTP ${reply.status}`);
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

function joined(packets: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  if (packets.length === 1) return packets[0]!;
  const bytes = new Uint8Array(packets.reduce((sum, packet) => sum + packet.length, 0));
  let at = 0;
  for (const packet of packets) {
    bytes.set(packet, at);
    at += packet.length;
  }
  return bytes;
}
