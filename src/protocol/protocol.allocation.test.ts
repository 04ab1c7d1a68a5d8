/** The hot path of this folder allocates nothing: neither reading packets nor writing batches. */
import { describe, expect, it } from 'vitest';
import { allocatedBytesPer } from '../../test/kit/allocated-bytes.js';
import {
  BATCH_HEADER_BYTES,
  BATCH26_ID_BYTES,
  Batch26Cursor,
  batch26HeaderBytes,
  encodePacket,
  encodeUtf8,
  FRAMING,
  PACKET_HEADER_BYTES,
  PARSE,
  PacketCursor,
  PacketHeader,
  PacketStream,
  readPacket,
  writeBatch26Header,
  writeBatch26Message,
  writeBatchHeader,
} from './index.js';

const MESSAGES_COUNT = 20;
/** Few enough that what they could allocate fits into the young heap: a collection in between would hide it. */
const BATCHES_COUNT = 1000;
const MESSAGES_PER_ROUND = MESSAGES_COUNT * BATCHES_COUNT;
const PACKET = encodePacket(1000, 0, 1, encodeUtf8('a message'));
const ROOM_UTF8 = encodeUtf8('live://1');

describe('the allocation budget', () => {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const batch9Bytes = BATCH_HEADER_BYTES + MESSAGES_COUNT * PACKET.length;
  const headerBytes = batch26HeaderBytes(ROOM_UTF8.length);
  const batch26Bytes = headerBytes + MESSAGES_COUNT * (BATCH26_ID_BYTES + PACKET.length);

  function writeBatch9(): void {
    let offset = writeBatchHeader(view, 0, batch9Bytes);
    for (let message = 0; message < MESSAGES_COUNT; message++) {
      bytes.set(PACKET, offset);
      offset += PACKET.length;
    }
  }

  function writeBatch26(firstOffset: number): void {
    let offset = headerBytes;
    for (let message = 0; message < MESSAGES_COUNT; message++) {
      offset = writeBatch26Message(view, bytes, offset, 0x8000_0001, 0xf000_0000, PACKET);
    }
    writeBatch26Header(view, bytes, 0, batch26Bytes, ROOM_UTF8, 5_000_000_000, firstOffset);
  }

  it('is measured by something that sees one small object per message', () => {
    const kept: unknown[] = new Array(MESSAGES_PER_ROUND);
    const perMessage = allocatedBytesPer(MESSAGES_PER_ROUND, () => {
      for (let message = 0; message < MESSAGES_PER_ROUND; message++) kept[message] = { message };
    });
    expect(perMessage).toBeGreaterThan(8);
  });

  it('of writing batches is nothing', () => {
    const perMessage = allocatedBytesPer(MESSAGES_PER_ROUND, () => {
      for (let batch = 0; batch < BATCHES_COUNT; batch++) {
        writeBatch9();
        writeBatch26(batch);
      }
    });
    expect(perMessage).toBeLessThan(1);
  });

  it('of reading the packets of a message and of a stream chunk is nothing', () => {
    writeBatch9();
    const chunk = bytes.slice(BATCH_HEADER_BYTES, batch9Bytes);
    const header = new PacketHeader();
    const stream = new PacketStream(() => 4096);
    const perMessage = allocatedBytesPer(MESSAGES_PER_ROUND, () => {
      for (let batch = 0; batch < BATCHES_COUNT; batch++) {
        let offset = 0;
        while (readPacket(chunk, offset, chunk.length, header, 4096, FRAMING.MESSAGE) === PARSE.OK) {
          offset += header.packetBytes;
        }
        stream.feed(chunk);
        while (stream.next() === PARSE.OK);
      }
    });
    expect(stream.keptBytes).toBe(0);
    expect(perMessage).toBeLessThan(1);
  });

  it('of walking over batches is nothing, for ids of all 64 bits too', () => {
    const cursor = new PacketCursor();
    const cursor26 = new Batch26Cursor();
    let wrongCount = 0;
    const perMessage = allocatedBytesPer(MESSAGES_PER_ROUND, () => {
      writeBatch9();
      for (let batch = 0; batch < BATCHES_COUNT; batch++) {
        cursor.reset(bytes, BATCH_HEADER_BYTES, batch9Bytes);
        while (cursor.next());
      }
      writeBatch26(7);
      for (let batch = 0; batch < BATCHES_COUNT; batch++) {
        cursor26.open(bytes, PACKET_HEADER_BYTES, batch26Bytes);
        while (cursor26.next()) if (cursor26.idLo !== 0xf000_0000) wrongCount++;
      }
    });
    expect(wrongCount).toBe(0);
    expect(perMessage).toBeLessThan(1);
  });
});
