/**
 * From a connection to a channel: auth packet (or the application's acceptor), authenticator, session, rooms, op 8.
 *
 * The order is the guarantee: the control thread stores the session and opens the rooms for this bucket in one step, its
 * answer travels on the ring in front of every later push, topics are subscribed when it is read, and only then op 8 is
 * written. So no push after op 8 can miss the channel (goim lost those between its reply and its registration).
 *
 * Threads: its bucket.
 */
import { CLOSE, type CloseCodeRow } from '../../errors/index.js';
import {
  type AuthBody,
  encodeBody,
  OP,
  type PacketHeader,
  parseAuthBody,
  roomIdProblem,
} from '../../protocol/index.js';
import type { Acceptance, Acceptor, Authenticator, AuthVerdict, Meta } from '../../push/index.js';
import { CONNECT_STATUS, type ConnectedMessage, type ConnectMessage, MESSAGE } from '../thread-messages.js';
import type { AppHost } from './app-host.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelRooms } from './channel-rooms.js';
import type { ChannelSlots } from './channel-slots.js';
import type { ChannelWriter } from './channel-writer.js';
import { HandshakeConn } from './handshake-conn.js';
import type { PacketHandler } from './packet-handler.js';
import type { RoomShard } from './room-shard.js';
import type { RoomShards } from './room-shards.js';
import { codecOf } from './subscriptions.js';

export interface HandshakeOptions {
  readonly roomIdBytes: number;
  readonly roomsPerChannel: number;
  readonly watchOps: number;
  readonly preAuthBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly heartbeatIntervalS: number;
  readonly heartbeatMisses: number;
  /** Told to extended channels: over how long to spread a reconnect after a loss without an op 6. */
  readonly reconnectWindowMs: number;
}

export interface HandshakeLinks {
  readonly close: (channel: Channel, row: CloseCodeRow, detail: string) => void;
  readonly sendToControl: (message: ConnectMessage) => void;
  readonly setIdle: (channel: Channel, idleMs: number) => void;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly onAccepted: (channel: Channel) => void;
  readonly onAuthFailed: () => void;
  /** Runs `fn` so that a throw costs this channel only. */
  readonly guard: (channel: Channel, fn: () => void) => void;
}

/** What is kept of a channel's request until the control thread has answered. */
interface PendingConnect {
  readonly channel: Channel;
  readonly shards: readonly RoomShard[];
  /** How many of the shards are the primary room: 0 or 1. */
  readonly primaryCount: number;
  readonly accepts: readonly number[];
  /** undefined: an acceptor did the handshake, no op 8 is due. */
  readonly reply: { readonly seq: number; readonly ver: number } | undefined;
  readonly idleMs: number;
}

