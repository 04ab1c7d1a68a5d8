import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { goParseInt, goQuote } from './go-text.js';
import { Query } from './query.js';

const INT32_MAX = 0x7fff_ffff;

describe('Query', () => {
  it.each([
    ['', 'a', []],
    ['a', 'a', ['']],
    ['a=', 'a', ['']],
    ['a=1&b=2&a=3', 'a', ['1', '3']],
    ['&&a=1&', 'a', ['1']],
    ['a=b=c', 'a', ['b=c']],
    ['a=x+y%20z%2B', 'a', ['x y z+']],
    ['%61=1&a+b=2', 'a', ['1']],
    ['a=1;b=2', 'a', ['1;b=2']],
    ['a=%zz&a=%4&a=ok', 'a', ['ok']],
    ['a=%ff%41', 'a', ['\ufffdA']],
    ['a=中%ff', 'a', ['中\ufffd']],
    ['__proto__=1', '__proto__', ['1']],
  ])('%j has %s = %j', (raw, name, values) => {
    expect(new Query(raw).all(name)).toEqual(values);
    expect(new Query(raw).first(name)).toBe(values[0]);
  });

  it('reads back whatever URLSearchParams wrote', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }))), (pairs) => {
        const query = new Query(new URLSearchParams(pairs).toString());
        for (const [name] of pairs) {
          expect(query.all(name)).toEqual(pairs.filter(([other]) => other === name).map(([, value]) => value));
        }
      }),
    );
  });
});

describe("Go's texts", () => {
  it.each([
    ['plain text', '"plain text"'],
    ['"\\\n\t\x00\x7f', '"\\"\\\\\\n\\t\\x00\\x7f"'],
    ['中文 é', '"中文 é"'],
    ['\u200b\u00a0', '"\\u200b\\u00a0"'],
    ['\u{e0001}', '"\\U000e0001"'],
  ])('Quote(%j) is %s', (text, quoted) => {
    expect(goQuote(text)).toBe(quoted);
  });

  it.each([
    ['', 0],
    ['0', 0],
    ['-0', 0],
    ['007', 7],
    ['+5', 5],
    ['2147483647', 2147483647],
    ['-2147483648', -2147483648],
    ['2147483648', 'strconv.ParseInt: parsing "2147483648": value out of range'],
    ['-2147483649', 'strconv.ParseInt: parsing "-2147483649": value out of range'],
    [' 1', 'strconv.ParseInt: parsing " 1": invalid syntax'],
    ['1e3', 'strconv.ParseInt: parsing "1e3": invalid syntax'],
    ['1_0', 'strconv.ParseInt: parsing "1_0": invalid syntax'],
    ['+', 'strconv.ParseInt: parsing "+": invalid syntax'],
    ['٣', 'strconv.ParseInt: parsing "٣": invalid syntax'],
  ])('ParseInt(%j) is %j', (text, expected) => {
    expect(Object.is(goParseInt(text, INT32_MAX), expected)).toBe(true);
  });
});
