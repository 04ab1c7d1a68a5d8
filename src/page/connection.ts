/**
 * One connection to a Halley node that comes back by itself: opens, authenticates, keeps alive, and says what arrives.
 * No DOM: socket, clock, timers and randomness are handed in.
 *
 * ```text
 *  idle --connect--> connecting --op 8--> online --end--> waiting --delay--> connecting
 *   ^                    |end                |               |
 *   |                    +----> waiting <----+               +--retryNow: at once
 *   +---- disconnect, from everywhere        closed <---- an end that says "stop"
 * ```
 *
 * Guarantees: events of a socket that was given up are ignored; a server that lets a heartbeat go unanswered until the next
 * is due is given up without waiting for its close; a close code of 3500 and up, or an op 6 that says so, ends the attempts.
 */
import {
  decodeDisconnect,
  encodeAuthBody,
  encodePacket,
  HEARTBEAT_BODY_NONE,
  OP,
  PUSH_VER,
  readHeartbeatBody,
} from '../protocol/index.js';
import { fullJitterMs } from './backoff.js';
import type { ConnectionEnd, ConnectionListener, ConnectionPorts, ConnectionStatus } from './connection-status.js';
import { type BatchPlace, type FrameSink, type InboundMessage, readFrame } from './frame.js';
import { Membership } from './membership.js';
import type { RoomRow } from './room-table.js';
import type { ConnectSettings } from './settings.js';
import type { Socket } from './socket.port.js';

/** Op 2 while somebody looks at the page; the answer brings the member count. */
export const HEARTBEAT_VISIBLE_MS = 10_000;
/** Browsers wake the timers of a hidden page once a minute at best. */
export const HEARTBEAT_HIDDEN_MS = 60_000;
/** From opening the socket to op 8. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** After so long online the failures before are forgotten. */
const SETTLED_MS = 5_000;
/** From this close code on a client must not come back. */
const FIRST_STOP_CODE = 3500;
/** Codes of our own making; servers do not send them. */
const OWN_CODE = { BYE: 1000, NO_ANSWER: 4901, UNREADABLE: 4902, NOT_OPENED: 4903 } as const;

/** What op 6 said; counts until the close that it announces. */
interface Farewell extends ConnectionEnd {
  readonly reconnect: boolean;
  readonly retryAfterMs: number;
}

export class Connection implements FrameSink {
  readonly #ports: ConnectionPorts;
  readonly #listener: ConnectionListener;
  readonly #membership: Membership;
  #status: ConnectionStatus = { phase: 'idle' };
  #settings: ConnectSettings | undefined;
  #socket: Socket | undefined;
  /** Of the one timer: handshake deadline, next heartbeat or next attempt, by phase. */
  #cancelTimer: () => void = () => {};
  #failureCount = 0;
  /** Monotonic. */
  #onlineSinceMs = 0;
  #isVisible = true;
  #seq = 0;
  #beatSeq = 0;
  #beatSentMs = 0;
  /** Anything at all has arrived since the last heartbeat: the line is alive. */
  #isBeatAnswered = true;
  #farewell: Farewell | undefined;

