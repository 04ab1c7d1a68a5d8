/**
 * Takes the packets of authenticated channels: goim's operations, the extensions, and everything else to the
 * application's listener.
 *
 * Threads: its bucket.
 * Guarantees: packets of one channel are handled one at a time and in order; while one is being worked on asynchronously
 *   the others wait in a bounded backlog (goim W6 killed the connection at the eighth unanswered request; here the bound
 *   is limits.pre_auth_packets and _bytes before auth and the same multiplied by 16 afterwards).
 * Hot path: receive(), heartbeat and the listener's synchronous answer.
 */
import { CLIENT_ERROR, CLOSE, type ClientError, type CloseCodeRow, OUTCOME, type Outcome } from '../../errors/index.js';
import {
  decodeBody,
  decodeRecover,
  decodeUtf8,
  encodeImResponse,
  encodeRecoverRefused,
  encodeRoomReplies,
  FRAMING,
  isLongOpList,
  OP,
  PARSE,
  PacketHeader,
  parseOpList,
  parseOutcomeName,
  type RoomReply,
  readHeartbeatBody,
  readPacket,
  roomIdProblem,
} from '../../protocol/index.js';
import type { MessageListener, PacketInfo } from '../../push/index.js';
import type { PacketGate } from '../limits/packet-gate.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelRooms } from './channel-rooms.js';
import type { ChannelWriter } from './channel-writer.js';
import { bodyBytesIn, checkedReply, isRoomList } from './packet-bodies.js';
import type { Recoveries } from './recoveries.js';
import type { RoomShards } from './room-shards.js';
import { codecOf, type Subscriptions } from './subscriptions.js';
import type { WatchSets } from './watch-sets.js';

export interface PacketLimits {
  readonly bodyBytes: number;
  readonly requestBodyBytes: number;
  readonly roomIdBytes: number;
  readonly watchOps: number;
  readonly roomsPerRequest: number;
  readonly preAuthPackets: number;
  readonly preAuthBytes: number;
}

export interface PacketHandlerLinks {
  readonly close: (channel: Channel, row: CloseCodeRow, detail: string) => void;
  /** The first packet of a channel: auth. `body` is valid until return. */
  readonly onAuth: (channel: Channel, header: PacketHeader, body: Uint8Array) => void;
  /** Something came: the idle deadline starts anew. */
  readonly onAlive: (channel: Channel) => void;
  readonly setIdle: (channel: Channel, idleMs: number) => void;
  readonly listener: () => MessageListener | undefined;
  /**
   * Hands a client's message upstream; `body` is valid until return. OK also for what is no message. Anything else: it was
   * not taken, and nobody else may take it either. Undefined: no upstream.
   */
  readonly toUpstream?: ((channel: Channel, op: number, seq: number, body: Uint8Array) => Outcome) | undefined;
  readonly onListenerError: (error: unknown, listener: string) => void;
  /** Runs `fn` now or, while a ring's memory is held, at the end of the drain, so that a throw costs this channel only. */
  readonly afterDrain: (channel: Channel, fn: () => void) => void;
  /** Asked for every whole packet. False: it is passed over, or its channel is closed. */
  readonly onPacket: PacketGate;
  readonly onMalformed: () => void;
  readonly onOversized: () => void;
}

/** How much more may wait once a channel is authenticated than before. */
const READY_BACKLOG_FACTOR = 16;
const MIN_HEARTBEAT_S = 1;
const MAX_HEARTBEAT_S = 86_400;
/** Extension operations from a client that Halley answers itself. */
const EXTENSION_OPS: ReadonlySet<number> = new Set([OP.JOIN_ROOMS, OP.LEAVE_ROOMS, OP.RECOVER, OP.IM_REQUEST]);
/** goim's operations from a client that Halley answers itself. */
const GOIM_OPS: ReadonlySet<number> = new Set([OP.HEARTBEAT, OP.HEARTBEAT_REPLY, OP.CHANGE_ROOM, OP.SUB, OP.UNSUB]);

/** What an answer copies from the packet it answers. */
type ReplyTo = Pick<PacketInfo, 'seq' | 'ver'>;

