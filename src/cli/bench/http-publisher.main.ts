/**
 * Publishes a feed through goim's HTTP API, in a process of its own. Messages of one target travel on one keep-alive
 * connection, pipelined, so their order is the server's to keep.
 *
 * Run: forked with an HttpFeed as its first message; answers with a FeedReport.
 */
import { connect } from 'node:net';
import type { Feed } from './wire/feed.js';
import { OPERATION } from './wire/packet.js';
import { runFeed } from './wire/run-feed.js';

export interface HttpFeed {
  readonly feed: Feed;
  readonly host: string;
  readonly port: number;
  /** Bearer token of the API; '' for none. */
  readonly token: string;
}

const MAX_CONNECTIONS = 16;
const HEAD_END = '\r\n\r\n';

/** One keep-alive connection; answers come in the order of the requests. */
class HttpPipe {
  readonly #host: string;
  readonly #authorization: string;
  readonly #waiting: ((isTaken: boolean) => void)[] = [];
  readonly #socket;
  #text = '';

  constructor({ host, port, token }: HttpFeed) {
    this.#host = `${host}:${port}`;
    this.#authorization = token === '' ? '' : `Authorization: Bearer ${token}\r\n`;
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#onText(text));
    const fail = (): void => {
      for (const settle of this.#waiting.splice(0)) settle(false);
    };
    this.#socket.on('error', fail);
    this.#socket.on('close', fail);
  }

  post(path: string, body: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(
        `POST ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n${this.#authorization}Content-Length: ${body.length}\r\n\r\n` +
          Buffer.from(body).toString('latin1'),
        'latin1',
      );
    });
  }

  #onText(text: string): void {
    this.#text += text;
    for (;;) {
      const headEnd = this.#text.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const head = this.#text.slice(0, headEnd);
      const bodyBytes = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      const end = headEnd + HEAD_END.length + bodyBytes;
      if (this.#text.length < end) return;
      const body = this.#text.slice(headEnd + HEAD_END.length, end);
      this.#text = this.#text.slice(end);
      this.#waiting.shift()?.(/^HTTP\/1\.1 200/.test(head) && /"code":0\b/.test(body));
    }
  }
}

function pathOf(feed: Feed, target: string): string {
  const query = `operation=${OPERATION.PUSHED}`;
  if (feed.target === 'key') return `/goim/push/keys?${query}&keys=${encodeURIComponent(target)}`;
  const [type = '', room = ''] = target.split('://');
  return `/goim/push/room?${query}&type=${encodeURIComponent(type)}&room=${encodeURIComponent(room)}`;
}

process.once('message', async (httpFeed: HttpFeed) => {
  const { feed } = httpFeed;
  const pipes = Array.from({ length: Math.min(MAX_CONNECTIONS, feed.targetCount) }, () => new HttpPipe(httpFeed));
  const routes = new Map<string, { pipe: HttpPipe; path: string }>();
  const routeOf = (target: string): { pipe: HttpPipe; path: string } => {
    let route = routes.get(target);
    if (route === undefined) {
      route = { pipe: pipes[routes.size % pipes.length]!, path: pathOf(feed, target) };
      routes.set(target, route);
    }
    return route;
  };
  const report = await runFeed(feed, (target, body) => {
    const { pipe, path } = routeOf(target);
    return pipe.post(path, body);
  });
  process.send?.(report, () => process.exit(0));
});
process.on('disconnect', () => process.exit(0));
