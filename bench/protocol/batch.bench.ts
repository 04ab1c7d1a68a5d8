/**
 * Question: what does it cost a bucket to merge 20 messages into one batch, in goim's form and in ours, and a client to
 * walk over it?
 * Topology: one thread, no sockets; packets lie encoded in one block, as they do in a ring, and are gathered into a
 * pooled buffer that is reused. Message: 64-byte bodies, 20 per batch, room `live://1000`. Cores: 1.
 * Competitor: encoding each message anew and joining them, which is what "encode once" saves.
 */
import {
  BATCH_HEADER_BYTES,
  BATCH26_ID_BYTES,
  Batch26Cursor,
  batch26HeaderBytes,
  decodeBatch26,
  encodePacket,
  encodeUtf8,
  PACKET_HEADER_BYTES,
  PARSE,
  PacketCursor,
  writeBatch26Header,
  writeBatch26Message,
  writeBatchHeader,
} from '../../src/protocol/index.js';
import { assertResult, type BenchOptions, type BenchResult, measureRounds } from '../bench.js';

const MESSAGES_COUNT = 20;
const BODY_BYTES = 64;
const PACKET_BYTES = PACKET_HEADER_BYTES + BODY_BYTES;
const EPOCH = 5_000_000_000;

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 15;
  const batches = quick ? 500 : 20_000;
  const body = new Uint8Array(BODY_BYTES).fill(0x61);
  const packets = Array.from({ length: MESSAGES_COUNT }, (_, index) => encodePacket(1000, index, 1, body));
  const roomUtf8 = encodeUtf8('live://1000');
  const pooled = new Uint8Array(8192);
  const view = new DataView(pooled.buffer);

  const batch9Bytes = BATCH_HEADER_BYTES + MESSAGES_COUNT * PACKET_BYTES;
  const build9 = await measureRounds('build op 9', batches, rounds, () => {
    for (let count = 0; count < batches; count++) {
      let offset = writeBatchHeader(view, 0, batch9Bytes);
      for (let index = 0; index < MESSAGES_COUNT; index++) {
        pooled.set(packets[index]!, offset);
        offset += PACKET_BYTES;
      }
      assertResult(offset === batch9Bytes, 'the batch is full');
    }
  });

  const cursor = new PacketCursor();
  const walk9 = await measureRounds('walk op 9', batches, rounds, () => {
    let seqSum = 0;
    for (let count = 0; count < batches; count++) {
      cursor.reset(pooled, BATCH_HEADER_BYTES, batch9Bytes);
      while (cursor.next()) seqSum += cursor.header.seq;
    }
    assertResult(cursor.outcome === PARSE.OK && seqSum === batches * 190, 'every message was read');
  });

  const headerBytes = batch26HeaderBytes(roomUtf8.length);
  const batch26Bytes = headerBytes + MESSAGES_COUNT * (BATCH26_ID_BYTES + PACKET_BYTES);
  const build26 = await measureRounds('build op 26', batches, rounds, () => {
    for (let count = 0; count < batches; count++) {
      let offset = headerBytes;
      for (let index = 0; index < MESSAGES_COUNT; index++) {
        offset = writeBatch26Message(view, pooled, offset, count, index, packets[index]!);
      }
      assertResult(offset === batch26Bytes, 'the batch is full');
      writeBatch26Header(view, pooled, 0, batch26Bytes, roomUtf8, EPOCH, count);
    }
  });

  const cursor26 = new Batch26Cursor();
  const walk26 = await measureRounds('walk op 26', batches, rounds, () => {
    let idSum = 0;
    for (let count = 0; count < batches; count++) {
      cursor26.open(pooled, PACKET_HEADER_BYTES, batch26Bytes);
      while (cursor26.next()) idSum += cursor26.idLo;
    }
    assertResult(cursor26.outcome === PARSE.OK && idSum === batches * 190, 'every message was read');
    assertResult(
      cursor26.epoch === EPOCH && cursor26.messageOffset === batches - 1 + 19,
      'epoch and offsets are right',
    );
  });

  const decode26 = await measureRounds('decodeBatch26, objects and views', batches, rounds, () => {
    let messagesCount = 0;
    const batchBody = pooled.subarray(PACKET_HEADER_BYTES, batch26Bytes);
    for (let count = 0; count < batches; count++) {
      const result = decodeBatch26(batchBody);
      if (result.ok) messagesCount += result.value.messages.length;
    }
    assertResult(messagesCount === batches * MESSAGES_COUNT, 'every message was decoded');
  });

  const encodeEach = await measureRounds('build op 9, encoding each message anew', batches, rounds, () => {
    for (let count = 0; count < batches; count++) {
      let offset = writeBatchHeader(view, 0, batch9Bytes);
      for (let index = 0; index < MESSAGES_COUNT; index++) {
        pooled.set(encodePacket(1000, index, 1, body), offset);
        offset += PACKET_BYTES;
      }
      assertResult(offset === batch9Bytes, 'the batch is full');
    }
  });

  const perMessage = (nsPerOp: number) => `${(nsPerOp / MESSAGES_COUNT).toFixed(1)} ns per message`;
  return {
    title: 'protocol: batches of 20 messages of 64 bytes',
    topology: 'one thread, encoded packets gathered into one reused buffer; per batch; 1 core',
    rows: [
      { ...build9, note: perMessage(build9.nsPerOp) },
      { ...build26, note: `${perMessage(build26.nsPerOp)}, ${(build26.nsPerOp / build9.nsPerOp).toFixed(2)}x op 9` },
      { ...encodeEach, note: `${(encodeEach.nsPerOp / build9.nsPerOp).toFixed(1)}x op 9` },
      { ...walk9, note: perMessage(walk9.nsPerOp) },
      { ...walk26, note: perMessage(walk26.nsPerOp) },
      {
        ...decode26,
        note: `${perMessage(decode26.nsPerOp)}, ${(decode26.nsPerOp / walk26.nsPerOp).toFixed(1)}x the cursor`,
      },
    ],
  };
}
