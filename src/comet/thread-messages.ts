/**
 * What control thread and buckets tell each other besides pushes: msgpack arrays in raw ring records of kind CONTROL.
 * The first element is the type. Order on a ring is the order of sending, and pushes travel on the same rings: a room
 * push that the sequencer numbers after a CONNECTED reply is read after that reply.
 */
import type { TlsSet } from './tls/index.js';

export const MESSAGE = {
  // bucket -> control
  CONNECT: 1,
  DISCONNECT: 2,
  OCCUPY: 3,
  VACATE: 4,
  PUBLISH: 5,
  DONE: 6,
  SHUTDOWN: 7,
  /** Records for this bucket were lost: it has closed all channels and holds no room; forget what it asked before. */
  RESET: 8,
  /** Messages of a room are to be sent again (op 23). */
  RECOVER: 16,
  /** Where is the node of this tag (http/session-token.ts)? */
  FIND_NODE: 17,
  // control -> bucket
  CONNECTED: 32,
  OCCUPIED: 33,
  CLOSE: 34,
  JOIN: 35,
  LEAVE: 36,
  PUBLISHED: 37,
  RECOVERED: 48,
  NODE_FOUND: 49,
  /** New handshakes take these certificates; answered by DONE, with 1 where they do. */
  TLS: 52,
} as const;

/** A room as the sequencer knows it: number on this node (0: refused, the node is full), incarnation, last offset given. */
export type RoomInfo = [roomNo: number, epoch: number, offset: number];

/** The store answered: stored, or the key belongs to another user, or the store failed. */
export const CONNECT_STATUS = { STORED: 0, FOREIGN: 1, FAILED: 2 } as const;
export type ConnectStatus = (typeof CONNECT_STATUS)[keyof typeof CONNECT_STATUS];

export type ConnectMessage = [
  type: typeof MESSAGE.CONNECT,
  connId: number,
  mid: number,
  key: string,
  platform: string,
  remoteIp: string,
  rooms: string[],
];
export type DisconnectMessage = [
  type: typeof MESSAGE.DISCONNECT,
  connId: number,
  key: string,
  /** Close code that the bucket gave; 0: the client went, or its network did. */
  closeCode: number,
];
export type OccupyMessage = [type: typeof MESSAGE.OCCUPY, request: number, rooms: string[]];
export type VacateMessage = [type: typeof MESSAGE.VACATE, roomNo: number];
export type PublishMessage = [
  type: typeof MESSAGE.PUBLISH,
  request: number,
  target: unknown,
  op: number,
  body: Uint8Array,
];
/** Everything of the room behind `offset`, if its epoch still is `epoch`. */
export type RecoverMessage = [
  type: typeof MESSAGE.RECOVER,
  request: number,
  room: string,
  epoch: number,
  offset: number,
];
export type FindNodeMessage = [type: typeof MESSAGE.FIND_NODE, request: number, nodeTag: string];
export type DoneMessage = [type: typeof MESSAGE.DONE, request: number, count: number];
export type ShutdownMessage = [type: typeof MESSAGE.SHUTDOWN];
export type ResetMessage = [type: typeof MESSAGE.RESET];
export type BucketMessage =
  | ConnectMessage
  | DisconnectMessage
  | OccupyMessage
  | VacateMessage
  | PublishMessage
  | RecoverMessage
  | FindNodeMessage
  | DoneMessage
  | ResetMessage
  | ShutdownMessage;

export type ConnectedMessage = [
  type: typeof MESSAGE.CONNECTED,
  connId: number,
  status: ConnectStatus,
  rooms: RoomInfo[],
];
export type OccupiedMessage = [type: typeof MESSAGE.OCCUPIED, request: number, rooms: RoomInfo[]];
export type CloseMessage = [
  type: typeof MESSAGE.CLOSE,
  /** 0: nobody waits for the count. */
  request: number,
  connIds: number[],
  code: number,
  reason: string,
  reconnect: boolean,
  retryAfterMs: number,
];
export type JoinMessage = [type: typeof MESSAGE.JOIN, request: number, connIds: number[], rooms: string[]];
export type LeaveMessage = [type: typeof MESSAGE.LEAVE, request: number, connIds: number[], rooms: string[]];
export type PublishedMessage = [type: typeof MESSAGE.PUBLISHED, request: number, outcome: string];
/** What became of a RECOVER. LATER: the node was too busy, or Redis away; the same request may succeed. */
export const RECOVER_STATUS = { RECOVERED: 0, REFUSED: 1, LATER: 2 } as const;
export type RecoverStatus = (typeof RECOVER_STATUS)[keyof typeof RECOVER_STATUS];

/**
 * `body` of RECOVERED: whole op-26 packets, up to the newest message that stands on the ring in front of this one; empty where
 * nothing was missed.
 */
export type RecoveredMessage = [
  type: typeof MESSAGE.RECOVERED,
  request: number,
  status: RecoverStatus,
  body: Uint8Array,
];
/** Port 0: no live node has the tag. */
export type NodeFoundMessage = [
  type: typeof MESSAGE.NODE_FOUND,
  request: number,
  host: string,
  port: number,
  isTls: boolean,
];
export type TlsMessage = [type: typeof MESSAGE.TLS, request: number, set: TlsSet];
export type ControlMessage =
  | ConnectedMessage
  | OccupiedMessage
  | CloseMessage
  | JoinMessage
  | LeaveMessage
  | PublishedMessage
  | RecoveredMessage
  | NodeFoundMessage
  | TlsMessage;
