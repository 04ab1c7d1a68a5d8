/**
 * Takes what a server sends apart: control packets bare, pushes out of op 9 and op 26.
 */
import { Batch26Cursor, decodeUtf8, OP, PARSE, PacketCursor } from '../protocol/index.js';
import { ClientMessage } from './client-events.js';

/** A message with a place in a sequence. */
export type PlacedMessage = ClientMessage & { readonly offset: number };

export interface DownstreamSink {
  /** A packet that is no push: a reply, a Gap, a Disconnect. */
  control(op: number, seq: number, body: Uint8Array<ArrayBuffer>): void;
  /** Direct pushes, pushes to all, and what op 9 brought. */
  pushed(message: ClientMessage): void;
  /** One batch of a room; offsets are contiguous. */
  roomPushed(room: string, epoch: number, messages: readonly PlacedMessage[]): void;
}

/**
 * Hand everything in `bytes` to `sink`, in order.
 * @returns what was wrong, or undefined; packets in front of the fault have been handed out
 */
export function readDownstream(bytes: Uint8Array<ArrayBuffer>, sink: DownstreamSink): string | undefined {
  let problem: string | undefined;
  const isWhole = eachPacket(bytes, (op, seq, body) => {
    if (op === OP.RAW) problem = readRaw(body, sink);
    else if (op === OP.BATCH) problem = readBatch(body, sink);
    else sink.control(op, seq, body);
    return problem === undefined;
  });
  return problem ?? (isWhole ? undefined : 'a packet is malformed');
}

/**
 * The packets that stand back to back in `bytes`, with views of their bodies.
 * @param take false: no more of them
 * @returns true where it got to the end and nothing was malformed
 */
export function eachPacket(
  bytes: Uint8Array<ArrayBuffer>,
  take: (op: number, seq: number, body: Uint8Array<ArrayBuffer>) => boolean,
): boolean {
  const packets = new PacketCursor();
  packets.reset(bytes, 0, bytes.length);
  while (packets.next()) {
    const { op, seq, bodyOffset, bodyBytes } = packets.header;
    if (!take(op, seq, bytes.subarray(bodyOffset, bodyOffset + bodyBytes))) return false;
  }
  return packets.outcome === PARSE.OK;
}

function readRaw(bytes: Uint8Array<ArrayBuffer>, sink: DownstreamSink): string | undefined {
  const isWhole = eachPacket(bytes, (op, seq, body) => {
    sink.pushed(new ClientMessage(op, seq, body, 'unknown', undefined, undefined, 0, 0));
    return true;
  });
  return isWhole ? undefined : 'op 9 is malformed';
}

/** One op-26 batch. */
export interface PlacedBatch {
  readonly scope: 'room' | 'direct' | 'all';
  /** Empty unless `scope` is `room`. */
  readonly room: string;
  readonly epoch: number;
  readonly messages: readonly PlacedMessage[];
}

function readBatch(body: Uint8Array<ArrayBuffer>, sink: DownstreamSink): string | undefined {
  const batch = placedBatch(body);
  if (batch === undefined) return 'op 26 is malformed';
  const { scope, room, epoch, messages } = batch;
  if (scope === 'room') sink.roomPushed(room, epoch, messages);
  else for (const message of messages) sink.pushed(message);
  return undefined;
}

/** The messages of an op-26 body, checked as a whole; their bodies are views of it. undefined: malformed. */
export function placedBatch(body: Uint8Array<ArrayBuffer>): PlacedBatch | undefined {
  const cursor = new Batch26Cursor();
  cursor.open(body, 0, body.length);
  const room = decodeUtf8(body.subarray(cursor.roomOffset, cursor.roomOffset + cursor.roomBytes));
  const { isDirect, epoch } = cursor;
  const scope = isDirect ? 'direct' : room === '' ? 'all' : 'room';
  const messages: PlacedMessage[] = [];
  while (cursor.next()) {
    const { messageOffset, idHi, idLo, header } = cursor;
    const { op, seq, bodyOffset, bodyBytes } = header;
    const place = isDirect ? undefined : { epoch, offset: messageOffset };
    const bytes = body.subarray(bodyOffset, bodyOffset + bodyBytes);
    const message = new ClientMessage(op, seq, bytes, scope, room || undefined, place, idHi, idLo);
    messages.push(message as PlacedMessage);
  }
  return room === undefined || cursor.outcome !== PARSE.OK ? undefined : { scope, room, epoch, messages };
}
