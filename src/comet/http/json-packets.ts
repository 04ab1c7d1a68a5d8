/**
 * Packets as JSON, for clients that do not want to read bytes (`format=json`) or to write them (`application/json`).
 *
 * Downstream every packet is `{op, seq, ver, body}`, batches are opened: what stands in op 9 comes one by one, what stands in
 * op 26 with `room, epoch, offset, id` besides. A body is a string where it is UTF-8, otherwise it is `body_base64`; the count
 * of op 3 is a number. Upstream a packet is `{op, seq?, body?}`, or an array of them.
 *
 * Threads: pure functions.
 */
import {
  type Decoded,
  decodeBatch,
  decodeBatch26,
  decoded,
  decodeUtf8,
  encodeHeartbeatBody,
  encodePacket,
  encodeUtf8,
  FRAMING,
  NO_BODY_LIMIT_BYTES,
  OP,
  PARSE,
  type Packet,
  PacketHeader,
  readInt32,
  readPacket,
  refused,
} from '../../protocol/index.js';

const VER = 1;
const COUNT_BYTES = 4;
const EXPECTED = 'expected {"op": int32, "seq"?: int32, "body"?: a string or any JSON value} or an array of them';

/** The packets of one downstream message as JSON objects with commas between them. */
export function jsonOfPackets(bytes: Uint8Array): string {
  const header = new PacketHeader();
  const texts: string[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const outcome = readPacket(bytes, offset, bytes.length, header, NO_BODY_LIMIT_BYTES, FRAMING.BATCH);
    if (outcome !== PARSE.OK) {
      // Only an application's own frame is no packet.
      texts.push(JSON.stringify({ frame_base64: base64Of(bytes.subarray(offset)) }));
      break;
    }
    const { op, seq, ver, bodyOffset, bodyBytes } = header;
    pushTexts(texts, { op, seq, ver, body: bytes.subarray(bodyOffset, bodyOffset + bodyBytes) });
    offset += header.packetBytes;
  }
  return texts.join(',');
}

function pushTexts(texts: string[], packet: Packet): void {
  if (packet.op === OP.RAW) {
    const batch = decodeBatch(packet.body);
    if (batch.ok) {
      for (const inner of batch.value) texts.push(JSON.stringify(membersOf(inner)));
      return;
    }
  }
  if (packet.op === OP.BATCH) {
    const batch = decodeBatch26(packet.body);
    if (batch.ok) {
      const { room, epoch, messages } = batch.value;
      for (const message of messages) {
        const id = ((BigInt(message.idHi) << 32n) | BigInt(message.idLo)).toString();
        texts.push(JSON.stringify({ ...membersOf(message), room, epoch, offset: message.offset, id }));
      }
      return;
    }
  }
  texts.push(JSON.stringify(membersOf(packet)));
}

function membersOf({ op, seq, ver, body }: Packet): Record<string, unknown> {
  if (op === OP.HEARTBEAT_REPLY && body.length === COUNT_BYTES) return { op, seq, ver, body: readInt32(body, 0) };
  const text = decodeUtf8(body);
  return text === undefined ? { op, seq, ver, body_base64: base64Of(body) } : { op, seq, ver, body: text };
}

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** From the JSON of a client to whole packets, back to back. */
export function packetsOfJson(bytes: Uint8Array): Decoded<Uint8Array> {
  const text = decodeUtf8(bytes);
  if (text === undefined) return refused(`the body must be UTF-8; ${EXPECTED}`);
  let value: unknown;
  try {
    value = JSON.parse(text, refuseRounded);
  } catch (error) {
    return refused(`${error instanceof Error ? error.message : String(error)}; ${EXPECTED}`);
  }
  const items = Array.isArray(value) ? value : [value];
  if (items.length === 0) return refused(`the array is empty; ${EXPECTED}`);
  const packets: Uint8Array[] = [];
  for (const [index, item] of items.entries()) {
    const packet = packetOf(item);
    if (typeof packet === 'string') return refused(`${packet} in packet ${index}; ${EXPECTED}`);
    packets.push(packet);
  }
  return decoded(packets.length === 1 ? packets[0]! : Buffer.concat(packets));
}

/** JSON.parse would round it without a word, and the application would get another number than the client wrote. */
function refuseRounded(_key: string, value: unknown): unknown {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new RangeError('integers beyond 2^53-1 must be strings');
  }
  return value;
}

/** The packet, or what is wrong with the item. */
function packetOf(item: unknown): Uint8Array | string {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return 'not an object';
  const members = item as Record<string, unknown>;
  const { op, seq = 0, body } = members;
  if (!isInt32(op)) return 'op is not an int32';
  if (!isInt32(seq)) return 'seq is not an int32';
  const unknown = Object.keys(members).find((name) => name !== 'op' && name !== 'seq' && name !== 'body');
  if (unknown !== undefined) return `unknown member ${JSON.stringify(unknown)}`;
  if (body === undefined) return encodePacket(op, seq, VER);
  if (op === OP.HEARTBEAT && isInt32(body)) return encodePacket(op, seq, VER, encodeHeartbeatBody(body));
  return encodePacket(op, seq, VER, encodeUtf8(typeof body === 'string' ? body : JSON.stringify(body)));
}

function isInt32(value: unknown): value is number {
  return typeof value === 'number' && (value | 0) === value;
}
