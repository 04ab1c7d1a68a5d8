/**
 * The control thread's end of upstream's records: reads clients' messages out of the buckets' rings.
 *
 * Threads: control thread.
 */
import type { ThreadRuntime } from '../actor/index.js';
import { CLOSE } from '../errors/index.js';
import type { Upstream } from '../push/index.js';
import type { MemorySessions } from '../store/index.js';
import {
  CONN_ID_OFFSET,
  KEY_BYTES_OFFSET,
  MID_OFFSET,
  OP_OFFSET,
  ROOM_BYTES_OFFSET,
  SEQ_OFFSET,
  TEXT_OFFSET,
} from './client-message.layout.js';
import { RAW_KIND } from './push-record.layout.js';

/** From now on messages of clients are told to `upstream`. Once per runtime. */
export function readClientMessages(
  runtime: Pick<ThreadRuntime, 'onRaw'>,
  sessions: Pick<MemorySessions, 'byKey'>,
  upstream: Pick<Upstream, 'message'>,
): void {
  runtime.onRaw(RAW_KIND.CLIENT_MESSAGE, (bytes, offset, lengthBytes, bucket) => {
    const record = Buffer.from(bytes.buffer, bytes.byteOffset + offset, lengthBytes);
    const connId = record.readDoubleLE(CONN_ID_OFFSET);
    const keyEnd = TEXT_OFFSET + record.readUInt16LE(KEY_BYTES_OFFSET);
    const roomEnd = keyEnd + record.readUInt16LE(ROOM_BYTES_OFFSET);
    const key = record.toString('utf8', TEXT_OFFSET, keyEnd);
    const session = sessions.byKey(key);
    upstream.message({
      key,
      mid: record.readDoubleLE(MID_OFFSET),
      bucket,
      connId,
      room: record.toString('utf8', keyEnd, roomEnd),
      op: record.readInt32LE(OP_OFFSET),
      seq: record.readInt32LE(SEQ_OFFSET),
      body: record.subarray(roomEnd),
      session: session?.connId === connId && session.bucket === bucket ? session : undefined,
    });
  });
}

const TEXT_BY_CLOSE_CODE: ReadonlyMap<number, string> = new Map(
  Object.values(CLOSE).map(({ code, reason }) => [code, reason]),
);

/** Why a channel ended, as a short phrase. */
export function closeText(closeCode: number): string {
  if (closeCode === 0) return 'client';
  return TEXT_BY_CLOSE_CODE.get(closeCode) ?? `code ${closeCode}`;
}