  constructor(ports: ConnectionPorts, listener: ConnectionListener) {
    this.#ports = ports;
    this.#listener = listener;
    this.#membership = new Membership(listener, (op, body) => this.#send(op, body));
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  rooms(): RoomRow[] {
    return this.#membership.rooms();
  }

  /** Connect with these settings; an older connection is closed and its rooms are forgotten. */
  connect(settings: ConnectSettings): void {
    this.#giveUpSocket(OWN_CODE.BYE, '');
    this.#settings = settings;
    this.#failureCount = 0;
    this.#membership.reset(settings.room, settings.extended);
    this.#open(settings);
  }

  /** Close and stay closed. */
  disconnect(): void {
    this.#giveUpSocket(OWN_CODE.BYE, '');
    this.#settings = undefined;
    this.#membership.reset('', false);
    this.#become({ phase: 'idle' });
  }

  /** Do not wait for the delay: the network is back, or the person is impatient. */
  retryNow(): void {
    if (this.#status.phase === 'waiting' && this.#settings !== undefined) this.#open(this.#settings);
  }

  /** A hidden page keeps alive and does no more; one that is shown again wants its count at once. */
  setVisible(isVisible: boolean): void {
    if (this.#isVisible === isVisible) return;
    this.#isVisible = isVisible;
    if (this.#status.phase !== 'online') return;
    if (isVisible) this.#beat();
    else this.#scheduleBeat();
  }

  /** Join one more room; without extensions, move to it. Nothing happens unless online. */
  join(room: string): void {
    if (this.#status.phase === 'online') this.#membership.join(room);
  }

  /** Leave a room, or take a refused one off the list. Nothing happens unless online. */
  leave(room: string): void {
    if (this.#status.phase === 'online') this.#membership.leave(room);
  }

  control(op: number, seq: number, body: Uint8Array): void {
    const problem = this.#control(op, seq, body);
    if (problem !== undefined) this.#abandon(OWN_CODE.UNREADABLE, problem);
  }

  pushes(messages: readonly InboundMessage[], place: BatchPlace | undefined): void {
    if (place !== undefined) this.#membership.batchArrived(place, messages.length);
    this.#listener.pushesArrived(messages);
  }

  /** @returns what was wrong with the packet, or undefined */
  #control(op: number, seq: number, body: Uint8Array): string | undefined {
    switch (op) {
      case OP.AUTH_REPLY:
        if (this.#status.phase === 'connecting') this.#authenticated();
        return undefined;
      case OP.HEARTBEAT_REPLY:
        this.#heartbeatAnswered(seq, body);
        return undefined;
      case OP.CHANGE_ROOM_REPLY:
        this.#membership.primaryChanged();
        this.#beat();
        return undefined;
      case OP.JOIN_ROOMS_REPLY:
        return this.#membership.joinAnswered(body);
      case OP.LEAVE_ROOMS_REPLY:
        return this.#membership.leaveAnswered(body);
      case OP.GAP:
        return this.#membership.gapTold(body);
      case OP.DISCONNECT:
        return this.#farewellTold(body);
      default:
        this.#listener.noted(op, `a packet of ${body.length} bytes that this page does not know`);
        return undefined;
    }
  }

  #open(settings: ConnectSettings): void {
    this.#cancelTimer();
    this.#farewell = undefined;
    this.#become({ phase: 'connecting', url: settings.url });
    try {
      const socket: Socket = this.#ports.openSocket(settings.url, {
        onOpen: () => {
          if (this.#socket === socket) this.#send(OP.AUTH, this.#authBody(settings));
        },
        onMessage: (bytes) => {
          if (this.#socket === socket) this.#frameArrived(bytes);
        },
        onClose: (code, reason) => {
          if (this.#socket === socket) this.#ended({ code, reason });
        },
      });
      this.#socket = socket;
    } catch (error) {
      // A browser refuses here what it would never allow, as ws:// from an https page: trying again is no use.
      this.#become({ phase: 'closed', end: { code: OWN_CODE.NOT_OPENED, reason: String(error) } });
      return;
    }
    this.#cancelTimer = this.#ports.schedule(HANDSHAKE_TIMEOUT_MS, () =>
      this.#abandon(OWN_CODE.NO_ANSWER, 'no answer to the handshake'),
    );
  }

  #authBody({ mid, key, accepts, token, extended }: ConnectSettings): Uint8Array {
    const roomId = this.#membership.primary;
    return encodeAuthBody({
      mid,
      platform: 'web',
      accepts: [...accepts],
      codec: 'json',
      extended,
      ...(key === '' ? {} : { key }),
      ...(roomId === '' ? {} : { roomId }),
      ...(token === '' ? {} : { token }),
    });
  }

  #authenticated(): void {
    const { clock } = this.#ports;
    this.#onlineSinceMs = clock.monotonicMs();
    this.#become({ phase: 'online', sinceMs: clock.nowMs() });
    this.#membership.online();
    this.#beat();
  }

  #heartbeatAnswered(seq: number, body: Uint8Array): void {
    const memberCount = readHeartbeatBody(body, 0, body.length);
    if (seq !== this.#beatSeq || memberCount === HEARTBEAT_BODY_NONE) return;
    this.#listener.heartbeatAnswered(memberCount, this.#ports.clock.monotonicMs() - this.#beatSentMs);
  }

  #farewellTold(body: Uint8Array): string | undefined {
    const told = decodeDisconnect('json', body);
    if (!told.ok) return told.error;
    const { code, reason, reconnect, retryAfterMs } = told.value;
    this.#farewell = { code, reason, reconnect, retryAfterMs };
    this.#listener.noted(OP.DISCONNECT, `${code} ${reason}; ${reconnect ? 'come back' : 'do not come back'}`);
    return undefined;
  }

  #frameArrived(bytes: Uint8Array): void {
    this.#isBeatAnswered = true;
    const problem = readFrame(bytes, this);
    if (problem !== undefined) this.#abandon(OWN_CODE.UNREADABLE, problem);
  }

  #beat(): void {
    this.#isBeatAnswered = false;
    this.#beatSentMs = this.#ports.clock.monotonicMs();
    this.#beatSeq = this.#send(OP.HEARTBEAT);
    this.#scheduleBeat();
  }

