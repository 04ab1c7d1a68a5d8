import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePacket, encodeUtf8, OP } from '../../protocol/index.js';
import { jsonOfPackets, packetsOfJson } from './json-packets.js';

function objects(bytes: Uint8Array): unknown {
  return JSON.parse(`[${jsonOfPackets(bytes)}]`);
}

describe('packets as JSON', () => {
  it('open batches, keep the order, and show what is no text in base64', () => {
    const inner = [encodePacket(1000, 0, 1, encodeUtf8('é')), encodePacket(1001, 0, 1, new Uint8Array([255]))];
    const batch = encodePacket(OP.RAW, 0, 1, Buffer.concat(inner));
    const count = encodePacket(OP.HEARTBEAT_REPLY, 9, 1, new Uint8Array([0, 0, 1, 2]));
    expect(objects(Buffer.concat([batch, count]))).toEqual([
      { op: 1000, seq: 0, ver: 1, body: 'é' },
      { op: 1001, seq: 0, ver: 1, body_base64: '/w==' },
      { op: OP.HEARTBEAT_REPLY, seq: 9, ver: 1, body: 258 },
    ]);
  });

  it('of any bytes are JSON', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void objects(bytes)));
  });
});

describe('JSON as packets', () => {
  it('are what a client would have written itself', () => {
    const text = encodeUtf8('[{"op":1000,"seq":5,"body":"x"},{"op":18,"body":["a://b"]},{"op":2,"body":30},{"op":1}]');
    const expected = Buffer.concat([
      encodePacket(1000, 5, 1, encodeUtf8('x')),
      encodePacket(18, 0, 1, encodeUtf8('["a://b"]')),
      encodePacket(2, 0, 1, new Uint8Array([0, 0, 0, 30])),
      encodePacket(1, 0, 1),
    ]);
    const packets = packetsOfJson(text);
    expect(packets.ok && Buffer.from(packets.value).equals(expected)).toBe(true);
  });

  it('come back as they were, through both ways', () => {
    const packet = fc.record({
      op: fc.integer({ min: 1000, max: 2 ** 31 - 1 }),
      seq: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      body: fc.string({ unit: 'grapheme' }),
    });
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 5 }), (packets) => {
        const bytes = packetsOfJson(encodeUtf8(JSON.stringify(packets)));
        if (!bytes.ok) throw new Error(bytes.error);
        expect(objects(bytes.value)).toEqual(packets.map((one) => ({ ...one, ver: 1 })));
      }),
    );
  });

  it('that no packet can be made of are refused with what was expected, and never thrown over', () => {
    for (const text of ['', '7', '"x"', '[]', '[[]]', '{}', '{"op":1e10}', '{"op":1,"x":1}', '{"op":1,"body":1e17}']) {
      const packets = packetsOfJson(encodeUtf8(text));
      expect([text, packets.ok, !packets.ok && packets.error.includes('expected {"op"')]).toEqual([text, false, true]);
    }
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void packetsOfJson(bytes)));
  });
});
