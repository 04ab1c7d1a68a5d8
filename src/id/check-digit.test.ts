import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { luhnDigitOf, mod97After, mod97RemainderOf } from './check-digit.js';

const bytesOf = (text: string): Uint8Array => Buffer.from(text);
const luhn = (text: string): number => luhnDigitOf(bytesOf(text), text.length);
const remainder = (text: string): number => mod97RemainderOf(bytesOf(text), 0, text.length);
const mod97 = (text: string): number => mod97After(remainder(text));

describe('check digits', () => {
  test('agree with published numbers', () => {
    // ISO/IEC 7812-1's example, a test number of a card issuer, and an IMEI.
    expect([luhn('7992739871'), luhn('411111111111111'), luhn('49015420323751')]).toEqual([3, 1, 8]);
    // ISO/IEC 7064's example 794 -> 44; IBAN GB82 WEST 1234 5698 7654 32, its country and 00 moved to the end.
    expect([mod97('794'), mod97('WEST12345698765432GB')]).toEqual([44, 82]);
  });

  test('pass over separators', () => {
    expect(luhn('7992-739.871')).toBe(3);
    expect(mod97('WEST-1234_5698:7654/32.GB')).toBe(82);
  });

  test('mod 97 goes on from the remainder of what stands before', () => {
    const bytes = bytesOf('WEST12345698765432GB82');
    for (let split = 0; split <= bytes.length; split++) {
      expect(mod97RemainderOf(bytes, split, bytes.length, mod97RemainderOf(bytes, 0, split))).toBe(1);
    }
  });

  test('mod 97 finds every wrong character and every swap of neighbours', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Z0-9]{1,30}$/),
        fc.nat(),
        fc.constantFrom(...'0123456789ABCXYZ'),
        (text, at, other) => {
          const whole = text + String(mod97(text)).padStart(2, '0');
          expect(remainder(whole)).toBe(1);
          const index = at % text.length;
          const isDigit = (character: string): boolean => /\d/.test(character);
          if (text[index] !== other && isDigit(text[index]!) === isDigit(other)) {
            const wrong = text.slice(0, index) + other + whole.slice(index + 1);
            expect(remainder(wrong)).not.toBe(1);
          }
          const next = whole[index + 1]!;
          if (whole[index] !== next && isDigit(whole[index]!) && isDigit(next)) {
            const swapped = whole.slice(0, index) + next + whole[index] + whole.slice(index + 2);
            expect(remainder(swapped)).not.toBe(1);
          }
        },
      ),
    );
  });

  test('Luhn finds every wrong digit', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^\d{1,20}$/), fc.nat(), fc.integer({ min: 1, max: 9 }), (text, at, add) => {
        const index = at % text.length;
        const wrong = text.slice(0, index) + ((Number(text[index]) + add) % 10) + text.slice(index + 1);
        expect(luhn(wrong)).not.toBe(luhn(text));
      }),
    );
  });
});
