import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex } from './fixtures/traffic.js';
import { decodeUtf8, encodeUtf8, roomIdProblem, utf8Bytes } from './text.js';

describe('text', () => {
  it('is counted in bytes of UTF-8 as the encoder counts it, lone surrogates included', () => {
    const codeUnits = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 30 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          codeUnits.map((units) => String.fromCharCode(...units)),
        ),
        (text) => {
          expect(utf8Bytes(text)).toBe(encodeUtf8(text).length);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is decoded strictly and keeps a byte order mark', () => {
    expect(decodeUtf8(hex('c328'))).toBeUndefined();
    expect(decodeUtf8(hex('efbbbf61'))).toBe('\ufeffa');
  });
});

describe('a room id', () => {
  it('is any non-empty, well-formed string without control characters, within its bytes', () => {
    for (const room of ['live://1', 'plain', '房间://中文', 'a b', '\u{1f600}', 'x'.repeat(256)]) {
      expect(roomIdProblem(room), room).toBeUndefined();
    }
    expect(roomIdProblem('')).toBe('room must be a non-empty string: room=""');
    expect(roomIdProblem(undefined)).toBe('room must be a non-empty string: room=nothing');
    expect(roomIdProblem(['a'])).toBe('room must be a non-empty string: room=an array of 1');
    expect(roomIdProblem('x'.repeat(257))).toBe('room must be at most 256 bytes of UTF-8: bytes=257');
    expect(roomIdProblem('é'.repeat(3), 5)).toBe('room must be at most 5 bytes of UTF-8: bytes=6');
    expect(roomIdProblem('\udc00')).toMatch(/^room must be well-formed Unicode/);
    for (const control of ['\0', '\n', '\x1f', '\x7f', '\x85']) {
      expect(roomIdProblem(`a${control}`)).toMatch(/^room must not hold control characters/);
    }
  });
});
