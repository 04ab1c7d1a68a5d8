/** Pushes out of their batches, as an application sees them. */
import { decodeBatch, decodeBatch26, OP } from '../../src/protocol/index.js';
import type { ReceivedMessage } from './wire-client.js';

/** What stands in an op 9 or op 26; undefined where the packet is neither. Throws where the server wrote no batch. */
export function unpackPush(op: number, body: Buffer): ReceivedMessage[] | undefined {
  if (op === OP.RAW) {
    const inner = decodeBatch(body);
    if (!inner.ok) throw new Error(inner.error);
    return inner.value.map(messageOf);
  }
  // Without a body it is the answer to an op 26 that a goim client sent.
  if (op !== OP.BATCH || body.length === 0) return undefined;
  const batch = decodeBatch26(body);
  if (!batch.ok) throw new Error(batch.error);
  const { room, epoch, messages } = batch.value;
  return messages.map((message) => ({
    ...messageOf(message),
    room,
    epoch,
    offset: message.offset,
    id: ((BigInt(message.idHi) << 32n) | BigInt(message.idLo)).toString(),
  }));
}

export function messageOf({ op, body }: { readonly op: number; readonly body: Uint8Array }): ReceivedMessage {
  const bytes = Buffer.from(body);
  return { op, body: bytes, text: bytes.toString() };
}
