import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCidr, parseIp } from './ip-address.js';

/** Family and words in hexadecimal. */
function parsed(text: string): string {
  const words = new Uint32Array(4);
  const family = parseIp(text, words);
  return `${family}:${[...words].map((word) => word.toString(16)).join(' ')}`;
}

/** Characters of addresses, so that many of the texts nearly are one. */
const NEARLY = fc.string({ unit: fc.constantFrom(...'0123456789abcfF:.:%/ '), maxLength: 24 });

describe('the text of an address', () => {
  it.each([
    ['10.0.0.1', '4:0 0 0 a000001'],
    ['255.255.255.255', '4:0 0 0 ffffffff'],
    ['0.0.0.0', '4:0 0 0 0'],
    ['::', '6:0 0 0 0'],
    ['::1', '6:0 0 0 1'],
    ['2001:db8::8:800:200C:417a', '6:20010db8 0 80800 200c417a'],
    ['1:2:3:4:5:6:7::', '6:10002 30004 50006 70000'],
    ['64:ff9b::10.0.0.1', '6:64ff9b 0 0 a000001'],
    ['::ffff:10.0.0.1', '4:0 0 0 a000001'],
    ['::FFFF:a00:1', '4:0 0 0 a000001'],
  ])('%s is %s', (text, expected) => {
    expect(parsed(text)).toBe(expected);
  });

  it('is one exactly where node:net calls it one, zones excepted', () => {
    const anyText = fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), NEARLY, fc.string());
    fc.assert(
      fc.property(
        anyText.filter((text) => !text.includes('%')),
        (text) => {
          expect([text, parsed(text)[0] !== '0']).toEqual([text, isIP(text) !== 0]);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('has the same value in every form of an IPv6 address', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
        expect(parsed(text)).toBe(parsed(canonical));
      }),
    );
  });
});

describe('the text of a block of addresses', () => {
  it('is an address and how many of its bits are fixed', () => {
    const shown = (text: string) => {
      const cidr = parseCidr(text);
      return typeof cidr === 'string' ? cidr : [cidr.family, cidr.fixedBits, cidr.words.join(' ')];
    };
    expect(shown('10.0.0.0/8')).toEqual([4, 104, '0 0 0 167772160']);
    expect(shown('10.0.0.1')).toEqual([4, 128, '0 0 0 167772161']);
    expect(shown('0.0.0.0/0')).toEqual([4, 96, '0 0 0 0']);
    expect(shown('::ffff:10.0.0.0/104')).toEqual([4, 104, '0 0 0 167772160']);
    expect(shown('2001:db8::/32')).toEqual([6, 32, `${0x2001_0db8} 0 0 0`]);
    expect(shown('::/0')).toEqual([6, 0, '0 0 0 0']);
  });

  it.each([
    ['', 'must be an IPv4 or IPv6 address'],
    ['example.org/8', 'must be an IPv4 or IPv6 address'],
    ['10.0.0.0/33', 'a prefix length of 0 to 32'],
    ['10.0.0.0/', 'a prefix length of 0 to 32'],
    ['10.0.0.0/08', 'a prefix length of 0 to 32'],
    ['10.0.0.0/-1', 'a prefix length of 0 to 32'],
    ['::/129', 'a prefix length of 0 to 128'],
    ['10.0.0.1/8', 'zeros behind its 8 bits'],
    ['2001:db8::1/64', 'zeros behind its 64 bits'],
    ['10.0.0.0/8/8', 'a prefix length of 0 to 32'],
    ['::ffff:10.0.0.0/8', 'a prefix length of 96 to 128'],
  ])('is not %j', (text, problem) => {
    expect(parseCidr(text)).toContain(problem);
  });
});
