import { describe, expect, it } from 'vitest';
import { BATCH_HEADER_BYTES, decodeBatch, PacketCursor, writeBatchHeader } from './batch.js';
import { concat, GOLDEN_PACKETS, hex, toHex } from './fixtures/traffic.js';
import { encodePacket, PARSE } from './packet.js';
import { encodeUtf8 } from './text.js';

function batchOf(...packets: readonly Uint8Array[]): Uint8Array {
  const batch = concat(new Uint8Array(BATCH_HEADER_BYTES), ...packets);
  writeBatchHeader(new DataView(batch.buffer), 0, batch.length);
  return batch;
}

describe('an op-9 batch', () => {
  it('of one packet is what goim sends for a push over WebSocket', () => {
    const inner = encodePacket(1000, 0, 1, encodeUtf8('one'));
    expect(toHex(batchOf(inner))).toBe(toHex(hex(GOLDEN_PACKETS[4]!.bytes)));
  });

  it('of three 18-byte packets begins as goim’s does and holds them in order', () => {
    const inner = ['aa', 'bb', 'cc'].map((text) => encodePacket(1000, 0, 1, encodeUtf8(text)));
    const batch = batchOf(...inner);
    expect(toHex(batch.subarray(0, 16))).toBe('00000046001000010000000900000000');
    const packets = decodeBatch(batch.subarray(BATCH_HEADER_BYTES));
    expect(packets.ok && packets.value.map(({ op, body }) => [op, toHex(body)])).toEqual([
      [1000, '6161'],
      [1000, '6262'],
      [1000, '6363'],
    ]);
  });

  it('may hold any number of packets, none too', () => {
    expect(decodeBatch(new Uint8Array(0))).toEqual({ ok: true, value: [] });
  });

  it('is refused as a whole where it is cut, at every place', () => {
    const body = concat(encodePacket(1000, 0, 1, encodeUtf8('aa')), encodePacket(1000, 0, 1, encodeUtf8('bb')));
    for (let cut = 1; cut < body.length; cut++) {
      const result = decodeBatch(body.subarray(0, cut));
      expect(result.ok, `cut at ${cut}`).toBe(cut === 18);
      if (!result.ok) expect(result.error).toMatch(/packet=[01] outcome=BAD_LENGTH$/);
    }
  });

  it('is refused where an inner length is below 16, which would be an endless walk', () => {
    const body = hex('00000000 0010 0001 000003e8 00000000');
    expect(decodeBatch(body)).toMatchObject({ ok: false, error: expect.stringContaining('outcome=BAD_LENGTH') });
  });

  it('can be walked again and again with one cursor that says where it stopped', () => {
    const cursor = new PacketCursor();
    const good = concat(encodePacket(1001, 0, 1), encodePacket(1002, 0, 1));
    for (let round = 0; round < 2; round++) {
      cursor.reset(concat(hex('ffff'), good), 2, 2 + good.length);
      expect([cursor.next(), cursor.header.op, cursor.next(), cursor.header.op, cursor.next()]).toEqual([
        true,
        1001,
        true,
        1002,
        false,
      ]);
      expect(cursor.outcome).toBe(PARSE.OK);
      cursor.reset(good, 0, good.length - 1);
      expect([cursor.next(), cursor.next(), cursor.next()]).toEqual([true, false, false]);
      expect(cursor.outcome).toBe(PARSE.BAD_LENGTH);
    }
  });
});
