/**
 * The HTTP fallbacks as doors: connect and packets by POST, messages by an event stream or by long polls, every request on a
 * connection of its own, so that about every other one lands on the wrong bucket.
 */
import { type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http';
import { request as secureRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Door, DoorEnd, DoorLink, DoorLinkEvents, DoorNode } from './door-client.js';

interface Answer {
  readonly status: number;
  readonly cursor: number;
  readonly body: Buffer;
}

const POLL_WAIT_MS = 20_000;
const RETRY_MS = 50;
/** Requests in a row that fail before the node counts as gone. */
const MAX_FAILED_COUNT = 40;
const LOST: DoorEnd = { code: 1006, reason: 'the node does not answer' };

export function fallbackDoor(name: string, kind: 'sse' | 'poll', wsUrlOf: (node: DoorNode) => string): Door {
  return {
    name,
    isMute: false,
    isHttp: true,
    isKeptByReading: kind === 'poll',
    open: (node, authBody, events) => {
      const link = new FallbackLink(wsUrlOf(node).replace(/^ws/, 'http'), node.ca, events);
      void link.run(authBody, kind);
      return link;
    },
  };
}

class FallbackLink implements DoorLink {
  readonly #base: string;
  readonly #ca: string;
  readonly #events: DoorLinkEvents;
  readonly #abort = new AbortController();
  #session = '';
  #cursor = 0;
  #failedCount = 0;
  #isOver = false;
  #paused: Promise<void> | undefined;
  #unpause: () => void = () => {};
  #stream: IncomingMessage | undefined;
  /** POSTs go one behind the other, so that their order holds. */
  #sends: Promise<unknown> = Promise.resolve();

  constructor(base: string, ca: string, events: DoorLinkEvents) {
    this.#base = base;
    this.#ca = ca;
    this.#events = events;
  }

  async run(authBody: string, kind: 'sse' | 'poll'): Promise<void> {
    const answer = await this.#call('POST', 'connect', '', {}, authBody).catch(() => undefined);
    if (answer?.status !== 200) {
      this.#end(answer === undefined ? LOST : { ...endOf(answer.body), status: answer.status });
      return;
    }
    this.#session = (JSON.parse(answer.body.toString()) as { session: string }).session;
    while (!this.#isOver) {
      try {
        if (kind === 'sse') await this.#readStream();
        else await this.#poll();
        this.#failedCount = 0;
      } catch {
        // The connection is gone, the session need not be: the next request says what became of it.
        this.#failedCount += 1;
        if (this.#failedCount > MAX_FAILED_COUNT) this.#end(LOST);
        await sleep(RETRY_MS);
      }
    }
  }

  send(bytes: Uint8Array): void {
    this.#sends = this.#sends
      .then(() => this.#call('POST', 'send', '', { 'content-type': 'application/octet-stream' }, bytes))
      .then(({ status, body }) => {
        if (status !== 204) this.#events.refused({ status, code: endOf(body).code });
      })
      .catch(() => this.#events.refused({ status: 0, code: 0 }));
  }

  close(): void {
    // The reader is told, as any other reader of the session would be.
    this.#sends = this.#sends.then(() => this.#call('POST', 'close', '')).catch(() => this.#end(LOST));
  }

  cut(): void {
    this.#end(LOST);
    this.#abort.abort();
  }

  pause(): void {
    this.#paused ??= new Promise((resolve) => {
      this.#unpause = resolve;
    });
    this.#stream?.pause();
  }

  resume(): void {
    this.#unpause();
    this.#paused = undefined;
    this.#stream?.resume();
  }

  async #poll(): Promise<void> {
    await this.#paused;
    const { status, cursor, body } = await this.#call('GET', 'poll', `&cursor=${this.#cursor}&wait_ms=${POLL_WAIT_MS}`);
    if (status === 200) {
      this.#cursor = cursor;
      this.#events.bytes(body, true);
    } else if (status !== 204) this.#end(endOf(body));
  }

  async #readStream(): Promise<void> {
    const incoming = await this.#request(
      'GET',
      'sse',
      '',
      this.#cursor === 0 ? {} : { 'last-event-id': `${this.#cursor}` },
    );
    if (incoming.statusCode !== 200) {
      this.#end(endOf((await answerOf(incoming)).body));
      return;
    }
    this.#stream = incoming;
    if (this.#paused !== undefined) incoming.pause();
    let text = '';
    incoming.setEncoding('utf8');
    incoming.on('data', (chunk: string) => {
      const events = (text + chunk).split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) this.#event(event);
    });
    await new Promise<void>((resolve, reject) => {
      incoming.on('end', () => (this.#isOver ? resolve() : reject(new Error('the stream ended without a word'))));
      incoming.on('error', reject);
    });
  }

  #event(text: string): void {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1];
    const data = field('data');
    if (data === undefined) return;
    if (field('event') === 'close') {
      this.#end(endOf(Buffer.from(data)));
      return;
    }
    const id = Number(field('id'));
    if (id !== this.#cursor + 1) {
      this.#events.fault(new Error(`event ${id} came behind ${this.#cursor}`));
      return;
    }
    this.#cursor = id;
    this.#events.bytes(Buffer.from(data, 'base64'), true);
  }

  #end(end: DoorEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#events.closed(end);
  }

  async #call(
    method: 'GET' | 'POST',
    route: string,
    query: string,
    headers: Record<string, string> = {},
    body?: Uint8Array | string,
  ): Promise<Answer> {
    return answerOf(await this.#request(method, route, query, headers, body));
  }

  #request(
    method: 'GET' | 'POST',
    route: string,
    query: string,
    headers: Record<string, string>,
    body?: Uint8Array | string,
  ): Promise<IncomingMessage> {
    const url = `${this.#base}/${route}?session=${this.#session}${query}`;
    const options: RequestOptions = { method, headers, agent: false, signal: this.#abort.signal };
    return new Promise((resolve, reject) => {
      const outgoing = url.startsWith('https:')
        ? secureRequest(url, { ...options, ca: this.#ca }, resolve)
        : plainRequest(url, options, resolve);
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

function answerOf(incoming: IncomingMessage): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('error', reject);
    incoming.on('end', () => {
      const cursor = Number(incoming.headers['halley-cursor']);
      resolve({ status: incoming.statusCode ?? 0, cursor, body: Buffer.concat(chunks) });
    });
  });
}

function endOf(body: Buffer): DoorEnd {
  const told = JSON.parse(body.toString());
  return { code: told.code, reason: told.reason, reconnect: told.reconnect, retryAfterMs: told.retry_after_ms };
}
