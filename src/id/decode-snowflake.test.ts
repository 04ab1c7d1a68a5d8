import { expect, test } from 'vitest';
import { decodeSnowflake } from './decode-snowflake.js';

const ID = (123_456_789n << 22n) | (1023n << 12n) | 77n;
const PARTS = { timestampMs: 1_700_123_456_789, machineId: 1023, sequence: 77 };

test('an id is taken apart from a bigint, a decimal string and 8 bytes anywhere in a buffer', () => {
  const bytes = new Uint8Array(20);
  new DataView(bytes.buffer).setBigUint64(5, ID);
  for (const form of [ID, ID.toString(), bytes.subarray(5, 13)]) {
    expect(decodeSnowflake(form, 1_700_000_000_000)).toEqual(PARTS);
  }
});

test.each([
  -1n,
  1n << 63n,
  '',
  '-1',
  '01',
  '1.5',
  '0x10',
  '9223372036854775808',
  '12345678901234567890',
  new Uint8Array(7),
  new Uint8Array(9),
  new Uint8Array(8).fill(255),
])('%s is no id', (form) => {
  expect(() => decodeSnowflake(form, 0)).toThrow(expect.objectContaining({ code: 'ID_MALFORMED' }));
});