export class PacketHandler {
  readonly #limits: PacketLimits;
  readonly #links: PacketHandlerLinks;
  readonly #writer: ChannelWriter;
  readonly #rooms: ChannelRooms;
  readonly #shards: RoomShards;
  readonly #watchSets: WatchSets;
  readonly #subscriptions: Subscriptions;
  readonly #recoveries: Recoveries | undefined;
  readonly #heartbeatMisses: number;
  readonly #header = new PacketHeader();

  constructor(
    limits: PacketLimits,
    links: PacketHandlerLinks,
    parts: {
      readonly writer: ChannelWriter;
      readonly rooms: ChannelRooms;
      readonly shards: RoomShards;
      readonly watchSets: WatchSets;
      readonly subscriptions: Subscriptions;
      /** undefined: no room of this node has history. */
      readonly recoveries?: Recoveries | undefined;
    },
    heartbeatMisses: number,
  ) {
    this.#limits = limits;
    this.#links = links;
    this.#writer = parts.writer;
    this.#rooms = parts.rooms;
    this.#shards = parts.shards;
    this.#watchSets = parts.watchSets;
    this.#subscriptions = parts.subscriptions;
    this.#recoveries = parts.recoveries;
    this.#heartbeatMisses = heartbeatMisses;
  }

  /** One WebSocket message: one or more packets. The bytes are valid until return. */
  receive(channel: Channel, bytes: Uint8Array): void {
    const header = this.#header;
    let offset = 0;
    do {
      // The limit of the widest operation first: the one of this operation needs the header.
      const outcome = readPacket(bytes, offset, bytes.length, header, this.#limits.requestBodyBytes, FRAMING.MESSAGE);
      if (outcome === PARSE.TOO_LARGE || (outcome === PARSE.OK && header.bodyBytes > this.#limitOf(header.op))) {
        this.#oversized(channel, header);
        return;
      }
      if (outcome !== PARSE.OK) {
        this.#links.onMalformed();
        // goim ignores what follows the first packet of a message; an extended client must not send such a thing.
        if (offset > 0 && !channel.has(CHANNEL_FLAG.EXTENDED)) return;
        this.#links.close(channel, CLOSE.MALFORMED, parseOutcomeName(outcome));
        return;
      }
      // The header is reused by whatever the packet sets off.
      const packetBytes = header.packetBytes;
      if (this.#links.onPacket(channel, header)) {
        if (channel.state === CHANNEL_STATE.CONNECTING || channel.has(CHANNEL_FLAG.BUSY)) {
          if (!this.#enqueue(channel, bytes.slice(offset, offset + packetBytes))) return;
        } else this.#handle(channel, bytes, header);
      }
      offset += packetBytes;
    } while (offset < bytes.length && channel.state !== CHANNEL_STATE.CLOSED);
    if (channel.state === CHANNEL_STATE.READY) this.#links.onAlive(channel);
  }

  /** The asynchronous work on the channel's last packet is over: go on with what waited. */
  resume(channel: Channel): void {
    channel.flags &= ~CHANNEL_FLAG.BUSY;
    if (channel.backlog === undefined) return;
    // Answers of the control thread come while its ring is held, and listeners must not run then.
    channel.flags |= CHANNEL_FLAG.BUSY;
    this.#links.afterDrain(channel, () => this.#runBacklog(channel));
  }

  #runBacklog(channel: Channel): void {
    channel.flags &= ~CHANNEL_FLAG.BUSY;
    const backlog = channel.backlog;
    if (backlog === undefined) return;
    let index = 0;
    while (index < backlog.packets.length && channel.state === CHANNEL_STATE.READY && !channel.has(CHANNEL_FLAG.BUSY)) {
      const packet = backlog.packets[index]!;
      index += 1;
      backlog.bytes -= packet.length;
      if (readPacket(packet, 0, packet.length, this.#header, packet.length, FRAMING.MESSAGE) === PARSE.OK) {
        this.#handle(channel, packet, this.#header);
      }
    }
    backlog.packets.splice(0, index);
    if (backlog.packets.length === 0) channel.backlog = undefined;
  }

  #limitOf(op: number): number {
    return EXTENSION_OPS.has(op) ? this.#limits.requestBodyBytes : this.#limits.bodyBytes;
  }

  #oversized(channel: Channel, header: PacketHeader): void {
    this.#links.onOversized();
    const limitBytes = this.#limitOf(header.op);
    if (channel.state === CHANNEL_STATE.READY && channel.has(CHANNEL_FLAG.EXTENDED) && header.op === OP.IM_REQUEST) {
      this.#refuseRequest(channel, header, CLIENT_ERROR.BODY_TOO_LARGE);
    }
    this.#links.close(
      channel,
      CLOSE.TOO_LARGE,
      `the body of op ${header.op} may have ${limitBytes} bytes: bytes=${header.bodyBytes}`,
    );
  }

