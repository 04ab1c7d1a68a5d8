/** Valid traffic of clients, and ways to spoil it. Every choice comes from the given source of randomness. */
import { encodeAuthBody, encodePacket, OP } from '../../src/protocol/index.js';
import { frame, OPCODE, upgradeRequest } from './raw-web-socket.js';

/** Numbers from 0 up to, not including, 1. */
export type Random = () => number;

function below(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[below(random, items.length)] as T;
}

/** A packet that a well-behaved client could send after auth. */
function validPacket(random: Random): Uint8Array {
  const seq = below(random, 2 ** 31);
  const room = `fuzz://${below(random, 50)}`;
  const rooms = JSON.stringify([room, `fuzz://${below(random, 50)}`]);
  return pick(random, [
    () => encodePacket(OP.HEARTBEAT, seq, 1, new Uint8Array(below(random, 2) * 4)),
    () => encodePacket(OP.SEND_MSG, seq, 1, Buffer.from('hello')),
    () => encodePacket(OP.CHANGE_ROOM, seq, 1, Buffer.from(room)),
    () => encodePacket(OP.SUB, seq, 1, Buffer.from('1000,1001,1002')),
    () => encodePacket(OP.UNSUB, seq, 1, Buffer.from('1000')),
    () => encodePacket(OP.JOIN_ROOMS, seq, 1, Buffer.from(rooms)),
    () => encodePacket(OP.LEAVE_ROOMS, seq, 1, Buffer.from(rooms)),
    () => encodePacket(OP.RECOVER, seq, 1, Buffer.from(JSON.stringify({ room, epoch: 1, offset: 1 }))),
    () => encodePacket(OP.IM_REQUEST, seq, 1, Buffer.from('{"method":"none","params":{}}')),
    () => encodePacket(OP.AUTH, seq, 1, authBody(random)),
    () => encodePacket(1000 + below(random, 1000), seq, 1, Buffer.from('an application operation')),
  ])();
}

/** An auth body of a fuzzing client. */
export function authBody(random: Random): Uint8Array {
  return encodeAuthBody({
    mid: 1 + below(random, 1000),
    key: `fuzz-${below(random, 2 ** 31)}`,
    roomId: `fuzz://${below(random, 50)}`,
    accepts: [1000],
    extended: random() < 0.5,
  });
}

const INTERESTING_INT32 = [-1, 0, 1, 15, 16, 17, 4_096, 4_112, 4_113, 65_535, 65_536, 2 ** 31 - 1, -(2 ** 31)] as const;

/** Spoil a packet in one place or another. */
function mutated(random: Random, valid: Uint8Array): Uint8Array {
  const bytes = Buffer.from(valid);
  return pick(random, [
    () => {
      for (let count = 1 + below(random, 4); count > 0; count--) {
        bytes[below(random, bytes.length)] = below(random, 256);
      }
      return bytes;
    },
    () => bytes.subarray(0, below(random, bytes.length)),
    () => Buffer.concat([bytes, Buffer.from(`tail ${random()}`)]),
    () => Buffer.concat([bytes, validPacket(random), bytes.subarray(0, below(random, bytes.length))]),
    () => {
      bytes.writeInt32BE(pick(random, INTERESTING_INT32), pick(random, [0, 8, 12]));
      return bytes;
    },
    () => {
      bytes.writeInt16BE(below(random, 65_536) - 32_768, pick(random, [4, 6]));
      return bytes;
    },
    () => {
      // The length is right, the body is not what the operation expects.
      for (let index = 16; index < bytes.length; index++) if (random() < 0.3) bytes[index] = below(random, 256);
      return bytes;
    },
  ])();
}

/** One spoiled WebSocket frame, or a spoiled packet in a sound frame, for a connection that passed auth. */
export function mutatedFrame(random: Random): Uint8Array {
  const packet = validPacket(random);
  const kind = random();
  if (kind < 0.75) return frame(mutated(random, packet));
  if (kind < 0.85) return frame(mutated(random, packet), OPCODE.TEXT);
  if (kind < 0.9) {
    // Fragments, some of them never finished.
    const first = frame(packet.subarray(0, 8));
    first[0] = OPCODE.BINARY;
    const last = frame(packet.subarray(8), OPCODE.CONTINUATION);
    if (random() < 0.2) last[0] = OPCODE.CONTINUATION;
    return Buffer.concat([first, last]);
  }
  const bytes = frame(packet);
  bytes[below(random, Math.min(bytes.length, 8))] = below(random, 256);
  return bytes;
}

/** A first packet that is not quite an auth packet. */
export function mutatedAuth(random: Random): Uint8Array {
  return frame(mutated(random, encodePacket(OP.AUTH, 1, 1, authBody(random))));
}

/** Half a handshake, or one with something wrong in it. */
export function mutatedUpgrade(random: Random): Uint8Array {
  const bytes = Buffer.from(upgradeRequest(pick(random, ['/sub', '/sub?x=1', '/', '/%00', `/${'a'.repeat(2_000)}`])));
  if (random() < 0.5) return bytes.subarray(0, below(random, bytes.length));
  for (let count = 1 + below(random, 6); count > 0; count--) bytes[below(random, bytes.length)] = below(random, 256);
  return bytes;
}
