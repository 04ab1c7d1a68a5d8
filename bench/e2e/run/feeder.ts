/**
 * Starts a feed on a server and waits for its report, through either door.
 */
import { fork } from 'node:child_process';
import { WebSocket } from 'ws';
import type { HttpFeed } from '../servers/http-publisher.main.js';
import type { Feed, FeedReport } from '../wire/feed.js';
import { makePacket, OPERATION, visitPackets } from '../wire/packet.js';
import type { ServerProcess } from './server-process.js';

const EMPTY = new Uint8Array(0);

/** The runner's own connection to a server under test. */
export class Runner {
  readonly #socket: WebSocket;
  #onPacket: (op: number, body: Buffer) => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      visitPackets(data, 0, data.length, (op, _bytes, start, end) => this.#onPacket(op, data.subarray(start, end)));
    });
  }

  static async connect({ host, port, path }: ServerProcess): Promise<Runner> {
    const socket = new WebSocket(`ws://${host}:${port}${path}`, { perMessageDeflate: false });
    const runner = new Runner(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const auth = { mid: 1_000_000_000, key: 'bench-runner', platform: 'bench', accepts: [] };
    await runner.#ask(OPERATION.AUTH, Buffer.from(JSON.stringify(auth)), OPERATION.AUTH_REPLY);
    return runner;
  }

  /** Publish in the server's own process; resolves when the feed is over. */
  async feed(feed: Feed): Promise<FeedReport> {
    const body = await this.#ask(OPERATION.FEED, Buffer.from(JSON.stringify(feed)), OPERATION.FEED_REPORT);
    return JSON.parse(body.toString()) as FeedReport;
  }

  close(): void {
    this.#socket.removeAllListeners();
    this.#socket.on('error', () => undefined);
    this.#socket.terminate();
  }

  /** Send one packet and wait for the first of operation `replyOp`. Rejects when the server goes. */
  #ask(op: number, body: Uint8Array, replyOp: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const gone = (): void =>
        reject(new Error(`the server closed the runner's connection, waiting for op ${replyOp}`));
      this.#socket.once('close', gone);
      this.#onPacket = (replied, reply) => {
        if (replied !== replyOp) return;
        this.#socket.off('close', gone);
        resolve(Buffer.from(reply.length === 0 ? EMPTY : reply));
      };
      this.#socket.send(makePacket(op, 1, body));
    });
  }
}

/** Publish through goim's HTTP API from a process of its own; resolves when the feed is over. */
export function feedThroughHttp(entry: URL, httpFeed: HttpFeed): Promise<FeedReport> {
  const child = fork(entry, [], { execArgv: [] });
  return new Promise((resolve, reject) => {
    child.once('message', (report) => resolve(report as FeedReport));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the publisher ended without a report: exit=${code}`)));
    child.send(httpFeed);
  });
}
