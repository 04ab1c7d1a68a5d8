/**
 * goim's packets, in binary frames (Halley, goim itself and every peer of the bench that has no wire of its own) or bare on
 * TCP (Halley and goim).
 *
 * Hot path: read(). Packets are walked in place; nothing is allocated per message.
 */
import { FRAME_OPCODE, makeClientFrame } from '../wire/frame.js';
import { MESSAGE_BYTES } from '../wire/message.layout.js';
import { makePacket, OPERATION, visitPackets } from '../wire/packet.js';
import type { Dialect, DialectConnection } from './dialect.port.js';

const NO_BYTES = new Uint8Array(0);
/** The connection whose frame is being walked; set around visitPackets, so that the visitor needs no closure per frame. */
interface Reading {
  connection: DialectConnection | undefined;
}

/** @param isBare on TCP */
export function goimDialect(isBare = false): Dialect {
  const frame = isBare ? (packet: Uint8Array) => packet : (packet: Uint8Array) => makeClientFrame(packet);
  const reading: Reading = { connection: undefined };
  const onPacket = (op: number, bytes: Uint8Array, bodyStart: number, bodyEnd: number): void => {
    const { connection } = reading;
    if (connection === undefined) return;
    if (op === OPERATION.PUSHED || op === OPERATION.SEND) {
      if (bodyEnd - bodyStart !== MESSAGE_BYTES) throw new Error(`not our message: body_bytes=${bodyEnd - bodyStart}`);
      connection.onMessage(bytes, bodyStart);
    } else if (op === OPERATION.HEARTBEAT_REPLY) {
      connection.onHeartbeatReply();
    } else if (op === OPERATION.CHANGE_ROOM_REPLY) {
      connection.onRoomChanged();
    } else if (op === OPERATION.AUTH_REPLY) {
      connection.onReady();
    }
  };
  return {
    isBare,
    hello: (authBody) => frame(makePacket(OPERATION.AUTH, 1, Buffer.from(authBody))),
    read: (connection, opcode, bytes, start, end) => {
      if (opcode !== FRAME_OPCODE.BINARY) return;
      reading.connection = connection;
      visitPackets(bytes, start, end, onPacket);
    },
    heartbeat: () => frame(makePacket(OPERATION.HEARTBEAT, 2, NO_BYTES)),
    echo: (number, message) => frame(makePacket(OPERATION.SEND, number, message)),
    changeRoom: (room) => frame(makePacket(OPERATION.CHANGE_ROOM, 3, Buffer.from(room))),
  };
}
