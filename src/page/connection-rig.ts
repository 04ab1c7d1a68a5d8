/**
 * For connection.test.ts: the ports of a connection played by hand. Time passes when the test says so, the server answers
 * what the test says, and everything the connection tells is kept.
 */
import { ManualClock } from '../clock/index.js';
import { encodePacket, OP, PARSE, type Packet, PacketStream } from '../protocol/index.js';
import { Connection } from './connection.js';
import type { ConnectionListener, ConnectionStatus } from './connection-status.js';
import type { InboundMessage } from './frame.js';
import type { ConnectSettings } from './settings.js';
import type { Socket, SocketEvents } from './socket.port.js';

const START_MS = 1_750_000_000_000;

/** The server's end of one socket. */
export class FakeServer implements Socket {
  readonly url: string;
  readonly events: SocketEvents;
  readonly packets: Packet[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(url: string, events: SocketEvents) {
    this.url = url;
    this.events = events;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    const stream = new PacketStream(() => bytes.length);
    stream.feed(bytes);
    if (stream.next() !== PARSE.OK) throw new Error('the page sent a malformed packet');
    const { ver, op, seq, bodyOffset, bodyBytes } = stream.header;
    this.packets.push({ ver, op, seq, body: bytes.slice(bodyOffset, bodyOffset + bodyBytes) });
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason };
  }

  /** The last packet with this operation. */
  last(op: number): Packet {
    const packet = this.packets.findLast((one) => one.op === op);
    if (packet === undefined) throw new Error(`the page sent no op ${op}`);
    return packet;
  }

  json(op: number): unknown {
    return JSON.parse(new TextDecoder().decode(this.last(op).body));
  }

  tell(op: number, body: Uint8Array = new Uint8Array(0), seq = 0): void {
    this.events.onMessage(encodePacket(op, seq, 1, body));
  }

  tellJson(op: number, body: unknown): void {
    this.tell(op, new TextEncoder().encode(JSON.stringify(body)));
  }

  /** Open the socket and accept the auth packet. */
  accept(): void {
    this.events.onOpen();
    this.tell(OP.AUTH_REPLY);
  }
}

export class ConnectionRig implements ConnectionListener {
  readonly clock = new ManualClock(START_MS);
  readonly servers: FakeServer[] = [];
  readonly statuses: ConnectionStatus[] = [];
  readonly messages: InboundMessage[] = [];
  readonly counts: (readonly [memberCount: number, roundTripMs: number])[] = [];
  readonly gaps: (readonly [missedCount: number, text: string])[] = [];
  readonly notes: string[] = [];
  /** What the next socket does instead of opening. */
  openError: Error | undefined;
  random = 0.5;
  readonly connection: Connection;
  #timers: { readonly atMs: number; readonly task: () => void }[] = [];

  constructor() {
    this.connection = new Connection(
      {
        clock: this.clock,
        random: () => this.random,
        openSocket: (url, events) => {
          if (this.openError !== undefined) throw this.openError;
          const server = new FakeServer(url, events);
          this.servers.push(server);
          return server;
        },
        schedule: (delayMs, task) => {
          const timer = { atMs: this.clock.monotonicMs() + delayMs, task };
          this.#timers.push(timer);
          return () => {
            this.#timers = this.#timers.filter((one) => one !== timer);
          };
        },
      },
      this,
    );
  }

  get server(): FakeServer {
    const server = this.servers.at(-1);
    if (server === undefined) throw new Error('the page opened no socket');
    return server;
  }

  get status(): ConnectionStatus {
    return this.connection.status;
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  /** Let time pass; timers that become due run, in their order. */
  advance(durationMs: number): void {
    const endMs = this.clock.monotonicMs() + durationMs;
    for (;;) {
      const due = this.#timers.filter((one) => one.atMs <= endMs).toSorted((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== due);
      this.clock.advance(Math.max(0, due.atMs - this.clock.monotonicMs()));
      due.task();
    }
    this.clock.advance(endMs - this.clock.monotonicMs());
  }

  /** Connect and be accepted. */
  online(settings: Partial<ConnectSettings> = {}): FakeServer {
    this.connection.connect({ ...SETTINGS, ...settings });
    this.server.accept();
    return this.server;
  }

  statusChanged(status: ConnectionStatus): void {
    this.statuses.push(status);
  }

  pushesArrived(messages: readonly InboundMessage[]): void {
    this.messages.push(...messages);
  }

  heartbeatAnswered(memberCount: number, roundTripMs: number): void {
    this.counts.push([memberCount, roundTripMs]);
  }

  roomsChanged(): void {
    // The rooms are read where a test wants to know them.
  }

  gapFound(missedCount: number, text: string): void {
    this.gaps.push([missedCount, text]);
  }

  noted(op: number, text: string): void {
    this.notes.push(`${op}: ${text}`);
  }
}

export const SETTINGS: ConnectSettings = {
  url: 'ws://node:3102/sub',
  mid: 7,
  key: 'web-1',
  room: 'live://1000',
  accepts: [1000, 1001],
  token: '',
  extended: true,
};
