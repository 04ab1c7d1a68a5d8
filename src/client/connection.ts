/**
 * One connection to the cluster that comes back by itself: finds a node and a way to it, authenticates, keeps alive, and takes up
 * again what ended. It carries packets and knows nothing of what they mean, except for ops 2, 3, 6, 7 and 8.
 *
 * ```text
 *  idle --connect--> connecting --op 8--> open --end--> waiting --delay, network is back--> connecting
 *                        |end               |              ^
 *                        +------------------+--------------+
 *   close(), or an end that says "stop", from everywhere: closed
 * ```
 *
 * Guarantees: events of a link that was given up are ignored; a dead line is noticed within the heartbeat's interval and deadline; a
 * close code of 3500 to 3999, or advice that says so, ends the attempts, except that a token from a function is fetched once more.
 */
import { HalleyError } from '../errors/index.js';
import { encodePacket, OP, PUSH_VER } from '../protocol/index.js';
import { AdaptiveInterval } from './adaptive-interval.js';
import type { ClientEvents, ClientState } from './client-events.js';
import type { ClientSettings } from './client-options.js';
import { type DownstreamSink, readDownstream } from './downstream.js';
import { Heartbeat } from './heartbeat.js';
import { NodeList } from './node-list.js';
import { ReconnectDelay } from './reconnect-delay.js';
import { readAdvice, readWelcome, type Welcome } from './server-bodies.js';
import { type Advice, type Link, type LinkEnd, OWN_CODE, type Transport } from './transport.port.js';
import { TransportChoice } from './transport-choice.js';

export interface ConnectionLinks extends Pick<DownstreamSink, 'pushed' | 'roomPushed'> {
  /** What op 7 is to carry now. @param heartbeatS the first interval */
  authBody(token: string, heartbeatS: number): Uint8Array<ArrayBuffer>;
  /** A control packet that is not the connection's own. */
  control(op: number, seq: number, body: Uint8Array<ArrayBuffer>): void;
  /** Op 8. The state is open already, and `open` has not been told yet. */
  opened(welcome: Welcome): void;
  /** Nothing more comes over this connection. `isFinal`: nor over another. */
  ended(isFinal: boolean, error: HalleyError): void;
  /** The server refused the key or a room. @returns true where another auth body may do better */
  mayAskForLess(): boolean;
  emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): void;
}

/** The codes of errors/ that mean something here; the table with its texts would be the larger part of the bundle. */
const UNAUTHORIZED_CODE = 3505;
const FORBIDDEN_CODE = 3506;
/** After so long open, the failures before are forgotten. */
const STABLE_MS = 60_000;
const INT32_MAX = 0x7fff_ffff;

export class Connection {
  readonly #settings: ClientSettings;
  readonly #links: ConnectionLinks;
  readonly #nodes: NodeList;
  readonly #choice: TransportChoice;
  readonly #delay: ReconnectDelay;
  readonly #interval: AdaptiveInterval;
  readonly #heartbeat: Heartbeat;
  #state: ClientState = 'idle';
  /** Of the attempt under way; what belongs to an older one is ignored. */
  #attempt = 0;
  #attemptCount = 0;
  #link: Link | undefined;
  #transport: Transport | undefined;
  #address = '';
  #token: string | undefined;
  /** The token was fetched anew since the last op 8. */
  #isTokenFresh = false;
  #wasOpen = false;
  #openSinceMs = 0;
  #windowMs = 0;
  #advice: Advice | undefined;
  /** The one timer: deadline of the handshake, turn of a better transport, or next attempt. */
  #cancelTimer: () => void = () => {};
  #stopListening: (() => void) | undefined;
  #seq = 0;

