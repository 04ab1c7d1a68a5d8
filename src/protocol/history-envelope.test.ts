import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeHistoryEnvelope,
  decodeHistoryRecord,
  encodeHistoryRecord,
  HISTORY_PREFIX_BYTES,
} from './history-envelope.js';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** As the script writes it. */
const GOLDEN = 'c1 0006400000000001 0000000100000002 0102030405060708 fffffff9 6869';

describe('the envelope of a message of a room with history', () => {
  it('reads the bytes that the script writes', () => {
    expect(decodeHistoryEnvelope(hex(GOLDEN))).toEqual({
      epoch: 0x0006400000000001,
      offset: 0x100000002,
      messageId: hex('0102030405060708'),
      op: -7,
      body: hex('6869'),
    });
  });

  it('encodes what stands behind the place', () => {
    expect(encodeHistoryRecord(-7, hex('6869'), hex('0102030405060708'))).toEqual(
      hex(GOLDEN).slice(HISTORY_PREFIX_BYTES),
    );
  });

  it('refuses another form, whatever is too short, and numbers that are not exact or nobody gives', () => {
    const golden = hex(GOLDEN);
    for (let length = 0; length < golden.length - 2; length++) {
      expect(decodeHistoryEnvelope(golden.subarray(0, length))).toBeUndefined();
    }
    for (const text of [
      GOLDEN.replace('c1', '01'),
      GOLDEN.replace('0006400000000001', '0020000000000000'),
      GOLDEN.replace('0000000100000002', 'ffffffffffffffff'),
      GOLDEN.replace('0006400000000001', '0000000000000000'),
      GOLDEN.replace('0000000100000002', '0000000000000000'),
    ]) {
      expect(decodeHistoryEnvelope(hex(text))).toBeUndefined();
    }
  });

  it('never throws, and gives back what was encoded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer(), (bytes, op) => {
        decodeHistoryEnvelope(bytes);
        const id = hex('0000000000000009');
        expect(decodeHistoryRecord(encodeHistoryRecord(op | 0, bytes, id))).toEqual({
          messageId: id,
          op: op | 0,
          body: bytes,
        });
      }),
    );
  });
});
