/**
 * Question: what does the wire cost per packet, read and written, and what does an auth body cost at connect?
 * Topology: one thread, no sockets, everything in cache. Message: 64-byte bodies; goim's own auth body of 80 bytes and
 * an extended one. Cores: 1. Competitor: the same auth body through JSON.parse alone, which checks nothing.
 */
import {
  encodePacket,
  FRAMING,
  PACKET_HEADER_BYTES,
  PARSE,
  PacketHeader,
  PacketStream,
  parseAuthBody,
  readPacket,
  writePacketHeader,
} from '../../src/protocol/index.js';
import { assertResult, type BenchOptions, type BenchResult, measureRounds } from '../bench.js';

const BODY_BYTES = 64;
const PACKETS_COUNT = 200;
const PACKET_BYTES = PACKET_HEADER_BYTES + BODY_BYTES;
/** One TCP segment's worth, so that packets straddle the chunks. */
const CHUNK_BYTES = 1448;

const PLAIN_AUTH = '{"mid":123, "room_id":"live://1000", "platform":"web", "accepts":[1000,1001,1002]}';
const EXTENDED_AUTH =
  '{"mid":123,"key":"0b1c-device","room_id":"live://1000","platform":"web","accepts":[1000,1001,1002],"halley":1,"codec":"msgpack","rooms":["a://1","b://2"],"heartbeat_s":240}';

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 15;
  const repeats = quick ? 50 : 1500;
  const body = new Uint8Array(BODY_BYTES).fill(0x61);
  const bytes = new Uint8Array(PACKETS_COUNT * PACKET_BYTES);
  for (let index = 0; index < PACKETS_COUNT; index++) {
    bytes.set(encodePacket(1000, index, 1, body), index * PACKET_BYTES);
  }
  const chunks: Uint8Array[] = [];
  for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
    chunks.push(bytes.subarray(offset, offset + CHUNK_BYTES));
  }
  const operations = repeats * PACKETS_COUNT;
  const header = new PacketHeader();
  const scratch = new Uint8Array(PACKET_HEADER_BYTES);
  const scratchView = new DataView(scratch.buffer);

  const write = await measureRounds('writePacketHeader into a buffer', operations, rounds, () => {
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (let index = 0; index < PACKETS_COUNT; index++) {
        writePacketHeader(scratchView, 0, PACKET_BYTES, 1, 1000, index);
      }
    }
    assertResult(scratchView.getInt32(12) === PACKETS_COUNT - 1, 'the last header stands in the buffer');
  });

  const encodeBare = await measureRounds('encodePacket, a bare reply', operations, rounds, () => {
    let encodedBytes = 0;
    for (let index = 0; index < operations; index++) encodedBytes += encodePacket(8, index, 1).length;
    assertResult(encodedBytes === operations * PACKET_HEADER_BYTES, 'every reply has its size');
  });

  const encode = await measureRounds('encodePacket, 64-byte body', operations, rounds, () => {
    let encodedBytes = 0;
    for (let index = 0; index < operations; index++) encodedBytes += encodePacket(1000, index, 1, body).length;
    assertResult(encodedBytes === operations * PACKET_BYTES, 'every packet has its size');
  });

  const read = await measureRounds('readPacket out of one message', operations, rounds, () => {
    let seqSum = 0;
    for (let repeat = 0; repeat < repeats; repeat++) {
      let offset = 0;
      while (
        offset < bytes.length &&
        readPacket(bytes, offset, bytes.length, header, 4096, FRAMING.MESSAGE) === PARSE.OK
      ) {
        seqSum += header.seq;
        offset += header.packetBytes;
      }
    }
    assertResult(seqSum === repeats * ((PACKETS_COUNT * (PACKETS_COUNT - 1)) / 2), 'every packet was read');
  });

  const stream = await measureRounds('PacketStream, segments of 1,448 bytes', operations, rounds, () => {
    const decoder = new PacketStream(() => 4096);
    let packetsCount = 0;
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const chunk of chunks) {
        decoder.feed(chunk);
        while (decoder.next() === PARSE.OK) packetsCount++;
      }
    }
    assertResult(packetsCount === operations && decoder.keptBytes === 0, 'every packet came out');
  });

  const authCount = quick ? 500 : 20_000;
  const authRow = (name: string, text: string, mustBeExtended: boolean) => {
    const auth = new TextEncoder().encode(text);
    return measureRounds(name, authCount, rounds, () => {
      let mids = 0;
      for (let index = 0; index < authCount; index++) {
        const result = parseAuthBody(auth);
        if (result.ok && result.value.extended === mustBeExtended) mids += result.value.mid;
      }
      assertResult(mids === authCount * 123, 'every body was accepted');
    });
  };
  const plain = await authRow('parseAuthBody, goim’s', PLAIN_AUTH, false);
  const extended = await authRow('parseAuthBody, extended', EXTENDED_AUTH, true);

  const auth = new TextEncoder().encode(PLAIN_AUTH);
  const decoder = new TextDecoder();
  const floor = await measureRounds('JSON.parse of goim’s, unchecked', authCount, rounds, () => {
    let mids = 0;
    for (let index = 0; index < authCount; index++) {
      const parsed: { mid: number } = JSON.parse(decoder.decode(auth));
      mids += parsed.mid;
    }
    assertResult(mids === authCount * 123, 'every body was parsed');
  });

  return {
    title: 'protocol: packets and auth bodies',
    topology: `one thread, ${BODY_BYTES}-byte bodies, ${PACKETS_COUNT} packets back to back; 1 core`,
    rows: [
      write,
      { ...encodeBare, bytesPerOp: PACKET_HEADER_BYTES },
      { ...encode, bytesPerOp: PACKET_BYTES },
      read,
      { ...stream, note: `${(stream.nsPerOp / read.nsPerOp).toFixed(1)}x readPacket` },
      { ...plain, note: `${(plain.nsPerOp / floor.nsPerOp).toFixed(1)}x JSON.parse` },
      extended,
      floor,
    ],
  };
}
