/**
 * The door for clients without a WebSocket: sessions over plain HTTP, read by SSE or by polls, written by POST. The requests
 * themselves are `http-routes.ts`; here is what a bucket sees of it: sockets, topics, deadlines.
 *
 * Threads: its bucket.
 * Guarantees: as door.ts says. The end of a request does not end its channel: the client comes back with its cursor, and
 *   whoever does not is ended by the idle deadline. What a session had to say when it ended can be fetched for OVER_KEPT_MS.
 * Hot path: publish(): one copy and at most one encoding of each form per publish, then a loop over the members.
 */

import type { TemplatedApp } from 'uWebSockets.js';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, TimingWheel } from '../../clock/index.js';
import { CLOSE, type CloseCodeRow, DiscardCounter } from '../../errors/index.js';
import { encodePacket, OP } from '../../protocol/index.js';
import { CHANNEL_STATE, type Channel } from '../bucket/channel.js';
import { connIdOf } from '../bucket/channel-slots.js';
import { SOCKET_ANSWER } from '../bucket/channel-socket.js';
import type { Door, DoorHandlers } from '../bucket/door.js';
import { LoopTopics } from '../bucket/loop-topics.js';
import { tellError } from '../bucket/tell-error.js';
import { type Admission, NO_TICKET } from '../limits/admission.js';
import { connectStatusOf, endOf, type SessionEnd } from './http-errors.js';
import type { HttpExchange } from './http-exchange.js';
import { HttpMessage } from './http-message.js';
import { HttpRoutes } from './http-routes.js';
import { HttpSession, type SessionHost, type SessionReader } from './http-session.js';
import type { NodeLookups } from './node-lookups.js';
import { PrivateListener } from './private-listener.js';
import { type SessionPlace, SessionTokens } from './session-token.js';

/** What all buckets of a node have in common. */
export interface FallbackNode {
  readonly serverId: string;
  readonly nodeEpoch: number;
  /** Made at start; signs tokens and lets buckets know one another. */
  readonly secret: Uint8Array;
  /** Int32 per thread: the port of its private listener, 0 while it has none. */
  readonly ports: Int32Array;
  /** PEM of who vouches for other nodes' certificates; empty or absent: the system's authorities. */
  readonly ca?: string;
}

export interface HttpDoorOptions {
  readonly bucket: number;
  readonly incarnation: number;
  readonly maxBackpressureBytes: number;
  readonly reconnectWindowMs: number;
  /** Kept of what an SSE stream has written. */
  readonly replayBytes: number;
  readonly pollMaxWaitMs: number;
  /** Largest body of one packet. */
  readonly requestBodyBytes: number;
  /** Largest body of one POST. */
  readonly postMaxBytes: number;
}

export interface HttpDoorParts {
  readonly node: FallbackNode;
  readonly nodes: Pick<NodeLookups, 'find'>;
  readonly clock: Clock;
  /** Undefined: no rule is on. */
  readonly admission?: Admission | undefined;
}

const TICK_MS = 100;
const COMMENT_EVERY_MS = 15_000;
const OVER_KEPT_MS = 60_000;
const OVER_KEPT_COUNT = 10_000;
const REFUSED_RETRY_MS = 1_000;
const SETTLE_POLL_MS = 10;
const AUTH_SEQ = 1;
const AUTH_VER = 1;

export class HttpDoor implements Door, SessionHost {
  readonly maxBackpressureBytes: number;
  readonly replayBytes: number;
  readonly reconnectWindowMs: number;
  readonly discards = new DiscardCounter();
  readonly #options: HttpDoorOptions;
  readonly #handlers: DoorHandlers;
  readonly #clock: Clock;
  readonly #admission: Admission | undefined;
  readonly #tokens: SessionTokens;
  readonly #topics = new LoopTopics<HttpSession>();
  readonly #routes: HttpRoutes;
  readonly #private: PrivateListener;
  /** By the slot of the channel. */
  readonly #live: (HttpSession | undefined)[] = [];
  #liveCount = 0;
  /** Ended ones that may still be asked, the oldest first. */
  readonly #over = new Map<number, HttpSession>();
  /** Auth is being decided: who waits for the token. */
  readonly #connecting = new Map<HttpSession, HttpExchange>();
  readonly #wheel = new TimingWheel({ tickMs: TICK_MS, bucketCount: 1_024, initialSlots: 64 });
  #due: HttpSession[] = [];
  #timer: NodeJS.Timeout | undefined;
  #inert = false;

