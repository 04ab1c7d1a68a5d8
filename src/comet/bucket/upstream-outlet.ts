/**
 * The bucket's end of upstream: writes clients' messages into its ring for the control thread.
 *
 * Threads: its bucket.
 * Guarantees: a message for which OK was said reaches the control thread, behind the connect and before the disconnect of its
 *   channel, unless the thread dies. The gate closes before upstream is full: what stands in the rings then still has room.
 * Hot path: once per client message, nothing but the record where texts are ASCII.
 */
import { OUTCOME, type Outcome } from '../../errors/index.js';
import { OP } from '../../protocol/index.js';
import { METRIC } from '../../telemetry/index.js';
import {
  CONN_ID_OFFSET,
  KEY_BYTES_OFFSET,
  MAX_TEXT_BYTES,
  MID_OFFSET,
  OP_OFFSET,
  ROOM_BYTES_OFFSET,
  SEQ_OFFSET,
  TEXT_OFFSET,
} from '../client-message.layout.js';
import { RAW_KIND } from '../push-record.layout.js';
import type { RecordLink } from '../record-link.js';
import type { BucketParts } from './bucket.js';
import type { Channel } from './channel.js';
import type { ChannelSlots } from './channel-slots.js';

/** The control thread's bit. */
const CONTROL_MASK = 1;

export type UpstreamOutlet = (channel: Channel, op: number, seq: number, body: Uint8Array) => Outcome;

/** op 4 and the application's own. What else reaches a listener is no message: an op 7 that is repeated holds a token. */
function isClientMessage(op: number): boolean {
  return op === OP.SEND_MSG || op > OP.UNSUB_REPLY;
}

/** Undefined where client messages do not go upstream. */
export function upstreamOutlet(
  parts: Pick<BucketParts, 'runtime' | 'counters' | 'log' | 'upstreamGate'>,
  slots: Pick<ChannelSlots, 'connIdOf'>,
  link: Pick<RecordLink, 'backlogCount'>,
): UpstreamOutlet | undefined {
  const { runtime, counters, log, upstreamGate: gate } = parts;
  if (gate === undefined) return undefined;
  const { writer } = runtime;
  const ring = Buffer.from(writer.bytes.buffer, writer.bytes.byteOffset, writer.bytes.byteLength);

  function forward(channel: Channel, op: number, seq: number, body: Uint8Array): Outcome {
    // Pairs with the store in onGate (cli/upstream-wiring.ts). A backlog holds connects that must come before this message.
    if (Atomics.load(gate as Int32Array, 0) !== 0 || link.backlogCount > 0) return OUTCOME.FULL;
    const { key } = channel;
    const room = channel.primaryRoom?.shard.room ?? '';
    const keyBytes = Buffer.byteLength(key);
    const roomBytes = Buffer.byteLength(room);
    if (keyBytes > MAX_TEXT_BYTES || roomBytes > MAX_TEXT_BYTES) return OUTCOME.TOO_LARGE;
    const recordBytes = TEXT_OFFSET + keyBytes + roomBytes + body.length;
    const outcome = writer.claim(recordBytes);
    if (outcome !== OUTCOME.OK) return outcome;
    const { view, offset } = writer;
    view.setFloat64(offset + CONN_ID_OFFSET, slots.connIdOf(channel), true);
    view.setFloat64(offset + MID_OFFSET, channel.userMid, true);
    view.setInt32(offset + OP_OFFSET, op, true);
    view.setInt32(offset + SEQ_OFFSET, seq, true);
    view.setUint16(offset + KEY_BYTES_OFFSET, keyBytes, true);
    view.setUint16(offset + ROOM_BYTES_OFFSET, roomBytes, true);
    const text = offset + TEXT_OFFSET;
    ring.write(key, text, keyBytes, 'utf8');
    ring.write(room, text + keyBytes, roomBytes, 'utf8');
    ring.set(body, text + keyBytes + roomBytes);
    writer.commit(RAW_KIND.CLIENT_MESSAGE, CONTROL_MASK, recordBytes);
    runtime.signalSoon();
    return OUTCOME.OK;
  }

  return (channel, op, seq, body) => {
    if (!isClientMessage(op)) return OUTCOME.OK;
    const outcome = forward(channel, op, seq, body);
    if (outcome !== OUTCOME.OK) {
      counters.add(METRIC.upstream_refused, 1);
      // The bucket's logger counts repeats instead of writing them.
      log.warn({ outcome }, 'upstream has no room: messages of clients are refused');
    }
    return outcome;
  };
}
