import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeOpList, OP_LIST_LIMIT_COUNT, parseOpList } from './op-list.js';
import { encodeUtf8 } from './text.js';

function parse(text: string, maxCount?: number) {
  const result = parseOpList(encodeUtf8(text), maxCount);
  return result.ok ? result.value : result.error;
}

describe('an operation list', () => {
  it('is decimal numbers between commas, in the order given', () => {
    expect(parse('1000,1001')).toEqual([1000, 1001]);
    expect(parse('1000')).toEqual([1000]);
    expect(parse('5,5,-3,0')).toEqual([5, 5, -3, 0]);
    expect(parse('')).toEqual([]);
  });

  it('takes what Go’s ParseInt takes: a sign, leading zeros, the whole int32 range', () => {
    expect(parse('+7,007,-0,2147483647,-2147483648,00000000000000000001')).toEqual([
      7, 7, 0, 2147483647, -2147483648, 1,
    ]);
  });

  it('is refused as a whole for one bad element, wherever it stands', () => {
    for (const bad of [
      '',
      ' 1',
      '1 ',
      '1.0',
      '1e3',
      '0x1',
      '1_0',
      '+',
      '-',
      '--1',
      'a',
      '2147483648',
      '-2147483649',
      '99999999999999999999',
      '１',
    ]) {
      expect(parse(`1000,${bad}`), bad).toMatch(/element=1 offset=5$/);
      expect(parse(`${bad},1000`), bad).toMatch(/element=0 offset=0$/);
      if (bad !== '') expect(parse(bad), bad).toMatch(/element=0 offset=0$/);
    }
  });

  it('is refused above its bound and accepted at it', () => {
    expect(parse('1,2,3', 3)).toEqual([1, 2, 3]);
    expect(parse('1,2,3,4', 3)).toBe('an operation list must hold at most 3 numbers');
    expect(
      parse(
        Array(OP_LIST_LIMIT_COUNT + 1)
          .fill('1')
          .join(','),
      ),
    ).toBe('an operation list must hold at most 1024 numbers');
  });

  it('comes back as it was encoded', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 50 }), (ops) => {
        expect(parseOpList(encodeOpList(ops))).toEqual({ ok: true, value: ops });
      }),
      { numRuns: 300 },
    );
  });
});
