import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Batch26Cursor,
  batch26HeaderBytes,
  decodeBatch26,
  writeBatch26Header,
  writeBatch26Message,
} from './batch26.js';
import { BATCH26_ID_BYTES } from './batch26.layout.js';
import { concat, hex, toHex } from './fixtures/traffic.js';
import { encodePacket, PARSE } from './packet.js';
import { encodeUtf8 } from './text.js';
import { readU64, U64_UNSAFE, u64ToText, writeU64 } from './u64.js';

interface Message {
  readonly idHi: number;
  readonly idLo: number;
  readonly packet: Uint8Array;
}

/** Written the way a bucket does: messages first, header when the count is known; `lead` bytes in front of it all. */
function writeBatch(room: string, epoch: number, firstOffset: number, messages: readonly Message[], lead = 0) {
  const roomUtf8 = encodeUtf8(room);
  const messageBytes = messages.reduce((sum, { packet }) => sum + BATCH26_ID_BYTES + packet.length, 0);
  const packetBytes = batch26HeaderBytes(roomUtf8.length) + messageBytes;
  const bytes = new Uint8Array(lead + packetBytes);
  const view = new DataView(bytes.buffer);
  let offset = lead + batch26HeaderBytes(roomUtf8.length);
  const firstMessageOffset = offset;
  for (const { idHi, idLo, packet } of messages) offset = writeBatch26Message(view, bytes, offset, idHi, idLo, packet);
  expect(offset).toBe(bytes.length);
  expect(writeBatch26Header(view, bytes, lead, packetBytes, roomUtf8, epoch, firstOffset)).toBe(firstMessageOffset);
  return bytes.subarray(lead);
}

const ONE = encodePacket(1000, 0, 1, encodeUtf8('one'));
const TWO = encodePacket(1001, 0, 1, encodeUtf8('two!'));

/** Written by hand from the table of DESIGN.md section 5. */
const VECTORS = [
  {
    name: 'a room batch of two',
    bytes: `00000062 0010 0001 0000001a 00000000
      0009 6c6976653a2f2f3432
      000000005f3759df 0000000000000007
      0000001234567890 00000013 0010 0001 000003e8 00000000 6f6e65
      ffffffff80000001 00000014 0010 0001 000003e9 00000000 74776f21`,
    room: 'live://42',
    scope: 'room',
    epoch: 0x5f3759df,
    firstOffset: 7,
    messages: [
      { idHi: 0x12, idLo: 0x34567890, packet: ONE },
      { idHi: 0xffffffff, idLo: 0x80000001, packet: TWO },
    ],
    offsets: [7, 8],
    ids: ['78187493520', '18446744071562067969'],
  },
  {
    name: 'a direct push',
    bytes: `0000003d 0010 0001 0000001a 00000000
      0000 0000000000000000 0000000000000000
      0000000000000001 00000013 0010 0001 000003e8 00000000 6f6e65`,
    room: '',
    scope: 'direct',
    epoch: 0,
    firstOffset: 0,
    messages: [{ idHi: 0, idLo: 1, packet: ONE }],
    offsets: [0],
    ids: ['1'],
  },
  {
    name: 'a push to all, with an epoch and an offset beyond 32 bits',
    bytes: `0000003d 0010 0001 0000001a 00000000
      0000 0000000100000002 001fffffffffffff
      0000000000000001 00000013 0010 0001 000003e8 00000000 6f6e65`,
    room: '',
    scope: 'all',
    epoch: 0x1_0000_0002,
    firstOffset: Number.MAX_SAFE_INTEGER,
    messages: [{ idHi: 0, idLo: 1, packet: ONE }],
    offsets: [Number.MAX_SAFE_INTEGER],
    ids: ['1'],
  },
  {
    name: 'an empty batch of a room with a name beyond ASCII',
    bytes: `00000028 0010 0001 0000001a 00000000
      0006 e688bfe997b4
      0000000000000001 0000000000000000`,
    room: '房间',
    scope: 'room',
    epoch: 1,
    firstOffset: 0,
    messages: [],
    offsets: [],
    ids: [],
  },
];

