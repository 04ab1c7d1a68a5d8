/**
 * The webhook: one signed POST per batch over connections that are kept alive.
 *
 * Threads: control thread only.
 * Guarantees: an attempt ends within `timeoutMs`. 2xx is taken; 429, 5xx and errors of the network are tried again, Retry-After
 *   obeyed; anything else is dead at once: 4xx because it would fail again, 3xx because redirects are not followed (they would
 *   carry events to an address that nobody configured). At most 64 KiB of an answer are read.
 * `node:http` and not fetch: bench/logic/webhook.bench.ts.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Clock } from '../../clock/index.js';
import { HalleyError } from '../../errors/index.js';
import type { EventBatch, EventSink, SendVerdict } from '../../push/index.js';
import { readAuthority } from '../read-authority.js';
import { batchBody } from './event-record.js';
import { retryAfterMs } from './retry-delay.js';
import { signature } from './signature.js';

export interface WebhookOptions {
  readonly url: string;
  readonly secret: string;
  readonly timeoutMs: number;
  /** Connections kept: as many as lanes. */
  readonly maxSockets: number;
  readonly serverId: string;
  readonly nodeEpoch: () => number;
  readonly userAgent: string;
  /** PEM file of the authority behind https, in place of the system's; '' or absent trusts the system's. */
  readonly caFile?: string;
}

const ANSWER_MAX_BYTES = 64 * 1024;

export class WebhookSink implements EventSink {
  readonly name = 'webhook';
  readonly #options: WebhookOptions;
  readonly #clock: Clock;
  readonly #url: URL;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #request: typeof httpRequest;
  readonly #underway = new Set<ClientRequest>();
  #isClosed = false;

  /** @throws HalleyError BAD_WEBHOOK_URL, without the URL: it may hold a password; WEBHOOK_CA_UNREADABLE */
  constructor(options: WebhookOptions, clock: Clock) {
    const isUrl = URL.canParse(options.url) && /^https?:$/.test(new URL(options.url).protocol);
    if (!isUrl) throw new HalleyError('BAD_WEBHOOK_URL', 'the webhook must be an http:// or https:// URL');
    this.#options = options;
    this.#clock = clock;
    this.#url = new URL(options.url);
    const isTls = this.#url.protocol === 'https:';
    const agentOptions = { keepAlive: true, maxSockets: options.maxSockets, maxFreeSockets: options.maxSockets };
    const ca = isTls ? authority(options.caFile ?? '') : {};
    this.#agent = isTls ? new HttpsAgent({ ...agentOptions, ...ca }) : new HttpAgent(agentOptions);
    this.#request = isTls ? httpsRequest : httpRequest;
  }

  send(batch: EventBatch): Promise<SendVerdict> {
    if (this.#isClosed) return Promise.resolve({ kind: 'retry', afterMs: 0, cause: 'closed' });
    const { serverId, nodeEpoch, secret, userAgent, timeoutMs } = this.#options;
    const body = Buffer.from(batchBody(serverId, nodeEpoch(), batch.events));
    const unixS = Math.floor(this.#clock.nowMs() / 1000);
    return new Promise((resolve) => {
      const request = this.#request(this.#url, {
        method: 'POST',
        agent: this.#agent,
        headers: {
          'content-type': 'application/json',
          'content-length': body.length,
          'user-agent': userAgent,
          'halley-delivery': batch.deliveryId,
          'halley-attempt': String(batch.attempt),
          'halley-signature': signature(secret, unixS, body),
        },
      });
      let answered: SendVerdict | undefined;
      const end = (verdict: SendVerdict) => {
        clearTimeout(timer);
        this.#underway.delete(request);
        resolve(verdict);
      };
      // One bound over everything: connecting, sending, a server that answers a byte per second.
      const timer = setTimeout(() => {
        end(answered ?? { kind: 'retry', afterMs: 0, cause: `no answer within ${timeoutMs} ms` });
        request.destroy();
      }, timeoutMs);
      this.#underway.add(request);
      request.on('error', (error: NodeJS.ErrnoException) =>
        end({ kind: 'retry', afterMs: 0, cause: error.code ?? error.message }),
      );
      request.on('response', (answer) => {
        answered = this.#verdictOf(answer);
        readToEnd(answer, answered, end);
      });
      request.end(body);
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const request of this.#underway) request.destroy();
    this.#agent.destroy();
  }

  #verdictOf({ statusCode = 0, headers }: IncomingMessage): SendVerdict {
    if (statusCode >= 200 && statusCode < 300) return { kind: 'sent' };
    const cause = `status ${statusCode}`;
    if (statusCode !== 429 && statusCode < 500) return { kind: 'dead', cause };
    return { kind: 'retry', afterMs: retryAfterMs(headers['retry-after'], this.#clock.nowMs()), cause };
  }
}

function authority(file: string): { readonly ca?: string } {
  if (file === '') return {};
  const message =
    'the authority of the webhook must be a readable PEM file of certificates (option upstream.webhook_ca_file)';
  return { ca: readAuthority(file, { code: 'WEBHOOK_CA_UNREADABLE', message }) };
}

/** The answer's body is read to its end, so that its connection can be used again, and thrown away. */
function readToEnd(answer: IncomingMessage, verdict: SendVerdict, end: (verdict: SendVerdict) => void): void {
  let readBytes = 0;
  answer.on('data', (chunk: Buffer) => {
    readBytes += chunk.length;
    if (readBytes <= ANSWER_MAX_BYTES) return;
    end(verdict);
    answer.destroy();
  });
  answer.on('end', () => end(verdict));
  // The status was read, and it is all that counts.
  answer.on('error', () => end(verdict));
  answer.on('close', () => end(verdict));
}