  constructor(options: HttpDoorOptions, handlers: DoorHandlers, parts: HttpDoorParts) {
    const { node } = parts;
    this.maxBackpressureBytes = options.maxBackpressureBytes;
    this.replayBytes = options.replayBytes;
    this.reconnectWindowMs = options.reconnectWindowMs;
    this.#options = options;
    this.#handlers = handlers;
    this.#clock = parts.clock;
    this.#admission = parts.admission;
    this.#tokens = new SessionTokens(node.serverId, node.nodeEpoch, node.secret);
    this.#routes = new HttpRoutes(options, {
      tokens: this.#tokens,
      node,
      nodes: parts.nodes,
      sessions: this,
      admission: parts.admission,
      onFault: (error) => this.#failed(error, undefined),
      isInert: () => this.#inert,
    });
    this.#private = new PrivateListener(node.ports, options.bucket, (app) => this.#routes.attach(app, true));
  }

  /** Sessions that are open. */
  get sessionCount(): number {
    return this.#liveCount;
  }

  /** Serve the fallbacks on this app too; before its catch-all route. */
  attach(app: TemplatedApp): void {
    this.#routes.attach(app, false);
  }

  // Door.

  /** The private listener only: clients come through the apps. */
  listen(): Promise<void> {
    return this.#private.listen();
  }

  /** Sessions go on: their requests still reach this bucket through the others. */
  stopAccepting(): void {}

  publish(topic: string, bytes: Uint8Array): void {
    const members = this.#topics.membersOf(topic);
    if (members === undefined) return;
    const message = new HttpMessage(bytes);
    for (const session of members) {
      if (session.deliver(message) !== SOCKET_ANSWER.DROPPED) continue;
      this.lost(session);
    }
  }

  /** Answers that come through this bucket from others, which are closing their sessions too, should still get through. */
  async settle(withinMs: number): Promise<void> {
    const endMs = this.#clock.monotonicMs() + withinMs;
    while (this.#routes.forwardingCount > 0 && this.#clock.monotonicMs() < endMs) await sleep(SETTLE_POLL_MS);
  }

  makeInert(): void {
    this.#inert = true;
  }

  closeAll(): void {
    for (const session of this.#live) session?.end(CLOSE.BUCKET_FAILED.code, CLOSE.BUCKET_FAILED.reason);
    this.#over.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#private.close();
    this.#routes.close();
  }

  // What the routes ask for.

  /** POST /sub/connect: a channel whose auth packet has this body. */
  connect(exchange: HttpExchange, body: Uint8Array, clientAddress: string): void {
    const ticket = this.#admission?.enter(clientAddress) ?? NO_TICKET;
    if (typeof ticket !== 'number') {
      exchange.error(ticket.status, endOf(ticket.row, ticket.reason, ticket.retryAfterMs));
      return;
    }
    const created = this.#handlers.create();
    if ('code' in created) {
      this.#admission?.leave(ticket);
      this.#refuse(exchange, endOf(created as CloseCodeRow));
      return;
    }
    const session = new HttpSession(this, clientAddress);
    session.admissionTicket = ticket;
    session.channel = created;
    session.slot = created.slot;
    session.connId = connIdOf(created);
    created.socket = session;
    this.#live[session.slot] = session;
    this.#liveCount += 1;
    this.#connecting.set(session, exchange);
    this.#timer ??= setInterval(() => this.#guard(undefined, () => this.#tick()), TICK_MS);
    // Nobody would ever learn its token.
    exchange.onGone = () => session.close();
    this.#guard(created, this.#handlers.open);
    this.#guard(created, () => this.#handlers.message(created, encodePacket(OP.AUTH, AUTH_SEQ, AUTH_VER, body), true));
  }

  find(place: SessionPlace): HttpSession | undefined {
    const connId = connIdOf(place);
    const session = this.#live[place.slot];
    return session?.connId === connId ? session : this.#over.get(connId);
  }

  /** Packets that the client posted. */
  message(session: HttpSession, bytes: Uint8Array, isBinary: boolean): void {
    const { channel } = session;
    if (channel !== undefined) this.#guard(channel, () => this.#handlers.message(channel, bytes, isBinary));
  }

  /** A request waits for messages from here on. @param waitMs how long a poll may; undefined: a stream */
  read(session: HttpSession, reader: SessionReader, cursor: number | undefined, waitMs: number | undefined): void {
    const { channel } = session;
    if (channel !== undefined) this.#guard(channel, this.#handlers.ping);
    session.attach(reader, cursor);
    if (session.reader !== reader || session.over !== undefined) return;
    if (waitMs === 0) {
      reader.onDeadline(session);
      return;
    }
    // A poll that waits must not look like a client that is gone.
    const idleMs = channel?.idleMs ?? 0;
    const longestMs = idleMs > 0 ? Math.min(this.#options.pollMaxWaitMs, idleMs / 2) : this.#options.pollMaxWaitMs;
    const deadlineMs = waitMs === undefined ? COMMENT_EVERY_MS : Math.min(waitMs, longestMs);
    this.#wheel.schedule(session.slot, this.#clock.monotonicMs() + deadlineMs);
  }

  // SessionHost.

  serveSoon(session: HttpSession): void {
    if (session.reader === undefined && !this.#connecting.has(session)) return;
    session.isDue = true;
    if (this.#due.length === 0) setImmediate(() => this.#guard(undefined, () => this.#serveDue()));
    this.#due.push(session);
  }

  subscribe(session: HttpSession, topic: string): boolean {
    return this.#topics.subscribe(session, topic);
  }

  unsubscribe(session: HttpSession, topic: string): boolean {
    return this.#topics.unsubscribe(session, topic);
  }

  drained({ channel }: HttpSession): void {
    if (channel !== undefined) this.#guard(channel, this.#handlers.drain);
  }

  /** As if it had been too slow: it leaves its topics and comes back with a Gap for each. */
  lost({ channel }: HttpSession): void {
    if (channel !== undefined) this.#guard(channel, this.#handlers.dropped);
  }

  readerChanged(session: HttpSession): void {
    // Behind its end the slot may be another session's.
    if (session.reader === undefined && session.over === undefined) this.#wheel.cancel(session.slot);
  }

  ended(session: HttpSession): void {
    const { channel, over } = session;
    this.#topics.leaveAll(session);
    this.#admission?.leave(session.admissionTicket ?? NO_TICKET);
    this.#wheel.cancel(session.slot);
    this.#live[session.slot] = undefined;
    this.#liveCount -= 1;
    session.channel = undefined;
    const exchange = this.#connecting.get(session);
    if (exchange !== undefined && over !== undefined) {
      this.#connecting.delete(session);
      this.#refuse(exchange, over);
    } else {
      this.#keepOver(session);
    }
    if (channel !== undefined) this.#guard(channel, this.#handlers.close);
  }

  // Turns and ticks.

  #serveDue(): void {
    const due = this.#due;
    this.#due = [];
    for (const session of due) {
      session.isDue = false;
      const exchange = this.#connecting.get(session);
      if (exchange !== undefined) this.#connected(session, exchange);
      const { reader } = session;
      if (reader !== undefined) this.#guard(session.channel, () => reader.serve(session));
    }
  }

  #connected(session: HttpSession, exchange: HttpExchange): void {
    const { channel } = session;
    if (channel === undefined) return;
    this.#connecting.delete(session);
    const { bucket, incarnation } = this.#options;
    const token = this.#tokens.mint({ bucket, incarnation, serial: channel.serial, slot: channel.slot });
    exchange.json('200 OK', JSON.stringify({ session: token }));
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#wheel.advance(nowMs, (slot) => {
      const session = this.#live[slot];
      session?.reader?.onDeadline(session);
      if (session?.reader !== undefined) this.#wheel.schedule(slot, nowMs + COMMENT_EVERY_MS);
    });
    // An application's acceptor sends no op 8, whose coming is the sign otherwise.
    for (const [session, exchange] of this.#connecting) {
      if (session.channel?.state === CHANNEL_STATE.READY) this.#connected(session, exchange);
    }
    for (const [key, session] of this.#over) {
      if (session.forgetAtMs > nowMs && this.#over.size <= OVER_KEPT_COUNT) break;
      this.#over.delete(key);
    }
    if (this.#liveCount > 0 || this.#over.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #keepOver(session: HttpSession): void {
    session.forgetAtMs = this.#clock.monotonicMs() + OVER_KEPT_MS;
    this.#over.set(session.connId, session);
  }

  #refuse(exchange: HttpExchange, end: SessionEnd): void {
    const retryAfterMs = end.retryAfterMs || (end.reconnect ? REFUSED_RETRY_MS : 0);
    exchange.error(connectStatusOf(end.code), { ...end, retryAfterMs });
  }

  #guard(channel: Channel | undefined, handle: (channel: Channel) => void): void {
    if (this.#inert) return;
    try {
      handle(channel as Channel);
    } catch (error) {
      this.#failed(error, channel);
    }
  }

  #failed(error: unknown, channel: Channel | undefined): void {
    if (!this.#inert) tellError(this.#handlers, this, error, channel);
  }
}

/** A node's secret. */
export function newFallbackSecret(): Uint8Array {
  return randomBytes(32);
}