  #enqueue(channel: Channel, packet: Uint8Array): boolean {
    const factor = channel.state === CHANNEL_STATE.READY ? READY_BACKLOG_FACTOR : 1;
    channel.backlog ??= { packets: [], bytes: 0 };
    channel.backlog.packets.push(packet);
    channel.backlog.bytes += packet.length;
    if (
      channel.backlog.packets.length <= this.#limits.preAuthPackets * factor &&
      channel.backlog.bytes <= this.#limits.preAuthBytes * factor
    ) {
      return true;
    }
    channel.backlog = undefined;
    this.#links.close(channel, CLOSE.PIPELINE_TOO_LONG, 'too many packets wait for an answer');
    return false;
  }

  #handle(channel: Channel, bytes: Uint8Array, header: PacketHeader): void {
    const { bodyOffset } = header;
    const bodyEnd = bodyOffset + bodyBytesIn(bytes, header);
    if (channel.state === CHANNEL_STATE.OPEN) {
      // Before auth everything else is ignored, as on goim.
      if (header.op === OP.AUTH) this.#links.onAuth(channel, header, bytes.subarray(bodyOffset, bodyEnd));
      return;
    }
    const isExtension = channel.has(CHANNEL_FLAG.EXTENDED) && EXTENSION_OPS.has(header.op);
    if (!isExtension && !GOIM_OPS.has(header.op)) {
      if (!this.#sentUpstream(channel, header, bytes, bodyEnd)) return;
      // uWS takes the message's memory back on return, so the listener gets a copy of its own.
      this.#toListener(channel, header, bytes.slice(bodyOffset, bodyEnd));
      return;
    }
    const body = bytes.subarray(bodyOffset, bodyEnd);
    switch (header.op) {
      case OP.HEARTBEAT:
        this.#heartbeat(channel, header, body);
        return;
      case OP.HEARTBEAT_REPLY:
        // goim answers a reply like a heartbeat (measured, facts section 1.4), only without re-arming anything.
        this.#replyOnline(channel, header);
        return;
      case OP.CHANGE_ROOM:
        this.#changeRoom(channel, header, body);
        return;
      case OP.SUB:
      case OP.UNSUB:
        this.#watch(channel, header, body);
        return;
      default:
        this.#extension(channel, header, body);
    }
  }

  #heartbeat(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const intervalS = channel.has(CHANNEL_FLAG.EXTENDED) ? readHeartbeatBody(body, 0, body.length) : 0;
    if (intervalS >= MIN_HEARTBEAT_S && intervalS <= MAX_HEARTBEAT_S) {
      this.#links.setIdle(channel, intervalS * 1000 * this.#heartbeatMisses);
    }
    this.#replyOnline(channel, header);
  }

  /** Members of the channel's primary room on the whole node; 0 without one. */
  #replyOnline(channel: Channel, header: PacketHeader): void {
    const count = channel.primaryRoom === undefined ? 0 : this.#shards.onlineCount(channel.primaryRoom.shard);
    this.#writer.int32Packet(channel, OP.HEARTBEAT_REPLY, header.seq, header.ver, count);
  }

  #changeRoom(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const { seq, ver } = header;
    const room = decodeUtf8(body);
    const refused =
      room === undefined ||
      (room !== '' &&
        (roomIdProblem(room, this.#limits.roomIdBytes) !== undefined || channel.allowsRoom?.(room) === false));
    if (refused) {
      this.#rooms.refuse();
      // goim answers also where the change failed; the echo says nothing about success.
      this.#writer.packet(channel, OP.CHANGE_ROOM_REPLY, seq, ver, body);
      return;
    }
    this.#work(channel, (finish) => {
      const echo = body.slice();
      this.#rooms.changePrimary(channel, room, () => {
        this.#writer.packet(channel, OP.CHANGE_ROOM_REPLY, seq, ver, echo);
        finish();
      });
    });
  }

  #watch(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const parsed = parseOpList(body, this.#limits.watchOps);
    if (!parsed.ok && isLongOpList(body, this.#limits.watchOps)) this.#links.onOversized();
    if (parsed.ok && parsed.value.length > 0) {
      const held = channel.watch;
      const ops = new Set(held?.ops ?? []);
      for (const op of parsed.value) {
        if (header.op === OP.SUB) ops.add(op);
        else ops.delete(op);
      }
      if (ops.size <= this.#limits.watchOps) this.setWatch(channel, [...ops]);
      else this.#links.onOversized();
    }
    this.#writer.packet(channel, header.op + 1, header.seq, header.ver, body);
  }

  /** Exchange the channel's watch set. */
  setWatch(channel: Channel, ops: readonly number[]): void {
    const held = channel.watch;
    const next = ops.length === 0 ? undefined : this.#watchSets.hold(ops);
    if (next === held) {
      if (next !== undefined) this.#watchSets.release(next);
      return;
    }
    channel.watch = next;
    if (next !== undefined) {
      // What the new set holds back was meant for its members so far; from the old set this channel gets it once.
      if (next.pendingCount > 0) next.flush();
      this.#subscriptions.subscribe(channel, next);
    }
    if (held !== undefined) {
      // What the old set still holds back was meant for this channel too.
      if (held.pendingCount > 0) held.flush();
      this.#subscriptions.unsubscribe(channel, held);
      this.#watchSets.release(held);
    }
  }

  #extension(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const { op, seq, ver } = header;
    if (op === OP.RECOVER) {
      this.#recover(channel, { seq, ver }, body);
      return;
    }
    const decoded = decodeBody(codecOf(channel), body, this.#limits.requestBodyBytes);
    if (op === OP.JOIN_ROOMS || op === OP.LEAVE_ROOMS) {
      const rooms = decoded.ok ? decoded.value : undefined;
      if (!isRoomList(rooms, this.#limits.roomsPerRequest)) {
        const message = `${CLIENT_ERROR.BAD_BODY.message}: an array of 1 to ${this.#limits.roomsPerRequest} room ids`;
        this.#replyRooms(channel, { seq, ver }, op + 1, [
          { room: '', epoch: 0, offset: 0, error: { ...CLIENT_ERROR.BAD_BODY, message } },
        ]);
        return;
      }
      if (op === OP.LEAVE_ROOMS) {
        this.#replyRooms(channel, { seq, ver }, OP.LEAVE_ROOMS_REPLY, this.#rooms.leave(channel, rooms));
        return;
      }
      this.#work(channel, (finish) => {
        this.#rooms.join(
          channel,
          rooms,
          (room) => this.checkRoom(channel, room),
          (results) => {
            this.#replyRooms(channel, { seq, ver }, OP.JOIN_ROOMS_REPLY, results);
            finish();
          },
        );
      });
      return;
    }
    this.#refuseRequest(channel, { seq, ver }, CLIENT_ERROR.UNKNOWN_METHOD);
  }

  #recover(channel: Channel, { seq, ver }: ReplyTo, body: Uint8Array): void {
    const wanted = decodeRecover(codecOf(channel), body, this.#limits.roomIdBytes);
    const shard = wanted.ok ? this.#shards.byRoom(wanted.value.room) : undefined;
    let error: ClientError | undefined;
    if (!wanted.ok) error = CLIENT_ERROR.BAD_BODY;
    else if (channel.allowsRoom?.(wanted.value.room) === false) error = CLIENT_ERROR.ROOM_FORBIDDEN;
    else if (shard === undefined || !channel.isIn(shard)) error = CLIENT_ERROR.NOT_MEMBER;
    const recoveries = this.#recoveries;
    if (!wanted.ok || error !== undefined || recoveries === undefined) {
      this.#writer.packet(channel, OP.RECOVER_REPLY, seq, ver, encodeRecoverRefused(codecOf(channel), error));
      return;
    }
    this.#work(channel, (finish) => recoveries.start(channel, wanted.value, { seq, ver }, finish));
  }

  /** Why the channel may not join the room, undefined where it may. */
  checkRoom(channel: Channel, room: string): ClientError | undefined {
    if (roomIdProblem(room, this.#limits.roomIdBytes) !== undefined) return CLIENT_ERROR.BAD_ROOM;
    return channel.allowsRoom?.(room) === false ? CLIENT_ERROR.ROOM_FORBIDDEN : undefined;
  }

  /**
   * False: upstream is on and has no room, and the message was refused whole: an answer would say that it had been taken. An
   * extended client may send it again; a plain one, whose wire has no word for this, gets no answer.
   */
  #sentUpstream(channel: Channel, header: PacketHeader, bytes: Uint8Array, bodyEnd: number): boolean {
    const { toUpstream } = this.#links;
    const { op, seq, ver, bodyOffset } = header;
    if (toUpstream === undefined) return true;
    const outcome = toUpstream(channel, op, seq, bytes.subarray(bodyOffset, bodyEnd));
    if (outcome === OUTCOME.OK) return true;
    if (channel.has(CHANNEL_FLAG.EXTENDED)) {
      const error = outcome === OUTCOME.TOO_LARGE ? CLIENT_ERROR.BODY_TOO_LARGE : CLIENT_ERROR.OVERLOADED;
      this.#writer.packet(channel, op, seq, ver, encodeImResponse(codecOf(channel), { ok: false, error }));
    }
    return false;
  }

  /** `body` belongs to the listener. */
  #toListener(channel: Channel, header: PacketHeader, body: Uint8Array): void {
    const listener = this.#links.listener();
    const { op, seq, ver } = header;
    if (listener === undefined) {
      this.#writer.packet(channel, op, seq, ver);
      return;
    }
    try {
      const result = listener.receive(channel, body, { op, seq, ver });
      if (!(result instanceof Promise)) {
        this.#writer.packet(channel, op, seq, ver, checkedReply(result));
        return;
      }
      channel.flags |= CHANNEL_FLAG.BUSY;
      result
        .then((answer) => {
          if (channel.state !== CHANNEL_STATE.READY) return;
          this.#writer.packet(channel, op, seq, ver, checkedReply(answer));
          this.resume(channel);
        })
        // Also for what the answer itself sets off: an unhandled rejection would cost the bucket.
        .catch((error) => this.#listenerFailed(channel, error));
    } catch (error) {
      this.#listenerFailed(channel, error);
    }
  }

  #listenerFailed(channel: Channel, error: unknown): void {
    this.#links.onListenerError(error, 'message listener');
    this.#links.close(channel, CLOSE.LISTENER_FAILED, CLOSE.LISTENER_FAILED.reason);
  }

  /** Run work that may end later; packets that come meanwhile wait. */
  #work(channel: Channel, start: (finish: () => void) => void): void {
    let finished = false;
    let started = false;
    channel.flags |= CHANNEL_FLAG.BUSY;
    start(() => {
      finished = true;
      if (started) this.resume(channel);
    });
    started = true;
    if (finished) channel.flags &= ~CHANNEL_FLAG.BUSY;
  }

  #replyRooms(channel: Channel, { seq, ver }: ReplyTo, op: number, results: readonly RoomReply[]): void {
    this.#writer.packet(channel, op, seq, ver, encodeRoomReplies(codecOf(channel), results));
  }

  #refuseRequest(channel: Channel, { seq, ver }: ReplyTo, error: ClientError): void {
    this.#writer.packet(channel, OP.IM_RESPONSE, seq, ver, encodeImResponse(codecOf(channel), { ok: false, error }));
  }
}
