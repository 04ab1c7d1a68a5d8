import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CidrRule, CidrTable } from './cidr-table.js';
import { type Cidr, parseCidr, parseIp } from './ip-address.js';

function tableOf(rules: Readonly<Record<string, string>>): CidrTable {
  return new CidrTable(
    Object.entries(rules).map(([text, value], index): CidrRule => {
      const cidr = parseCidr(text);
      if (typeof cidr === 'string') throw new Error(`${text} ${cidr}`);
      return { cidr, value, source: 'test', line: index + 1 };
    }),
  );
}

/** An address as one number of 128 bits. */
function bitsOf(words: Uint32Array): bigint {
  return words.reduce((bits, word) => (bits << 32n) | BigInt(word), 0n);
}

/** The rule by trying every one: the model. */
function naiveFind(rules: readonly CidrRule[], address: string): string | undefined {
  const words = new Uint32Array(4);
  const family = parseIp(address, words);
  let best: CidrRule | undefined;
  for (const rule of rules) {
    const shift = BigInt(128 - rule.cidr.fixedBits);
    const holds = rule.cidr.family === family && bitsOf(words) >> shift === bitsOf(rule.cidr.words) >> shift;
    if (holds && (best === undefined || rule.cidr.fixedBits > best.cidr.fixedBits)) best = rule;
  }
  return best?.value;
}

describe('the value of an address', () => {
  it('is that of the longest prefix, at both ends of every block', () => {
    const table = tableOf({
      '10.0.0.0/8': 'ten',
      '10.1.0.0/16': 'one',
      '10.1.255.0/24': 'end of one',
      '10.1.255.255': 'last',
      '2001:db8::/32': 'doc',
      '2001:db8:0:1::/64': 'net',
    });
    const found = (addresses: string[]) => addresses.map((address) => table.find(address));
    expect(found(['9.255.255.255', '10.0.0.0', '10.0.255.255', '10.1.0.0', '10.1.254.255'])).toEqual([
      undefined,
      'ten',
      'ten',
      'one',
      'one',
    ]);
    expect(found(['10.1.255.0', '10.1.255.254', '10.1.255.255', '10.2.0.0', '10.255.255.255', '11.0.0.0'])).toEqual([
      'end of one',
      'end of one',
      'last',
      'ten',
      'ten',
      undefined,
    ]);
    expect(found(['2001:db8::', '2001:db8:0:1::5', '2001:db8:0:2::', '2001:db9::', '::ffff:10.1.0.9'])).toEqual([
      'doc',
      'net',
      'doc',
      undefined,
      'one',
    ]);
  });

  it('is that of a default route where nothing else fits, per family', () => {
    const table = tableOf({ '0.0.0.0/0': 'four', '::/0': 'six', '255.255.255.255': 'last', '::1': 'own' });
    expect(['1.2.3.4', '255.255.255.255', '::1', 'ffff:ffff::ffff'].map((address) => table.find(address))).toEqual([
      'four',
      'last',
      'own',
      'six',
    ]);
  });

  it('is none for a text that is no address, and in an empty table', () => {
    expect(tableOf({ '0.0.0.0/0': 'all' }).find('nonsense')).toBeUndefined();
    expect(tableOf({}).find('10.0.0.1')).toBeUndefined();
    expect(tableOf({}).find('::1')).toBeUndefined();
  });

  it('is the one that trying every rule gives', () => {
    // Few distinct bits, so that blocks nest, touch and coincide.
    const ipv4 = fc
      .tuple(fc.constantFrom(10, 11, 255), fc.constantFrom(0, 1, 128, 255), fc.nat({ max: 3 }), fc.nat({ max: 255 }))
      .map((octets) => octets.join('.'));
    const ipv6 = fc
      .tuple(fc.constantFrom('0', '2001', 'ffff'), fc.constantFrom('0', '1', 'ffff'), fc.nat({ max: 3 }))
      .map(([first, second, last]) => `${first}:${second}:${second}:${second}:0:0:${first}:${last}`);
    const address = fc.oneof(ipv4, ipv6);
    const rule = fc.tuple(address, fc.nat({ max: 128 })).map(([text, bits]) => {
      const words = new Uint32Array(4);
      const family = parseIp(text, words) as 4 | 6;
      const fixedBits = family === 4 ? 96 + (bits % 33) : bits;
      const shift = BigInt(128 - fixedBits);
      const first = (bitsOf(words) >> shift) << shift;
      const cut = new Uint32Array([96n, 64n, 32n, 0n].map((by) => Number((first >> by) & 0xffff_ffffn)));
      const cidr: Cidr = {
        family,
        words: family === 4 ? new Uint32Array([0, 0, 0, cut[3] as number]) : cut,
        fixedBits,
      };
      // One value a block: two values for one block are refused.
      return { cidr, value: `${family}/${fixedBits}/${first}`, source: 'test', line: 1 };
    });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 40 }), fc.array(address, { maxLength: 40 }), (rules, addresses) => {
        const table = new CidrTable(rules);
        for (const text of addresses) expect([text, table.find(text)]).toEqual([text, naiveFind(rules, text)]);
      }),
      { numRuns: 500 },
    );
  });
});

describe('two rules for one block', () => {
  it('may agree, and are refused where they do not, both named', () => {
    expect(tableOf({ '10.0.0.1': 'a', '10.0.0.1/32': 'a' }).find('10.0.0.1')).toBe('a');
    expect(() => tableOf({ '10.0.0.0/8': 'a', '::/0': 'b', '::ffff:10.0.0.0/104': 'c' })).toThrow(
      expect.objectContaining({
        code: 'CIDR_CONFLICT',
        details: { source: 'test', line: 3, value: 'c', otherSource: 'test', otherLine: 1, otherValue: 'a' },
      }),
    );
  });
});