  #scheduleBeat(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#ports.schedule(this.#isVisible ? HEARTBEAT_VISIBLE_MS : HEARTBEAT_HIDDEN_MS, () => {
      if (this.#isBeatAnswered) this.#beat();
      else this.#abandon(OWN_CODE.NO_ANSWER, 'the server did not answer the heartbeat');
    });
  }

  /** @returns the packet's seq */
  #send(op: number, body?: Uint8Array): number {
    this.#seq += 1;
    this.#socket?.send(encodePacket(op, this.#seq, PUSH_VER, body));
    return this.#seq;
  }

  /** End a connection that is of no use any more, without waiting for the other side. */
  #abandon(code: number, reason: string): void {
    if (this.#socket === undefined) return;
    this.#giveUpSocket(code, reason);
    this.#ended({ code, reason });
  }

  #giveUpSocket(code: number, reason: string): void {
    this.#cancelTimer();
    const socket = this.#socket;
    this.#socket = undefined;
    // A close frame holds at most 123 bytes of reason, and what a decoder quotes may be anything.
    socket?.close(code, /^[ -~]{0,123}$/.test(reason) ? reason : 'unreadable');
  }

  #ended(closed: ConnectionEnd): void {
    const { clock, random, schedule } = this.#ports;
    this.#cancelTimer();
    this.#socket = undefined;
    this.#membership.offline();
    const wasOnline = this.#status.phase === 'online';
    if (wasOnline && clock.monotonicMs() - this.#onlineSinceMs >= SETTLED_MS) this.#failureCount = 0;
    const farewell = this.#farewell;
    const end = farewell === undefined ? closed : { code: farewell.code, reason: farewell.reason };
    const mayComeBack = farewell?.reconnect ?? (end.code < FIRST_STOP_CODE || end.code === OWN_CODE.NO_ANSWER);
    if (!mayComeBack) {
      this.#become({ phase: 'closed', end });
      return;
    }
    const delayMs = (farewell?.retryAfterMs ?? 0) + fullJitterMs(this.#failureCount, random());
    this.#failureCount += 1;
    this.#become({ phase: 'waiting', end, delayMs, attemptCount: this.#failureCount });
    this.#cancelTimer = schedule(delayMs, () => this.retryNow());
  }

  #become(status: ConnectionStatus): void {
    this.#status = status;
    this.#listener.statusChanged(status);
  }
}
