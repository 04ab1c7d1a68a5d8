/**
 * A client of the HTTP fallbacks for tests: `node:http`, a fresh connection for every request unless told otherwise. Over https
 * it takes any certificate.
 */
import { type Agent, type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { eventually } from './eventually.js';

export interface FallbackAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** Undefined where the body is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever a route answers
  readonly json: any;
}

export interface FallbackRequest {
  readonly method?: 'GET' | 'POST' | 'OPTIONS' | 'PUT';
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: a connection of its own, so that the kernel picks a bucket anew. */
  readonly agent?: Agent | false;
  readonly signal?: AbortSignal;
}

function request(
  url: string,
  options: {
    readonly method?: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly agent: Agent | false;
    readonly signal?: AbortSignal;
  },
  onAnswer: (incoming: IncomingMessage) => void,
) {
  return url.startsWith('https:')
    ? secureRequest(url, { ...options, rejectUnauthorized: false }, onAnswer)
    : plainRequest(url, options, onAnswer);
}

export function send(url: string, options: FallbackRequest = {}): Promise<FallbackAnswer> {
  return new Promise((resolve, reject) => {
    const { method = options.body === undefined ? 'GET' : 'POST', headers = {}, agent = false, body, signal } = options;
    const outgoing = request(
      url,
      { method, headers, agent, ...(signal === undefined ? {} : { signal }) },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const all = Buffer.concat(chunks);
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: all, json: jsonOf(all) });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

export interface JsonPacket {
  readonly op: number;
  readonly seq: number;
  readonly ver: number;
  readonly body: string | number;
  readonly room?: string;
  readonly epoch?: number;
  readonly offset?: number;
  readonly id?: string;
}

export interface SseEvent {
  readonly event: string;
  readonly id: string;
  readonly data: string;
}

/** An open SSE stream. */
export class SseStream {
  readonly events: SseEvent[] = [];
  comments = 0;
  isEnded = false;
  readonly #incoming: IncomingMessage;
  #text = '';

  constructor(incoming: IncomingMessage) {
    this.#incoming = incoming;
    incoming.setEncoding('utf8');
    incoming.on('data', (chunk: string) => this.#read(chunk));
    incoming.on('close', () => {
      this.isEnded = true;
    });
    incoming.on('error', () => {});
  }

  get contentType(): string {
    return this.#incoming.headers['content-type'] ?? '';
  }

  /** All packets so far, of a stream with format=json. */
  get packets(): JsonPacket[] {
    return this.events
      .filter(({ event }) => event === 'message')
      .flatMap(({ data }) => JSON.parse(data) as JsonPacket[]);
  }

  pause(): void {
    this.#incoming.pause();
  }

  resume(): void {
    this.#incoming.resume();
  }

  close(): void {
    this.#incoming.destroy();
  }

  async count(count: number, deadlineMs = 10_000): Promise<readonly SseEvent[]> {
    await eventually(() => this.events.length >= count, deadlineMs, `${count} events`);
    return this.events;
  }

  #read(chunk: string): void {
    this.#text += chunk;
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end < 0) return;
      const lines = this.#text.slice(0, end).split('\n');
      this.#text = this.#text.slice(end + 2);
      const fields: Record<string, string> = {};
      for (const line of lines) {
        const colon = line.indexOf(':');
        if (colon === 0) this.comments += 1;
        else fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
      }
      if (fields['data'] === undefined) continue;
      this.events.push({ event: fields['event'] ?? 'message', id: fields['id'] ?? '', data: fields['data'] });
    }
  }
}

export class FallbackClient {
  /** `http://host:port` of the comet. */
  readonly base: string;
  readonly session: string;
  /** Of the last poll. */
  cursor = 0;

  constructor(base: string, session: string) {
    this.base = base;
    this.session = session;
  }

  /** @param wsUrl as the node says it */
  static base(wsUrl: string): string {
    return wsUrl.replace(/^ws/, 'http').replace(/\/sub$/, '');
  }

  static async connect(wsUrl: string, auth: object, headers: Record<string, string> = {}): Promise<FallbackClient> {
    const base = FallbackClient.base(wsUrl);
    const answer = await send(`${base}/sub/connect`, { method: 'POST', body: JSON.stringify(auth), headers });
    if (answer.status !== 200) throw new Error(`connect: ${answer.status} ${answer.body}`);
    return new FallbackClient(base, answer.json.session);
  }

  /** The same session through another node. */
  through(wsUrl: string): FallbackClient {
    const client = new FallbackClient(FallbackClient.base(wsUrl), this.session);
    client.cursor = this.cursor;
    return client;
  }

  url(route: string, query: Record<string, string | number> = {}): string {
    const params = new URLSearchParams({ session: this.session });
    for (const [name, value] of Object.entries(query)) params.set(name, String(value));
    return `${this.base}/sub/${route}?${params}`;
  }

  /** One poll that acknowledges what the last one brought. */
  async poll(waitMs = 5_000, options: FallbackRequest = {}): Promise<FallbackAnswer> {
    const answer = await send(this.url('poll', { cursor: this.cursor, wait_ms: waitMs, format: 'json' }), options);
    if (answer.status === 200) this.cursor = answer.json.cursor;
    return answer;
  }

  /** Poll until there are so many packets that `wanted` likes. */
  async packets(count: number, wanted: (packet: JsonPacket) => boolean = isPush): Promise<JsonPacket[]> {
    const found: JsonPacket[] = [];
    await eventually(async () => {
      const answer = await this.poll(1_000);
      if (answer.status !== 200 && answer.status !== 204) throw new Error(`poll: ${answer.status} ${answer.body}`);
      if (answer.status === 200) found.push(...(answer.json.packets as JsonPacket[]).filter(wanted));
      return found.length >= count;
    });
    return found;
  }

  post(route: string, body: unknown): Promise<FallbackAnswer> {
    const headers = { 'content-type': 'application/json' };
    return send(this.url(route), { method: 'POST', body: JSON.stringify(body), headers });
  }

  stream(query: Record<string, string | number> = {}, headers: Record<string, string> = {}): Promise<SseStream> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.url('sse', query), { headers, agent: false }, (incoming) => {
        if (incoming.statusCode === 200) resolve(new SseStream(incoming));
        else {
          incoming.resume();
          reject(new Error(`sse: ${incoming.statusCode}`));
        }
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }
}

/** An application's message. */
export function isPush({ op }: JsonPacket): boolean {
  return op >= 1000;
}
