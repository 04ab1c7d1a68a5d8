/**
 * `--door app`: the runner's own connection to Halley, on which the application module in a bucket is told what to publish.
 */
import { WebSocket } from 'ws';
import { type Feed, type FeedReport, makePacket, OPERATION, visitPackets } from '../../../src/cli/bench/index.js';

const EMPTY = new Uint8Array(0);

export class Runner {
  readonly #socket: WebSocket;
  #onPacket: (op: number, body: Buffer) => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      visitPackets(data, 0, data.length, (op, _bytes, start, end) => this.#onPacket(op, data.subarray(start, end)));
    });
  }

  static async connect({ host, port, path }: { host: string; port: number; path: string }): Promise<Runner> {
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
