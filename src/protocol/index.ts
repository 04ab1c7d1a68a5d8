/**
 * protocol: every byte that Halley exchanges with clients and producers, and nothing about sockets.
 *
 * Isomorphic: the server, the SDK in browsers and Node, and load clients share this folder. No `node:` import, no Buffer;
 * a test bundles it for browsers and runs the bundle without Node's globals. It imports errors/ and msgpackr only.
 *
 * | what | file |
 * |---|---|
 * | operations and their direction | op.ts |
 * | goim's packet: header, read, write | packet.ts, packet.layout.ts |
 * | packets out of a TCP stream | packet-stream.ts |
 * | batches: goim's op 9; op 26 with ids, room, epoch, offsets | batch.ts; batch26.ts, batch26.layout.ts |
 * | bodies of goim's ops: auth, operation lists, heartbeats | auth-body.ts, op-list.ts, heartbeat-body.ts |
 * | JSON and MessagePack with bounds | codec.ts, msgpack-bounds.ts |
 * | bodies of Halley's ops: 6, 18 to 24; 30 to 33 | bodies.ts; im-envelope.ts |
 * | the push envelope for producers | push-command.ts |
 * | messages between nodes | bus-envelope.ts |
 * | a message of a room with history, on its channel and in its stream | history-envelope.ts |
 *
 * Two rules hold everywhere. Bytes from outside never throw: the hot path answers with a `ParseOutcome`, the rest with a
 * `Decoded<T>`, whose refusal is a sentence for a close reason. And every 64-bit number is either exact or refused.
 *
 * The hot path is `readPacket`, `writePacketHeader`, `PacketStream`, the two cursors and the batch writers: no allocation,
 * buffers owned by the caller. Everything that returns objects is for the edges.
 */
export {
  AUTH_LIMITS,
  type AuthBody,
  type AuthLimits,
  EXTENSION_VERSION,
  encodeAuthBody,
  parseAuthBody,
} from './auth-body.js';
export { BATCH_HEADER_BYTES, decodeBatch, PacketCursor, writeBatchHeader } from './batch.js';
export {
  type Batch26,
  Batch26Cursor,
  type BatchMessage,
  type BatchScope,
  batch26HeaderBytes,
  decodeBatch26,
  writeBatch26Header,
  writeBatch26Id,
  writeBatch26Message,
} from './batch26.js';
export { BATCH26_FIXED_BYTES, BATCH26_ID_BYTES, BATCH26_MAX_ROOM_BYTES } from './batch26.layout.js';
export {
  type DisconnectBody,
  decodeDisconnect,
  decodeGap,
  decodeRecover,
  decodeRecoverReply,
  decodeRoomList,
  decodeRoomReplies,
  type ErrorAnswer,
  encodeDisconnect,
  encodeGap,
  encodeRecover,
  encodeRecoverRefused,
  encodeRoomList,
  encodeRoomReplies,
  type GapBody,
  type RecoverBody,
  type RecoverReply,
  ROOM_LIST_LIMIT_COUNT,
  type RoomReply,
} from './bodies.js';
export {
  BUS_VERSION,
  type BusAllMessage,
  type BusEnvelope,
  type BusMessage,
  type BusNodeMessage,
  type BusOrigin,
  type BusRoomMessage,
  decodeBusEnvelope,
  encodeBusEnvelope,
  isBusEnvelope,
} from './bus-envelope.js';
export { BODY_LIMIT_BYTES, CODECS, type Codec, decodeBody, encodeBody, SERVER_BODY_LIMIT_BYTES } from './codec.js';
export { type Decoded, type DecodedValue, decoded, type Refusal, refused } from './decoded.js';
export {
  encodeHeartbeatBody,
  HEARTBEAT_BODY_BYTES,
  HEARTBEAT_BODY_NONE,
  readHeartbeatBody,
  writeHeartbeatBody,
} from './heartbeat-body.js';
export {
  decodeHistoryEnvelope,
  decodeHistoryRecord,
  encodeHistoryRecord,
  HISTORY_ENVELOPE_FORM,
  HISTORY_PREFIX_BYTES,
  type HistoryEnvelope,
  type HistoryRecord,
} from './history-envelope.js';
export {
  decodeImEvent,
  decodeImNotify,
  decodeImRequest,
  decodeImResponse,
  encodeImEvent,
  encodeImNotify,
  encodeImRequest,
  encodeImResponse,
  IM_EVENTS,
  type ImEvent,
  type ImEventName,
  type ImNotify,
  type ImRequest,
  type ImResponse,
} from './im-envelope.js';
export { BODY_DEPTH_LIMIT } from './msgpack-bounds.js';
export {
  FIRST_APPLICATION_OP,
  FIRST_EXTENSION_OP,
  isApplicationOp,
  isExtensionOp,
  isKnownOp,
  OP,
  OP_DIRECTION,
  type Op,
  type OpDirection,
  type OpName,
  opName,
} from './op.js';
export { encodeOpList, isLongOpList, OP_LIST_LIMIT_COUNT, parseOpList } from './op-list.js';
export {
  encodePacket,
  FRAMING,
  type Framing,
  NO_BODY_LIMIT_BYTES,
  PARSE,
  type Packet,
  PacketHeader,
  type ParseOutcome,
  parseOutcomeName,
  readInt32,
  readPacket,
  writePacketHeader,
} from './packet.js';
export {
  HEADER_LENGTH_OFFSET,
  OP_OFFSET,
  PACKET_HEADER_BYTES,
  PACKET_LENGTH_OFFSET,
  PUSH_SEQ,
  PUSH_VER,
} from './packet.layout.js';
export { PacketStream } from './packet-stream.js';
export {
  encodePushCommand,
  PUSH_LIMITS,
  type PushCommand,
  type PushLimits,
  type PushTarget,
  parsePushCommand,
  parsePushCommands,
  validatePushCommand,
} from './push-command.js';
export {
  decodeUtf8,
  encodeUtf8,
  KEY_LIMIT_BYTES,
  nameProblem,
  ROOM_ID_LIMIT_BYTES,
  roomIdProblem,
  utf8Bytes,
} from './text.js';
export { readU64, U64_BYTES, U64_UNSAFE, u64ToText, writeU64, writeU64Words } from './u64.js';
