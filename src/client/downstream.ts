/**
 * Takes what a server sends apart: control packets bare, pushes out of op 9 and op 26.
 */
import { decodeBatch26, OP, PARSE, PacketCursor, parseOutcomeName } from '../protocol/index.js';
import { MessageBody } from './body-codec.js';
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
  const packets = new PacketCursor();
  packets.reset(bytes, 0, bytes.length);
  while (packets.next()) {
    const { op, seq, bodyOffset, bodyBytes } = packets.header;
    const body = bytes.subarray(bodyOffset, bodyOffset + bodyBytes);
    let problem: string | undefined;
    if (op === OP.RAW) problem = readRaw(body, sink);
    else if (op === OP.BATCH) problem = readBatch(body, sink);
    else sink.control(op, seq, body);
    if (problem !== undefined) return problem;
  }
  return packets.outcome === PARSE.OK ? undefined : `not a packet: ${parseOutcomeName(packets.outcome)}`;
}

function readRaw(body: Uint8Array<ArrayBuffer>, sink: DownstreamSink): string | undefined {
  const packets = new PacketCursor();
  packets.reset(body, 0, body.length);
  while (packets.next()) {
    const { op, seq, bodyOffset, bodyBytes } = packets.header;
    const packet = { op, seq, body: MessageBody.view(body.subarray(bodyOffset, bodyOffset + bodyBytes)) };
    sink.pushed(new ClientMessage(packet, 'unknown', undefined, undefined, 0, 0));
  }
  return packets.outcome === PARSE.OK ? undefined : `op 9: ${parseOutcomeName(packets.outcome)}`;
}

/** The messages of an op-26 body, or what was wrong with it. */
function readBatch(body: Uint8Array<ArrayBuffer>, sink: DownstreamSink): string | undefined {
  const batch = decodeBatch26(body);
  if (!batch.ok) return batch.error;
  const { scope, room, epoch } = batch.value;
  const messages = batchMessages(batch.value);
  if (scope === 'room') sink.roomPushed(room, epoch, messages);
  else for (const message of messages) sink.pushed(message);
  return undefined;
}

export function batchMessages({ scope, room, epoch, messages }: DecodedBatch): PlacedMessage[] {
  return messages.map(({ op, seq, body, offset, idHi, idLo }) => {
    // decodeBatch26 gives views of what it was given, which a transport took from an ArrayBuffer.
    const packet = { op, seq, body: MessageBody.view(body as Uint8Array<ArrayBuffer>) };
    const place = scope === 'direct' ? undefined : { epoch, offset };
    return new ClientMessage(packet, scope, scope === 'room' ? room : undefined, place, idHi, idLo) as PlacedMessage;
  });
}

type DecodedBatch = Extract<ReturnType<typeof decodeBatch26>, { readonly ok: true }>['value'];