export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #links: HandshakeLinks;
  readonly #authenticator: Authenticator;
  readonly #app: AppHost;
  readonly #slots: ChannelSlots;
  readonly #shards: RoomShards;
  readonly #rooms: ChannelRooms;
  readonly #writer: ChannelWriter;
  readonly #packets: () => PacketHandler;
  readonly #pending = new Map<number, PendingConnect>();
  readonly #conns = new Map<Channel, HandshakeConn>();

  constructor(
    options: HandshakeOptions,
    links: HandshakeLinks,
    parts: {
      readonly authenticator: Authenticator;
      readonly app: AppHost;
      readonly slots: ChannelSlots;
      readonly shards: RoomShards;
      readonly rooms: ChannelRooms;
      readonly writer: ChannelWriter;
      readonly packets: () => PacketHandler;
    },
  ) {
    this.#options = options;
    this.#links = links;
    this.#authenticator = parts.authenticator;
    this.#app = parts.app;
    this.#slots = parts.slots;
    this.#shards = parts.shards;
    this.#rooms = parts.rooms;
    this.#writer = parts.writer;
    this.#packets = parts.packets;
  }

  /** Requests under way, for tests and stats. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** A new connection. With an acceptor it is the acceptor's from here on. */
  opened(channel: Channel): void {
    const acceptor = this.#app.acceptor;
    if (acceptor !== undefined) void this.#runAcceptor(channel, acceptor);
  }

  /** A WebSocket message before the channel is ready. True: it was the acceptor's, nothing else may look at it. */
  fed(channel: Channel, bytes: Uint8Array, isBinary: boolean): boolean {
    const conn = this.#conns.get(channel);
    if (conn === undefined) return false;
    if (!conn.feed(bytes.slice(), isBinary)) {
      this.#links.close(channel, CLOSE.PIPELINE_TOO_LONG, 'too many bytes before the handshake was over');
    }
    return true;
  }

  /** The channel is gone: whatever waited for it ends. */
  closed(channel: Channel): void {
    this.#conns.get(channel)?.end();
    this.#conns.delete(channel);
  }

  /** Answers of the control thread were lost: no connect under way will be answered. Their channels are closed before. */
  reset(): void {
    this.#pending.clear();
  }

  /** Auth packet (op 7). `body` is valid until return. */
  auth(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const { seq, ver } = header;
    const parsed = parseAuthBody(body, {
      maxRoomIdBytes: this.#options.roomIdBytes,
      maxKeyBytes: 256,
      maxAcceptsCount: this.#options.watchOps,
      maxRoomsCount: this.#options.roomsPerChannel,
    });
    if (!parsed.ok) {
      this.#refuse(channel, CLOSE.AUTH_MALFORMED, parsed.error);
      return;
    }
    const auth = parsed.value;
    channel.state = CHANNEL_STATE.CONNECTING;
    if (auth.extended) channel.flags |= CHANNEL_FLAG.EXTENDED;
    if (auth.codec === 'msgpack') channel.flags |= CHANNEL_FLAG.MSGPACK;
    const verdict = this.#authenticator.authenticate(auth);
    if (verdict instanceof Promise) {
      verdict.then((decided) => this.#links.guard(channel, () => this.#decided(channel, auth, decided, { seq, ver })));
    } else {
      this.#decided(channel, auth, verdict, { seq, ver });
    }
  }

  #decided(
    channel: Channel,
    auth: AuthBody,
    verdict: AuthVerdict,
    reply: { readonly seq: number; readonly ver: number },
  ): void {
    if (channel.state !== CHANNEL_STATE.CONNECTING) return;
    if (!verdict.ok) {
      this.#refuse(channel, CLOSE[verdict.closeName], verdict.message);
      return;
    }
    const rooms = auth.extended ? auth.rooms : [];
    for (const room of auth.roomId === '' ? rooms : [auth.roomId, ...rooms]) {
      if (!verdict.allowsRoom(room)) {
        this.#refuse(channel, CLOSE.FORBIDDEN, `the token does not allow the room ${JSON.stringify(room)}`);
        return;
      }
    }
    channel.allowsRoom = verdict.allowsRoom;
    if (verdict.expiresAtMs > 0) {
      channel.expiresAtMs = this.#links.monotonicMs() + verdict.expiresAtMs - this.#links.wallMs();
    }
    const heartbeatS = auth.extended ? (auth.heartbeatS ?? 0) : 0;
    this.#connect(channel, {
      key: verdict.key,
      mid: verdict.mid,
      platform: auth.platform,
      primaryRoom: auth.roomId,
      otherRooms: rooms,
      accepts: auth.accepts,
      reply,
      heartbeatS,
    });
  }

  async #runAcceptor(channel: Channel, acceptor: Acceptor): Promise<void> {
    const conn = new HandshakeConn(channel, this.#options.preAuthBytes);
    this.#conns.set(channel, conn);
    let acceptance: Acceptance;
    try {
      acceptance = await acceptor.accept(conn, this.#options.handshakeTimeoutMs);
      checkAcceptance(acceptance, this.#options.roomIdBytes);
    } catch (error) {
      this.#conns.delete(channel);
      conn.end();
      const reason = error instanceof Error ? error.message : String(error);
      this.#links.guard(channel, () => this.#refuse(channel, CLOSE.REJECTED, reason));
      return;
    }
    this.#links.guard(channel, () => {
      const unread = conn.end();
      this.#conns.delete(channel);
      if (channel.state !== CHANNEL_STATE.OPEN) return;
      channel.state = CHANNEL_STATE.CONNECTING;
      channel.metaFacts = acceptance.meta === undefined ? undefined : (Object.freeze({ ...acceptance.meta }) as Meta);
      const [primaryRoom = '', ...otherRooms] = acceptance.rooms ?? [];
      this.#connect(channel, {
        key: acceptance.channelId,
        mid: acceptance.mid ?? 0,
        platform: '',
        primaryRoom,
        otherRooms,
        accepts: acceptance.accepts ?? [],
        reply: undefined,
        heartbeatS: 0,
      });
      // Frames the acceptor left unread are the channel's first packets.
      for (const frame of unread) this.#packets().receive(channel, frame.payload());
    });
  }

  #connect(
    channel: Channel,
    request: {
      readonly key: string;
      readonly mid: number;
      readonly platform: string;
      readonly primaryRoom: string;
      readonly otherRooms: readonly string[];
      readonly accepts: readonly number[];
      readonly reply: PendingConnect['reply'];
      readonly heartbeatS: number;
    },
  ): void {
    channel.key = request.key;
    channel.userMid = request.mid;
    const others = new Set(request.otherRooms);
    others.delete(request.primaryRoom);
    const rooms = request.primaryRoom === '' ? [...others] : [request.primaryRoom, ...others];
    const { heartbeatIntervalS, heartbeatMisses } = this.#options;
    const idleMs =
      request.heartbeatS > 0
        ? request.heartbeatS * 1000 * heartbeatMisses
        : this.#app.readWaitMs || heartbeatIntervalS * 1000 * heartbeatMisses;
    const connId = this.#slots.connIdOf(channel);
    this.#pending.set(connId, {
      channel,
      shards: this.#shards.hold(rooms),
      primaryCount: request.primaryRoom === '' ? 0 : 1,
      accepts: request.accepts,
      reply: request.reply,
      idleMs,
    });
    channel.flags |= CHANNEL_FLAG.REGISTERED;
    this.#links.sendToControl([
      MESSAGE.CONNECT,
      connId,
      request.mid,
      request.key,
      request.platform,
      channel.remoteAddress(),
      rooms,
    ]);
  }

  /** The control thread's answer to a connect. */
  connected([, connId, status, infos]: ConnectedMessage): void {
    const pending = this.#pending.get(connId);
    if (pending === undefined) return;
    this.#pending.delete(connId);
    const { channel, shards } = pending;
    this.#shards.activate(shards, infos);
    try {
      if (channel.state === CHANNEL_STATE.CONNECTING) this.#links.guard(channel, () => this.#finish(pending, status));
    } finally {
      this.#shards.settle(shards);
    }
  }

  #finish(pending: PendingConnect, status: number): void {
    const { channel, shards, primaryCount, accepts, reply } = pending;
    if (status === CONNECT_STATUS.FOREIGN) {
      channel.flags &= ~CHANNEL_FLAG.REGISTERED;
      this.#refuse(channel, CLOSE.FORBIDDEN, 'the key belongs to another user');
      return;
    }
    if (status !== CONNECT_STATUS.STORED) {
      channel.flags &= ~CHANNEL_FLAG.REGISTERED;
      this.#refuse(channel, CLOSE.OVERLOADED, 'the session could not be stored');
      return;
    }
    if (shards.some((shard) => !shard.active)) {
      this.#refuse(channel, CLOSE.OVERLOADED, 'the node holds as many rooms as it may');
      return;
    }
    channel.state = CHANNEL_STATE.READY;
    if (accepts.length > 0) this.#packets().setWatch(channel, accepts);
    for (const [index, shard] of shards.entries()) this.#rooms.enter(channel, shard, index < primaryCount);
    this.#links.setIdle(channel, pending.idleMs);
    channel.flags |= CHANNEL_FLAG.ACCEPTED;
    this.#links.onAccepted(channel);
    if (reply !== undefined) this.#writer.packet(channel, OP.AUTH_REPLY, reply.seq, reply.ver, this.#welcome(pending));
    this.#packets().resume(channel);
  }

  /** goim's op 8 is empty; an extended channel learns its key, its heartbeat and where its rooms stand. */
  #welcome({ channel, shards, idleMs }: PendingConnect): Uint8Array | undefined {
    if (!channel.has(CHANNEL_FLAG.EXTENDED)) return undefined;
    return encodeBody(codecOf(channel), {
      key: channel.key,
      heartbeat_s: Math.round(idleMs / 1000 / this.#options.heartbeatMisses),
      reconnect_window_ms: this.#options.reconnectWindowMs,
      rooms: shards.map((shard) => {
        // The application may have taken it out of a room again already.
        const { epoch, flushedOffset } = channel.cohortIn(shard) ?? shard;
        return { room: shard.room, epoch, offset: flushedOffset };
      }),
    });
  }

  #refuse(channel: Channel, row: CloseCodeRow, detail: string): void {
    this.#links.onAuthFailed();
    this.#links.close(channel, row, detail);
  }
}

function checkAcceptance(acceptance: Acceptance, roomIdBytes: number): void {
  if (typeof acceptance?.channelId !== 'string' || acceptance.channelId === '') {
    throw new TypeError('the acceptor must return a channelId, a non-empty string');
  }
  if (acceptance.mid !== undefined && !Number.isSafeInteger(acceptance.mid)) {
    throw new TypeError(`the acceptor's mid must be a safe integer: mid=${acceptance.mid}`);
  }
  for (const room of acceptance.rooms ?? []) {
    const problem = roomIdProblem(room, roomIdBytes);
    if (problem !== undefined) throw new TypeError(`the acceptor's rooms: ${problem}`);
  }
}