  constructor(settings: ClientSettings, links: ConnectionLinks) {
    const { timers, storage, heartbeat, backoff, random } = settings;
    this.#settings = settings;
    this.#links = links;
    this.#nodes = new NodeList(settings.nodes, settings.fetch);
    this.#choice = new TransportChoice(settings.transports);
    this.#delay = new ReconnectDelay(backoff, random);
    this.#interval = new AdaptiveInterval(storage, heartbeat);
    this.#heartbeat = new Heartbeat(timers, this.#interval, heartbeat.deadlineMs, {
      send: (body) => void this.#packet(OP.HEARTBEAT, body),
      dead: () => this.abandon(OWN_CODE.NO_ANSWER, 'no answer to the heartbeat'),
    });
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Whole seconds from one heartbeat to the next on this network. */
  get heartbeatS(): number {
    return this.#interval.intervalS;
  }

  connect(): void {
    if (this.#state !== 'idle' && this.#state !== 'closed') return;
    const { network } = this.#settings;
    this.#wasOpen = false;
    this.#attemptCount = 0;
    this.#delay.reset();
    this.#isTokenFresh = false;
    this.#interval.useNetwork(network.id());
    this.#stopListening = network.listen(() => this.#networkChanged());
    void this.#try();
  }

  /** Close and stay closed. */
  close(): void {
    if (this.#state !== 'idle' && this.#state !== 'closed')
      this.#finish({ code: OWN_CODE.BYE, reason: 'closed by the client' });
  }

  /** @returns the packet's seq, undefined where there is no open connection */
  send(op: number, body: Uint8Array | undefined): number | undefined {
    if (this.#state !== 'open') return undefined;
    this.#heartbeat.traffic();
    return this.#packet(op, body);
  }

  /** Give up a connection that is of no use any more, without waiting for the other side; another follows. */
  abandon(code: number, reason: string): void {
    if (this.#link !== undefined) this.#ended({ code, reason });
  }

  #packet(op: number, body: Uint8Array | undefined): number {
    // 0 is the seq of pushes.
    this.#seq = (this.#seq % INT32_MAX) + 1;
    this.#link?.send(encodePacket(op, this.#seq, PUSH_VER, body));
    return this.#seq;
  }

  async #try(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#cancelTimer();
    this.#become('connecting');
    try {
      const { token } = this.#settings;
      this.#token ??= typeof token === 'function' ? await token() : token;
      if (attempt !== this.#attempt) return;
      this.#address = await this.#nodes.next();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#links.emit('error', asHalleyError(error));
      this.#ended({ code: OWN_CODE.NOT_OPENED, reason: String(error) });
      return;
    }
    if (attempt === this.#attempt) this.#open(attempt);
  }

  #open(attempt: number): void {
    const transport = this.#choice.pick(this.#address, this.#settings.timers.nowMs());
    if (transport === undefined) {
      const error = new HalleyError('NO_TRANSPORT', 'no transport takes this address', {
        address: this.#address,
      });
      this.#links.emit('error', error);
      this.#ended({ code: OWN_CODE.NOT_OPENED, reason: error.message });
      return;
    }
    this.#transport = transport;
    this.#advice = undefined;
    const authBody = this.#links.authBody(this.#token ?? '', this.#interval.intervalS);
    const isCurrent = () => attempt === this.#attempt;
    this.#cancelTimer = this.#settings.timers.schedule(this.#settings.handshakeTimeoutMs, () => {
      this.#ended({ code: OWN_CODE.NO_ANSWER, reason: `no answer over ${transport.name}` });
    });
    this.#link = transport.open(this.#address, authBody, {
      onMessage: (bytes) => {
        if (isCurrent()) this.#arrived(bytes, isCurrent);
      },
      onEnd: (end) => {
        if (isCurrent()) this.#ended(end);
      },
    });
  }

  #arrived(bytes: Uint8Array<ArrayBuffer>, isCurrent: () => boolean): void {
    this.#heartbeat.alive();
    // A listener may close the client in the middle of a message.
    const problem = readDownstream(bytes, {
      control: (op, seq, body) => {
        if (isCurrent()) this.#control(op, seq, body);
      },
      pushed: (message) => {
        this.#heartbeat.traffic();
        if (isCurrent()) this.#links.pushed(message);
      },
      roomPushed: (room, epoch, messages) => {
        this.#heartbeat.traffic();
        if (isCurrent()) this.#links.roomPushed(room, epoch, messages);
      },
    });
    if (problem !== undefined && isCurrent()) this.abandon(OWN_CODE.UNREADABLE, problem);
  }

  #control(op: number, seq: number, body: Uint8Array<ArrayBuffer>): void {
    if (op === OP.HEARTBEAT_REPLY) return;
    if (op === OP.DISCONNECT) this.#advice = readAdvice(this.#settings.codec, body);
    else if (op !== OP.AUTH_REPLY) {
      this.#heartbeat.traffic();
      this.#links.control(op, seq, body);
    } else if (this.#state === 'connecting') this.#welcomed(readWelcome(this.#settings.codec, body));
  }

  #welcomed(welcome: Welcome): void {
    const transport = this.#transport!;
    const isReconnect = this.#wasOpen;
    this.#cancelTimer();
    const { timers } = this.#settings;
    this.#nodes.succeeded();
    this.#openSinceMs = timers.nowMs();
    const retryMs = this.#choice.worked(transport, this.#address, this.#openSinceMs);
    if (retryMs !== undefined) {
      const retry = () => this.abandon(OWN_CODE.BETTER, 'a better transport is tried again');
      this.#cancelTimer = timers.schedule(retryMs, retry);
    }
    this.#windowMs = welcome.reconnectWindowMs;
    this.#wasOpen = true;
    this.#attemptCount = 0;
    this.#isTokenFresh = false;
    this.#become('open');
    this.#heartbeat.start();
    this.#links.opened(welcome);
    // A listener of the state may have closed it.
    if (this.#state !== 'open') return;
    this.#links.emit('open', { key: welcome.key, address: this.#address, transport: transport.name, isReconnect });
  }

  #ended(end: LinkEnd): void {
    const wasOpen = this.#state === 'open';
    const advice = this.#advice ?? end.advice;
    const { code, reason } = advice ?? end;
    const isServersWord = advice !== undefined || (code >= 3000 && code <= 3999);
    const { token } = this.#settings;
    if (wasOpen && this.#settings.timers.nowMs() - this.#openSinceMs >= STABLE_MS) this.#delay.reset();
    const isOwnWish = code === OWN_CODE.BETTER;
    if (!wasOpen && !isServersWord && this.#transport !== undefined) {
      if (this.#choice.failed(this.#transport, this.#address)) this.#nodes.again();
    }
    this.#giveUpLink(end, !isServersWord && !isOwnWish);
    if (advice !== undefined && advice.nodes.length > 0) this.#nodes.prefer(advice.nodes);

    const wantsToken = code === UNAUTHORIZED_CODE && typeof token === 'function' && !this.#isTokenFresh;
    if (wantsToken) {
      this.#token = undefined;
      this.#isTokenFresh = true;
    }
    const mayRepair = wantsToken || (code === FORBIDDEN_CODE && !wasOpen && this.#links.mayAskForLess());
    const isStopped = advice === undefined ? code >= 3500 && code <= 3999 : !advice.reconnect;
    if (isStopped && !mayRepair) {
      this.#finish({ code, reason });
      return;
    }
    this.#attempt += 1;
    this.#become('waiting');
    this.#links.ended(false, endError(code, reason));
    if (wasOpen) this.#links.emit('close', { code, reason, willReconnect: true });
    // A listener may have closed the client, or begun anew.
    if (this.state === 'waiting')
      this.#wait(code, reason, mayRepair || isOwnWish ? 0 : this.#delayMs(wasOpen, isServersWord, advice));
  }

  #delayMs(wasOpen: boolean, isServersWord: boolean, advice: Advice | undefined): number {
    if (advice !== undefined && advice.retryAfterMs > 0) this.#delay.useWindow(advice.retryAfterMs);
    else if (wasOpen && advice === undefined) this.#delay.useWindow(this.#windowMs);
    // The next node of the list at once; a node that was reached and said no is no reason to hurry.
    else if (!wasOpen && !isServersWord && this.#nodes.hasUntried) return 0;
    return this.#delay.nextMs();
  }

  #wait(code: number, reason: string, delayMs: number): void {
    this.#attemptCount += 1;
    this.#cancelTimer = this.#settings.timers.schedule(delayMs, () => void this.#try());
    this.#links.emit('reconnecting', { attemptCount: this.#attemptCount, delayMs, code, reason });
  }

  #finish({ code, reason }: LinkEnd): void {
    this.#giveUpLink({ code, reason }, false);
    this.#attempt += 1;
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#token = undefined;
    this.#become('closed');
    this.#links.ended(true, endError(code, reason));
    this.#links.emit('close', { code, reason, willReconnect: false });
  }

  #giveUpLink({ code, reason }: LinkEnd, isDead: boolean): void {
    this.#cancelTimer();
    this.#heartbeat.stop(isDead);
    const link = this.#link;
    this.#link = undefined;
    this.#transport = undefined;
    link?.close(code, reason);
  }

  /** Online again, or on another network: what failed before says nothing now, and an open connection may be dead. */
  #networkChanged(): void {
    this.#interval.useNetwork(this.#settings.network.id());
    this.#delay.reset();
    this.#choice.forget();
    if (this.#state === 'waiting') void this.#try();
    else if (this.#state === 'open') this.#heartbeat.beatNow();
  }

  #become(state: ClientState): void {
    const from = this.#state;
    if (from === state) return;
    this.#state = state;
    this.#links.emit('stateChange', { from, to: state });
  }
}

function endError(code: number, reason: string): HalleyError {
  return new HalleyError('CLOSED', 'the connection ended', { code, reason });
}

function asHalleyError(error: unknown): HalleyError {
  return error instanceof HalleyError
    ? error
    : new HalleyError('NO_CONNECTION', 'no connection', { reason: String(error) }, error);
}
