/**
 * One client connection, as the bucket keeps it. Per-connection memory is the capacity of a node: every field here is a
 * number, a shared object or undefined; no closure, timer, array or map unless the channel needs it.
 *
 * Threads: its bucket.
 */
import { SEND_OUTCOME, type SendOutcome } from '../../errors/index.js';
import type { Channel as ChannelPort, FrameOp, Meta } from '../../push/index.js';
import { type ChannelSocket, remoteAddressOf } from './channel-socket.js';
import type { RoomCohort, RoomShard } from './room-shard.js';
import type { WatchSet } from './watch-sets.js';

export const CHANNEL_STATE = {
  /** Connected, no auth packet accepted yet. */
  OPEN: 0,
  /** Auth is being decided. */
  CONNECTING: 1,
  READY: 2,
  /** The socket is gone or going; nothing may be written. */
  CLOSED: 3,
} as const;
export type ChannelState = (typeof CHANNEL_STATE)[keyof typeof CHANNEL_STATE];

/** Bits of `flags`. */
export const CHANNEL_FLAG = {
  /** Asked for the extensions (`halley: 1`). */
  EXTENDED: 1,
  /** Extension bodies in msgpack instead of JSON. */
  MSGPACK: 2,
  /** uWS dropped something for it. */
  SLOW: 4,
  /** A packet is being worked on asynchronously: later ones wait in the backlog. */
  BUSY: 8,
  /** The control thread knows it: a disconnect must be reported. */
  REGISTERED: 16,
  /** The state listener must hear of its end. */
  ACCEPTED: 32,
  /** Slow and out of its topics until its buffer has drained. */
  OUT: 64,
} as const;

/** What a channel needs from its bucket. */
export interface ChannelOwner {
  sendPacket(channel: Channel, op: number, body: Uint8Array | string): SendOutcome;
  writeFrame(channel: Channel, opCode: FrameOp, payload: Uint8Array): SendOutcome;
  closeChannel(channel: Channel, code: number, reason: string): void;
  setIdle(channel: Channel, idleMs: number): void;
}

const NO_META: Meta = Object.freeze({});
const DOWNSTREAM_OP = 5;

/** Packets that wait for an earlier one of the same channel. */
export interface Backlog {
  readonly packets: Uint8Array[];
  bytes: number;
}

export class Channel implements ChannelPort {
  readonly owner: ChannelOwner;
  /** Its socket on whatever transport, valid until the close handler has run. */
  socket: ChannelSocket | undefined = undefined;
  state: ChannelState = CHANNEL_STATE.OPEN;
  flags = 0;
  /** Index in the bucket's slot table; -1 without one. */
  slot = -1;
  /** Count of accepted connections of this bucket when this one came: with the slot, its connection id. */
  serial = 0;
  key = '';
  userMid = 0;
  /** The cohort of it that the channel stands in. */
  primaryRoom: RoomCohort | undefined = undefined;
  otherRooms: RoomCohort[] | undefined = undefined;
  watch: WatchSet | undefined = undefined;
  idleMs = 0;
  /** Head of the direct messages of this turn in the outbox, -1 for none. */
  directHead = -1;
  directTail = -1;
  backlog: Backlog | undefined = undefined;
  /** Monotonic second when it became slow. */
  slowSinceS = 0;
  metaFacts: Meta | undefined = undefined;
  /** What the token allows; shared by all channels with the same claim. Undefined: every room. */
  allowsRoom: ((room: string) => boolean) | undefined = undefined;
  /** Monotonic ms at which the permission ends, 0: never. */
  expiresAtMs = 0;

  constructor(owner: ChannelOwner) {
    this.owner = owner;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  isIn(shard: RoomShard): boolean {
    return this.cohortIn(shard) !== undefined;
  }

  /** Where it stands in the room; undefined: it is not a member. */
  cohortIn(shard: RoomShard): RoomCohort | undefined {
    if (this.primaryRoom?.shard === shard) return this.primaryRoom;
    return this.otherRooms?.find((cohort) => cohort.shard === shard);
  }

  otherRoomCount(): number {
    return this.otherRooms?.length ?? 0;
  }

  roomCount(): number {
    return (this.primaryRoom === undefined ? 0 : 1) + (this.otherRooms?.length ?? 0);
  }

  // Agent and Channel of the application port.

  id(): string {
    return this.key;
  }

  mid(): number {
    return this.userMid;
  }

  meta(): Meta {
    return this.metaFacts ?? NO_META;
  }

  push(payload: Uint8Array | string, op: number = DOWNSTREAM_OP): SendOutcome {
    return this.state === CHANNEL_STATE.READY ? this.owner.sendPacket(this, op, payload) : SEND_OUTCOME.CLOSED;
  }

  remoteAddress(): string {
    return this.socket === undefined || this.state === CHANNEL_STATE.CLOSED ? '' : remoteAddressOf(this.socket);
  }

  rooms(): readonly string[] {
    const names: string[] = [];
    if (this.primaryRoom !== undefined) names.push(this.primaryRoom.shard.room);
    if (this.otherRooms !== undefined) for (const { shard } of this.otherRooms) names.push(shard.room);
    return names;
  }

  writeFrame(opCode: FrameOp, payload: Uint8Array): SendOutcome {
    return this.owner.writeFrame(this, opCode, payload);
  }

  setReadWait(readWaitMs: number): void {
    this.owner.setIdle(this, readWaitMs);
  }

  close(code?: number, reason?: string): void {
    this.owner.closeChannel(this, code ?? 3501, reason ?? 'closed by the application');
  }
}
