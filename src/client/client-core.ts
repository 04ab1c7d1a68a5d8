/**
 * The client: rooms, watch set, requests and events over one connection that comes back by itself. Without transports of its own, so
 * that a bundle holds those only that it names; `HalleyClient` has the usual three.
 *
 * Guarantees: messages of a room come strictly in order, each once, and every hole is told once, in its place (room-stream.ts).
 * Direct pushes and pushes to all come at most once; what a slow or broken connection lost of them is not known, except where
 * the server tells a gap. Events are told from inside the arrival of what they tell.
 */
import { HalleyError } from '../errors/index.js';
import { encodeAuthBody, encodeOpList, encodeUtf8, OP } from '../protocol/index.js';
import { type BodyInput, toBody } from './body-codec.js';
import type { ClientEvents, ClientMessage, ClientState, GapEvent } from './client-events.js';
import type { ClientSettings } from './client-options.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { RecentlySeen } from './recently-seen.js';
import { type Reply, type RequestOptions, Requests } from './requests.js';
import { Rooms } from './rooms.js';
import { type RoomResult, readGap, type Welcome } from './server-bodies.js';
import { OWN_CODE } from './transport.port.js';

/** A server takes auth bodies of 4,096 bytes and 64 rooms in them, by default. */
const AUTH_BODY_BYTES = 4_000;
const AUTH_ROOMS_COUNT = 64;
/** Operations per op 14 or 16: eleven bytes each at most, and a server takes 4,096. */
const OPS_PER_REQUEST = 256;

/** Somebody waits for the first op 8: called with the error where it will never come. */
type Connecting = (error?: HalleyError) => void;

