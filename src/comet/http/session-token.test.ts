import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeTagOf, SessionTokens } from './session-token.js';

const secret = new Uint8Array(32).fill(7);
const tokens = new SessionTokens('node-1', 42, secret);
const place = { bucket: 3, incarnation: 2, serial: 2 ** 24 + 9, slot: 77 };

describe('a session token', () => {
  it('brings back what it was made of, and is short', () => {
    fc.assert(
      fc.property(
        fc.record({
          bucket: fc.integer({ min: 1, max: 31 }),
          incarnation: fc.integer({ min: 0, max: 65_535 }),
          serial: fc.integer({ min: 1, max: 2 ** 33 - 1 }),
          slot: fc.integer({ min: 0, max: 2 ** 20 - 1 }),
        }),
        (any) => {
          const token = tokens.mint(any);
          expect(token.length).toBe(54);
          expect(tokens.read(token)).toEqual({ kind: 'own', ...any });
        },
      ),
    );
  });

  it('with any bit changed is not read as an own one', () => {
    const bytes = Buffer.from(tokens.mint(place), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(tokens.read(forged.toString('base64url')).kind).not.toBe('own');
    }
  });

  it('of another secret is forged, of another epoch earlier, of another node foreign with its tag', () => {
    const token = tokens.mint(place);
    expect(new SessionTokens('node-1', 42, new Uint8Array(32)).read(token)).toEqual({ kind: 'forged' });
    expect(new SessionTokens('node-1', 43, secret).read(token)).toEqual({ kind: 'earlier' });
    expect(new SessionTokens('node-2', 42, secret).read(token)).toEqual({
      kind: 'foreign',
      nodeTag: nodeTagOf('node-1'),
    });
  });

  it('is never thrown over, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(tokens.read(text)).toEqual({ kind: 'forged' });
      }),
    );
    expect(tokens.read('A'.repeat(54))).toEqual({ kind: 'forged' });
  });

  it('belongs to one life of a bucket', () => {
    expect(SessionTokens.isOf(place, 3, 2)).toBe(true);
    expect(SessionTokens.isOf(place, 3, 3)).toBe(false);
    expect(SessionTokens.isOf(place, 2, 2)).toBe(false);
  });
});