describe('an op-26 batch', () => {
  for (const vector of VECTORS) {
    it(`is written as in the design: ${vector.name}`, () => {
      for (const lead of [0, 3]) {
        const bytes = writeBatch(vector.room, vector.epoch, vector.firstOffset, vector.messages, lead);
        expect(toHex(bytes)).toBe(toHex(hex(vector.bytes)));
      }
    });

    it(`is read as in the design: ${vector.name}`, () => {
      const result = decodeBatch26(hex(vector.bytes).subarray(16));
      if (!result.ok) throw new Error(result.error);
      const { scope, room, epoch, firstOffset, messages } = result.value;
      expect({ scope, room, epoch, firstOffset }).toEqual({
        scope: vector.scope,
        room: vector.room,
        epoch: vector.epoch,
        firstOffset: vector.firstOffset,
      });
      expect(messages.map((message) => message.offset)).toEqual(vector.offsets);
      expect(messages.map(({ idHi, idLo }) => u64ToText(idHi, idLo))).toEqual(vector.ids);
      expect(messages.map(({ op, seq, ver, body }) => toHex(encodePacket(op, seq, ver, body)))).toEqual(
        vector.messages.map(({ packet }) => toHex(packet)),
      );
    });

    it(`is refused where it is cut inside, at every byte: ${vector.name}`, () => {
      const body = hex(vector.bytes).subarray(16);
      const wholeAt = new Set([body.length]);
      let endOffset = batch26HeaderBytes(encodeUtf8(vector.room).length) - 16;
      wholeAt.add(endOffset);
      for (const { packet } of vector.messages) {
        endOffset += BATCH26_ID_BYTES + packet.length;
        wholeAt.add(endOffset);
      }
      for (let cut = 0; cut <= body.length; cut++) {
        expect(decodeBatch26(body.slice(0, cut)).ok, `cut at ${cut}`).toBe(wholeAt.has(cut));
      }
    });
  }

  it('says what is wrong with it', () => {
    const prelude = '0000 0000000000000001 0000000000000001';
    const errors = [
      '',
      '0009 6c6976',
      '0000 0020000000000000 0000000000000000',
      '0000 0000000000000001 0020000000000000',
      '0000 0000000000000000 0000000000000001',
      '0002 c328 0000000000000001 0000000000000001',
      `${prelude} 00`,
      `${prelude} 0000000000000001 0000000f 0010 0001 000003e8 00000000`,
      `${prelude} 0000000000000001 00000010 0011 0001 000003e8 00000000`,
    ].map((body) => {
      const result = decodeBatch26(hex(body));
      return result.ok ? 'accepted' : result.error;
    });
    expect(errors).toEqual([
      ...[0, 5, 18, 18, 18].map(
        (bytes) =>
          `an op-26 body must begin with room length, room, roomEpoch and first offset, both below 2^53: bytes=${bytes}`,
      ),
      'the room id of an op-26 body must be UTF-8: bytes=2',
      'an op-26 message must be an id of 8 bytes and one whole packet: message=0 outcome=BAD_LENGTH',
      'an op-26 message must be an id of 8 bytes and one whole packet: message=0 outcome=BAD_LENGTH',
      'an op-26 message must be an id of 8 bytes and one whole packet: message=0 outcome=BAD_HEADER_LENGTH',
    ]);
  });

  it('is refused where its offsets would pass 2^53-1', () => {
    const body = hex('0000 0000000000000001 001fffffffffffff');
    const message = concat(hex('0000000000000001'), ONE);
    expect(decodeBatch26(concat(body, message)).ok).toBe(true);
    expect(decodeBatch26(concat(body, message, message)).ok).toBe(false);
  });

  it('comes back as it was written, for every room, epoch, offset and message', () => {
    const message = fc.record({
      idHi: fc.integer({ min: 0, max: 0xffff_ffff }),
      idLo: fc.integer({ min: 0, max: 0xffff_ffff }),
      packet: fc.uint8Array({ maxLength: 40 }).map((body) => encodePacket(1000, 0, 1, body)),
    });
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
        fc.maxSafeNat(),
        fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 10 }),
        fc.array(message, { maxLength: 8 }),
        (room, epoch, firstOffset, messages) => {
          const result = decodeBatch26(writeBatch(room, epoch, firstOffset, messages).subarray(16));
          if (!result.ok) throw new Error(result.error);
          expect(result.value).toMatchObject({ scope: 'room', room, epoch, firstOffset });
          expect(result.value.messages.map(({ idHi, idLo, offset }) => [idHi, idLo, offset])).toEqual(
            messages.map(({ idHi, idLo }, index) => [idHi, idLo, firstOffset + index]),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('can be walked in place with one cursor, direct and room batches in turn', () => {
    const cursor = new Batch26Cursor();
    for (const vector of [...VECTORS, ...VECTORS]) {
      const bytes = concat(hex('eeee'), hex(vector.bytes), hex('eeee'));
      const endOffset = bytes.length - 2;
      expect(cursor.open(bytes, 18, endOffset)).toBe(PARSE.OK);
      const offsets: number[] = [];
      while (cursor.next()) offsets.push(cursor.messageOffset);
      expect(cursor.outcome).toBe(PARSE.OK);
      expect(offsets).toEqual(vector.offsets);
      expect(cursor.isDirect).toBe(vector.scope === 'direct');
    }
    expect(cursor.open(hex('0005'), 0, 2)).toBe(PARSE.BAD_LENGTH);
    expect(cursor.next()).toBe(false);
  });
});

describe('a 64-bit number', () => {
  it('comes back exactly up to 2^53-1 and is refused above', () => {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]) {
      writeU64(view, 0, value);
      expect(view.getBigUint64(0)).toBe(BigInt(value));
      expect(readU64(bytes, 0)).toBe(value);
    }
    for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      view.setBigUint64(0, value);
      expect(readU64(bytes, 0)).toBe(U64_UNSAFE);
    }
  });
});