export class ClientCore {
  readonly #settings: ClientSettings;
  readonly #emitter: Emitter<ClientEvents>;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #rooms: Rooms;
  readonly #watched: Set<number>;
  readonly #seen: RecentlySeen;
  #key: string;
  /** What the auth body under way says. */
  #authOps: readonly number[] = [];
  /** Offset up to which pushes to all were told or missed, and of which epoch. */
  #all = { epoch: 0, offset: 0 };
  #connecting: Connecting[] = [];
  #hasAskedForLess = false;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
    this.#key = settings.key;
    this.#watched = new Set(settings.ops);
    this.#seen = new RecentlySeen(settings.maxSeenIds);
    this.#emitter = new Emitter((error, name) => this.#listenerThrew(error, name));
    const emit: Emitter<ClientEvents>['emit'] = (name, event) => this.#emitter.emit(name, event);
    this.#connection = new Connection(settings, {
      authBody: (token, heartbeatS) => this.#authBody(token, heartbeatS),
      control: (op, seq, body) => this.#control(op, seq, body),
      pushed: (message) => this.#pushed(message),
      roomPushed: (room, epoch, messages) => this.#rooms.arrived(room, epoch, messages),
      opened: (welcome) => this.#opened(welcome),
      ended: (isFinal, error) => this.#ended(isFinal, error),
      mayAskForLess: () => this.#mayAskForLess(),
      emit,
    });
    this.#requests = new Requests(settings.timers, (op, body) => this.#connection.send(op, body));
    const { timers, codec, random, requestTimeoutMs } = settings;
    this.#rooms = new Rooms(
      {
        ...{ timers, codec, random },
        isOpen: () => this.state === 'open',
        ask: (op, body, onReply, onFailed) =>
          this.#requests.start(op, body, { timeoutMs: requestTimeoutMs, retry: false }, onReply, onFailed),
        emit,
        unreadable: (problem) => this.#connection.abandon(OWN_CODE.UNREADABLE, problem),
      },
      settings.maxKeptMessages,
      settings.rooms,
      settings.room,
    );
  }

  get state(): ClientState {
    return this.#connection.state;
  }

  /** The device key: the one given, or the one that the server made up; '' until then. */
  get key(): string {
    return this.#key;
  }

  /** Rooms it is in or wants to be in, the primary one first. */
  get rooms(): string[] {
    return this.#rooms.names();
  }

  /** Whole seconds from one heartbeat to the next on this network. */
  get heartbeatS(): number {
    return this.#connection.heartbeatS;
  }

  /** @returns takes the listener off again */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  /** Connect and stay connected. Resolves when it is open for the first time; rejects with CLOSED where that will never be. */
  connect(): Promise<void> {
    if (this.state === 'open') return Promise.resolve();
    const promise = new Promise<void>((resolve, reject) => {
      this.#connecting.push((error) => (error === undefined ? resolve() : reject(error)));
    });
    // Whoever does not wait has the event `close`; an unhandled rejection would end a Node process.
    promise.catch(() => {});
    this.#connection.connect();
    return promise;
  }

  /** Close and stay closed. What waits for an answer fails with CLOSED. */
  close(): void {
    this.#connection.close();
  }

  /** Join rooms, now or with the next connection. Resolves with the server's answers, in the order given. */
  join(rooms: readonly string[] | string): Promise<RoomResult[]> {
    return this.#rooms.join(typeof rooms === 'string' ? [rooms] : rooms);
  }

  /** Leave rooms. No message of theirs is told from here on. */
  leave(rooms: readonly string[] | string): void {
    this.#rooms.leave(typeof rooms === 'string' ? [rooms] : rooms);
  }

  /** Move the primary room, whose members the server counts; '' leaves it. */
  changeRoom(room: string): Promise<RoomResult> {
    return this.#rooms.changePrimary(room);
  }

  /** Add operations to the watch set, now or with the next connection. Resolves when the server has them. */
  watch(ops: readonly number[]): Promise<void> {
    for (const op of ops) this.#watched.add(op);
    return this.#changeWatch(OP.SUB, ops);
  }

  unwatch(ops: readonly number[]): Promise<void> {
    for (const op of ops) this.#watched.delete(op);
    return this.#changeWatch(OP.UNSUB, ops);
  }

  /** Send and forget. @returns false where there is no open connection: it was not sent */
  send(op: number, body?: BodyInput): boolean {
    return this.#connection.send(op, toBody(this.#settings.codec, body)) !== undefined;
  }

  /**
   * Send and wait for the answer: op 31 for op 30, the same op for an application's.
   * Rejects with REQUEST_TIMEOUT, CLOSED, or DISCONNECTED; with `retry` it is sent again on the next connection instead, so that the
   * server may get it twice.
   */
  request(op: number, body?: BodyInput, options: Partial<RequestOptions> = {}): Promise<Reply> {
    const { timeoutMs = this.#settings.requestTimeoutMs, retry = false } = options;
    return new Promise((resolve, reject) => {
      this.#requests.start(op, toBody(this.#settings.codec, body), { timeoutMs, retry }, resolve, reject);
    });
  }

  #authBody(token: string, heartbeatS: number): Uint8Array<ArrayBuffer> {
    const { mid, platform, codec } = this.#settings;
    this.#authOps = [...this.#watched].slice(0, OPS_PER_REQUEST);
    const auth = {
      ...(mid === undefined ? {} : { mid }),
      // An empty one is none.
      ...{ key: this.#key, token, roomId: this.#rooms.primary },
      ...{ platform, codec: codec.name, extended: true, accepts: [...this.#authOps], heartbeatS },
    };
    let freeBytes = AUTH_BODY_BYTES - encodeAuthBody(auth).length;
    const { rooms } = this.#rooms.forAuth((names) =>
      names.slice(0, AUTH_ROOMS_COUNT).filter((name) => {
        freeBytes -= encodeUtf8(JSON.stringify(name)).length + 1;
        return freeBytes >= 0;
      }),
    );
    return encodeAuthBody({ ...auth, rooms: [...rooms] });
  }

  #control(op: number, seq: number, body: Uint8Array<ArrayBuffer>): void {
    if (this.#requests.answered(op, seq, body)) return;
    if (op !== OP.GAP) return;
    const gap = readGap(this.#settings.codec, body);
    if (gap === undefined) this.#connection.abandon(OWN_CODE.UNREADABLE, 'op 22 is malformed');
    else if (gap.scope === 'room') this.#rooms.gapTold(gap);
    else if (gap.scope === 'direct') this.#emitter.emit('gap', { scope: 'direct' });
    else this.#allMissed(gap.epoch, gap.offset);
  }

  /** The server skipped pushes to all, up to `to`. Of those that came we do not know which we lack: not all are for our watch set. */
  #allMissed(epoch: number, to: number): void {
    const known = this.#all;
    const isNewEpoch = epoch !== known.epoch && known.epoch !== 0;
    if (epoch === known.epoch && to <= known.offset) return;
    const from = epoch === known.epoch ? known.offset + 1 : 1;
    this.#all = { epoch, offset: to };
    // Nothing had come when it began: there was nothing to be missed.
    if (to < from && !isNewEpoch) return;
    const gap: GapEvent = { scope: 'all', epoch, from, to, isNewEpoch };
    this.#emitter.emit('gap', gap);
  }

  #pushed(message: ClientMessage): void {
    const { id, epoch, offset, scope } = message;
    if (id !== undefined && !this.#seen.add(id)) return;
    if (scope === 'all' && epoch !== undefined && offset !== undefined) this.#all = { epoch, offset };
    this.#emitter.emit('message', message);
  }

  #opened(welcome: Welcome): void {
    if (welcome.key !== '') this.#key = welcome.key;
    this.#hasAskedForLess = false;
    const told = new Set(this.#authOps);
    const added = [...this.#watched].filter((op) => !told.has(op));
    const removed = this.#authOps.filter((op) => !this.#watched.has(op));
    this.#requests.connected();
    for (const [op, ops] of [[OP.SUB, added] as const, [OP.UNSUB, removed] as const]) {
      if (ops.length > 0) this.#changeWatch(op, ops).catch((error: HalleyError) => this.#emitter.emit('error', error));
    }
    this.#rooms.welcomed(welcome);
    for (const settle of this.#connecting.splice(0)) settle();
  }

  #ended(isFinal: boolean, error: HalleyError): void {
    if (isFinal) {
      this.#requests.closed(error);
      this.#rooms.closed(error);
      for (const settle of this.#connecting.splice(0)) settle(error);
    } else {
      this.#requests.disconnected();
      this.#rooms.disconnected();
    }
  }

  /** Once per connection: without rooms in the auth body the server cannot refuse it for one of them. */
  #mayAskForLess(): boolean {
    if (this.#hasAskedForLess || this.#rooms.names().length === 0) return false;
    this.#hasAskedForLess = true;
    this.#rooms.distrust();
    return true;
  }

  async #changeWatch(op: number, ops: readonly number[]): Promise<void> {
    // Otherwise the next auth body says it.
    if (this.state !== 'open') return;
    const slices: Promise<unknown>[] = [];
    for (let at = 0; at < ops.length; at += OPS_PER_REQUEST) {
      slices.push(this.request(op, encodeOpList(ops.slice(at, at + OPS_PER_REQUEST))));
    }
    try {
      await Promise.all(slices);
    } catch (error) {
      // Where the connection ended the next auth body says it, if there is one.
      if (error instanceof HalleyError && (error.code === 'DISCONNECTED' || error.code === 'CLOSED')) return;
      throw error;
    }
  }

  #listenerThrew(error: unknown, name: keyof ClientEvents): void {
    if (name !== 'error' && this.#emitter.has('error')) {
      this.#emitter.emit('error', new HalleyError('LISTENER_THREW', 'a listener threw', { event: name }, error));
      return;
    }
    // Nobody listens: it is the host's, like every other error that nobody catches.
    queueMicrotask(() => {
      throw error;
    });
  }
}
