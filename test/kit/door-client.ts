/**
 * One client for every door of a node. What a door does to bytes is its `DoorLink` (door-links.ts); here is what a client on any of
 * them can do, so that a test says it once: connect with an auth body, send packets, see what comes, and learn how it ended.
 */
import { encodePacket, OP } from '../../src/protocol/index.js';
import { eventually } from './eventually.js';
import { PacketLog } from './packet-log.js';
import type { ReceivedGap } from './tally-client.js';
import type { ReceivedMessage, ReceivedPacket } from './wire-client.js';

/** Where a node's doors are. */
export interface DoorNode {
  readonly wsUrl: string;
  readonly wssUrl: string;
  readonly tcpPort: number;
  readonly tcpTlsPort: number;
  /** PEM of the authority behind the TLS ports. */
  readonly ca: string;
}

/** How a channel ended, as far as its client was told. */
export interface DoorEnd {
  /** TOLD_NOTHING: the connection ended without a word. */
  readonly code: number;
  readonly reason: string;
  /** Told by op 6 or by the body of an answer. */
  readonly reconnect?: boolean;
  readonly retryAfterMs?: number;
  /** Of the HTTP answer that refused a connect. */
  readonly status?: number;
}

export const TOLD_NOTHING = 0;

/** An answer to a POST of packets that was no 204. */
export interface DoorRefusal {
  readonly status: number;
  readonly code: number;
}

export interface DoorLinkEvents {
  /** @param isWhole false: a stream, split anywhere */
  bytes(bytes: Buffer, isWhole: boolean): void;
  refused(refusal: DoorRefusal): void;
  closed(end: DoorEnd): void;
  /** The server did what it must not: the test fails where it waits next. */
  fault(error: unknown): void;
}

export interface DoorLink {
  /** Whole packets, or what a test takes for it. */
  send(bytes: Uint8Array): void;
  /** Leave as a client should. */
  close(): void;
  /** Vanish without a word. */
  cut(): void;
  /** Take nothing more from the server, until resume(). */
  pause(): void;
  resume(): void;
}

export interface Door {
  readonly name: string;
  /** The end has no room for a code: only op 6 says why, which goim clients do not get, and nobody before auth. */
  readonly isMute: boolean;
  /** Auth is a request of its own: there is no connection without it. */
  readonly isHttp: boolean;
  /** What brings the messages is a sign of life. */
  readonly isKeptByReading: boolean;
  /** Connect and send this auth body. */
  open(node: DoorNode, authBody: string, events: DoorLinkEvents): DoorLink;
}

export class DoorClient {
  readonly door: Door;
  readonly isExtended: boolean;
  readonly refusals: DoorRefusal[] = [];
  closed: DoorEnd | undefined;
  readonly #log = new PacketLog();
  readonly #link: DoorLink;
  #seq = 1;
  /** What was wrong with what the server sent: whoever waits is told. */
  #fault: unknown;

  private constructor(door: Door, node: DoorNode, authBody: string) {
    this.door = door;
    this.isExtended = /"halley":\s*1/.test(authBody);
    this.#link = door.open(node, authBody, {
      bytes: (bytes, isWhole) => this.#guard(() => (isWhole ? this.#log.take(bytes) : this.#log.feed(bytes))),
      refused: (refusal) => void this.refusals.push(refusal),
      closed: (end) =>
        this.#guard(() => {
          this.closed ??= { ...end, ...this.#advice(end) };
        }),
      fault: (error) => {
        this.#fault ??= error;
      },
    });
  }

  /** Connect with this auth body; not yet accepted, perhaps never. */
  static open(door: Door, node: DoorNode, auth: object | string): DoorClient {
    return new DoorClient(door, node, typeof auth === 'string' ? auth : JSON.stringify(auth));
  }

  /** Connect and pass auth. Rejects where the server refuses. */
  static async connect(door: Door, node: DoorNode, auth: object): Promise<DoorClient> {
    const client = DoorClient.open(door, node, auth);
    await client.expect(OP.AUTH_REPLY);
    return client;
  }

  get packets(): readonly ReceivedPacket[] {
    return this.#log.packets;
  }

  /** Pushes, unpacked, in the order of arrival. */
  get messages(): readonly ReceivedMessage[] {
    return this.#log.messages;
  }

  get texts(): string[] {
    return this.#log.messages.map(({ text }) => text);
  }

  get gaps(): readonly ReceivedGap[] {
    return this.#log.gaps;
  }

  /** Send one packet; returns its seq. */
  send(op: number, body: Uint8Array | string = ''): number {
    this.#seq += 1;
    this.sendRaw(encodePacket(op, this.#seq, 1, typeof body === 'string' ? Buffer.from(body) : body));
    return this.#seq;
  }

  sendRaw(bytes: Uint8Array): void {
    this.#link.send(bytes);
  }

  /** Send a packet and wait for the reply with its seq. */
  request(op: number, body: Uint8Array | string = '', replyOp = op): Promise<ReceivedPacket> {
    const seq = this.send(op, body);
    const find = () => this.packets.find((packet) => packet.op === replyOp && packet.seq === seq);
    return this.waitFor(find, `reply ${replyOp}`);
  }

  /** The first packet with this op. */
  expect(op: number): Promise<ReceivedPacket> {
    return this.waitFor(() => this.packets.find((packet) => packet.op === op), `op ${op}`);
  }

  /** Wait until so many pushes are there. */
  async messageCount(count: number): Promise<readonly ReceivedMessage[]> {
    await this.waitFor(() => this.messages.length >= count || undefined, `${count} messages`);
    return this.messages;
  }

  /** An early end is an error. */
  waitFor<T>(find: () => T | undefined, what: string): Promise<T> {
    return eventually(
      () => {
        if (this.#fault !== undefined) throw this.#fault;
        const found = find();
        if (found === undefined && this.closed !== undefined) {
          throw new Error(`${this.door.name}: closed ${JSON.stringify(this.closed)} while waiting for ${what}`);
        }
        return found;
      },
      10_000,
      `${this.door.name}: ${what}`,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; there are ${this.messages.length} messages`, { cause: error });
    });
  }

  closing(): Promise<DoorEnd> {
    return eventually(
      () => {
        if (this.#fault !== undefined) throw this.#fault;
        return this.closed;
      },
      10_000,
      `${this.door.name}: the end`,
    );
  }

  /** What a client of this door and form is told where the server ends it with `code`. */
  toldOf(code: number): number {
    return this.door.isMute && !this.isExtended ? TOLD_NOTHING : code;
  }

  async close(): Promise<void> {
    this.#link.close();
    await this.closing();
  }

  cut(): void {
    this.#link.cut();
  }

  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  #guard(take: () => void): void {
    if (this.#fault !== undefined) return;
    try {
      take();
    } catch (error) {
      this.#fault = error;
    }
  }

  /** What op 6 said; where the door tells a code too, it must be the same. */
  #advice({ code, reason }: DoorEnd): Partial<DoorEnd> {
    const packet = this.packets.find(({ op }) => op === OP.DISCONNECT);
    if (packet === undefined) return {};
    const told = JSON.parse(packet.body.toString());
    if (!this.door.isMute && (told.code !== code || told.reason !== reason)) {
      throw new Error(`${this.door.name}: op 6 says ${packet.body}, the end says ${code} ${reason}`);
    }
    return {
      code: told.code,
      reason: told.reason,
      reconnect: told.reconnect,
      retryAfterMs: told.retry_after_ms,
    };
  }
}
