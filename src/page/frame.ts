/**
 * One WebSocket message from the server, taken apart: control packets bare, pushes out of op 9 and op 26.
 */
import { decodeBatch26, OP, PARSE, PacketCursor, parseOutcomeName } from '../protocol/index.js';

/** One push. */
export interface InboundMessage {
  readonly op: number;
  /** View of the message it came in. */
  readonly body: Uint8Array;
  /** Who was meant. `unknown`: op 9 does not say. */
  readonly scope: 'room' | 'direct' | 'all' | 'unknown';
  /** Empty unless `scope` is `room`. */
  readonly room: string;
  /** Place in the sequence of its room, or of pushes to all; undefined where there is none. */
  readonly offset: number | undefined;
}

/** Where an op-26 batch stands in its sequence. */
export interface BatchPlace {
  /** The room, or '' for the sequence of pushes to all. */
  readonly room: string;
  readonly epoch: number;
  readonly firstOffset: number;
}

export interface FrameSink {
  /** A packet that is no push: a reply, a Gap, a Disconnect. */
  control(op: number, seq: number, body: Uint8Array): void;
  /** @param place undefined for op 9 and for direct pushes */
  pushes(messages: readonly InboundMessage[], place: BatchPlace | undefined): void;
}

/**
 * Hand everything in `bytes` to `sink`, in order.
 * @returns what was wrong, or undefined; packets in front of the fault have been handed out
 */
export function readFrame(bytes: Uint8Array, sink: FrameSink): string | undefined {
  if (bytes.length === 0) return 'a message without packets';
  const packets = new PacketCursor();
  packets.reset(bytes, 0, bytes.length);
  while (packets.next()) {
    const { op, seq, bodyOffset, bodyBytes } = packets.header;
    const body = bytes.subarray(bodyOffset, bodyOffset + bodyBytes);
    const problem = op === OP.RAW ? readRaw(body, sink) : op === OP.BATCH ? readBatch(body, sink) : undefined;
    if (problem !== undefined) return problem;
    if (op !== OP.RAW && op !== OP.BATCH) sink.control(op, seq, body);
  }
  const { outcome } = packets;
  return outcome === PARSE.OK ? undefined : `not a packet: ${parseOutcomeName(outcome)}`;
}

function readRaw(body: Uint8Array, sink: FrameSink): string | undefined {
  const messages: InboundMessage[] = [];
  const inner = new PacketCursor();
  inner.reset(body, 0, body.length);
  while (inner.next()) {
    const { op, bodyOffset, bodyBytes } = inner.header;
    const innerBody = body.subarray(bodyOffset, bodyOffset + bodyBytes);
    messages.push({ op, body: innerBody, scope: 'unknown', room: '', offset: undefined });
  }
  sink.pushes(messages, undefined);
  return inner.outcome === PARSE.OK ? undefined : `op 9: ${parseOutcomeName(inner.outcome)}`;
}

function readBatch(body: Uint8Array, sink: FrameSink): string | undefined {
  const batch = decodeBatch26(body);
  if (!batch.ok) return batch.error;
  const { scope, room, epoch, firstOffset } = batch.value;
  const isNumbered = scope !== 'direct';
  const messages = batch.value.messages.map(
    (message): InboundMessage => ({
      op: message.op,
      body: message.body,
      scope,
      room,
      offset: isNumbered ? message.offset : undefined,
    }),
  );
  sink.pushes(messages, isNumbered ? { room, epoch, firstOffset } : undefined);
  return undefined;
}
