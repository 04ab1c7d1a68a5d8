/**
 * A crowd of clients over several nodes and what each of them must have received: once, complete, in order per producer.
 * Client i: key `k<i>`, user 1 + floor(i / nodes) (a device on every node), room `crowd://<i % rooms>`, every second one extended.
 */
import { eventually, type HalleyProcess, TallyClient } from '../kit/index.js';
import { type Producer, PUSH_OP, type Target } from './producers.js';

export interface CrowdOptions {
  readonly clientCount: number;
  readonly roomCount: number;
}

/** Of the number that a body starts with: the producer's share. */
const PER_PRODUCER = 1_000_000;
/** Kinds of targets: between rooms and direct pushes no order is promised. */
const SCOPES = ['direct', 'room', 'all'] as const;
const CONNECTS_AT_ONCE = 100;

interface Sent {
  readonly number: number;
  readonly scope: (typeof SCOPES)[number];
  readonly isFor: (client: number) => boolean;
}

export class Crowd {
  readonly clients: TallyClient[] = [];
  readonly #options: CrowdOptions;
  readonly #nodeCount: number;
  readonly #sent: Sent[] = [];
  readonly #scopeOf = new Map<number, Sent['scope']>();

  private constructor(options: CrowdOptions, nodeCount: number) {
    this.#options = options;
    this.#nodeCount = nodeCount;
  }

  static async connect(nodes: readonly HalleyProcess[], options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options, nodes.length);
    for (let first = 0; first < options.clientCount; first += CONNECTS_AT_ONCE) {
      const count = Math.min(CONNECTS_AT_ONCE, options.clientCount - first);
      const connected = Array.from({ length: count }, (_, index) => {
        const client = first + index;
        return TallyClient.connect(nodes[client % nodes.length]!.wsUrl, {
          key: `k${client}`,
          mid: crowd.midOf(client),
          roomId: crowd.roomOf(client),
          accepts: [PUSH_OP],
          extended: Math.floor(client / nodes.length) % 2 === 1,
        });
      });
      crowd.clients.push(...(await Promise.all(connected)));
    }
    return crowd;
  }

  midOf(client: number): number {
    return 1 + Math.floor(client / this.#nodeCount);
  }

  roomOf(client: number): string {
    return `crowd://${client % this.#options.roomCount}`;
  }

  /** `rounds` times every target by this producer, one push after the other. @param producerNo 1 and up */
  async push(producer: Producer, producerNo: number, rounds: number): Promise<void> {
    let number = producerNo * PER_PRODUCER;
    const send = async (scope: Sent['scope'], target: Target, isFor: Sent['isFor']) => {
      number += 1;
      this.#sent.push({ number, scope, isFor });
      this.#scopeOf.set(number, scope);
      await producer.send(target, `${number} of ${producer.name}`);
    };
    const { clientCount, roomCount } = this.#options;
    for (let round = 0; round < rounds; round++) {
      const step = round * 7 + producerNo * 13;
      const chosen = new Set([step, step + 1, step * 31].map((client) => client % clientCount));
      await send('direct', { keys: [...chosen].map((client) => `k${client}`) }, (client) => chosen.has(client));
      const mid = 1 + ((step * 17) % this.midOf(clientCount - 1));
      await send('direct', { mids: [mid] }, (client) => this.midOf(client) === mid);
      const room = `crowd://${step % roomCount}`;
      await send('room', { room }, (client) => this.roomOf(client) === room);
      if (round % 4 === 0) await send('all', { all: true }, () => true);
    }
  }

  /** Wait until as many pushes have arrived as were sent; faults() says what is wrong where they do not. */
  async settled(deadlineMs = 30_000): Promise<void> {
    const expectedCount = this.#sent.reduce(
      (sum, { isFor }) => sum + this.clients.reduce((count, _, client) => count + Number(isFor(client)), 0),
      0,
    );
    const receivedCount = () => this.clients.reduce((sum, { numbers }) => sum + numbers.length, 0);
    await eventually(() => receivedCount() >= expectedCount, deadlineMs, 'every push at every client').catch(() => {
      // Told by faults(), client by client.
    });
  }

  /** At most ten sentences; none: everyone has what is his, once, in order per producer and scope. */
  faults(): string[] {
    const faults: string[] = [];
    for (const [client, { numbers, gaps, closed }] of this.clients.entries()) {
      if (closed !== undefined) faults.push(`client ${client} was closed: ${closed.code} ${closed.reason}`);
      if (gaps.length > 0) faults.push(`client ${client} was told gaps: ${JSON.stringify(gaps)}`);
      for (const scope of SCOPES) {
        const expected = this.#sent.filter((sent) => sent.scope === scope && sent.isFor(client));
        const received = numbers.filter((number) => this.#scopeOf.get(number) === scope);
        // Stable: within a producer the order of arrival stays.
        const byProducer = received.sort((a, b) => Math.floor(a / PER_PRODUCER) - Math.floor(b / PER_PRODUCER));
        const wanted = expected.map(({ number }) => number).sort((a, b) => a - b);
        if (String(byProducer) !== String(wanted)) {
          faults.push(`client ${client}, ${scope}: received ${byProducer}; expected ${wanted}`);
        }
      }
      if (faults.length >= 10) break;
    }
    return faults;
  }

  close(): void {
    for (const client of this.clients) client.terminate();
  }
}
